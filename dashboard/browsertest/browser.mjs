// What every test in a browser begins with.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

export const phone = { width: 390, height: 844 };
export const desktop = { width: 1280, height: 800 };

// A page whose machine takes longer to answer than the page waits tries again, and asks
// why: its browser complains of both, and nothing is wrong.
export const late = /WebSocket is closed before the connection is established|status of 426/;

// open starts a browser with a tab in which nothing may go wrong: faults collects
// what did. A request to anywhere but page is a fault.
export async function open(executablePath, page, options = {}) {
  const browser = await chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
  });
  const context = await browser.newContext({ viewport: phone, ...options });
  const tab = await context.newPage();
  context.setDefaultTimeout(60_000);
  const faults = [];
  const opened = { browser, context, tab, faults, away: false }; // away: what cannot be reached is no fault
  tab.on("console", (m) => ["error", "warning"].includes(m.type()) && !opened.away && !late.test(m.text()) && faults.push(`console: ${m.text()}`));
  tab.on("pageerror", (e) => faults.push(`page: ${e.stack}`));
  tab.on("dialog", (d) => (faults.push(`dialog: ${d.message()}`), d.dismiss()));
  tab.on("request", (r) => r.url().startsWith(page) || faults.push(`request: ${r.url()}`));
  return opened;
}

// picture takes screenshots of the tab: phone and desktop, light and dark.
export async function picture(tab, folder, name) {
  if (!folder) return;
  for (const [size, viewport] of Object.entries({ phone, desktop })) {
    for (const colorScheme of ["light", "dark"]) {
      await tab.setViewportSize(viewport);
      await tab.emulateMedia({ colorScheme });
      await tab.waitForTimeout(700);
      await tab.screenshot({ path: `${folder}/${name}-${size}-${colorScheme}.png` });
    }
  }
  await tab.setViewportSize(phone);
  await tab.emulateMedia({ colorScheme: "light" });
}

// drive opens a browser and runs the steps, which are given what steps want most.
export async function drive({ page, control, executablePath, pictures }, steps) {
  const b = await open(executablePath, page);
  const { tab } = b;
  b.scene = async (name) => assert.ok((await fetch(`${control}/${name}`, { method: "POST" })).ok, name);
  b.sees = (selector, text) => tab.locator(selector, { hasText: text }).first().waitFor();
  b.sentence = (text) => b.sees("#sentence", text);
  // press looks in the sheet that is open first: what is behind it cannot be pressed.
  b.press = async (name) => {
    const sheet = tab.locator("dialog[open]");
    await ((await sheet.count()) ? sheet : tab).getByRole("button", { name }).first().click();
  };
  b.picture = (name) => picture(tab, pictures, name);
  // fits says that nothing is wider than a narrow phone.
  b.fits = async (selector) => {
    await tab.setViewportSize({ width: 360, height: 640 });
    const [content, room] = await tab.locator(selector).evaluate((e) => [e.scrollWidth, e.clientWidth]);
    assert.ok(content <= room, `${selector} is ${content} wide where there is room for ${room}`);
    await tab.setViewportSize(phone);
  };
  await run(steps, b, pictures);
}

// run takes the steps one after the other, and ends the browser.
export async function run(steps, b, folder) {
  const { browser, tab, faults } = b;
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
    if (folder) await tab.screenshot({ path: `${folder}/failure.png`, fullPage: true });
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}
