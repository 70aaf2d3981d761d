// Where is my reading? One reading on its way, step by step.
import { ask } from "./api.js";
import { make } from "./dom.js";
import { fault, pick, press } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { advice, unit, when } from "./words.js";

const t = texts.trace;

// renderTrace follows the newest reading of a series until every link has it, or
// signal aborts.
export async function renderTrace(parent, device, metric, signal) {
  const list = make("ul", "way", "…");
  list.ariaLive = "polite";
  list.tabIndex = -1;
  parent.replaceChildren(list);
  if (document.activeElement === document.body) list.focus();
  try {
    for (let which = { device, metric }, was; ; ) {
      const r = await ask(`trace?${new URLSearchParams(which)}`, { signal });
      const now = JSON.stringify(r.steps);
      if (now !== was) list.replaceChildren(make("li", "big", make("b", "", String(r.value)), unit(r.unit ?? "")), ...r.steps.map(step));
      was = now;
      which = { lane: r.lane, seq: r.seq, epoch: r.epoch };
      if (!r.links.some((l) => l.state === "sent" || l.state === "waiting")) break;
      await new Promise((next) => setTimeout(next, 1000));
      if (signal.aborted) return;
    }
  } catch (error) {
    fault(parent, error);
  }
  if (!signal.aborted) parent.append(press(t.again, () => renderTrace(parent, device, metric, signal), parent));
}

// step is a row of a way: what was done, and how it went.
export function step({ mood, title, text, why }) {
  const item = make("li", "", make("i"), make("b", "", title), make("p", "", text.replace(/{(\d+)}/g, (_, ms) => when(+ms, true))), make("p", "why", advice(why ?? "")));
  item.dataset.mood = mood;
  return item;
}

// traceTask offers it where one picks a series of those that the page has heard.
export function traceTask(state) {
  task(t.title, t.about, ({ body, signal }) => {
    const { itself } = state.status ?? {};
    const names = [...state.devices.keys()].filter((name) => itself?.kept || name !== itself?.device).sort();
    if (names.length === 0) return body.append(make("p", "note", t.none));
    const out = make("div");
    let stop = new AbortController();
    signal.addEventListener("abort", () => stop.abort());
    const show = () => {
      stop.abort();
      stop = new AbortController();
      renderTrace(out, device.value, metric.value, stop.signal);
    };
    const choose = () => {
      const all = [...(state.devices.get(device.value)?.metrics.values() ?? [])];
      metric.replaceChildren(...pick("", [...new Set(all.map((m) => m.name))]).children);
      show();
    };
    const device = pick(t.device, names, choose);
    const metric = pick(t.metric, [], show);
    body.append(make("div", "head", device, metric), out);
    choose();
  });
}
