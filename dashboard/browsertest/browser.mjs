// What the scripts that drive the page have in common.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const phone = { width: 390, height: 844 };
export const desktop = { width: 1280, height: 800 };

// drive opens a browser and runs the steps, by name, one after the other. Whatever
// the page complains about fails the step, unless it is said to be away.
export async function drive({ page, control, executablePath, pictures }, steps) {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
  const context = await browser.newContext({ viewport: phone });
  const tab = await context.newPage();
  tab.setDefaultTimeout(20_000);
  const faults = [];
  const b = { tab, context, away: false };
  tab.on("console", (m) => m.type() === "error" && !b.away && faults.push(`console: ${m.text()}`));
  tab.on("pageerror", (e) => faults.push(`page: ${e.stack}`));
  tab.on("dialog", (d) => (faults.push(`dialog: ${d.message()}`), d.dismiss()));
  tab.on("request", (r) => r.url().startsWith(page) || faults.push(`request: ${r.url()}`));

  b.scene = async (name) => assert.ok((await fetch(`${control}/${name}`, { method: "POST" })).ok, name);
  b.sees = (selector, text) => tab.locator(selector, { hasText: text }).first().waitFor();
  b.sentence = (text) => b.sees("#sentence", text);
  b.press = (name) => tab.getByRole("button", { name }).first().click();
  // picture takes one of each size and colour scheme.
  b.picture = async (name) => {
    if (!pictures) return;
    for (const [size, viewport] of Object.entries({ desktop, phone })) {
      for (const colorScheme of ["dark", "light"]) {
        await tab.setViewportSize(viewport);
        await tab.emulateMedia({ colorScheme });
        await tab.waitForTimeout(500);
        await tab.screenshot({ path: `${pictures}/${name}-${size}-${colorScheme}.png` });
      }
    }
  };
  // fits says that nothing is wider than a narrow phone.
  b.fits = async (selector) => {
    await tab.setViewportSize({ width: 360, height: 640 });
    const [content, room] = await tab.locator(selector).evaluate((e) => [e.scrollWidth, e.clientWidth]);
    assert.ok(content <= room, `${selector} is ${content} wide where there is room for ${room}`);
    await tab.setViewportSize(phone);
  };

  try {
    for (const [name, step] of Object.entries(steps)) {
      await step(b).catch((error) => {
        throw new Error(`${name}: ${error.message}`, { cause: error });
      });
      assert.deepEqual(faults, [], name);
      console.log(`ok: ${name}`);
    }
  } catch (error) {
    console.log(error.stack, "\nfaults:", faults);
    if (pictures) await tab.screenshot({ path: `${pictures}/failure.png`, fullPage: true });
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
