// Numbers and times in words that a person reads at a glance. Pure functions.
import { texts } from "./texts.js";

const words = texts.words;

// units turns SenML's ASCII names (RFC 8428) into what is printed on sensors.
const units = new Map(Object.entries({
  Cel: "°C", degF: "°F", "%RH": "% RH", "/100": "%", "/": "", Ohm: "Ω", kOhm: "kΩ",
  m2: "m²", m3: "m³", "m/s2": "m/s²", "m3/s": "m³/s", "m3/h": "m³/h", "W/m2": "W/m²",
  "kg/m3": "kg/m³", "ug/m3": "µg/m³", uS: "µS", "uS/cm": "µS/cm", deg: "°", lon: "° lon", lat: "° lat",
}));

export const unit = (name) => units.get(name) ?? name;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

// count is a whole number with thousands separators: 12,431.
export const count = (n) => whole.format(n);

// plural is "1 reading", "12,431 readings".
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? "" : "s"}`;

// decimals is how many decimals show a number without noise: as many as it
// has, but five significant digits and four decimals at the most.
export function decimals(x) {
  const size = Math.abs(x);
  if (!Number.isFinite(x) || size >= 1e9 || (size > 0 && size < 1e-4)) return 0;
  const before = Math.max(1, Math.floor(Math.log10(size || 1)) + 1);
  const most = Math.max(0, Math.min(4, 5 - before));
  const text = String(Number(x.toFixed(most)));
  const dot = text.indexOf(".");
  return dot < 0 ? 0 : text.length - dot - 1;
}

// value formats a measured value with a fixed number of decimals, so that it
// keeps its width from one update to the next.
export function value(x, places) {
  if (typeof x === "boolean") return x ? "true" : "false";
  if (typeof x !== "number") return String(x);
  const size = Math.abs(x);
  if (size >= 1e9 || (size > 0 && size < 1e-4)) return x.toExponential(3).replace("e+", "e");
  return x.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
}

// quantity is a measured value and its unit, in the unit that suits its size where
// nobody reads it otherwise: bytes, and what takes days.
export function quantity(x, name, places) {
  const large = typeof x === "number" && (/^B(\/s)?$/.test(name) ? bytes(x) + name.slice(1) : name === "s" && x >= 86_400 && span(1000 * x));
  return large ? large.split(" ") : [value(x, places), unit(name)];
}

// rate is readings a second, or a minute where a second would show zero.
export function rate(perSecond) {
  if (perSecond === null) return "–";
  if (perSecond === 0) return "0/s";
  if (perSecond < 0.95) return `${significant(perSecond * 60)}/min`;
  return `${significant(perSecond)}/s`;
}

function significant(x) {
  if (x < 9.95) return x.toFixed(1);
  if (x < 9950) return count(x);
  if (x < 999_500) return `${(x / 1000).toFixed(x < 99_950 ? 1 : 0)} k`;
  return `${(x / 1e6).toFixed(2)} M`;
}

// bytes is a size in decimal units, as on the label of a memory card.
export function bytes(n) {
  const names = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  for (; n >= 999.5 && i < names.length - 1; i++) n /= 1000;
  return `${i > 0 && n < 9.95 ? Number(n.toFixed(1)) : Math.round(n)} ${names[i]}`;
}

// span is a length of time, given in milliseconds.
export function span(ms) {
  const s = Math.max(0, ms) / 1000;
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 48 * 3600) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} ${words.days}`;
}

// age is how long ago: "now", "3 s ago".
export const age = (ms) => (ms < 1500 ? words.now : words.ago(span(ms)));

// advice puts the hint of an error on a line of its own, where it is seen.
export const advice = (error) => error.replace(" — hint: ", "\nHint: ");

// clock is a time of day, given in Unix milliseconds.
export const clock = (unix) => new Date(unix).toLocaleTimeString("en-GB");

// when is a time with its day unless that is today; exact adds milliseconds.
export function when(unix, exact) {
  const at = new Date(unix);
  const day = at.toDateString() === new Date().toDateString() ? "" : `${at.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} `;
  return day + clock(unix) + (exact ? `.${String(at.getMilliseconds()).padStart(3, "0")}` : "");
}
