// What is known of one series.
import { ask } from "./api.js";
import { make } from "./dom.js";
import { fault, sheet } from "./sheet.js";
import { texts } from "./texts.js";
import { age, unit as inWords } from "./words.js";

export async function openSeries(device, metric, unit) {
  const { body, signal } = sheet(`${device} · ${metric}`);
  try {
    const { up, devices } = await ask("values", { signal });
    const heard = devices.find((d) => d.name === device);
    const found = heard?.metrics.find((m) => m.name === metric && (m.unit ?? "") === unit);
    body.append(
      ...(found ? [make("p", "big", make("b", "", String(found.value)), make("span", "", inWords(unit)))] : []),
      make("p", "", found ? texts.series.heard(age(up - heard.seen)) : texts.series.gone),
    );
  } catch (error) {
    fault(body, error);
  }
}
