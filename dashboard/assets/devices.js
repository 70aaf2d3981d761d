// The device cards. A card is built when it first comes into view and drawn
// only while it is in view, so 500 devices cost what ten cost.
import { byId, make, say, show } from "./dom.js";
import { openSeries } from "./series.js";
import { draw, spark } from "./spark.js";
import { texts } from "./texts.js";
import { age, decimals, quantity, span } from "./words.js";

const words = texts.devices;

const filterFrom = 9; // devices
const shown = 6; // metrics on a card before "Show more"
const byName = new Intl.Collator("en", { numeric: true }).compare;

export class Devices {
  #state;
  #cards = new Map();
  #sorted = [];
  #onlyQuiet = false;
  #list = byId("cards");
  #watcher = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: "200px" });

  constructor(state) {
    this.#state = state;
    byId("filter").addEventListener("input", () => this.#filter());
    byId("only-quiet").addEventListener("click", () => this.#toggleQuiet());
  }

  // update takes the devices that changed; full says that all others are gone. It
  // returns whether there are new ones.
  update(changed, full) {
    if (full) this.#forget();
    const { itself } = this.#state.status;
    let added = false;
    for (const device of changed) {
      const own = itself?.device === device.name && (itself.kept ? words.kept : words.shown);
      let card = this.#cards.get(device.name);
      if (card && card.own !== own) card = this.#drop(card);
      if (!card) {
        card = this.#add(device, own);
        if (!full) card.slideIn();
        added = true;
      }
      card.device = device;
      card.stale = true;
    }
    if (added) this.#filter();
    return added;
  }

  // render draws what is in view and has changed.
  render() {
    for (const card of this.#sorted) if (card.stale && card.visible) card.draw();
  }

  // tick lets ages grow; once a second is enough.
  tick() {
    let quiet = 0;
    for (const card of this.#sorted) {
      if (this.#drawAge(card)) quiet++;
    }
    this.#offerQuiet(quiet);
    if (this.#onlyQuiet) this.#filter();
  }

  // #drawAge says for how long the device has been silent, and returns whether that
  // is too long.
  #drawAge(card) {
    card.quiet = this.#state.quiet(card.device);
    if (card.visible) card.drawAge(this.#state.age(card.device));
    return card.quiet;
  }

  // #add keeps the cards in order, the gateway's own behind all others.
  #add(device, own) {
    const card = new Card(device, own);
    const before = (a, b) => (a.own ? 1 : b.own ? -1 : byName(a.device.name, b.device.name)) < 0;
    let low = 0;
    for (let high = this.#sorted.length; low < high; ) {
      const middle = (low + high) >> 1;
      if (before(this.#sorted[middle], card)) low = middle + 1;
      else high = middle;
    }
    this.#list.insertBefore(card.element, this.#sorted[low]?.element ?? null);
    this.#sorted.splice(low, 0, card);
    this.#cards.set(device.name, card);
    this.#watcher.observe(card.element);
    return card;
  }

  // #forget drops the cards of devices that the gateway no longer knows. The
  // others stay where they are, so nothing jumps on a reconnect.
  #forget() {
    for (const card of [...this.#sorted]) if (!this.#state.devices.has(card.device.name)) this.#drop(card);
    this.#filter();
  }

  #drop(card) {
    this.#sorted.splice(this.#sorted.indexOf(card), 1);
    this.#watcher.unobserve(card.element);
    this.#cards.delete(card.device.name);
    card.element.remove();
  }

  #seen(entries) {
    for (const entry of entries) {
      const card = this.#cards.get(entry.target.dataset.name);
      if (!card) continue;
      card.visible = entry.isIntersecting;
      if (!card.visible) continue;
      if (card.stale) card.draw();
      this.#drawAge(card);
    }
  }

  #toggleQuiet() {
    this.#onlyQuiet = !this.#onlyQuiet;
    byId("only-quiet").ariaPressed = String(this.#onlyQuiet);
    this.#filter();
  }

  #offerQuiet(quiet) {
    const button = byId("only-quiet");
    say(button, this.#onlyQuiet ? words.all : words.quiet(quiet));
    show(button, quiet > 0 || this.#onlyQuiet);
  }

  #filter() {
    const total = this.#sorted.filter((card) => !card.own).length;
    const box = byId("filter");
    show(box, total >= filterFrom || box.value !== "");
    const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let matches = 0;
    for (const card of this.#sorted) {
      const match = (!this.#onlyQuiet || card.quiet) && card.matches(wanted);
      show(card.element, match);
      if (match && !card.own) matches++;
    }
    say(byId("devices-title"), words.title(matches, total));
    show(byId("none"), total > 0 && matches === 0);
  }
}

class Card {
  visible = false;
  stale = true;
  quiet = false;
  #age = make("span", "age");
  #rows = make("div");
  #more = make("button", "more");
  #byKey = new Map();
  #open = false;

  // own says what the readings of the gateway itself are; it is false for others.
  constructor(device, own) {
    this.device = device;
    this.own = own;
    this.element = make("li", "card", make("div", "top", make("h3", "", device.name), this.#age));
    if (own) this.element.append(make("p", "small", own));
    this.element.append(this.#rows, this.#more);
    this.element.dataset.name = device.name;
    this.#more.type = "button";
    this.#more.hidden = true;
    this.#more.addEventListener("click", () => {
      this.#open = !this.#open;
      this.draw();
    });
  }

  slideIn() {
    this.element.classList.add("new");
    this.element.onanimationend = () => this.element.classList.remove("new");
  }

  matches(wanted) {
    if (wanted.length === 0) return true;
    const names = [this.device.name, ...[...this.device.metrics.values()].map((m) => m.name)].join(" ").toLowerCase();
    return wanted.every((word) => names.includes(word));
  }

  draw() {
    this.stale = false;
    const metrics = [...this.device.metrics.values()];
    for (const key of this.#byKey.keys()) if (!this.device.metrics.has(key)) this.#remove(key);
    metrics.forEach((metric, i) => this.#drawMetric(metric, this.#open || i < shown));
    show(this.#more, metrics.length > shown);
    say(this.#more, this.#open ? words.fewer : words.more(metrics.length - shown));
    this.#more.ariaExpanded = String(this.#open);
  }

  drawAge(ms) {
    this.element.classList.toggle("quiet", this.quiet);
    say(this.#age, this.quiet ? words.silent(span(ms)) : age(ms));
  }

  #drawMetric(metric, wanted) {
    let row = this.#byKey.get(metric.key);
    if (!row) {
      if (!wanted) return;
      this.#byKey.set(metric.key, (row = new Row(this.device.name, metric)));
      this.#rows.append(row.element);
    }
    show(row.element, wanted);
    if (wanted) row.draw(metric);
  }

  #remove(key) {
    this.#byKey.get(key).element.remove();
    this.#byKey.delete(key);
  }
}

// Row is a metric, and the button for more of it.
class Row {
  #name = make("span", "name");
  #number = make("b");
  #unit = make("span");
  #spark = spark();
  #places = 0;
  #drawn = {};

  constructor(device, { name, unit = "", points }) {
    this.#name.append(...breakable(name));
    this.element = make("button", "metric", this.#name, this.#spark, " ", make("span", "value", this.#number, " ", this.#unit));
    this.element.type = "button";
    this.element.addEventListener("click", () => openSeries(device, name, unit));
    for (const point of points) this.#widen(point);
  }

  // draw never lets the number of decimals shrink, so digits do not jump.
  draw(metric) {
    if (metric === this.#drawn) return;
    if (typeof metric.value === "number") this.#widen(metric.value);
    const [number, unit] = quantity(metric.value, metric.unit ?? "", Math.min(this.#places, most(metric.value)));
    say(this.#number, number);
    say(this.#unit, unit);
    this.element.classList.toggle("text", typeof metric.value === "string");
    this.#name.dataset.quality = metric.quality ?? "";
    if (metric.begun !== this.#drawn.begun) {
      this.#spark.classList.toggle("none", metric.points.length < 2);
      draw(this.#spark, metric.points);
    }
    this.#drawn = metric;
  }

  #widen(x) {
    this.#places = Math.max(this.#places, decimals(x));
  }
}

// breakable lets a long name wrap after its separators.
const breakable = (name) => name.split(/(?<=[._/-])/).flatMap((part) => [part, make("wbr")]);

// most is how many decimals a number of this size may show.
const most = (x) => (Math.abs(x) >= 1000 ? 1 : 4);
