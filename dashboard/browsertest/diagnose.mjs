// Drives the page of a whole gateway: why does nothing arrive, and what becomes of what
// is sent by hand? usage: node diagnose.mjs <page> <control> <chromium> [folder for pictures]
import assert from "node:assert/strict";
import { drive } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);

const close = async ({ tab }) => {
  await tab.keyboard.press("Escape");
  await tab.locator("#sheet").waitFor({ state: "hidden" });
};
const tasks = ({ tab }) => tab.getByRole("link", { name: "Tasks" }).click();
const step = (b, mood, text) => b.sees(`.steps li[data-mood=${mood}]`, text);
const verdict = (b, mood, text) => b.sees(`.verdict[data-mood=${mood}]`, text);

await drive({ page, control, executablePath, pictures }, {
  async "a link that works is proven by a marked reading"(b) {
    await b.tab.goto(page);
    await b.sees("#links .state", /Idle|Up/);
    await tasks(b);
    await b.press(/Test a link/);
    await b.tab.locator("#sheet").getByRole("button", { name: "cloud" }).click();
    await verdict(b, "ok", /Test reading \d+ went through/);
    await step(b, "ok", "it goes to every uplink");
    await step(b, "ok", "On flash after");
    await b.picture("test-link");
    await b.fits("#sheet");
    assert.equal(await b.tab.locator(".steps li").count(), 3);
    await b.press("Again");
    await verdict(b, "ok", "went through");
    await close(b);
  },
  async "what is wrong is found step by step"(b) {
    await b.scene("down");
    await b.scene("publish");
    await b.tab.getByRole("link", { name: "Live" }).click();
    await b.sentence(/^Link down/);
    await b.press("Find out why");
    await step(b, "ok", "Is the name known?");
    await step(b, "bad", "refuses the connection");
    await step(b, "skipped", "Not tried");
    await verdict(b, "bad", /refuses the connection.*\nHint: check the port/s);
    assert.equal(await b.tab.locator(".steps li").count(), 10);
    await b.picture("diagnose-down");
    await b.fits("#sheet");
    await b.scene("up");
    await b.press("Again");
    await verdict(b, "ok", "Nothing is wrong with cloud");
    await b.picture("diagnose-up");
    await close(b);
    await b.sentence("Everything is getting through");
  },
  async "a door is looked at from its row"(b) {
    await b.tab.locator("#doors button").first().click();
    await b.press("Nothing arrives?");
    await step(b, "running", "Does anything come now?");
    await step(b, "warn", "Only programs on this machine");
    await verdict(b, "warn", /Nothing comes in by mqtt at present: nobody is connected/);
    await b.picture("diagnose-door");
    await close(b);
  },
  async "a message by hand says what became of it"(b) {
    await tasks(b);
    await b.press(/Send a test message/);
    await b.tab.getByLabel("Name", { exact: true }).fill("site/hall/dev/press-1/telemetry");
    await b.tab.getByLabel("Payload", { exact: true }).fill('{"temp": 21.5, "on": true}');
    await b.tab.locator("#sheet form button").click();
    await verdict(b, "ok", "2 readings, on flash after");
    await step(b, "ok", "press-1 temp 21.5");
    await b.picture("send");
    await b.fits("#sheet");
    await b.tab.getByLabel("Payload", { exact: true }).fill('{"temp": ');
    await b.tab.locator("#sheet form button").click();
    await verdict(b, "warn", "not understood");
    await step(b, "warn", "at byte");
    await b.tab.getByLabel("Name", { exact: true }).fill("$SYS/x");
    b.away = true; // a refusal is no fault of the page
    await b.tab.locator("#sheet form button").click();
    await b.sees("#sheet .fault", "broker");
    b.away = false;
    await close(b);
  },
  async "a command by hand is on its way, or refused"(b) {
    await b.press(/Send a command/);
    await b.tab.getByLabel("To", { exact: true }).selectOption("device");
    await b.tab.getByLabel("Name", { exact: true }).fill("pump");
    await b.tab.getByLabel("Payload", { exact: true }).fill("on");
    await b.tab.locator("#sheet form button").click();
    await verdict(b, "warn", "Nobody is subscribed");
    await b.scene("listen");
    await b.tab.locator("#sheet form button").click();
    await verdict(b, "ok", "Delivered to pump");
    await step(b, "ok", "dev/pump/set");
    await b.picture("command");
    await b.tab.getByLabel("To", { exact: true }).selectOption("topic");
    await b.tab.getByLabel("Name", { exact: true }).fill("valve/set");
    await b.tab.locator("#sheet form button").click();
    await verdict(b, "bad", "no rule allows");
    await close(b);
  },
  async "both are found by their names, and by the keyboard"(b) {
    await b.press(/Nothing arrives/);
    for (const name of ["cloud", "mqtt"]) await b.tab.locator("#sheet").getByRole("button", { name, exact: true }).waitFor();
    await b.picture("diagnose-pick");
    await b.tab.locator("#sheet").getByRole("button", { name: "cloud" }).focus();
    await b.tab.keyboard.press("Enter");
    await verdict(b, "ok", "Nothing is wrong");
    assert.ok(await b.tab.locator("#sheet").evaluate((s) => s.contains(document.activeElement)), "focus is in the sheet");
    await close(b);
  },
});
