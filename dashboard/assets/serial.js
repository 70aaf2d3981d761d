// A cable in one hand: which ports there are, what comes over them, how the device
// speaks, and who is on a Modbus line. What it all means, the gateway says.
import { lines, tell } from "./api.js";
import { proposeBlock } from "./config.js";
import { make, say } from "./dom.js";
import { pick, press, sheet } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { advice, clock, count } from "./words.js";

const t = texts.serial;
const most = 200; // rows of what comes
const rates = [9600, 19200, 38400, 57600, 115200, 1200, 2400, 4800, 230400, 460800, 921600];

for (const scan of [0, 1]) task(t.tasks[scan], t.about[scan], (s) => ports(s, scan));

const field = (label, value = "") => Object.assign(make("input"), { placeholder: label, ariaLabel: label, value });

// ports lists what is plugged in, and goes on doing so.
async function ports({ body, signal }, scan) {
  const list = make("ul", "row");
  list.ariaLive = "polite";
  body.append(make("p", "note", t.plug), list);
  if (scan) {
    const url = field(t.url);
    body.append(make("div", "row", url, press(t.scan, () => work({ url: url.value, title: url.value }, scan))));
  }
  let was;
  for await (const { ports } of lines("serial/ports?watch", { signal })) {
    const now = JSON.stringify(ports);
    if (now === was) continue;
    was = now;
    const at = document.activeElement.title;
    list.replaceChildren(...ports.map((p) => {
      const button = press("", () => work(p, scan));
      button.className = "task";
      button.title = p.configure;
      button.append(make("b", "", p.title), make("span", "", p.facts));
      if (at === p.configure) setTimeout(() => button.focus());
      return make("li", "", button);
    }));
  }
}

// work is what may be done at a port, one thing at a time.
function work(p, scan) {
  const { body, signal } = sheet(p.title);
  const out = make("div");
  const line = pick(t.line, [p.settings, ...rates.flatMap((rate) => ["8N1", "8E1", "8O1", "7E1"].map((format) => `${rate} ${format}`))].filter(Boolean));
  const place = p.url ? { url: p.url } : { port: p.configure };
  const set = () => p.url ? place : { ...place, settings: line.value };
  const tap = () => p.door?.startsWith("serial:") ? place : set(); // through the door, as it is
  let stop = new AbortController();
  const act = (name, path, ask, show) => press(name, async (button) => {
    const pause = !!(p.door || p.url) && ask() !== place;
    const sure = p.task ? t.take : pause && p.door ? t.pause + p.door : name;
    if (sure !== name && button.textContent === name) return say(button, sure);
    say(button, name);
    stop.abort();
    stop = new AbortController();
    out.replaceChildren();
    await show(out, lines(path, { method: "POST", signal: AbortSignal.any([signal, stop.signal]), body: { ...ask(), pause, take_over: !!p.task } }));
  }, out);
  const end = press(t.stop, () => stop.abort());
  const row = make("div", "row", p.url ? "" : line);
  const text = field(scan ? t.units : t.text, scan ? "1-247" : "");
  if (scan) row.append(text, act(t.scan, "modbus/scan", () => ({ ...set(), units: text.value }), found), end);
  else {
    const send = press(t.send, async () => {
      const { watched, answer } = await tell("serial/send", { ...tap(), bytes: text.value }, { signal });
      if (!watched) out.append(make("p", "log", `< ${answer}`));
    }, out);
    text.onkeydown = (event) => event.key === "Enter" && send.click();
    row.append(act(t.listen, "serial/listen", tap, listen), act(t.probe, "serial/probe", () => ({ ...place, send: text.value }), found), end, text, send);
  }
  body.append(row, out);
  if (!p.url) body.append(Object.assign(make("a", "", t.report), { href: `/api/v1/serial/report?port=${encodeURIComponent(p.configure)}`, download: "" }));
}

async function listen(out, heard) {
  const log = Object.assign(make("div", "log"), { role: "log", ariaLabel: t.listen, tabIndex: 0 });
  const counts = t.counts.map((word) => make("p", "big", make("b", "", "0"), word));
  const now = make("p", "small"), hint = make("p", "why");
  hint.role = "status";
  const toggle = (name, change) => {
    const button = press(name, () => button.ariaPressed = change());
    button.ariaPressed = false;
    return button;
  };
  let hex = false, hold = false, last, kept = [];
  const add = (pieces) => {
    log.ariaLive = pieces.length > 3 ? "off" : "polite"; // nobody can listen to a flood
    log.append(...pieces.map((p) => {
      const at = clock(p.at);
      const row = make("p", p.direction, `${at === last ? "" : at} ${p.direction === "in" ? "<" : ">"} `, p.bytes.replace(/../g, (h, i) => {
        const c = parseInt(h, 16);
        return (hex ? `${h} ` : String.fromCharCode(c > 31 && c < 127 ? c : c === 10 ? 8629 : 183)) + (p.damaged?.includes(i / 2) ? "▲" : "");
      }));
      last = at;
      return row;
    }));
    while (log.children[most]) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  };
  out.append(make("div", "counts", ...counts), now, hint, make("div", "row", toggle(t.hex, () => {
    hex = !hex;
    log.replaceChildren();
    add(kept);
    return hex;
  }), toggle(t.hold, () => hold = !hold)), log);
  for await (const h of heard) {
    [h.counts.received, h.counts.frames, h.wrong].forEach((n, i) => say(counts[i].firstChild, count(n)));
    say(now, h.say);
    say(hint, advice(h.advice ?? ""));
    if (hold) continue;
    const pieces = h.pieces ?? [];
    kept = [...kept, ...pieces].slice(-most);
    if (h.missed) log.append(make("p", "", `… ${count(h.missed)}${t.missed}`));
    add(pieces);
  }
}

// found shows how far something has got, and what has come of it.
async function found(out, steps) {
  const bar = make("progress"), now = make("p"), list = make("ul");
  const row = (r) => make("li", "block", make("b", "", r.title), ...r.evidence.map((e) => make("p", "small", e)));
  bar.ariaLabel = t.far;
  out.append(bar, now, list);
  for await (const x of steps) {
    bar.max = x.of;
    bar.value = x.done;
    say(now, x.say);
    if (x.found) list.append(row(x.found));
    if (!x.result) continue;
    bar.remove();
    const { found, advice: why, toml } = x.result;
    list.replaceChildren(...found.map(row));
    out.append(...why.map((text) => make("p", "note why", advice(text))));
    if (toml) out.append(make("pre", "", make("code", "", toml)), press(t.use, () => proposeBlock(toml), out));
  }
}
