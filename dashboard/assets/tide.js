// The tide picture: doors in → flash → links out. A tap tells everything about one.
import { diagnose } from "./diagnose.js";
import { byId, make, say, show } from "./dom.js";
import { quarantine } from "./quarantine.js";
import { press, sheet } from "./sheet.js";
import { texts } from "./texts.js";
import { lists } from "./truth.js";
import { advice, age, bytes, clock, count, plural, rate, span, when } from "./words.js";

const { link: linkWords, names, about } = texts.tide;
const nothing = texts.diagnose.title;
let drawSheet = () => {}; // what is open, anew

export function renderTide(state) {
  const { buffer, doors, links } = lists(state.status);
  const rateIn = state.rate("in");
  const rateOut = links.reduce((sum, l) => sum + (state.rate(`link ${l.name}`) ?? 0), 0);
  say(byId("rate-in"), rate(rateIn));
  say(byId("rate-out"), links.length === 0 ? "–" : rate(rateOut));
  byId("flow-in").classList.toggle("moving", rateIn > 0);
  byId("flow-out").classList.toggle("moving", rateOut > 0);
  rows(byId("doors"), state, "doors", doorRow);
  rows(byId("links"), state, "links", linkRow);
  renderTank(buffer, state);
  byId("flash").onclick = () => {
    const body = open("Flash", state, () => state.status.buffer);
    if (buffer.refused > 0) body.append(press(byId("aside").textContent, quarantine, body));
  };
  byId("aside").onclick = quarantine;
  show(byId("aside"), buffer.refused > 0);
  renderFoot(state);
  drawSheet();
}

// keep makes a list have one element for each item, in the order given.
function keep(list, items, build, fill) {
  while (list.children.length > items.length) list.lastChild.remove();
  items.forEach((item, i) => {
    if (!list.children[i]) list.append(build());
    fill(list.children[i], item);
  });
}

function rows(list, state, kind, draw) {
  const build = () => {
    const dot = make("i");
    dot.ariaHidden = "true";
    const button = make("button", "", dot, make("b"), make("span", "state"), make("span", "rate"), make("span", "why"), make("span", "more"));
    button.type = "button";
    return make("li", "", button);
  };
  keep(list, lists(state.status)[kind], build, ({ firstChild: row }, item) => {
    const { mood, texts } = draw(item, state);
    row.dataset.mood = mood;
    [item.name, ...texts].forEach((text, i) => {
      say(row.children[i + 1], text);
      show(row.children[i + 1], text !== "" || i < 3);
    });
    row.onclick = () => {
      const body = open(item.name, state, () => {
        const now = lists(state.status)[kind].find((one) => one.name === item.name);
        return { ...now, name: "", network: { ...way(now, state), name: "" } };
      });
      body.prepend(press(nothing, () => diagnose(kind, item.name), body));
    };
  });
}

// open shows all that is known of one thing, as long as it is known.
function open(title, state, find) {
  const { body, signal } = sheet(title);
  const list = make("ul", "facts");
  body.append(list);
  drawSheet = () =>
    keep(list, [...facts(find(), state)], () => make("li", "", make("span"), make("b")), ({ children }, pair) => pair.forEach((text, i) => say(children[i], text)));
  signal.addEventListener("abort", () => (drawSheet = () => {}));
  drawSheet();
  return body;
}

// facts yields what an object says, a name and a text each: its fields' names are
// words. brief leaves out how long ago things were.
function* facts(object, state, about = "", brief) {
  for (const [key, value] of Object.entries(object ?? {})) {
    const name = `${about} ${key}`.trim().replaceAll("_", " ");
    const label = names[name] ?? name;
    if (Array.isArray(value)) {
      const each = value.map((one) => (typeof one === "object" ? [...facts(one, state, "", true)].map((pair) => pair.join(" ")).join(" · ") : one));
      if (each.length > 0) yield [label, each.join(typeof value[0] === "object" ? "\n\n" : "\n")];
    } else if (typeof value === "object") yield* facts(value, state, name, brief);
    else if (value) yield [label, typeof value === "number" ? number(name, value, !brief && state.now()) : advice(String(value))];
  }
}

const sizes = /bytes|disk|flash|budget|\bused|needs|network sent|received|network left|of$|speed/;

function number(name, n, now) {
  if (sizes.test(name)) return bytes(n);
  if (n < 1e12) return count(n);
  return when(n) + (now ? ` (${n > now ? `in ${span(n - now)}` : age(now - n)})` : "");
}

const some = (...parts) => parts.filter(Boolean).join(" · ");

function doorRow(door, state) {
  const fine = door.state === "ok";
  const more = some(
    door.clients > 0 && plural(door.clients, "client"),
    door.rejected > 0 && `${count(door.rejected)} not understood`,
    door.opaque > 0 && `${count(door.opaque)} kept as they are`,
  );
  return {
    mood: fine ? "ok" : "bad",
    texts: [!fine ? "Trouble" : door.kind === door.name ? "" : door.kind, rate(state.rate(`door ${door.name}`)), fine ? "" : advice(door.state), more],
  };
}

function linkRow(link, state) {
  const down = link.state === "down";
  const over = way(link, state);
  const more = some(
    link.waiting > 0 && `${count(link.waiting)} waiting`,
    forecast(link, over, state),
    link.last_ack > 0 ? `acknowledged ${age(state.now() - link.last_ack)}` : "never acknowledged yet",
    ...(over ? [over.name !== "network" && `over ${over.name}`, cost(over), over.state !== "ok" && over.state] : []),
  );
  return {
    mood: down ? "bad" : link.state === "idle" || link.state === "held" ? "idle" : "ok",
    texts: [linkWords[link.state] ?? link.state, rate(state.rate(`link ${link.name}`)), down ? advice(link.last_error) : "", more],
  };
}

// way is the way to the network that a link goes, and cost what that has cost.
const way = (link, state) => lists(state.status).network.find((n) => n.name === link?.over?.carrier);

function cost({ today, month }) {
  const plan = [month, today].find((u) => u.budget > 0);
  return plan ? `${bytes(plan.used)} of ${bytes(plan.budget)} used ${plan === month ? "this month" : "today"}` : `${bytes(today.used)} on the wire today`;
}

// forecast says when what waits is delivered, and what that takes of the plan.
function forecast({ waiting, over }, way, state) {
  const left = over.drained - state.now();
  if (!waiting || left < 5_000) return "";
  return `delivered in ${span(left)}${way.of ? `, takes ${bytes(over.needs)} of ${bytes(way.left)} left` : ""}`;
}

function renderTank(buffer, state) {
  const share = buffer.bytes_max > 0 ? Math.min(1, buffer.bytes_used / buffer.bytes_max) : 0;
  const percent = Math.round(100 * share);
  const tank = byId("tank");
  tank.style.setProperty("--level", `${(100 * share).toFixed(1)}%`);
  tank.classList.toggle("waiting", buffer.waiting > 0);
  byId("fill").setAttribute("aria-valuenow", percent);
  say(byId("waiting"), count(buffer.waiting));
  const old = buffer.waiting > 0 && buffer.oldest_unsent > 0;
  say(byId("oldest"), old ? `oldest ${span(state.now() - buffer.oldest_unsent)}` : "nothing held back");
  say(byId("used"), some(`${percent} % of ${bytes(buffer.bytes_max)} used`, buffer.disk_free && `${bytes(buffer.disk_free)} of the disk free`, buffer.evicted && `${count(buffer.evicted)} lost`));
  say(byId("wear"), some(wear(buffer), buffer.over_budget && "over the wear budget"));
}

// wear says what flash had to bear, against what it may where that is limited.
const wear = (buffer) =>
  buffer.flash_budget
    ? some(`${bytes(buffer.flash_day)} of ${bytes(buffer.flash_budget)} a day written`, buffer.life && `lasts ${buffer.life}`)
    : `${bytes(buffer.flash_day)} written in 24 hours`;

function renderFoot(state) {
  const { gateway, version, started } = state.status;
  say(byId("gateway"), gateway);
  say(byId("foot"), some(`Version ${version}`, `running for ${span(state.now() - started)}`, `gateway time ${clock(state.now())}`));
  byId("foot").onclick = () => open(about, state, () => {
    const { gateway, clock, clock_since, clock_set, now, started, version, host } = state.status;
    return { gateway, clock, clock_since, clock_set, now, started, version, ...host };
  });
}
