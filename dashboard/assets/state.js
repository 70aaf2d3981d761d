// What the page knows: the frames of the gateway, added up (see LIVE.md).
// Nothing here touches the document.

const maxPoints = 60;
const pointEvery = 250; // ms
const rateWindow = 60_000; // ms
const quickWindow = 5_000; // ms
const ranges = { quietFactor: 3, quietLeast: 15_000, quietUnknown: 300_000 }; // ms

export class State {
  status = null;
  devices = new Map(); // name → {name, seen, every, metrics: Map}
  readings = 0;
  sampling = 0; // readings a second that were only counted
  hidden = 0;
  restarted = null; // Unix ms of a restart that happened while we watched
  #frozen = null; // performance.now() at which the connection was lost
  #seq = 0;
  #base = 0; // performance.now() at the gateway's zero of time
  #clock = 0; // Unix ms of the gateway at performance.now() zero
  #rates = new Map();

  // apply enters a frame and returns the devices that changed, or null when a
  // frame is missing and only a new connection can help.
  apply(frame) {
    const full = frame.from === 0;
    if (!full && frame.from !== this.#seq) return null;
    if (full) this.#startOver(frame);
    this.#frozen = null;
    this.#seq = frame.seq;
    this.#base = performance.now() - frame.up;
    if (frame.status) {
      this.#clock = frame.status.now - performance.now();
      this.status = frame.status;
    }
    this.readings = frame.readings;
    this.hidden = frame.hidden;
    this.#measure(frame);
    return frame.devices.map((d) => this.#enter(d));
  }

  #startOver(frame) {
    if (this.status && frame.status && this.status.started !== frame.status.started) {
      this.restarted = frame.status.started;
      this.#rates.clear();
    }
    this.devices.clear();
  }

  #enter(heard) {
    let device = this.devices.get(heard.name);
    if (!device) this.devices.set(heard.name, (device = { name: heard.name, metrics: new Map() }));
    device.seen = heard.seen;
    device.every = heard.every;
    for (const m of heard.metrics) {
      const key = JSON.stringify([m.name, m.unit]);
      const { points, begun } = device.metrics.get(key) ?? { points: [] };
      const next = { ...m, key, points: m.points ?? points, begun: heard.seen };
      if (!m.points && typeof m.value !== "string") {
        if (heard.seen - begun < pointEvery) {
          points.pop();
          next.begun = begun;
        }
        if (points.push(Number(m.value)) > maxPoints) points.shift();
      }
      device.metrics.set(key, next);
    }
    return device;
  }

  #measure(frame) {
    const { status, up } = frame;
    this.#track("in", up, frame.readings);
    this.#track("skipped", up, frame.skipped);
    this.sampling = this.rate("skipped") ?? 0;
    if (!status) return;
    this.#track("evicted", up, status.buffer.evicted);
    for (const door of status.doors ?? []) this.#track(`door ${door.name}`, up, door.readings);
    for (const link of status.links ?? []) this.#track(`link ${link.name}`, up, link.acked);
  }

  // #track remembers a counter about once a second for a minute.
  #track(name, up, value) {
    let marks = this.#rates.get(name);
    const last = marks?.at(-1);
    if (!last || value < last.value || up < last.up) this.#rates.set(name, (marks = [{ up, value }]));
    if (marks.length > 1 && up - marks.at(-2).up < 900) marks.pop();
    if (marks.at(-1).up !== up) marks.push({ up, value });
    while (up - marks[0].up > rateWindow) marks.shift();
  }

  // rate is a counter's growth a second: over five seconds where that is
  // enough to count, else over the last minute. Null means not known yet.
  rate(name) {
    const marks = this.#rates.get(name) ?? [];
    const last = marks.at(-1);
    if (!last || last.up - marks[0].up < 900) return null;
    const quick = marks.find((m) => last.up - m.up <= quickWindow);
    const from = last.value - quick.value >= 5 && quick !== last ? quick : marks[0];
    return (1000 * (last.value - from.value)) / (last.up - from.up);
  }

  // freeze stops all ages until the next frame: what has happened since then,
  // nobody here knows.
  freeze() {
    this.#frozen ??= performance.now();
  }

  // now is the gateway's clock in Unix ms, whatever the phone's clock says.
  now() {
    return this.#clock + this.#instant();
  }

  // age is how long ago a device was heard, in ms.
  age(device) {
    return this.#instant() - this.#base - device.seen;
  }

  #instant() {
    return this.#frozen ?? performance.now();
  }

  // quiet says that a device missed its own rhythm.
  quiet(device) {
    const limit = device.every ? Math.max(ranges.quietFactor * device.every, ranges.quietLeast) : ranges.quietUnknown;
    return this.age(device) > limit;
  }
}
