// Drives the page of a gateway with serial ports that are pseudo terminals.
// usage: node serial.mjs <page> <control> <chromium> [folder for pictures]
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { drive } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);

const task = async (b, name) => {
  await close(b);
  await b.tab.getByRole("link", { name: "Tasks" }).click();
  await b.press(name);
};
const press = ({ tab }, name) => tab.locator("#sheet").getByRole("button", { name }).first().click();
const port = (b, name) => b.tab.locator("#sheet .task", { hasText: name });
const close = async ({ tab }) => {
  if (await tab.locator("#sheet").isVisible()) await tab.locator("#sheet-close").click();
};
const number = async (b, word) => Number((await b.tab.locator(".counts p", { hasText: word }).locator("b").textContent()).replaceAll(",", ""));
const until = async (b, what, condition) => {
  for (let i = 0; i < 1200; i++) {
    if (await condition()) return;
    await b.tab.waitForTimeout(50);
  }
  throw new Error(`never: ${what}`);
};

// passing does what makes something show up, be it for a moment, in which nobody looks.
const passing = async ({ tab }, selector, text, act) => {
  await tab.evaluate(([selector, text]) => {
    globalThis.passed = false;
    const there = () => [...document.querySelectorAll(selector)].some((e) => e.textContent.includes(text));
    const look = new MutationObserver(() => {
      if (!there()) return;
      globalThis.passed = true;
      look.disconnect();
    });
    look.observe(document.body, { childList: true, subtree: true, characterData: true });
  }, [selector, text]);
  await act();
  await tab.waitForFunction(() => globalThis.passed);
};

// rules are those of axe-core for what is on the screen.
const axe = await readFile(createRequire(import.meta.url).resolve("axe-core"), "utf8");
const rules = async ({ tab }, what) => {
  await tab.evaluate(axe);
  await tab.emulateMedia({ reducedMotion: "reduce" });
  const { violations } = await tab.evaluate(() => globalThis.axe.run("#sheet", { runOnly: { type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] } }));
  assert.deepEqual(violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 160)}`)), [], what);
};

await drive({ page, control, executablePath, pictures }, {
  async "what is plugged in appears, and goes when it is pulled out"(b) {
    await b.tab.goto(page);
    await b.tab.setViewportSize({ width: 390, height: 844 });
    await task(b, /Connect a serial device/);
    await port(b, "configured as modbus:hall").waitFor();
    assert.equal(await port(b, "GPS7").count(), 0);
    await port(b, "HALL").focus();
    await b.scene("plug");
    await port(b, "serial GPS7, free").waitFor();
    assert.ok(await port(b, "HALL").evaluate((e) => e === document.activeElement), "focus stays where it was");
    await b.picture("serial-ports");
    await rules(b, "ports");
    await b.fits("#sheet");
  },
  async "what comes is seen as text and as hex, and is counted"(b) {
    await port(b, "GPS7").click();
    await press(b, "Listen");
    await b.sees(".log p", "$GPGGA,123519");
    await until(b, "frames", async () => (await number(b, "frames")) > 3 && (await number(b, "bytes")) > 200);
    assert.match(await b.tab.locator(".log .in").nth(9).textContent(), /^(\d\d:\d\d:\d\d)? < [$].*↵$/);
    await b.picture("serial-listen");
    await b.tab.getByRole("button", { name: "Hex" }).click();
    await b.sees(".log p", "24 47 50 47 47 41");
    await b.picture("serial-hex");
    await rules(b, "listening");
    await b.fits("#sheet");
    await b.tab.getByRole("button", { name: "Pause" }).click();
    await b.tab.waitForTimeout(300);
    const [rows, bytes] = [await b.tab.locator(".log p").count(), await number(b, "bytes")];
    await until(b, "counts go on", async () => (await number(b, "bytes")) > bytes);
    assert.equal(await b.tab.locator(".log p").count(), rows);
    await press(b, "Stop");
    await until(b, "it has stopped", async () => b.tab.getByRole("button", { name: "Listen" }).isEnabled());
  },
  async "how the device speaks is found out, and what reads it is proposed"(b) {
    await passing(b, "progress", "", () => press(b, "Find out by itself"));
    await b.picture("serial-probing");
    await b.sees("#sheet .block b", /9600 8N1, line.*: \d+ of 100 points/);
    await b.sees("#sheet .block p", "decode as nmea");
    await b.sees("#sheet code", 'decode = "nmea"');
    await b.sees("#sheet code", "/dev/serial/by-id/usb-GPS7");
    await b.picture("serial-found");
    await rules(b, "found");
    await b.fits("#sheet");
    await press(b, "Put it into the configuration");
    const area = b.tab.locator("#sheet textarea");
    assert.match(await area.inputValue(), /^\s*\[\[ingest\.serial\]\]/);
    await task(b, /Connect a serial device/); // not yet
    await port(b, "GPS7").click();
    assert.equal(await b.tab.getByLabel("Speed and format").inputValue(), "9600 8N1");
  },
  async "a report of the port can be kept"(b) {
    const [download] = await Promise.all([b.tab.waitForEvent("download"), b.tab.getByRole("link", { name: "Download the report" }).click()]);
    assert.equal(download.suggestedFilename(), "usb-GPS7.json");
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    const report = JSON.parse(Buffer.concat(chunks));
    assert.equal(report.port.serial, "GPS7");
    assert.equal(report.probed.best.setting, "9600 8N1");
    assert.ok(report.listened.counts.received > 0 && report.probed.best.readings.length > 0 && report.time, "all of it");
  },
  async "pulling the cable ends it, with a sentence"(b) {
    await press(b, "Listen");
    await b.sees(".log p", "$GPGGA");
    await b.scene("unplug");
    await b.sees("#sheet .fault", "the device went away");
    await b.picture("serial-pulled");
  },
  async "what is sent is seen going out, and its answer coming"(b) {
    await b.scene("echo");
    await task(b, /Connect a serial device/);
    await port(b, "SHY").click();
    await press(b, "Listen");
    await b.sees("#sheet .why", "nothing comes");
    await b.tab.locator("#sheet .log").waitFor();
    await b.tab.getByLabel("To send").fill("hex:48 49 0d 0a");
    await b.tab.getByLabel("To send").press("Enter");
    await b.sees(".log .out", "> HI·↵");
    await b.sees(".log .in", "< HI·↵");
  },
  async "what is sent while nobody listens brings its answer"(b) {
    await press(b, "Stop");
    await b.tab.getByLabel("To send").fill("A");
    await press(b, "Send");
    await b.sees("p.log", "< 41");
  },
  async "a line that a door reads is looked at through the door"(b) {
    await task(b, /Connect a serial device/);
    await port(b, "serial:boiler").click();
    await press(b, "Listen");
    await b.sees(".log p", '{"temp":71.5}');
    await b.sees("#sheet p", "serial:boiler 9600 8N1");
    await press(b, "Find out by itself");
    await press(b, "Go on and pause serial:boiler");
    await b.sees("#sheet code", "# instead of the block of serial:boiler");
  },
  async "a flood is shown in part, and nobody has to listen to it"(b) {
    await b.scene("flood");
    await task(b, /Connect a serial device/);
    await port(b, "FLOOD").click();
    await press(b, "Listen");
    await b.sees(".log p", "bytes not shown");
    await until(b, "a lot", async () => (await number(b, "bytes")) > 100_000);
    assert.ok((await b.tab.locator(".log p").count()) <= 201);
    assert.equal(await b.tab.locator(".log").getAttribute("aria-live"), "off");
    const longest = await b.tab.evaluate(() => new Promise((done) => {
      let longest = 0;
      let last = performance.now();
      const until = last + 1500;
      requestAnimationFrame(function frame(now) {
        longest = Math.max(longest, now - last);
        last = now;
        if (now < until) requestAnimationFrame(frame);
        else done(longest);
      });
    }));
    console.log(`longest frame in a flood of 92 kB/s: ${Math.round(longest)} ms`);
    await b.picture("serial-flood");
  },
  async "what was found is put into the configuration, on trial, and read"(b) {
    await b.scene("replug");
    await task(b, /Connect a serial device/);
    await port(b, "GPS9").click();
    await press(b, "Find out by itself");
    await press(b, "Put it into the configuration");
    await press(b, "Check");
    await b.sees("#sheet p", /[✓!]/); // the port may be in use for another moment
    await press(b, "Try it");
    await b.sees("#trial", "on trial");
    await task(b, /Connect a serial device/);
    await port(b, "configured as serial:usb-GPS9").click();
    await press(b, "Listen");
    await b.sees("#sheet p", "serial:usb-GPS9 9600 8N1");
    await b.sees(".log p", "$GPGGA");
    await close(b);
  },
  async "a Modbus line is scanned while its door pauses"(b) {
    await task(b, /Scan a Modbus line/);
    await b.picture("scan-ports");
    await port(b, "HALL").click();
    await b.tab.getByLabel("Speed and format").selectOption("115200 8N1");
    await b.tab.getByLabel("Units").fill("1-9");
    // The slaves are goroutines on a busy machine: they have more time than those of a line.
    await b.tab.route("**/api/v1/modbus/scan", (r) => r.continue({ postData: { ...r.request().postDataJSON(), timeout_ms: 1000 } }));
    await press(b, "Scan");
    await passing(b, "#sheet p", "pauses meanwhile", () => press(b, "Go on and pause modbus:hall"));
    await b.tab.unroute("**/api/v1/modbus/scan");
    await b.picture("scan-running");
    await rules(b, "scanning");
    await b.sees("#sheet .block", /unit 3, \d+ ms, configured as meter-3/);
    await b.sees("#sheet .block", "holding 0 to 11");
    await b.sees("#sheet code", "unit = 7");
    await b.picture("scan-found");
    await b.fits("#sheet");
    await close(b);
  },
  async "a scan ends when its sheet is closed"(b) {
    await task(b, /Scan a Modbus line/);
    await port(b, "SHY").click();
    await press(b, "Scan");
    await b.sees("#sheet p", /unit \d+ of 247/);
    await close(b);
    await task(b, /Scan a Modbus line/);
    await port(b, "serial SHY, free").waitFor();
    await close(b);
  },
});
