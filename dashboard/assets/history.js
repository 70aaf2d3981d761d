// The points of a series: those that the gateway has reduced, page by page, and those
// that come while one looks. A point is {t, end, n, min, mean, max, last, q}: what the
// n readings from t to end come to, in Unix ms, and the worst quality of them.

const complete = (p) => ({ end: p.t, n: 1, min: p.v, mean: p.v, max: p.v, last: p.v, q: 0, ...p });

export class Points {
  width = 0; // of a bucket, in ms; 0: each point is a reading
  every = 0; // ms: the usual time between two readings
  list = [];
  #most;

  constructor(most) {
    this.#most = most;
  }

  // add takes points whose buckets are so wide.
  add(points, width) {
    this.list = this.list.concat(points.map(complete)).sort((a, b) => a.t - b.t);
    this.width = Math.max(this.width, width);
    this.#merge();
    while (this.list.length > this.#most) {
      this.width = this.width ? 2 * this.width : 1;
      this.#merge();
    }
  }

  #merge() {
    if (!this.width) return;
    const merged = [];
    for (const p of this.list) {
      const into = merged.at(-1);
      if (into && Math.floor(into.t / this.width) === Math.floor(p.t / this.width)) join(into, p);
      else merged.push({ ...p });
    }
    this.list = merged;
  }

  // holes are the times [from, to] without a reading that are much longer than usual.
  holes() {
    const { list, every } = this;
    const found = [];
    for (let i = 1; every && i < list.length; i++) {
      if (list[i].t - list[i - 1].end > Math.max(5 * every, 1000)) found.push([list[i - 1].end, list[i].t]);
    }
    return found;
  }

  // sum is all points as one; undefined when there are none.
  sum() {
    return this.list.slice(1).reduce((all, p) => join(all, p), this.list[0] && { ...this.list[0] });
  }
}

function join(into, p) {
  into.mean += (p.mean - into.mean) * (p.n / (into.n + p.n));
  into.n += p.n;
  into.min = Math.min(into.min, p.min);
  into.max = Math.max(into.max, p.max);
  into.q = Math.max(into.q, p.q);
  into.end = Math.max(into.end, p.end);
  into.last = p.last;
  return into;
}
