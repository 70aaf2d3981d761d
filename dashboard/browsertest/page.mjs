// Drives the page in a real browser. usage: node page.mjs <page> <control> <chromium> [folder for pictures]
//
// The Go test that starts this is on the other side of <control>: POST
// /<scene> sets the gateway into a state.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";
import { late } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);
const phone = { width: 390, height: 844 };
const desktop = { width: 1280, height: 800 };

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"],
});
const context = await browser.newContext({ viewport: phone });
const tab = await context.newPage();
context.setDefaultTimeout(60_000);

// While the gateway is away, failing to reach it is no fault of the page.
let away = false;
const faults = [];
tab.on("console", (m) => m.type() === "error" && !away && !late.test(m.text()) && faults.push(`console: ${m.text()}`));
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
  await tab.setViewportSize(phone);
  await tab.emulateMedia({ colorScheme: "light" });
  await tab.waitForTimeout(300);
  await tab.locator("main section:visible").last().evaluate((section) => section.scrollIntoView());
  await tab.waitForTimeout(300);
  await tab.screenshot({ path: `${pictures}/${name}-phone-below.png` });
  await tab.evaluate(() => scrollTo(0, 0));
}

const steps = {
  async "an empty gateway says how to send the first reading"() {
    await tab.goto(page);
    await sentence("Ready for the first reading");
    await sees("#empty-command", /^mosquitto_pub -h 127\.0\.0\.1 -p 1883 /);
    await picture("empty");
  },
  async "the gateway itself is shown, and is no device that has been heard"() {
    await scene("own");
    await sees(".card h3", "gateway");
    await tab.waitForTimeout(1100);
    await card("gateway").scrollIntoViewIfNeeded();
    await scene("own"); // what it is to be called is known now
    await sees(".card .value", "12 GB");
    await sees(".card .value", "3 days");
    await sees(".card .value", "18 kB/s");
    await sees(".card .small", "not sent upstream");
    await sees("#devices-title", "The gateway itself");
    await sees("#empty-command", "mosquitto_pub");
    await sentence("Ready for the first reading");
    await picture("own");
  },
  async "a reading appears and changes without a reload"() {
    await scene("boiler?value=21.5");
    await sees(".card .value", "21.5 °C");
    await sentence("Everything is getting through");
    await scene("boiler?value=23.25");
    await sees(".card .value", "23.25 °C");
    await scene("boiler?value=23");
    await sees(".card .value", "23.00 °C"); // decimals do not jump
    assert.equal(await tab.locator("#empty").isVisible(), false);
    await sees("#devices-title", "1 device");
    assert.deepEqual(await tab.locator(".card h3").allTextContents(), ["boiler-3", "gateway"]);
  },
  async "a value is a button with a name, also for who has only keys"() {
    const nothing = { readings: 0, points: [], texts: [], gaps: [], holes: [], unsynced: [], earliest: 0, width: 0 }; // on flash
    await tab.route("**/api/v1/history?*", (route) => route.fulfill({ json: nothing }));
    await tab.getByRole("button", { name: "temp 23.00 °C", exact: true }).focus();
    await tab.keyboard.press("Enter");
    await tab.getByRole("dialog", { name: "temp" }).waitFor();
    await tab.keyboard.press("Escape");
    assert.match(await tab.evaluate(() => document.activeElement.textContent), /^temp/);
  },
  async "hostile names are shown as text"() {
    await scene("hostile");
    const name = `<img src=x onerror=alert(1)>`;
    await card(name).waitFor();
    assert.equal(await tab.locator("#cards img, #cards script").count(), 0);
    await sees(".card .name", "</dt><script>alert(2)</script>");
  },
  async "numbers and times are words"() {
    const got = await tab.evaluate(async () => {
      const w = await import("/source/words.js");
      return {
        rate: [null, 0, 0.2, 1.25, 42.4, 12_431, 2_500_000].map(w.rate),
        bytes: [0, 999, 1_230_000, 2e9, 364e6].map(w.bytes),
        age: [200, 3_400, 184_000, 7_300_000, 4 * 86_400_000].map(w.age),
        value: [[21.5, 2], [-0.5, 1], [12431, 0], [5e12, 0], [0.00001, 0], [true, 0], ["on", 3]].map((v) => w.value(...v)),
        decimals: [21, 21.5, 21.123456, 1013.25, 123456.789, 0.1 + 0.2, -3.25, NaN].map(w.decimals),
        unit: ["Cel", "bar", "toString", ""].map(w.unit),
      };
    });
    assert.deepEqual(got, {
      rate: ["–", "0/s", "12/min", "1.3/s", "42/s", "12.4 k/s", "2.50 M/s"],
      bytes: ["0 B", "999 B", "1.2 MB", "2 GB", "364 MB"],
      age: ["now", "3 s ago", "3 min ago", "2 h ago", "4 days ago"],
      value: ["21.50", "-0.5", "12,431", "5.000e12", "1.000e-5", "true", "on"],
      decimals: [0, 1, 3, 1, 0, 1, 2, 0],
      unit: ["°C", "bar", "toString", ""],
    });
  },
  async "frames add up, and a gap is noticed"() {
    const got = await tab.evaluate(async () => {
      const { State } = await import("/source/state.js");
      const state = new State();
      const base = { readings: 0, skipped: 0, hidden: 0, devices: [], status: { now: 0, started: 1, buffer: { evicted: 0 } } };
      const send = (frame) => state.apply({ ...base, ...frame });
      const device = (seen, every, value, points) => ({ name: "d", seen, every, metrics: [{ name: "m", value, points }] });
      const quiet = () => state.quiet(state.devices.get("d"));
      const out = {};
      send({ from: 0, seq: 5, up: 60_000, devices: [device(60_000, 2_000, 2, [1, 2])] });
      send({ from: 5, seq: 6, up: 60_250, readings: 1, devices: [device(60_250, 2_000, 3)], status: undefined });
      send({ from: 6, seq: 6, up: 60_300, readings: 1, devices: [device(60_300, 2_000, 4)], status: undefined }); // of the same point
      out.points = [...state.devices.get("d").metrics.values()][0].points;
      out.early = state.rate("in");
      out.fresh = quiet();
      send({ from: 6, seq: 9, up: 76_250, readings: 100 });
      out.late = quiet();
      out.rate = Math.round(state.rate("in"));
      out.gap = send({ from: 10, seq: 11, up: 76_500 });
      send({ from: 0, seq: 2, up: 500, status: { ...base.status, started: 2 } });
      out.after = [state.devices.size, state.rate("in"), state.restarted];
      return out;
    });
    assert.deepEqual(got, { points: [1, 2, 4], early: null, fresh: false, late: true, rate: 6, gap: null, after: [0, null, 2] });
  },
  async "the worst thing is said first"() {
    const moods = await tab.evaluate(async () => {
      const { truth } = await import("/source/truth.js");
      const { State } = await import("/source/state.js");
      const up = { state: "up", name: "cloud", last_error: "", waiting: 0, acked: 0 };
      const down = { ...up, name: "spare", state: "down" };
      const say = (change) => {
        const state = new State();
        const buffer = { state: "ok", evicted: 0, waiting: 0, oldest_unsent: 0, ...change.buffer };
        const status = { now: 1e12, started: 1, links: [up], doors: [], problems: [], ...change, buffer };
        const frame = { from: 0, seq: 1, up: 0, readings: 9, skipped: 0, hidden: 0, devices: [], status };
        state.apply(frame);
        state.apply({ ...frame, from: 1, seq: 2, up: 1000, status: { ...status, buffer: { ...buffer, evicted: change.evicting ?? 0 } } });
        const { mood, sentence } = truth(state, { up: true });
        return `${mood}: ${sentence}`;
      };
      return [
        say({}),
        say({ links: [] }),
        say({ problems: ["p"] }),
        say({ buffer: { waiting: 7, oldest_unsent: 1e12 - 60_000 } }),
        say({ links: [up, down], problems: ["p"] }),
        say({ doors: [{ name: "boiler", state: "went away" }] }),
        say({ links: [down], evicting: 3 }),
        say({ links: [down], evicting: 3, buffer: { state: "broken" } }),
      ];
    });
    assert.deepEqual(moods, [
      "ok: Everything is getting through",
      "info: Storing on flash only",
      "warn: Everything is getting through, but…",
      "info: Catching up: 7 readings to go",
      "warn: Link spare down: nothing is waiting",
      "warn: Nothing comes in through boiler",
      "bad: Flash is full: the oldest readings are being dropped",
      "bad: The gateway cannot store readings",
    ]);
  },
  async "one page too many is told why it sees nothing"() {
    await scene("crowded");
    const late = await context.newPage();
    await late.goto(page);
    await late.locator("#sentence", { hasText: "too many pages" }).waitFor();
    await late.close();
    await scene("dispersed"); // or the page itself could not come back when it was cut off
  },
  async "a fleet is in order and can be filtered"() {
    await scene("fleet");
    await card("pump-10").waitFor();
    await picture("live");
    const names = await tab.locator(".card h3").allTextContents();
    const pumps = names.filter((n) => n.startsWith("pump-"));
    assert.deepEqual(pumps, [...pumps].sort((a, b) => a.slice(5) - b.slice(5)));
    await tab.getByRole("searchbox").fill("pump-1");
    await sees("#devices-title", `2 of ${names.length - 1} devices`);
    assert.deepEqual(await tab.locator(".card:visible h3").allTextContents(), ["pump-1", "pump-10"]);
    await tab.getByRole("searchbox").fill("");
  },
  async "a link that is down is the first thing said"() {
    await scene("linkdown");
    await sentence("Link down for 3 min: 12,431 readings safe on flash");
    await sees("#links .why", "no route to host");
    await sees("#announce", "Link down");
    await sees("#detail", "Hint: check the modem");
    await picture("linkdown");
    await tab.locator(".card").last().scrollIntoViewIfNeeded();
    await sees("#follow", "Link down for 3 min"); // also to whoever has scrolled away from it
    await tab.locator("#follow").click();
    await tab.locator("#follow").waitFor({ state: "hidden" });
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
    await sees(".card .value", /^99\.?0* °C/);
    await sees("#detail", "The gateway restarted at");
    assert.deepEqual(await tab.locator(".card h3").allTextContents(), ["boiler-3"]);
    away = false;
  },
  async "where no WebSocket gets through, events do"() {
    const behind = await context.newPage();
    await behind.routeWebSocket("**/live", (socket) => socket.close());
    const asked = [];
    behind.on("request", (r) => asked.push(new URL(r.url()).pathname));
    await behind.goto(page);
    await behind.locator(".card .value", { hasText: "99" }).waitFor();
    assert.ok(asked.includes("/events"), asked.join());
    await scene("boiler?value=98");
    await behind.locator(".card .value", { hasText: "98" }).waitFor();
    assert.equal(await behind.locator("body.old").count(), 0);
    await behind.close();
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
    const filled = await tab.locator(".card:has(.metric)").count();
    assert.ok(filled < 120, `${filled} cards were drawn for one screen`);
    await tab.locator(".card").last().scrollIntoViewIfNeeded();
    await sees(".card:last-child .value", "°C");
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
