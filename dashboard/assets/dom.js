// Three small ways to write to the document. Text only, never markup: names
// and values come from devices, and devices are strangers.

export const byId = (id) => document.getElementById(id);

// make returns a new element with a class and, perhaps, children.
export function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// say sets the text of an element if it differs: an equal write would still
// cost a layout and wake the screen reader.
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// show hides an element or lets it be seen.
export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}
