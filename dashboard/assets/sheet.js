// The sheet: a dialog over the page for one thing at a time.
import { byId, make, say } from "./dom.js";

const dialog = byId("sheet");
const body = byId("sheet-body");
let open; // AbortController of what is in it

byId("sheet-close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => {
  open?.abort();
  body.replaceChildren();
});

// sheet opens with a title and returns where to put things, and a signal that
// aborts when it is closed or shows something else.
export function sheet(title) {
  open?.abort();
  open = new AbortController();
  say(byId("sheet-title"), title);
  body.replaceChildren();
  if (!dialog.open) dialog.showModal();
  return { body, signal: open.signal, close: () => dialog.close() };
}

// fault shows an error below what is there.
export function fault(parent, error) {
  if (error.name !== "AbortError") parent.append(make("p", "note fault", error.message.replace(" — hint: ", "\nHint: ")));
}

// press makes a button; what goes wrong when it is pressed is shown below parent.
export function press(text, act, parent) {
  const button = make("button", "", text);
  button.type = "button";
  button.onclick = async () => {
    button.disabled = true;
    await Promise.resolve(act(button)).catch((error) => fault(parent, error));
    button.disabled = false;
    if (document.activeElement === document.body) button.focus();
  };
  return button;
}

// pick makes a list of values to choose from; a pair is a value and its text.
export const pick = (ariaLabel, values, onchange) =>
  Object.assign(make("select", "", ...values.flatMap((v) => new Option([v].flat().at(-1), [v].flat()[0]))), { ariaLabel, onchange });
