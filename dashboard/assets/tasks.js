// What a person on site may want to do, each in a sheet of its own.
import { byId, make } from "./dom.js";
import { sheet, fault } from "./sheet.js";

// task adds one to a list, and returns its item. run gets the open sheet.
export function task(title, text, run, list = "task") {
  const button = make("button", "task", make("b", "", title), make("span", "", text));
  button.type = "button";
  button.addEventListener("click", async () => {
    const s = sheet(title);
    try {
      await run(s);
    } catch (error) {
      fault(s.body, error);
    }
  });
  const item = make("li", "", button);
  byId(`${list}-list`).append(item);
  return item;
}
