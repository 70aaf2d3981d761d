// The page: frames come in through Live, are added up in State, and are drawn
// at most once a display frame: devices whenever they change, everything else with
// the gateway's state, and once a second, as ages do.
import { diagnose, diagnoseTasks, offerCommand } from "./diagnose.js";
import { countDown, tryOut } from "./config.js";
import { Devices } from "./devices.js";
import { byId, make, say, show } from "./dom.js";
import { Live } from "./live.js";
import { admitted } from "./login.js";
import { startNav } from "./nav.js";
import { offer } from "./ops.js";
import "./serial.js";
import { follow } from "./series.js";
import { State } from "./state.js";
import { renderTide } from "./tide.js";
import { traceTask } from "./trace.js";
import { lists, truth } from "./truth.js";
import { advice, clock, count, rate, span } from "./words.js";

const state = new State();
const devices = new Devices(state);
const live = new Live(receive, changeConnection);
let scheduled = false;
let all = false; // is to be drawn

function receive(frame) {
  const changed = state.apply(frame);
  if (!changed) return false;
  const added = devices.update(changed, frame.from === 0);
  follow(state);
  tryOut(state);
  schedule(added || frame.status);
  return true;
}

function changeConnection() {
  if (!live.up) state.freeze();
  schedule(true);
}

function schedule(everything) {
  if (everything) all = true;
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    if (all) renderAll();
    devices.render();
  });
}

function renderAll() {
  all = false;
  renderTruth();
  if (!state.status) return;
  renderTide(state);
  offer(state.status);
  countDown();
  renderProblems();
  renderEmpty();
  offerCommand(state.status);
}

function renderTruth() {
  const { mood, sentence, detail, why } = truth(state, live);
  const header = byId("truth");
  say(byId("sentence"), sentence);
  say(byId("follow"), sentence);
  say(byId("detail"), detail);
  show(byId("why"), !!why);
  byId("why").onclick = () => diagnose(...why);
  show(byId("retry"), mood === "wait" && live.next !== null);
  document.body.classList.toggle("old", !live.up);
  const name = state.status?.gateway || "tidegate";
  document.title = mood === "ok" ? name : `${sentence} · ${name}`;
  // The numbers in the sentence change all the time; a screen reader is told
  // only when its meaning changes.
  const meaning = `${mood} ${sentence.replace(/[\d,]+ \w+/g, "")}`;
  if (header.dataset.meaning === meaning) return;
  header.dataset.meaning = meaning;
  header.dataset.mood = byId("follow").dataset.mood = mood;
  byId("mood-icon").setAttribute("href", `#i-${mood}`);
  say(byId("announce"), sentence);
}

function renderProblems() {
  const { problems, clock: sync } = lists(state.status);
  const lines = problems.map(advice).filter((problem) => problem !== byId("detail").textContent);
  if (sync === "unsynced") lines.push("The gateway's clock is not synchronised: times that it gives may be wrong.");
  const list = byId("problems").querySelector("ul");
  show(byId("problems"), lines.length > 0);
  const text = lines.join("\n");
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...lines.map((problem) => make("li", "", problem)));
}

function renderEmpty() {
  const any = state.devices.size > state.devices.has(state.status.itself?.device);
  show(byId("tide"), true);
  show(byId("devices"), state.devices.size > 0);
  show(byId("empty"), !any);
  if (!any) explainEmpty(lists(state.status).doors);
  const notes = [
    state.sampling > 0 && `Too fast to show everything: ${rate(state.sampling)} are stored, but not shown here.`,
    state.hidden > 0 && `${count(state.hidden)} readings are stored, but beyond what this page shows.`,
  ].filter(Boolean);
  say(byId("sampled"), notes.join(" "));
  show(byId("sampled"), notes.length > 0);
}

function explainEmpty(doors) {
  const mqtt = doors.find((d) => d.kind === "mqtt" && d.address);
  show(byId("empty-command").parentElement, Boolean(mqtt));
  if (!mqtt) {
    say(byId("empty-how"), doors.length > 0
      ? `The gateway listens: ${doors.map((d) => `${d.name} ${d.address}`.trim()).join(", ")}.`
      : "No door is configured: name one in the gateway's configuration.");
    say(byId("empty-where"), "");
    return;
  }
  const colon = mqtt.address.lastIndexOf(":");
  const host = mqtt.address.slice(0, colon).replace(/[[\]]/g, "");
  const local = host === "localhost" || host === "::1" || host.startsWith("127.");
  const anywhere = host === "" || host === "::" || host === "0.0.0.0";
  const name = anywhere ? location.hostname : host;
  say(byId("empty-how"), "Send the first one:");
  say(byId("empty-command"), `mosquitto_pub -h ${name} -p ${mqtt.address.slice(colon + 1)} -q 1 -t boiler-3 -m '{"temp": 21.5}'`);
  say(byId("empty-where"), local ? "On the gateway itself: this door is open to nobody else." : "From any machine on this network.");
}

diagnoseTasks(state);
traceTask(state);
startNav();

// Whoever has scrolled down to the devices keeps the sentence in sight.
new IntersectionObserver(([header]) => show(byId("follow"), !header.isIntersecting)).observe(byId("truth"));
byId("follow").addEventListener("click", () => scrollTo({ top: 0 }));
byId("retry").addEventListener("click", () => live.tryNow());
setInterval(() => {
  devices.tick();
  schedule(true);
}, 1000);
live.out = () => admitted().then(() => live.tryNow());
admitted().then(() => live.start());
