// The configuration: the blocks of its file, a change on trial, and who keeps it.
import { ask, tell } from "./api.js";
import { byId, make, say, show } from "./dom.js";
import { fault, pick, sheet } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";

const t = texts.config;

// The draft is the whole text with what nobody has applied yet: a sheet is closed, and
// a phone put away, by accident.
const draft = {
  get: () => JSON.parse(localStorage.getItem("draft")),
  set: (value) => localStorage.setItem("draft", JSON.stringify(value)),
};

task(t.title, t.about, async ({ body }) => {
  const now = await ask("config");
  const kept = draft.get();
  const rows = make("ul", "tasks");
  body.append(make("p", "small", now.path), rows);
  const row = (title, about, from, to, text, open = edit) => {
    const button = make("button", "task", make("b", "", title), make("span", "", about));
    button.onclick = () => open(title, now, from, to, text);
    rows.append(make("li", "", button));
  };
  if (kept) row(t.draft, kept.revision === now.revision ? "" : t.other, 0, now.text.length, kept.text);
  if (now.tried) row(t.tried, t.why, 0, now.text.length, now.tried);
  for (const { from, to, head, name } of blocks(now.text)) row(head, name, from, to);
  row(t.fresh, "", 0, 0, "", () => proposeBlock(""));
  row(t.whole, "", 0, now.text.length);
}, "doors");

// blocks are the tables of a text, each with the comments right above it.
function blocks(text) {
  const heads = [...text.matchAll(/^(?:#.*\n)*(\[.*\]).*$/gm)];
  return heads.map((m, i) => {
    const from = m.index;
    const to = heads[i + 1]?.index ?? text.length;
    return { from, to, head: m[1], name: /^(?:name|id|topic|listen)\s*=\s*(.*)$/m.exec(text.slice(from, to))?.[1] ?? "" };
  });
}

// proposeBlock opens the editor with a table that the file does not have yet.
export async function proposeBlock(toml) {
  const now = await ask("config");
  const text = now.text.replace(/\n*$/, "\n\n");
  edit(t.fresh, { ...now, text }, text.length, text.length, toml);
}

// edit shows what stands in the text between from and to, or text instead of it.
function edit(title, now, from, to, text) {
  const { body, close } = sheet(title);
  const area = Object.assign(make("textarea"), { value: text ?? now.text.slice(from, to), spellcheck: false, autocapitalize: "none" });
  const out = make("div");
  const minutes = pick(t.after, [2, 1, 5, 15, 60].map((n) => [`${n}m`, `${t.after} ${n} min`]));
  area.rows = Math.max(6, Math.min(20, area.value.split("\n").length + 1));
  area.ariaLabel = title;
  out.role = "status";
  const whole = () => now.text.slice(0, from) + area.value + now.text.slice(to);
  area.oninput = () => draft.set({ text: whole(), revision: now.revision });
  if (text) area.oninput();
  const act = (name, run, look) => {
    const button = make("button", look, name);
    button.onclick = async () => {
      button.disabled = true;
      out.replaceChildren();
      await run().catch((error) => fault(out, error));
      button.disabled = false;
    };
    return button;
  };
  body.append(area, make("p", "head",
    act(t.check, async () => {
      const { problems, findings } = await tell("config/check", { text: whole() });
      for (const p of problems) out.append(place(area, p, now.text.slice(0, from).split("\n").length));
      for (const f of findings) out.append(make("p", f.level === "ok" ? "small" : "note", `${t.marks[f.level]} ${f.what}`, make("br"), f.hint ?? ""));
      if (!out.hasChildNodes()) out.append(make("p", "note", t.fine));
    }),
    act(t.diff, async () => {
      const { diff, changes } = await tell("config/diff", { text: whole() });
      const lines = diff.trimEnd().split("\n").map((line) => make({ "+": "ins", "-": "del" }[line[0]] ?? "span", "", line));
      out.append(...(changes.length ? changes : [diff ? t.nothing : t.same]).map((text) => make("p", "note", text)), make("pre", "", ...lines));
    }),
    minutes,
    act(t.apply, async () => {
      await tell("config/apply", { text: whole(), revision: now.revision, confirm_within: minutes.value });
      draft.set(null);
      close();
    }, "go"),
  ), out);
}

// place is a problem that leads to its line of the area, whose first line is first.
function place(area, { line, key, what, hint }, first) {
  const button = make("button", "task", make("b", "", `${t.line} ${line}: ${key && `${key}: `}${what}`), make("span", "", hint));
  const lines = area.value.split("\n");
  const at = line - first;
  button.onclick = () => {
    if (!(at in lines)) return;
    const start = lines.slice(0, at).join("\n").length + (at > 0);
    area.focus();
    area.setSelectionRange(start, start + lines[at].length);
    area.scrollTop = (area.scrollHeight / lines.length) * (at - 2);
  };
  return button;
}

// The trial, on every phone that looks.
let trial; // the last one
let until; // performance.now() when it is undone

// tryOut notes what a frame says of it.
export function tryOut(state) {
  const { trial: now, revision } = state.status;
  if (now) until = performance.now() + now.ends - state.now();
  if (now?.revision === trial?.revision) return;
  const box = byId("trial");
  show(box, true);
  box.querySelector(".fault")?.remove();
  for (const button of box.querySelectorAll("button")) show(button, Boolean(now));
  say(byId("trial-text"), now ? t.trial : trial.revision === revision ? t.kept : t.undone);
  if (!now) say(byId("trial-left"), "");
  trial = now;
  if (!now) setTimeout(() => show(box, Boolean(trial)), 15_000);
}

// countDown goes on while the gateway cannot be reached: it does so, too.
export function countDown() {
  const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
  if (trial) say(byId("trial-left"), `${Math.floor(left / 60)}:${`${left % 60}`.padStart(2, "0")}`);
}

for (const what of ["confirm", "revert"]) {
  byId(what).onclick = ({ target }) => {
    target.disabled = true;
    byId("trial").querySelector(".fault")?.remove();
    tell(`config/${what}`, { revision: trial.revision })
      .catch((error) => fault(byId("trial"), error))
      .finally(() => (target.disabled = false));
  };
}
