// The views of the page: what is behind the # of its address.
import { byId, show } from "./dom.js";

const views = new Map([["live"], ["tasks"], ["settings"]]);

// view says what to do when the view of that name is shown; what f returns is
// called when it is left.
export const view = (name, f) => views.set(name, f);

let leave;

function turn() {
  const name = views.has(location.hash.slice(1)) ? location.hash.slice(1) : "live";
  leave?.();
  for (const part of document.querySelectorAll("[data-view]")) show(part, part.dataset.view === name);
  for (const link of byId("nav").querySelectorAll("a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  leave = views.get(name)?.();
}

export function startNav() {
  addEventListener("hashchange", turn);
  turn();
}
