// What is in the sheet of a series, fetched when the first one is opened: the value
// now, a picture of what it was, the changes of texts. The words, and what asks the
// gateway, come from the page, so that there is one of each.
import { chart } from "./chart.js";
import { Points } from "./history.js";

const hour = 3_600_000; // ms
const ranges = [["hour", hour], ["hours", 6 * hour], ["day", 24 * hour], ["week", 168 * hour], ["all", 0]];
const since = Date.UTC(2000); // a clock that showed an earlier time was not set
const signs = { closer: "+", wider: "−", earlier: "‹", later: "›" };
const mostTexts = 200; // in the list
const enoughTexts = 1000; // to stop asking

// plot fills the sheet and keeps it up to date until that is closed.
export function plot(sheet, series, kit) {
  new Plot(sheet, series, kit).start();
}

class Plot {
  #sheet;
  #series;
  #kit;
  #view; // {from, to, live}: the time that is shown; live goes on with the clock
  #past = []; // the views before
  #moving; // the view before fingers began to move it
  #points = new Points(600);
  #texts = []; // of the gateway, the newest first
  #gaps = [];
  #unsynced = [];
  #kind = "";
  #chart;
  #columns = [[]];
  #asking; // AbortController
  #heard = 0; // performance.now() of the last frame
  #seen; // the metric as it was last
  #fresh = []; // points that came since the gateway was last asked
  #drawn = 0; // performance.now()
  #listed; // the texts that are in the list
  #leftOut; // what the gateway said could not be read
  #at = {}; // elements by name

  constructor(sheet, series, kit) {
    this.#sheet = sheet;
    this.#series = series;
    this.#kit = kit;
  }

  start() {
    this.#build();
    this.#sheet.signal.addEventListener("abort", () => {
      this.#asking?.abort();
      this.#chart?.end();
    });
    this.#range(hour);
    this.#kit.onFrame(() => this.#frame());
    this.#frame();
  }

  #build() {
    const { make, texts } = this.#kit;
    const button = (name, f, parent) => {
      const b = make("button", "", signs[name] ?? texts[name]);
      b.type = "button";
      b.ariaLabel = texts[name];
      b.addEventListener("click", f);
      parent.append(b);
      return b;
    };
    const at = this.#at;
    at.now = make("p", "big", make("span", "", this.#series.device), (at.value = make("b")), (at.unit = make("span")), (at.age = make("span", "small")));
    at.ranges = make("div", "ranges");
    at.ranges.role = "group";
    at.ranges.ariaLabel = texts.ranges;
    for (const [name, span] of ranges) button(name, () => this.#range(span), at.ranges).dataset.span = span;
    at.plot = make("div", "plot");
    at.plot.role = "img";
    at.point = make("p", "small point");
    at.moves = make("div", "moves");
    button("earlier", () => this.#push(-2 / 3), at.moves);
    at.later = button("later", () => this.#push(2 / 3), at.moves);
    button("closer", () => this.#stretch(0.5), at.moves);
    button("wider", () => this.#stretch(2), at.moves);
    at.back = button("back", () => this.#back(), at.moves);
    at.note = make("p", "small");
    at.note.role = "status";
    at.legend = make("p", "small legend");
    at.sum = make("p", "small");
    at.texts = make("ol", "changes");
    at.more = make("p", "small", texts.more);
    at.csv = make("a", "small", texts.csv);
    at.csv.download = "";
    this.#sheet.body.append(at.now, at.ranges, at.plot, at.point, at.moves, at.note, at.legend, at.sum, at.texts, at.more, at.csv);
  }

  // #range shows the last so many milliseconds; 0 is everything.
  #range(span) {
    const to = this.#kit.now();
    this.#past = [];
    this.#go({ from: span ? to - span : since, to, live: true, span });
  }

  #push(share) {
    const { from, to } = this.#view;
    this.#move({ from: from + share * (to - from), to: to + share * (to - from) });
  }

  #stretch(factor) {
    const { from, to, live } = this.#shown();
    const end = live && factor > 1 ? to : (from + to) / 2 + (factor * (to - from)) / 2;
    this.#move({ from: end - factor * (to - from), to: end });
  }

  // #move shows another time, and remembers the one before; passing is on its way.
  #move(view, passing) {
    const now = this.#kit.now();
    const near = (view.to - view.from) / 50;
    if (view.to > now - near) view = { from: view.from - (view.to - now), to: now, live: true };
    if (view.to - view.from < 50) return;
    if (passing) {
      this.#moving ??= this.#view;
      this.#view = view;
      this.#draw();
      return;
    }
    this.#past.push(this.#moving ?? { ...this.#view, ...this.#shown() });
    this.#go(view);
  }
  #back() {
    if (this.#past.length) this.#go(this.#past.pop());
  }

  #go(view) {
    this.#moving = undefined;
    if (view.span) view = { ...view, to: this.#kit.now(), from: this.#kit.now() - view.span };
    this.#view = view;
    for (const b of this.#at.ranges.children) b.ariaPressed = String(view.span === Number(b.dataset.span));
    this.#draw();
    this.#load();
  }

  // #load asks for the view, page after page, until there is no more.
  async #load() {
    const { ask, say, fault, texts } = this.#kit;
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    const view = this.#view;
    const query = new URLSearchParams({ ...this.#series, from: Math.floor(view.from) });
    if (!view.live) query.set("to", Math.ceil(view.to));
    this.#at.csv.href = `/api/v1/history.csv?${query}`;
    const wide = this.#at.plot.clientWidth || 600;
    query.set("points", Math.min(2000, Math.max(200, Math.round(wide))));
    let points;
    this.#fresh = [];
    say(this.#at.note, texts.looking);
    try {
      do {
        const page = await ask(`history?${query}`, { signal: asking.signal });
        if (asking.signal.aborted) return;
        if (!points) {
          points = this.#points = new Points(1.5 * wide);
          [this.#texts, this.#gaps, this.#unsynced] = [[], [], []];
        }
        this.#enter(page);
        const newest = this.#points.list.at(-1)?.end ?? 0;
        this.#points.add(this.#fresh.splice(0).filter(({ t }) => t > newest), 0);
        query.set("after", page.next ?? "");
        say(this.#at.note, page.next ? texts.until + this.#time(page.until) : this.#nothing(page));
        this.#draw();
      } while (query.get("after") && this.#texts.length < enoughTexts);
    } catch (error) {
      if (asking.signal.aborted) return;
      say(this.#at.note, "");
      fault(this.#at.note, error);
    }
  }

  #enter(page) {
    this.#points.every ||= page.every ?? 0;
    this.#points.add(page.points, page.width);
    this.#texts = [...this.#texts, ...page.texts.toReversed()];
    if (page.gaps.length) this.#gaps = page.gaps;
    this.#unsynced.push(...page.unsynced);
    this.#kind = this.#kind || page.kind;
    if (page.left_out && !this.#leftOut) this.#kit.fault(this.#sheet.body, new Error((this.#leftOut = page.left_out)));
  }

  // #nothing says why there is nothing to see, if that is so.
  #nothing(page) {
    const { texts } = this.#kit;
    if (this.#points.list.length || this.#texts.length) return "";
    return page.earliest ? `${texts.none} ${texts.from}${this.#time(page.earliest)}.` : texts.empty;
  }

  // #frame takes what a frame of the gateway brings.
  #frame() {
    const { latest, now, say, words, texts } = this.#kit;
    const device = latest();
    const { metric, unit } = this.#series;
    const seen = device && [...device.metrics.values()].find((m) => m.name === metric && (m.unit ?? "") === unit);
    const away = performance.now() - this.#heard > 4000; // readings have come that nobody here has seen
    const first = this.#heard === 0;
    this.#heard = performance.now();
    if (away && !first) this.#load();
    if (!seen || seen === this.#seen) return this.#tick();
    this.#seen = seen;
    say(this.#at.value, this.#word(seen.value));
    say(this.#at.unit, words.unit(unit));
    say(this.#at.age, seen.quality ? `▲ ${seen.quality}` : "");
    if (this.#view.live && !first) this.#take(seen, now());
    this.#tick();
  }

  #take({ value, quality }, t) {
    const q = ["", "uncertain", "bad"].indexOf(quality ?? "");
    const [last, ...others] = this.#texts;
    if (typeof value !== "string") {
      this.#points.add([{ t, v: Number(value), q }], 0);
      this.#fresh.push({ t, v: Number(value), q });
    } else if (last?.text === value) this.#texts = [{ ...last, end: t, n: last.n + 1 }, ...others];
    else this.#texts = [{ t, n: 1, text: value, q }, ...this.#texts];
    this.#drawn = 0;
  }

  // #tick goes on with the clock, about once a second.
  #tick() {
    if (this.#view.live && !this.#moving && performance.now() - this.#drawn > 1000) this.#draw();
  }
  // #shown is the time from the left to the right edge.
  #shown() {
    let { from, to, live, span } = this.#view;
    if (live && !this.#moving) to = this.#kit.now();
    if (span) from = to - span;
    if (from === since) from = this.#points.list[0]?.t ?? to - hour;
    return { from: Math.round(from), to: Math.round(Math.max(to, from + 50)), live }; // uPlot counts in whole milliseconds
  }

  #draw() {
    this.#drawn = performance.now();
    const { show, say } = this.#kit;
    const { list } = this.#points;
    const at = this.#at;
    const any = list.length > 0;
    for (const e of [at.plot, at.legend, at.sum]) show(e, any);
    show(at.back, this.#past.length > 0);
    at.later.disabled = Boolean(this.#view.live);
    if (any) {
      this.#columns = this.#columnsOf(list);
      this.#chart ??= chart(at.plot, {
        format: (v, step) => this.#axis(v, step), view: () => this.#shown(), marks: () => this.#marks(),
        move: (view, passing) => this.#move(view, passing), back: () => this.#back(), point: (i) => this.#point(i),
      });
      this.#chart.draw(this.#columns);
      this.#drawLegend();
      const sum = this.#sum();
      say(at.sum, sum);
      at.plot.ariaLabel = sum;
    }
    this.#drawTexts();
  }

  // #columnsOf breaks the line where nothing came, and makes steps of truths.
  #columnsOf(list) {
    const columns = [[], [], [], [], []];
    const put = (t, min, max, mean, worse) => [t, min, max, mean, worse].forEach((x, i) => columns[i].push(x));
    const holes = new Set(this.#points.holes().map(([from]) => from));
    let before = null;
    for (const p of list) {
      if (this.#kind === "bool" && before !== null && !this.#points.width) put(p.t, before, before, before, null);
      put((p.t + p.end) / 2, p.min, p.max, p.mean, p.q ? p.mean : null);
      before = p.last;
      if (!holes.has(p.end)) continue;
      put(p.end + 1, null, null, null, null);
      before = null;
    }
    return columns;
  }

  #marks() {
    return [
      { name: "holes", times: this.#points.holes(), color: "--line", hatched: true },
      { name: "gaps", times: this.#gaps.map((g) => [g.from, g.to]), color: "--warn-ink", hatched: true },
      { name: "unsynced", times: this.#unsynced, color: "--warn-pale" },
    ];
  }

  #drawLegend() {
    const { make, texts } = this.#kit;
    const { from, to } = this.#shown();
    const seen = this.#marks().filter(({ times }) => times.some(([a, b]) => b >= from && a <= to)).map(({ name }) => name);
    if (this.#points.width) seen.unshift("band");
    if (this.#points.list.some((p) => p.q)) seen.push("worse");
    if (this.#at.legend.dataset.seen === seen.join()) return;
    this.#at.legend.dataset.seen = seen.join();
    this.#at.legend.replaceChildren(...seen.map((name) => make("span", "", make("i", name), texts[name])));
  }

  // #sum says in words what the picture shows.
  #sum() {
    const { words } = this.#kit;
    const all = this.#points.sum();
    const parts = [words.plural(all.n, "reading")];
    if (this.#kind !== "bool") parts.push(...["min", "mean", "max"].map((name) => `${name} ${this.#word(all[name])}`));
    parts.push(`last ${this.#word(all.last)} ${words.unit(this.#series.unit)}`);
    if (this.#points.every) parts.push(`one every ${words.span(this.#points.every)}`);
    return parts.join(" · ");
  }

  #point(i) {
    const { say, words } = this.#kit;
    const mean = i == null ? null : this.#columns[3][i];
    if (mean == null) return say(this.#at.point, "");
    const [t, min, max] = this.#columns.map((c) => c[i]);
    const band = min < max ? ` (${this.#word(min)} to ${this.#word(max)})` : "";
    say(this.#at.point, `${this.#time(t)}  ${this.#word(mean)} ${words.unit(this.#series.unit)}${band}`);
  }

  #drawTexts() {
    const { make, show, texts } = this.#kit;
    if (this.#listed === this.#texts) return;
    this.#listed = this.#texts;
    show(this.#at.more, this.#texts.length > mostTexts);
    this.#at.texts.replaceChildren(...this.#texts.slice(0, mostTexts).map(({ t, end, n, text, q }) => {
      const until = n > 1 ? ` – ${this.#time(end ?? t)}, ${n} ×` : "";
      return make("li", "", make("b", "", text), make("span", "small", this.#time(t) + until + (q ? ` ▲ ${q > 1 ? texts.bad : texts.uncertain}` : "")));
    }));
  }

  #word(v) {
    const { words, texts } = this.#kit;
    if (typeof v === "boolean" || this.#kind === "bool" && (v === 0 || v === 1)) return v ? texts.yes : texts.no;
    return typeof v === "number" ? words.value(v, words.decimals(v)) : String(v);
  }

  #axis(v, step) {
    const { words, texts } = this.#kit;
    if (this.#kind === "bool") return v === 0 ? texts.no : v === 1 ? texts.yes : "";
    return words.value(v, Math.max(0, Math.ceil(-Math.log10(step) - 1e-9)));
  }

  #time(t) {
    const date = new Date(t);
    const today = date.toDateString() === new Date(this.#kit.now()).toDateString();
    return (today ? "" : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" })} `) + date.toLocaleTimeString("en-GB");
  }
}
