// What an uplink refused for good: look at it, send it again, forget it.
import { ask, tell } from "./api.js";
import { byId, make } from "./dom.js";
import { fault, press, sheet } from "./sheet.js";
import { texts } from "./texts.js";
import { advice, bytes, plural, unit, when } from "./words.js";

const t = texts.quarantine;

export function quarantine() {
  const s = sheet(byId("aside").textContent);
  const list = make("ul");
  s.body.append(list);
  return draw(list, s);
}

async function draw(list, s) {
  try {
    const blocks = await ask("quarantine", { signal: s.signal });
    if (blocks.some((b) => b.retry)) setTimeout(() => s.signal.aborted || draw(list, s), 2000); // until it has left, or is back
    const now = JSON.stringify(blocks);
    if (list.dataset.now === now) return;
    list.dataset.now = now;
    list.replaceChildren(...blocks.map((b) => block(b, list, s)));
    if (blocks.length === 0) list.append(make("li", "note", t.none));
    if (document.activeElement === document.body) byId("sheet-close").focus();
  } catch (error) {
    fault(list, error);
  }
}

function block(b, list, s) {
  const what = plural(b.count, "reading");
  const item = make("li", "block", make("b", "", `${what} · ${b.sink}`), make("p", "why", advice(b.reason)),
    make("p", "small", `${b.lane} ${b.first}–${b.last} · ${bytes(b.bytes)} · ${when(b.at)}`));
  const change = (how) => tell(`quarantine/${how}`, [b.id], { signal: s.signal }).then(() => draw(list, s));
  const readings = make("ul", "small");
  readings.tabIndex = -1;
  const more = async (button, after = 0) => {
    const page = await ask(`quarantine/${b.id}?after=${after}`, { signal: s.signal });
    for (const r of page.readings) readings.append(make("li", "", `${when(r.time)} · ${r.device} ${r.metric} = ${r.value} ${unit(r.unit ?? "")} ${r.quality ?? ""}`));
    button.remove();
    readings.focus();
    if (page.after) readings.append(press(t.more, (next) => more(next, page.after), item));
  };
  const row = make("div", "head", press(t.look, more, item));
  if (b.retry) row.append(make("span", "", t.again));
  else row.append(press(t.retry, () => change("retry"), item));
  row.append(press(t.drop, (button) => {
    if (button.dataset.sure) return change("drop");
    button.dataset.sure = button.textContent = t.sure + what;
  }, item));
  item.append(row, readings);
  return item;
}
