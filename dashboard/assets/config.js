// The configuration: the blocks of its file, a change on trial, and who keeps it.
import { ask, tell } from "./api.js";
import { byId, make, say, show } from "./dom.js";
import { fault, pick, sheet } from "./sheet.js";
import { task } from "./tasks.js";
import { texts } from "./texts.js";

const t = texts.config;

task(t.title, t.about, async ({ body }) => {
  const now = await ask("config");
  const rows = make("ul", "tasks");
  body.append(make("p", "small", now.path), rows);
  const row = (title, about, from, to, text) => {
    const button = make("button", "task", make("b", "", title), make("span", "", about));
    button.onclick = () => edit(title, now, from, to, text);
    rows.append(make("li", "", button));
  };
  const draft = JSON.parse(localStorage.draft ?? null);
  const end = now.text.length;
  if (draft) row(t.draft, draft.revision === now.revision ? "" : t.other, 0, end, draft.text);
  if (now.tried) row(t.tried, "", 0, end, now.tried);
  // A table begins with the comments right above it.
  const heads = [...now.text.matchAll(/^(?:#.*\n)*(\[.*\]).*$/gm)];
  heads.forEach(({ index, 1: head }, i) => {
    const to = heads[i + 1]?.index ?? end;
    row(head, /^(?:name|id|topic|listen)\s*=\s*(.*)$/m.exec(now.text.slice(index, to))?.[1] ?? "", index, to);
  });
  row(t.fresh, "", end, end, "\n");
  row(t.whole, "", 0, end);
}, "doors");

// proposeBlock opens the editor with a table that the file does not have yet.
export async function proposeBlock(toml) {
  const now = await ask("config");
  edit(t.fresh, now, now.text.length, now.text.length, `\n${toml}`);
}

// edit shows what stands in the text between from and to, or text instead of it. What
// nobody has applied is kept as a draft of the whole: a sheet is closed, and a phone put
// away, by accident.
function edit(title, now, from, to, text) {
  const { body, close } = sheet(title);
  const area = Object.assign(make("textarea"), { ariaLabel: title, value: text ?? now.text.slice(from, to), spellcheck: false, autocapitalize: "none" });
  const out = Object.assign(make("div"), { role: "status" });
  const minutes = pick(t.after, [2, 1, 5, 15, 60].map((n) => [`${n}m`, `${t.after} ${n} min`]));
  area.rows = Math.max(6, Math.min(20, area.value.split("\n").length + 1));
  const whole = () => ({ text: now.text.slice(0, from) + area.value + now.text.slice(to) });
  area.oninput = () => (localStorage.draft = JSON.stringify({ ...whole(), revision: now.revision }));
  if (text?.trim()) area.oninput();
  const note = (text, look = "note") => make("p", look, text);
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
      const { problems, findings } = await tell("config/check", whole());
      out.append(
        ...problems.map((p) => place(area, p, now.text.slice(0, from).split("\n").length)),
        ...findings.map((f) => note(`${t.marks[f.level]} ${f.what}${f.hint ? `\nHint: ${f.hint}` : ""}`, { ok: "small", warn: "note", fail: "note fault" }[f.level])),
      );
      if (!out.firstChild) out.append(note(t.fine));
    }),
    act(t.diff, async () => {
      const { diff, changes } = await tell("config/diff", whole());
      const lines = diff.trimEnd().split("\n").map((line) => make({ "+": "ins", "-": "del" }[line[0]] ?? "span", "", line));
      out.append(...(changes.length ? changes : [diff ? t.nothing : t.same]).map((text) => note(text)), make("pre", "", ...lines));
    }),
    minutes,
    act(t.apply, async () => {
      await tell("config/apply", { ...whole(), revision: now.revision, confirm_within: minutes.value });
      delete localStorage.draft;
      close();
    }, "go"),
  ), out);
}

// place is a problem that leads to its line of the area, whose first line is first.
function place(area, { line, key, what, hint }, first) {
  const button = make("button", "task", make("b", "", `${t.line} ${line}: ${key} ${what}`), make("span", "", hint));
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
const box = byId("trial");
let trial; // the last one
let until; // performance.now() when it is undone

// tryOut notes what the gateway says of it.
export function tryOut(state) {
  const { trial: now, revision } = state.status;
  if (now) until = performance.now() + now.ends - state.now();
  if (now?.revision === trial?.revision) return;
  forget();
  show(box, true);
  for (const part of box.querySelectorAll("button, b")) show(part, Boolean(now));
  say(byId("trial-text"), now ? t.trial : trial.revision === revision ? t.kept : t.undone);
  trial = now;
  if (!now) setTimeout(() => show(box, Boolean(trial)), 15_000);
}

const forget = () => box.querySelector(".fault")?.remove();

// countDown goes on while the gateway cannot be reached: it does so, too.
export function countDown() {
  const left = Math.max(0, Math.ceil((until - performance.now()) / 1000));
  if (trial) say(byId("trial-left"), `${Math.floor(left / 60)}:${`${left % 60}`.padStart(2, 0)}`);
}

for (const what of ["confirm", "revert"]) {
  const button = byId(what);
  button.onclick = async () => {
    button.disabled = true;
    forget();
    await tell(`config/${what}`, { revision: trial.revision }).catch((error) => fault(box, error));
    button.disabled = false;
  };
}
