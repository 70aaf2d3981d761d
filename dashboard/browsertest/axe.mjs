// Looks at every view and every sheet of the page of a whole gateway with the rules of
// axe-core (WCAG 2.2 A and AA, and good practice), on a phone and a desktop, in the
// light and in the dark. usage: node axe.mjs <page> <control> <chromium> [folder for pictures]
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { desktop, drive, phone } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core"), "utf8");
const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
let looks = 0;

// look runs the rules over what is on the screen, in each of the sizes and schemes.
async function look({ tab }, what) {
  for (const viewport of [phone, desktop]) {
    for (const colorScheme of ["light", "dark"]) {
      await tab.setViewportSize(viewport);
      await tab.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      // What is read out while it moves has the colours of neither end.
      await tab.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))));
      const { violations } = await tab.evaluate((values) => globalThis.axe.run(document, { runOnly: { type: "tag", values }, resultTypes: ["violations"] }), tags);
      const said = violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 160)}\n    ${n.failureSummary.split("\n").slice(1).join(" ").slice(0, 300)}`));
      assert.deepEqual(said, [], `${what}, ${viewport.width} px, ${colorScheme}`);
      looks++;
    }
  }
}

// answered waits until everything that the page has asked for begins to come.
let waiting = 0;
const asking = (request) => {
  waiting++;
  request.response().catch(() => {}).finally(() => waiting--);
};
async function answered({ tab }) {
  do await tab.waitForTimeout(400);
  while (waiting > 0);
}

// sheets opens what the buttons open, one after the other.
async function sheets(b, buttons) {
  const names = await b.tab.locator(buttons).evaluateAll((all) => all.filter((e) => e.checkVisibility()).map((e) => e.innerText.split("\n")[0]));
  for (const [i, name] of names.entries()) {
    if (/^Sign out/.test(name)) continue; // and all is over
    await b.tab.locator(buttons).filter({ visible: true }).nth(i).click();
    const dialog = b.tab.locator("dialog[open]");
    await dialog.waitFor();
    await answered(b);
    await look(b, name);
    await b.tab.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    assert.ok(await b.tab.evaluate(() => document.activeElement !== document.body), `focus is lost behind ${name}`);
  }
  console.log(`  ${names.join(", ")}`);
  return names;
}

await drive({ page, control, executablePath, pictures }, {
  async "live"(b) {
    b.tab.on("request", asking);
    await b.tab.goto(page);
    await b.tab.evaluate(axe); // past the policy of the page, which allows no such script
    await b.scene("publish");
    await b.sees(".card", "boiler");
    await look(b, "live");
    await sheets(b, "#doors button, #tank button, #links button, #foot");
    await sheets(b, "#cards li:first-child .metric button, #cards li:first-child button.metric");
  },
  async "tasks"(b) {
    await b.tab.locator('#nav a[href="#tasks"]').click();
    await look(b, "tasks");
    await sheets(b, "#task-list button");
  },
  async "settings"(b) {
    await b.tab.locator('#nav a[href="#settings"]').click();
    await b.sees('[data-view="settings"] button', "Sign out"); // who may, is known
    await look(b, "settings");
    await sheets(b, '[data-view="settings"] button');
  },
  async "the keyboard reaches everything"(b) {
    await b.tab.locator('#nav a[href="#live"]').click();
    const missed = await b.tab.evaluate(() => [...document.querySelectorAll("a[href], button, input, select, textarea, [role=button]")].filter((e) => e.checkVisibility() && e.tabIndex < 0).map((e) => e.outerHTML.slice(0, 120)));
    assert.deepEqual(missed, []);
  },
});
console.log(`${looks} looks`);
