// Measures in a real browser, for tidebench: how long a value takes from its publish
// to the screen, and how soon a page shows the first one.
// usage: node pixel.mjs <page> <chromium> <seconds> <navigations> <times slower>
//
// The device a-probe publishes the milliseconds of the day, as this machine counts them.
import { desktop, open } from "./browser.mjs";

const [page, executablePath, seconds, navigations, slower] = process.argv.slice(2);
const { browser, context, tab } = await open(executablePath, page, { viewport: desktop });

// In the page: what is seen when. A value is on the screen at the latest in the
// display frame after the one in which it was drawn.
await context.addInitScript(() => {
  window.seen = { first: 0, shown: [] };
  const drawn = (then) => requestAnimationFrame(then);
  new MutationObserver(() => {
    const value = document.querySelector(".metric .value b");
    if (!value?.textContent) return;
    if (!seen.first) {
      seen.first = -1;
      drawn(() => (seen.first = performance.now()));
    }
    const probe = [...document.querySelectorAll(".card")].find((c) => c.dataset.name === "a-probe")?.querySelector(".value b");
    const sent = Number(probe?.textContent.replaceAll(",", ""));
    if (!sent || sent === seen.last) return;
    seen.last = sent;
    drawn(() => seen.shown.push((Date.now() % 86_400_000) - sent));
  }).observe(document, { subtree: true, childList: true, characterData: true });
});

const cdp = await context.newCDPSession(tab);
await cdp.send("Emulation.setCPUThrottlingRate", { rate: Number(slower) });
const first = [];
for (let i = 0; i <= navigations; i++) {
  await tab.goto("about:blank");
  await tab.goto(page, { waitUntil: "commit" });
  await tab.waitForFunction(() => window.seen?.first > 0);
  first.push(await tab.evaluate(() => seen.first));
}
await tab.locator(".card").first().scrollIntoViewIfNeeded();
await tab.waitForFunction(() => seen.last > 0);
await tab.evaluate(() => (seen.shown = []));
await tab.waitForTimeout(1000 * seconds);
const shown = await tab.evaluate(() => seen.shown);
console.log(JSON.stringify({ shown, first }));
await browser.close();
