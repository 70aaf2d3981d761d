// The connection to the gateway: opens itself, watches itself, opens again. Where
// no WebSocket gets through, server-sent events do.

const silence = 5_000; // ms without a frame: the connection is broken
const openWithin = 8_000; // ms for the handshake
const firstWithin = 30_000; // ms from there to the first frame, which is large
const delays = [500, 1000, 2000, 4000, 8000]; // ms

export class Live {
  up = false;
  heard = 0; // performance.now() of the last frame
  next = null; // performance.now() of the next try
  crowded = false;
  out = () => {}; // the session has ended
  #source = null; // a WebSocket or an EventSource
  #plain = false; // it is to be an EventSource
  #opened = 0; // performance.now() of the last step of opening
  #pace = 0; // ms between frames, the longest lately: slow links are slow
  #failures = 0;
  #timer = 0;
  #onFrame;
  #onChange;

  // onFrame(frame) returns false when it cannot use the frame; onChange is
  // called when the connection comes or goes.
  constructor(onFrame, onChange) {
    this.#onFrame = onFrame;
    this.#onChange = onChange;
  }

  start() {
    this.#open();
    setInterval(() => this.#check(), 1000);
    const wake = () => document.visibilityState === "visible" && this.#check(true);
    document.addEventListener("visibilitychange", wake);
    addEventListener("pageshow", wake);
    addEventListener("online", () => this.tryNow());
    addEventListener("pagehide", () => this.#drop());
  }

  tryNow() {
    if (!this.up) this.#open();
  }

  #open() {
    this.#drop();
    this.next = null;
    const source = this.#plain ? new EventSource("/events") : new WebSocket(`ws${location.origin.slice(4)}/live`);
    this.#source = source;
    this.#opened = performance.now();
    source.onopen = () => (this.#opened = performance.now());
    source.onmessage = (event) => this.#receive(JSON.parse(event.data));
    source.onclose = source.onerror = ({ code }) => {
      this.#lost();
      if (code === 4401) this.out();
    };
    this.#onChange();
  }

  #receive(frame) {
    if (!this.#onFrame(frame)) return this.#lost();
    const now = performance.now();
    this.#pace = Math.max(now - (this.up ? this.heard : this.#opened), 0.8 * this.#pace);
    this.heard = now;
    this.#failures = 0;
    this.crowded = false;
    if (this.up) return;
    this.up = true;
    this.#onChange();
  }

  // #check ends a connection that has gone silent: a phone that slept or left
  // the radio's range is told of it by nobody else.
  #check(woken) {
    if (!this.#source) {
      if (woken) this.#open();
    } else if (performance.now() - Math.max(this.heard, this.#opened) > this.#patience()) {
      this.#lost();
    }
  }

  #patience() {
    if (this.up) return Math.max(silence, 3 * this.#pace);
    return this.#source.readyState === 1 /* OPEN, of either */ ? firstWithin : openWithin;
  }

  #drop() {
    clearTimeout(this.#timer);
    const source = this.#source;
    this.#source = null;
    this.up = false;
    if (!source) return;
    source.onopen = source.onmessage = source.onclose = source.onerror = null;
    source.close();
  }

  #lost() {
    this.#drop();
    const delay = delays[Math.min(this.#failures++, delays.length - 1)] * (0.75 + Math.random() / 2);
    this.next = performance.now() + delay;
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#onChange();
    if (this.#failures > 1) this.#askWhy();
  }

  // #askWhy: a browser does not say with which HTTP status a WebSocket was
  // refused, but a plain request to the same place does. If it is answered, and
  // nothing is wrong, it was a WebSocket that was refused.
  async #askWhy() {
    const was = this.#plain;
    const { status } = await fetch("/live", { cache: "no-store" }).catch(() => ({}));
    this.crowded = !this.up && status === 503;
    this.#plain = !was && status > 0 && status !== 503 && status !== 401;
    if (status === 401) this.out();
    this.#onChange();
  }
}
