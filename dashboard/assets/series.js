// The sheet of one series: what it is, and what it was. What draws it is fetched
// when the first one is opened.
import { ask } from "./api.js";
import { make, say, show } from "./dom.js";
import { fault, press, sheet } from "./sheet.js";
import { texts } from "./texts.js";
import { renderTrace } from "./trace.js";
import * as words from "./words.js";

let state; // of the whole page; see state.js
let watch; // called for each frame while a sheet is open

// follow tells the open sheet that a frame has come.
export function follow(now) {
  state = now;
  watch?.();
}

export async function openSeries(device, metric, unit = "") {
  const s = sheet(metric);
  s.signal.addEventListener("abort", () => (watch = undefined));
  try {
    const { plot } = await import("/assets/plot.js");
    if (s.signal.aborted) return;
    plot(s, { device, metric, unit }, {
      ask, make, say, show, fault, words, texts: texts.series,
      now: () => state?.now() ?? Date.now(),
      latest: () => state?.devices.get(device),
      onFrame: (f) => (watch = f),
    });
  } catch (error) {
    if (!s.signal.aborted) fault(s.body, error);
  }
  if (s.signal.aborted) return;
  const where = make("div");
  s.body.append(press(texts.trace.title, () => renderTrace(where, device, metric, s.signal), where), where);
}
