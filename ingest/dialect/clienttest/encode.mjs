// Encodes Sparkplug messages with the library sparkplug-payload: a JSON list of
// messages on standard input, a JSON list of their bytes, in hexadecimal, on
// standard output. Values of 64 bits are texts, bytes are hexadecimal.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);
const Long = require("long");
const sparkplug = require("sparkplug-payload").get("spBv1.0");

function plain(type, value) {
  if (value === null) return value;
  switch (type) {
    case "Int64":
      return Long.fromString(value, false);
    case "UInt64":
    case "DateTime":
      return Long.fromString(value, true);
    case "Bytes":
    case "File":
      return Buffer.from(value, "hex");
    case "Template":
      value.metrics?.forEach(prepare);
      return value;
  }
  return value;
}

function prepare(metric) {
  metric.value = plain(metric.type, metric.value);
}

const messages = JSON.parse(readFileSync(0));
const encoded = messages.map((message) => {
  message.metrics.forEach(prepare);
  return Buffer.from(sparkplug.encodePayload(message)).toString("hex");
});
console.log(JSON.stringify(encoded));
