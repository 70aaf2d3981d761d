// Drives the page in a real browser. usage: node page.mjs <page> <control> <chromium> [folder for pictures]
//
// The Go test that starts this is on the other side of <control>: POST
// /<scene> sets the gateway into a state.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [page, control, executablePath, pictures] = process.argv.slice(2);
const phone = { width: 390, height: 844 };
const desktop = { width: 1280, height: 800 };

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
const context = await browser.newContext({ viewport: phone });
const tab = await context.newPage();
tab.setDefaultTimeout(15_000);

// While the gateway is away, failing to reach it is no fault of the page.
let away = false;
const faults = [];
tab.on("console", (m) => m.type() === "error" && !away && faults.push(`console: ${m.text()}`));
tab.on("pageerror", (e) => faults.push(`page: ${e.stack}`));
tab.on("dialog", (d) => (faults.push(`dialog: ${d.message()}`), d.dismiss()));
tab.on("request", (r) => r.url().startsWith(page) || faults.push(`request: ${r.url()}`));

const scene = async (name) => assert.ok((await fetch(`${control}/${name}`, { method: "POST" })).ok, name);
const sees = (selector, text) => tab.locator(selector, { hasText: text }).first().waitFor();
const sentence = (text) => sees("#sentence", text);
const card = (name) => tab.locator(".card", { has: tab.getByRole("heading", { name, exact: true }) });

async function picture(name) {
  if (!pictures) return;
  for (const [size, viewport] of Object.entries({ phone, desktop })) {
    for (const colorScheme of ["light", "dark"]) {
      await tab.setViewportSize(viewport);
      await tab.emulateMedia({ colorScheme });
      await tab.waitForTimeout(700);
      await tab.screenshot({ path: `${pictures}/${name}-${size}-${colorScheme}.png` });
    }
  }
  await tab.screenshot({ path: `${pictures}/${name}-desktop-full.png`, fullPage: true });
  await tab.setViewportSize(phone);
  await tab.emulateMedia({ colorScheme: "light" });
  await tab.waitForTimeout(300);
  await tab.screenshot({ path: `${pictures}/${name}-phone-full.png`, fullPage: true });
}

const steps = {
  async "an empty gateway says how to send the first reading"() {
    await tab.goto(page);
    await sentence("Ready for the first reading");
    await sees("#empty-command", /^mosquitto_pub -h 127\.0\.0\.1 -p 1883 /);
    await picture("empty");
  },
  async "a reading appears and changes without a reload"() {
    await scene("boiler?value=21.5");
    await sees(".card dd", "21.5 °C");
    await sentence("Everything is getting through");
    await scene("boiler?value=23.25");
    await sees(".card dd", "23.25 °C");
    await scene("boiler?value=23");
    await sees(".card dd", "23.00 °C"); // decimals do not jump
    assert.equal(await tab.locator("#empty").isVisible(), false);
  },
  async "hostile names are shown as text"() {
    await scene("hostile");
    const name = `<img src=x onerror=alert(1)>`;
    await card(name).waitFor();
    assert.equal(await tab.locator("#cards img, #cards script").count(), 0);
    await sees(".card dt", "</dt><script>alert(2)</script>");
  },
  async "a fleet is in order and can be filtered"() {
    await scene("fleet");
    await card("pump-10").waitFor();
    await picture("live");
    const names = await tab.locator(".card h3").allTextContents();
    const pumps = names.filter((n) => n.startsWith("pump-"));
    assert.deepEqual(pumps, [...pumps].sort((a, b) => a.slice(5) - b.slice(5)));
    await tab.getByRole("searchbox").fill("pump-1");
    await sees("#devices-title", `2 of ${names.length} devices`);
    assert.deepEqual(await tab.locator(".card:visible h3").allTextContents(), ["pump-1", "pump-10"]);
    await tab.getByRole("searchbox").fill("");
  },
  async "a link that is down is the first thing said"() {
    await scene("linkdown");
    await sentence("Link down for 3 min: 12,431 readings safe on flash");
    await sees("#links .why", "no route to host");
    await sees("#announce", "Link down");
    await picture("linkdown");
    await scene("linkup");
    await sentence("Everything is getting through");
  },
  async "a buffer that is full of trouble says so"() {
    await scene("sick");
    await sentence("The gateway cannot store readings");
    await picture("sick");
    await scene("linkup");
    await sentence("Everything is getting through");
  },
  async "the page fits a narrow phone"() {
    await tab.setViewportSize({ width: 360, height: 640 });
    const [content, window] = await tab.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `page is ${content} wide in a window of ${window}`);
    await tab.setViewportSize(phone);
  },
  async "the page comes back by itself after a restart of the gateway"() {
    away = true;
    await scene("stop");
    await sentence("Reconnecting to the gateway…");
    await picture("disconnected");
    await scene("start");
    await scene("boiler?value=99");
    await sees(".card dd", /^99\.?0* °C/);
    await sees("#detail", "The gateway restarted at");
    assert.deepEqual(await tab.locator(".card h3").allTextContents(), ["boiler-3"]);
    away = false;
  },
  async "a tab that went offline recovers"() {
    away = true;
    await context.setOffline(true);
    await scene("stop");
    await sentence("Reconnecting to the gateway…");
    await scene("start");
    await context.setOffline(false);
    await sentence("Ready for the first reading");
    away = false;
  },
  async "five hundred devices stay quick"() {
    await scene("crowd");
    await sees("#devices-title", "500 devices");
    await tab.setViewportSize(desktop);
    const filled = await tab.locator(".card dl:not(:empty)").count();
    assert.ok(filled < 120, `${filled} cards were drawn for one screen`);
    await tab.locator(".card").last().scrollIntoViewIfNeeded();
    await sees(".card:last-child dd", "°C");
    const longest = await tab.evaluate(() => new Promise((done) => {
      let longest = 0;
      let last = performance.now();
      const until = last + 2000;
      requestAnimationFrame(function frame(now) {
        longest = Math.max(longest, now - last);
        last = now;
        if (now < until) requestAnimationFrame(frame);
        else done(longest);
      });
    }));
    console.log(`longest frame with 500 devices: ${Math.round(longest)} ms`);
  },
};

try {
  for (const [name, step] of Object.entries(steps)) {
    await step().catch((error) => {
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
