// Drives the page of a whole gateway: is everything getting through, and where is a
// reading? usage: node tide.mjs <page> <control> <chromium> [folder for pictures]
import assert from "node:assert/strict";
import { drive } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);

const fact = (b, name, text) => b.tab.locator(".facts li").filter({ has: b.tab.locator("span", { hasText: name }) }).filter({ has: b.tab.locator("b", { hasText: text }) }).first().waitFor();
const close = async ({ tab }) => {
  await tab.keyboard.press("Escape");
  await tab.locator("#sheet").waitFor({ state: "hidden" });
};

await drive({ page, control, executablePath, pictures }, {
  async "everything is getting through"(b) {
    await b.tab.goto(page);
    await b.scene("publish?device=pump-&n=12");
    await b.sentence("Everything is getting through");
    await b.sees("#links .state", "Up");
    await b.sees("#links .more", "acknowledged");
    await b.sees("#used", "of the disk free");
    await b.picture("tide-up");
  },
  async "a tap on a link, a door and the flash tells everything about it"(b) {
    const row = b.tab.locator("#links button");
    await row.click();
    await fact(b, "target", "/v1/ingest");
    await fact(b, "messages", /^\d/);
    await fact(b, "network today used", "B");
    await b.picture("tide-link");
    await b.fits("#sheet");
    await close(b);
    assert.ok(await row.evaluate((e) => e === document.activeElement), "focus is back where it was");
    await b.tab.locator("#doors button").click();
    await fact(b, "address", "127.0.0.1:");
    await fact(b, "readings", /^\d/);
    await close(b);
    await b.press("Flash");
    await fact(b, "disk free", "B");
    await fact(b, "written since the start", "B");
    await close(b);
    await b.tab.locator("#foot").click();
    await fact(b, "go", "go1.");
    await fact(b, "kernel", "Linux");
    await fact(b, "gateway", "north-7");
    await b.picture("tide-about");
    await close(b);
  },
  async "a link that is down says so, and why"(b) {
    await b.scene("cut");
    await b.scene("publish?device=pump-&n=30");
    await b.sentence(/^Link down.* readings safe on flash/);
    await b.sees("#links .why", "Hint:");
    await b.sees("#links .more", "waiting");
    await b.picture("tide-down");
    await b.tab.locator("#links button").click();
    await fact(b, "state", "down");
    await fact(b, "last error", "Hint:");
    await fact(b, "waiting", /^\d/);
    await fact(b, "retries", /^\d/);
    await close(b);
  },
  async "a reading waits for the link, and is followed until the other side has it"(b) {
    await b.tab.getByRole("link", { name: "Tasks" }).click();
    await b.press(/Where is my reading/);
    await b.tab.getByLabel("Device", { exact: true }).selectOption("pump-0000");
    await b.sees(".way li", "by the device's clock");
    await b.sees(".way li", "by mqtt");
    await b.sees(".way li", /within [\d.]+ ms/);
    await b.sees(".way li[data-mood=idle]", "the link is down");
    await b.sees(".way li[data-mood=idle]", /behind \d+ older ones/);
    await b.picture("trace-waiting");
    await b.fits("#sheet");
    await b.scene("restore");
    await b.sees(".way li[data-mood=ok]", /sent .* bytes with .*; acknowledged/);
    assert.equal(await b.tab.locator(".way li[data-mood=idle]").count(), 0);
    await b.picture("trace-acknowledged");
    await b.press("Follow the newest");
    await b.sees(".way li[data-mood=ok]", "acknowledged");
    await close(b);
    await b.tab.getByRole("link", { name: "Live" }).click();
    await b.sentence("Everything is getting through");
    await b.sees("#oldest", "nothing held back");
  },
  async "the sheet of a series says it, too"(b) {
    await b.tab.locator(".card .metric").first().click();
    await b.press(/Where is my reading/);
    await b.sees(".way li[data-mood=ok]", "acknowledged");
    await close(b);
  },
  async "what the other side refuses is looked at, sent again, and forgotten"(b) {
    await b.scene("refuse");
    await b.scene("publish?device=poison-&n=2");
    await b.sees("#problems", /2 blocks of readings .* set aside/); // each was published when the one before was on flash
    await b.sentence("Everything is getting through, but…"); // nothing was dropped
    await b.press("What was refused");
    await b.sees(".block", "field type conflict");
    assert.equal(await b.tab.locator(".block").count(), 2);
    const first = b.tab.locator(".block").first();
    await first.getByRole("button", { name: "Look" }).click();
    await b.sees(".block li", /poison-000\d .* = /);
    await b.picture("quarantine");
    await b.fits("#sheet");
    await b.scene("mend");
    await first.getByRole("button", { name: "Send again" }).click();
    await b.tab.locator(".block").nth(1).waitFor({ state: "detached" });
    await b.press("Forget…");
    const sure = b.tab.getByRole("button", { name: /^Forget for good: \d+ readings?$/ });
    await sure.waitFor();
    assert.equal(await b.tab.locator(".block").count(), 1);
    await sure.click();
    await b.sees("#sheet", "Nothing is set aside.");
    await close(b);
    await b.tab.locator("#aside").waitFor({ state: "hidden" });
    await b.press("Flash");
    await fact(b, "lost, and reported upstream", "reason quarantined");
    await b.picture("tide-flash");
    await close(b);
  },
});
