// What the gateway tries step by step: why nothing arrives, and what becomes of what
// is sent by hand.
import { lines } from "./api.js";
import { make, say, show } from "./dom.js";
import { fault, pick, press, sheet } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { step } from "./trace.js";
import { lists } from "./truth.js";
import { advice } from "./words.js";

const t = texts.diagnose;

// diagnose opens a sheet that finds out about one of the links, or doors.
export function diagnose(kind, name, what = "diagnose") {
  const { body, signal } = sheet(`${name}: ${what === "test" ? t.test : t.title}`);
  return steps(body, signal, `${kind}/${encodeURIComponent(name)}/${what}`);
}

// steps shows each step as it comes, and the verdict above them.
async function steps(parent, signal, path, body = {}) {
  const verdict = make("p", "note verdict", t.running);
  verdict.role = "status";
  verdict.tabIndex = -1;
  const list = make("ul", "way steps");
  parent.replaceChildren(verdict, list);
  verdict.focus();
  const rows = {};
  let last = {};
  try {
    for await (last of lines(path, { method: "POST", body, signal })) {
      if (last.verdict) break;
      const { step: name, title, state: mood, text = "", hint } = last;
      const item = step({ mood, title, text, why: mood === "bad" ? "" : hint });
      if (rows[name]) rows[name].replaceWith(item);
      else list.append(item);
      rows[name] = item;
    }
    verdict.dataset.mood = last.state;
    say(verdict, advice(last.verdict));
  } catch (error) {
    verdict.remove();
    fault(parent, error);
  }
  const again = (text, path, body) => press(text, () => steps(parent, signal, path, body), parent);
  if (last.step === "held") parent.append(again(t.anyway, path, { anyway: true }));
  if (path.includes("/")) parent.append(again(t.again, path, body));
}

// offer lets one of the doors or links be chosen.
const offer = (parent, state, kind, what) =>
  parent.append(make("h3", "", t[kind]), make("div", "head", ...lists(state.status)[kind].map(({ name }) => press(name, () => diagnose(kind, name, what), parent))));

// form asks for what is sent.
const form = (path) => ({ body, signal }) => {
  const to = pick(t.to, ["topic", "device"]);
  const [name, payload] = ["input", "textarea"].map((tag, i) => Object.assign(make(tag), { required: !i, spellcheck: false, ariaLabel: t.fields[i], placeholder: t.fields[i] }));
  const out = make("div");
  const fields = make("form", "", make("div", "head", to, name), payload, make("button", "", t.send));
  fields.onsubmit = (event) => {
    event.preventDefault();
    steps(out, signal, path, { [to.value]: name.value, payload: payload.value });
  };
  body.append(fields, out);
};

let command;

// diagnoseTasks offers all of it where tasks are.
export function diagnoseTasks(state) {
  task(t.title, t.about, ({ body }) => {
    offer(body, state, "links");
    offer(body, state, "doors");
  });
  task(t.test, t.tests, ({ body }) => offer(body, state, "links", "test"));
  task(t.message, t.messages, form("send"));
  command = task(t.command, t.commands, form("command"));
}

// offerCommand shows the task only where commands are allowed.
export const offerCommand = (status) => show(command, !!status.commands);
