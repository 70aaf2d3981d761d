// A message, or a command, by hand, and what becomes of it.
import { lines, tell } from "./api.js";
import { make, show } from "./dom.js";
import { fault, pick } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { advice, unit } from "./words.js";

const t = texts.send;
let commands; // the tile

// sendTasks offers them where tasks are.
export function sendTasks() {
  task(t.title, t.about, (s) => form(s, true, async (message, out) => {
    const { fate, where, means, why = "", readings, receivers, ms } = await tell("send", message);
    out.append(line(fate === "decoded" && !why ? "ok" : "warn", t.fates[fate], `${where} · ${means}`, why));
    for (const r of readings) out.append(line("ok", `${r.device} · ${r.metric}`, `${r.value ?? ""} ${unit(r.unit ?? "")}`));
    out.append(line("ok", t.kept(ms), t.receivers(receivers)));
  }));
  commands = task(t.command, t.commands, (s) => form(s, false, async (order, out) => {
    for await (const { state, reason = "", topic = "", receivers, by } of lines("command", { method: "POST", body: order, signal: s.signal })) {
      const mood = state === "refused" || state === "expired" ? "bad" : state === "delivered" ? "ok" : receivers > 0 ? "idle" : "warn";
      out.append(line(mood, t.states[state] ?? state, [topic, by ?? (receivers >= 0 && t.receivers(receivers))].filter(Boolean).join(" · "), reason));
    }
  }));
  offerCommands({});
}

// offerCommands shows the task only where commands are allowed.
export const offerCommands = (status) => show(commands, Boolean(status.commands));

const line = (mood, title, text, why = "") => {
  const item = make("li", "", make("i"), make("b", "", title), make("p", "", text), make("p", "why", advice(why)));
  item.dataset.mood = mood;
  return item;
};

// form asks where something goes and what it is, and shows what act says of it.
function form({ body }, retains, act) {
  const field = (tag, name, label, more) => {
    const input = Object.assign(make(tag), { name, ...more });
    return make("label", "", label, input);
  };
  const to = Object.assign(pick(t.to, ["topic", "device"].map((name) => [name, t[name]])), { name: "to" });
  const name = Object.assign(make("input"), { name: "name", required: true, autocomplete: "off", spellcheck: false, ariaLabel: t.name });
  name.setAttribute("autocapitalize", "none");
  const out = make("ul", "way steps");
  out.ariaLive = "polite";
  const go = make("button", "", t.go);
  const fields = make("form", "fields", make("div", "head", to, name), field("textarea", "payload", t.payload, { rows: 3, spellcheck: false }),
    ...(retains ? [field("input", "retain", t.retain, { type: "checkbox" })] : []), go);
  fields.onsubmit = async (event) => {
    event.preventDefault();
    const { to, name, payload, retain } = fields;
    out.replaceChildren();
    go.disabled = true;
    const topic = to.value === "topic";
    await act({ [to.value]: name.value, payload: payload.value, ...(topic && retain && { qos: 1, retain: retain.checked }) }, out).catch((error) => fault(out, error));
    go.disabled = false;
  };
  body.append(fields, out);
  name.focus();
}
