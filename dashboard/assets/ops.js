// What whoever looks after gateways wants: the log, a bundle for support, the readings
// that wait on a phone or a stick, and a gateway that shows which one it is.
import { ask, lines, tell } from "./api.js";
import { make, say } from "./dom.js";
import { fault, pick, press } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { bytes, clock, plural } from "./words.js";

const t = texts.ops;

// save returns a button that downloads. A link does not leave the page if that fails.
const save = (path, body) => press(t.save, async () => {
  await ask("sticks"); // who may not ask that signs in now
  Object.assign(make("a"), { href: `/api/v1/${path()}`, download: "" }).click();
}, body);

// The newest lines stand on top: whoever reads on is not moved by what comes.
task(t.log, t.logs, ({ body, signal }) => {
  const list = make("div", "way");
  let stop, after;
  const read = async () => {
    stop = new AbortController();
    signal.onabort = () => stop.abort();
    pause.ariaPressed = false;
    try {
      for await (const { n, time, level, text, about = "" } of lines(`log?level=${least.value}&after=${after}`, stop)) {
        after = n ?? after;
        list.prepend(make("p", level === "ERROR" ? "note fault" : "small block", n ? `${clock(time)} ${level} ${text} ${about}` : "…"));
        list.children[500]?.remove();
      }
      throw new Error(texts.unreachable);
    } catch (error) {
      fault(body, error);
    }
  };
  const begin = () => {
    stop?.abort();
    after = 0;
    list.replaceChildren();
    read();
  };
  const least = pick(t.level, ["info", "warn", "error", "debug"], begin);
  const pause = press(t.pause, () => {
    if (stop.signal.aborted) return void read();
    stop.abort();
    pause.ariaPressed = true;
  }, body);
  body.append(make("p", "head", least, pause), list);
  begin();
});

task(t.bundle, t.bundles, ({ body }) => body.append(save(() => "bundle", body)));

task(t.export, t.exports, async ({ body, signal }) => {
  const sticks = await ask("sticks");
  const { links } = await ask("status");
  const undelivered = pick(t.which, [...links.map((l) => l.name), ["", t.all]]);
  const format = pick(t.format, ["packed", "ndjson", "csv"]);
  const order = () => ({ format: format.value, undelivered: undelivered.value });
  const said = make("p", "way");
  const stick = ({ mount, label, free }) => press(`${t.to} ${label || mount}, ${bytes(free)}`, async () => {
    for await (const l of lines("export", { method: "POST", signal, body: { mount, ...order() } })) {
      say(said, `${plural(l.readings, "reading")}, ${bytes(l.bytes)} ${l.file ? `${l.file} ${t.pull} ${l.left_out ?? ""}` : "…"}`);
    }
  }, body);
  body.append(t.which, make("p", "head", undelivered, format, save(() => `export?${new URLSearchParams(order())}`, body), ...sticks.map(stick)), said);
});

// offer adds what the gateway can do only if it was told how.
let offered;
export function offer({ identify }) {
  if (identify && !offered) {
    offered = true;
    const blink = (seconds, body) => press(seconds ? `${seconds} s` : t.stop, () => tell("identify", { seconds }), body);
    task(t.blink, t.blinks, ({ body }) => body.append(make("p", "head", blink(30, body), blink(300, body), blink(0, body))));
  }
}
