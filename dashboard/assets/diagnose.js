// Why does nothing arrive? The gateway tries it step by step, and says what is wrong.
import { lines } from "./api.js";
import { make, say } from "./dom.js";
import { fault, press, sheet } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { lists } from "./truth.js";
import { advice } from "./words.js";

const t = texts.diagnose;

export const diagnoseLink = (name) => steps(sheet(t.link + name), `links/${encodeURIComponent(name)}/`, "diagnose");
export const diagnoseDoor = (name) => steps(sheet(t.door + name), `doors/${encodeURIComponent(name)}/`, "diagnose");
export const testLink = (name) => steps(sheet(t.test + name), `links/${encodeURIComponent(name)}/`, "test");

// steps shows what is tried as it comes: the verdict on top, each step below it.
async function steps({ body, signal }, path, what, how = {}) {
  const verdict = make("p", "note verdict", t.running);
  verdict.role = "status";
  verdict.tabIndex = -1;
  const list = make("ul", "way steps");
  body.replaceChildren(verdict, list);
  verdict.focus();
  const rows = new Map();
  let last = {};
  try {
    for await (last of lines(path + what, { method: "POST", body: how, signal })) {
      if (!last.verdict) row(list, rows, last);
    }
  } catch (error) {
    return fault(body, error);
  }
  verdict.dataset.mood = last.state;
  say(verdict, advice(last.verdict));
  const again = (text, next, more) => press(text, () => steps({ body, signal }, path, next, more), body);
  const more = make("div", "head", again(t.again, what, how));
  if (last.step === "held") more.append(again(t.anyway, what, { anyway: true }));
  if (!last.step && what === "diagnose" && path.startsWith("links")) more.append(again(t.send, "test"));
  body.append(more);
}

function row(list, rows, { step, title, state, text = "", hint = "", ms = 0 }) {
  if (!rows.has(step)) {
    const item = make("li", "", make("i"), make("b", "", title), make("p"), make("p", "why"));
    rows.set(step, item);
    list.append(item);
  }
  const item = rows.get(step);
  item.dataset.mood = state;
  say(item.children[2], text + (ms >= 10 ? ` (${ms} ms)` : ""));
  say(item.children[3], hint && t.hint + hint);
}

// pick lets one of several be chosen; one alone is chosen at once.
function pick(body, title, items, act) {
  body.append(make("h3", "", title), make("div", "head picks", ...items.map(({ name }) => press(name, () => act(name), body))));
}

// diagnoseTasks offers it where tasks are.
export function diagnoseTasks(state) {
  task(t.title, t.about, ({ body }) => {
    const { links, doors } = lists(state.status);
    pick(body, t.out, links, diagnoseLink);
    pick(body, t.in, doors, diagnoseDoor);
  });
  task(t.check, t.checks, ({ body }) => {
    const { links } = lists(state.status);
    if (links.length === 1) return testLink(links[0].name);
    pick(body, t.out, links, testLink);
  });
}
