// Changes the configuration of a real gateway. usage: node config.mjs <page> <set-up code> <chromium> [folder for pictures]
//
// In the end, the timeout of the uplink is 3s instead of 1s, and nothing else is new.
import assert from "node:assert/strict";
import { open, phone, picture, run } from "./browser.mjs";

const [page, code, executablePath, pictures] = process.argv.slice(2);
const window = await open(executablePath, page);
const { tab, context } = window;

const sees = (selector, text) => tab.locator(selector, { hasText: text }).first().waitFor();
const press = (name) => tab.getByRole("button", { name, exact: true }).click();
const area = () => tab.getByRole("dialog").getByRole("textbox");
const gone = (selector) => tab.locator(selector).first().waitFor({ state: "hidden" });
// refused takes note of an answer that the browser's console complains about.
const refused = (what) => {
  const at = window.faults.findIndex((fault) => fault.includes(what));
  assert.ok(at >= 0, `nothing was refused with ${what}`);
  window.faults.splice(at, 1);
};
const apply = (body) => tab.evaluate(async (body) => {
  const post = async (path, body) => (await fetch(`/api/v1/config/${path}`, { method: "POST", body: JSON.stringify(body) })).json();
  const now = await (await fetch("/api/v1/config")).json();
  return post("apply", { text: now.text.replace(/timeout = ".*"/, `timeout = "${body.timeout}"`), revision: now.revision, confirm_within: body.within });
}, body);

async function block(name) {
  await tab.evaluate(() => document.getElementById("sheet").close());
  await tab.goto(`${page}/#settings`);
  await tab.locator("button.task", { hasText: "Configuration" }).click();
  await tab.getByRole("dialog").getByRole("button", { name }).first().click();
  await area().waitFor();
}

async function rewrite(from, to) {
  await area().fill((await area().inputValue()).replace(from, to));
}

const steps = {
  async "the operator comes in"() {
    await tab.goto(page);
    const status = await tab.evaluate(async (code) =>
      (await fetch("/api/v1/setup", { method: "POST", body: JSON.stringify({ code, password: "a horse, a battery" }) })).status, code);
    assert.equal(status, 200);
    await tab.reload();
  },
  async "the blocks of the file are a list"() {
    await tab.goto(`${page}/#settings`);
    await tab.locator("button.task", { hasText: "Configuration" }).click();
    await sees("#sheet button", "[gateway]");
    await sees("#sheet button", '[[uplink.http]]"cloud"');
    await sees("#sheet button", "The whole file");
    assert.equal(await tab.locator("#sheet button", { hasText: "[[ingest.mqtt.route]]" }).count(), 2);
    await picture(tab, pictures, "config-blocks");
  },
  async "what is wrong is told at its line"() {
    await block(/uplink\.http/);
    await rewrite(/url = .*/, 'url = "nowhere"');
    await press("Check");
    const problem = tab.locator("#sheet button", { hasText: /^Line \d+: uplink\.http\[0\]\.url/ });
    await problem.waitFor();
    await problem.click();
    assert.equal(await area().evaluate((a) => a.value.slice(a.selectionStart, a.selectionEnd)), 'url = "nowhere"');
    await picture(tab, pictures, "config-problem");
    await press("Try it");
    await sees("#sheet .fault", /uplink\.http\[0\]\.url/);
    refused("409");
  },
  async "a change survives a sheet that is closed by accident"() {
    await tab.keyboard.press("Escape");
    await gone("#sheet[open]");
    await block("Go on with your change");
    assert.match(await area().inputValue(), /url = "nowhere"[^]*/);
    assert.match(await area().inputValue(), /\[gateway\]/);
    await tab.evaluate(() => localStorage.clear());
  },
  async "the difference and what it interrupts are told before"() {
    await block(/uplink\.http/);
    await press("What changes");
    await sees("#sheet .note", "It is what runs.");
    await rewrite('timeout = "1s"', 'timeout = "2s"');
    await press("Check");
    await sees("#sheet .note", /uplink cloud/);
    await press("What changes");
    await sees("#sheet del", '-timeout = "1s"');
    await sees("#sheet ins", '+timeout = "2s"');
    await sees("#sheet .note", "the uplink cloud begins anew");
    assert.equal(await tab.locator("#sheet .note", { hasText: "the door" }).count(), 0);
    await picture(tab, pictures, "config-diff");
  },
  async "what takes a restart is refused"() {
    await block(/gateway/);
    await rewrite('id = "north-7"', 'id = "south-1"');
    await press("Try it");
    await sees("#sheet .fault", "gateway.id cannot change while the gateway runs");
    refused("409");
    await tab.evaluate(() => localStorage.clear());
  },
  async "a trial is undone by itself"() {
    await tab.goto(page);
    await apply({ timeout: "2s", within: "20s" });
    await sees("#trial", "A configuration is on trial");
    await tab.locator("#trial-left", { hasText: /^0:[0-2]\d$/ }).waitFor();
    await picture(tab, pictures, "config-trial");
    await sees("#trial", "The change was undone");
    assert.equal(await tab.locator("#confirm").isVisible(), false);
  },
  async "what was tried can be taken up again"() {
    await block("Tried last, and not kept");
    assert.match(await area().inputValue(), /timeout = "2s"/);
    await tab.evaluate(() => localStorage.clear());
  },
  async "a trial shows on every phone, and through a reload of the page"() {
    await block(/uplink\.http/);
    await rewrite('timeout = "1s"', 'timeout = "3s"');
    await tab.getByRole("combobox").selectOption("5m");
    await press("Try it");
    await gone("#sheet[open]");
    await tab.locator("#trial-left", { hasText: /^[34]:\d\d$/ }).waitFor();
    await tab.reload();
    await tab.locator("#trial-left", { hasText: /^[34]:\d\d$/ }).waitFor();
    const other = await context.newPage();
    await other.setViewportSize(phone);
    await other.goto(page);
    await other.locator("#trial-left", { hasText: /^[34]:\d\d$/ }).waitFor();
    await press("Undo");
    await sees("#trial", "The change was undone");
    await other.locator("#trial", { hasText: "The change was undone" }).waitFor();
    await other.close();
  },
  async "the countdown goes on without the gateway, which is told when it is back"() {
    await apply({ timeout: "3s", within: "1m" });
    await tab.locator("#trial-left", { hasText: /^0:[1-5]\d$/ }).waitFor();
    await context.setOffline(true);
    const before = await tab.locator("#trial-left").innerText();
    await tab.waitForFunction((before) => document.getElementById("trial-left").textContent !== before, before);
    await press("Keep it");
    await sees("#trial .fault", "The gateway does not answer");
    window.faults.length = 0; // of the network, which was away
    await context.setOffline(false);
    await press("Keep it");
    await sees("#trial", "The configuration is kept.");
    await picture(tab, pictures, "config-kept");
  },
  async "it is kept"() {
    await block(/uplink\.http/);
    assert.match(await area().inputValue(), /timeout = "3s"/);
  },
  async "a block can be added"() {
    await block("A new block");
    await area().fill('[[uplink.http]]\nname = "archive"\nurl = "http://127.0.0.1:1/"\n');
    await press("What changes");
    await sees("#sheet ins", '+name = "archive"');
    await sees("#sheet .note", "the uplink archive is new");
    assert.equal(await tab.locator("#sheet del").count(), 0);
    await picture(tab, pictures, "config-new");
  },
};

await run(steps, window, pictures);
