// Who is at the page: set-up, signing in and out, the password, tokens.
import { ask, onLocked, tell } from "./api.js";
import { byId, make, say, show } from "./dom.js";
import { press } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";
import { advice } from "./words.js";

const t = texts.login;
const door = byId("door");
const form = byId("door-form");
const go = byId("door-go");
const session = () => ask("session");
let inside; // promise of whether somebody comes in, while the door is open

// admitted resolves when this browser may look. Until then there is nothing to see.
export async function admitted() {
  // While the password changes, who asks is somebody else from one moment to the next.
  for (let s; (await inside, s = await session().catch(() => ({}))).access === "none"; ) {
    document.body.className = "locked";
    await enter(s);
  }
  document.body.classList.remove("locked"); // also when the gateway does not answer: the page says that
}

onLocked(async () => !inside && enter(await session()));

function enter(s, path = s.setup === "done" ? "login" : "setup") {
  return (inside ??= new Promise((done) => {
    let came = false;
    say(byId("door-title"), t[path]);
    say(byId("door-text"), [t.why[path], s.fingerprint && t.compare + s.fingerprint.replaceAll(":", " ")].filter(Boolean).join("\n"));
    show(form.code.parentElement, path === "setup");
    show(form.old.parentElement, path === "password");
    show(byId("door-close"), s.access !== "none");
    form.password.autocomplete = path === "login" ? "current-password" : "new-password";
    form.code.value = location.hash.replace(/^#code=|^#.*/, "");
    complain(s.why);
    wait(s.wait);
    door.oncancel = (event) => {
      if (s.access === "none") event.preventDefault();
    };
    door.onclose = () => {
      inside = null;
      form.reset();
      done(came);
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      go.disabled = true;
      try {
        await tell(path, Object.fromEntries(new FormData(form)));
        came = true;
        door.close();
      } catch (error) {
        complain(error.message);
        wait((await session()).wait);
        form.password.select();
      }
    };
    door.showModal();
  }));
}

function complain(text = "") {
  show(byId("door-fault"), text !== "");
  say(byId("door-fault"), advice(text));
}

// wait keeps the button from what the gateway would refuse.
function wait(seconds) {
  go.disabled = seconds > 0;
  say(go, seconds > 0 ? t.wait + seconds : byId("door-title").textContent);
  if (seconds > 0 && inside) setTimeout(wait, 1000, seconds - 1);
}

byId("door-close").onclick = () => door.close();

task(t.password, t.why.password, (s) => s.close() ?? enter({}, "password"), "doors");
task(t.tokens, t.why.tokens, tokens, "doors");
task(t.logout, "", () => tell("logout").then(() => location.reload()), "doors");

async function tokens({ body }) {
  const rows = make("ul");
  const made = make("code");
  const name = make("input");
  const fill = async () => rows.replaceChildren(...(await ask("tokens")).map(({ name, access, used }) => make("li", "head",
    make("b", "", name), make("span", "small", access + (used ? t.used + used.slice(0, 10) : "")),
    press(t.revoke, () => ask(`tokens/${name}`, { method: "DELETE" }).then(fill), body))));
  const add = (access) => press(t[access], async () => {
    body.querySelector(".fault")?.remove();
    say(made, (await tell("tokens", { name: name.value, access })).token);
    name.value = "";
    await fill();
  }, body);
  await fill();
  body.append(rows, make("div", "head", make("label", "", t.name, name), add("look"), add("operate")), make("p", "", t.once, made));
}
