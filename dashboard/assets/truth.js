// The one sentence at the top: what is true now, worst thing first.
import { advice, clock, count, plural, span } from "./words.js";

const catchingUp = 30_000; // ms of age of the oldest unsent reading
const restartShown = 300_000; // ms

// truth returns {mood, sentence, detail}; mood is ok, info, warn, bad or wait.
export function truth(state, connection) {
  if (!connection.up) return disconnected(state, connection);
  const found = trouble(state) ?? calm(state);
  const since = state.restarted && state.now() - state.restarted;
  if (since && since < restartShown) {
    found.detail = lines(found.detail, `The gateway restarted at ${clock(state.restarted)}.`);
  }
  return found;
}

function disconnected(state, { heard, next, crowded }) {
  const first = state.status === null;
  const wait = next === null ? "" : `Next try in ${span(next - performance.now() + 999)}.`;
  const old = first ? "" : `Everything below is ${span(Math.max(1000, performance.now() - heard))} old.`;
  const sentence = crowded
    ? "The gateway is showing itself to too many pages"
    : first
      ? "Connecting to the gateway…"
      : "Reconnecting to the gateway…";
  return { mood: "wait", sentence, detail: lines(crowded ? "Close one of the others." : "", old, wait) };
}

function trouble(state) {
  const { buffer, links, doors } = lists(state.status);
  if (buffer.state !== "ok") {
    return { mood: "bad", sentence: "The gateway cannot store readings", detail: advice(buffer.state) };
  }
  if (state.rate("evicted") > 0) {
    const detail = `${plural(buffer.evicted, "reading")} lost so far. The loss is counted and reported upstream.`;
    return { mood: "bad", sentence: "Flash is full: the oldest readings are being dropped", detail };
  }
  const down = links.filter((l) => l.state === "down");
  if (down.length > 0) return linkDown(state, down, links);
  const broken = doors.filter((d) => d.state !== "ok");
  if (broken.length > 0) {
    return { mood: "warn", sentence: `Nothing comes in through ${broken[0].name}`, detail: advice(broken[0].state), why: ["doors", broken[0].name] };
  }
  return null;
}

function linkDown(state, down, links) {
  const link = down[0];
  const time = link.since ? ` for ${span(state.now() - link.since)}` : "";
  const name = links.length > 1 ? ` ${link.name}` : "";
  const what = down.length > 1 ? `${down.length} of ${links.length} links down` : `Link${name} down`;
  const waiting = Math.max(...down.map((l) => l.waiting));
  const safe = waiting > 0 ? `${plural(waiting, "reading")} safe on flash` : "nothing is waiting";
  return { mood: "warn", sentence: `${what}${time}: ${safe}`, detail: advice(link.last_error), why: ["links", link.name] };
}

function calm(state) {
  const { buffer, links, problems } = lists(state.status);
  if (state.readings === 0) {
    return { mood: "info", sentence: "Ready for the first reading", detail: "" };
  }
  if (links.length === 0) {
    const detail = `${plural(buffer.waiting, "reading")} kept. No link is configured.`;
    return { mood: "info", sentence: "Storing on flash only", detail };
  }
  const behind = buffer.oldest_unsent ? state.now() - buffer.oldest_unsent : 0;
  if (buffer.waiting > 0 && behind > catchingUp) {
    const detail = `The oldest is ${span(behind)} old. Live readings go first.`;
    return { mood: "info", sentence: `Catching up: ${plural(buffer.waiting, "reading")} to go`, detail };
  }
  if (problems.length > 0) {
    const n = problems.length;
    return { mood: "warn", sentence: "Everything is getting through, but…", detail: `${count(n)} thing${n > 1 ? "s need" : " needs"} attention.` };
  }
  return { mood: "ok", sentence: "Everything is getting through", detail: "" };
}

// lists returns the status with empty lists for missing ones.
export const lists = (status) => ({
  ...status,
  links: status.links ?? [],
  network: status.network ?? [],
  doors: status.doors ?? [],
  problems: status.problems ?? [],
});

const lines = (...parts) => parts.filter(Boolean).join("\n");
