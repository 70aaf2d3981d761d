// A client of MQTT.js that does what it is told: see client.py, which takes the
// same commands.
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import mqtt from "mqtt";

const how = JSON.parse(process.argv[2]);
const say = (what) => console.log(JSON.stringify(what));

const options = {
  clientId: how.id,
  protocolVersion: how.version,
  clean: how.clean,
  reconnectPeriod: 0,
};
if (how.version === 5) options.properties = { sessionExpiryInterval: how.clean ? 0 : 300 };
if (how.will) options.will = { topic: how.will, payload: how.will_payload, qos: 1 };
if (how.url.startsWith("tls:")) options.ca = readFileSync(how.ca);

const client = mqtt.connect(how.url, options);
client.on("error", (err) => {
  console.error(err);
  process.exit(1);
});
client.on("message", (topic, payload, packet) =>
  say({ message: { topic, payload: payload.toString(), retain: packet.retain } }),
);
client.on("connect", (ack) => {
  say({ present: ack.sessionPresent });
  createInterface({ input: process.stdin }).on("line", (line) => obey(JSON.parse(line)));
});

async function obey(command) {
  switch (command.do) {
    case "subscribe":
      await client.subscribeAsync(command.topic, { qos: command.qos });
      break;
    case "publish":
      await client.publishAsync(command.topic, command.payload, { qos: command.qos, retain: command.retain });
      break;
    case "leave":
      await client.endAsync();
      process.exit(0);
  }
  say({ ok: true });
}
