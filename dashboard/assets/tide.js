// The tide picture: doors in → flash → links out.
import { byId, make, say, show } from "./dom.js";
import { lists } from "./truth.js";
import { advice, age, bytes, count, plural, rate, span } from "./words.js";

const linkWords = { up: "Up", down: "Down", idle: "Idle", held: "Held back" };

export function renderTide(state) {
  const { buffer, doors, links } = lists(state.status);
  const rateIn = state.rate("in");
  const rateOut = links.reduce((sum, l) => sum + (state.rate(`link ${l.name}`) ?? 0), 0);
  say(byId("rate-in"), rate(rateIn));
  say(byId("rate-out"), links.length === 0 ? "–" : rate(rateOut));
  byId("flow-in").classList.toggle("moving", rateIn > 0);
  byId("flow-out").classList.toggle("moving", rateOut > 0);
  rows(byId("doors"), doors, (row, door) => doorRow(row, door, state));
  rows(byId("links"), links, (row, link) => linkRow(row, link, state));
  renderTank(buffer, state);
}

// rows keeps one list item for each item, in the order given.
function rows(list, items, fill) {
  while (list.children.length > items.length) list.lastChild.remove();
  items.forEach((item, i) => {
    let row = list.children[i];
    if (!row) {
      row = make("li", "", make("i"), make("b"), make("span", "state"), make("span", "rate"), make("p", "why"), make("p", "more"));
      row.firstChild.ariaHidden = "true";
      list.append(row);
    }
    fill(row, item);
  });
}

function fillRow(row, { mood, name, state, flow, why, more }) {
  const [, nameCell, stateCell, flowCell, whyCell, moreCell] = row.children;
  row.dataset.mood = mood;
  say(nameCell, name);
  say(stateCell, state);
  say(flowCell, flow);
  say(whyCell, why);
  say(moreCell, more);
  show(whyCell, why !== "");
  show(moreCell, more !== "");
}

function doorRow(row, door, state) {
  const fine = door.state === "ok";
  const more = [
    door.clients > 0 && plural(door.clients, "client"),
    door.rejected > 0 && `${count(door.rejected)} not understood`,
    door.opaque > 0 && `${count(door.opaque)} kept as they are`,
  ];
  fillRow(row, {
    mood: fine ? "ok" : "bad",
    name: door.name,
    state: !fine ? "Trouble" : door.kind === door.name ? "" : door.kind,
    flow: rate(state.rate(`door ${door.name}`)),
    why: fine ? "" : advice(door.state),
    more: more.filter(Boolean).join(" · "),
  });
}

function linkRow(row, link, state) {
  const down = link.state === "down";
  const more = [
    link.waiting > 0 && `${count(link.waiting)} waiting`,
    link.last_ack > 0 ? `acknowledged ${age(state.now() - link.last_ack)}` : "never acknowledged yet",
    link.sent_bytes > 0 && `${bytes(link.sent_bytes)} sent`,
    ...over(link, state),
  ];
  fillRow(row, {
    mood: down ? "bad" : link.state === "idle" || link.state === "held" ? "idle" : "ok",
    name: link.name,
    state: linkWords[link.state] ?? link.state,
    flow: rate(state.rate(`link ${link.name}`)),
    why: down ? advice(link.last_error) : "",
    more: more.filter(Boolean).join(" · "),
  });
}

// over says which way a link goes, what that has cost, and when all is delivered.
function over(link, state) {
  const way = lists(state.status).network.find((n) => n.name === link.over?.carrier);
  if (!way) return [];
  const cost = [way.month, way.today].find((u) => u.budget > 0);
  const when = cost === way.month ? "this month" : "today";
  const left = link.over.drained - state.now();
  return [
    way.name !== "network" && `over ${way.name}`,
    cost ? `${bytes(cost.used)} of ${bytes(cost.budget)} used ${when}` : `${bytes(way.today.used)} on the wire today`,
    link.waiting > 0 && left > 60_000 && `delivered in ${span(left)}`,
    way.state !== "ok" && way.state,
  ];
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
  const lost = buffer.evicted > 0 ? ` · ${count(buffer.evicted)} lost` : "";
  say(byId("used"), `${percent} % of ${bytes(buffer.bytes_max)} used${lost}`);
  const over = buffer.over_budget ? " · over the wear budget" : "";
  say(byId("wear"), wear(buffer) + over);
}

// wear says what flash had to bear, against what it may where that is limited.
function wear(buffer) {
  if (!buffer.flash_budget) return `${bytes(buffer.flash_written)} written to flash`;
  const medium = buffer.wear ? `; the medium is ${buffer.wear}` : "";
  return `${bytes(buffer.flash_day)} of ${bytes(buffer.flash_budget)} a day written to flash${medium}`;
}
