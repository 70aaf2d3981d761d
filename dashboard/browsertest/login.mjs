// Sets a gateway up from a phone, and signs in and out. usage: node login.mjs <page> <loopback page> <set-up code> <fingerprint> <chromium> [folder for pictures]
//
// The gateway is new, speaks TLS with a certificate of its own, and its page is at
// a private address that is not loopback.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const [page, local, code, fingerprint, executablePath, pictures] = process.argv.slice(2);
const port = new URL(page).port;
const phone = { width: 390, height: 844 };
const desktop = { width: 1280, height: 800 };
const first = "correct horse battery";
const second = "another horse battery";

const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
    `--host-resolver-rules=MAP evil.example ${new URL(page).hostname}`],
});
const faults = [];

// visit is one more phone.
async function visit() {
  const context = await browser.newContext({ viewport: phone, ignoreHTTPSErrors: true });
  const tab = await context.newPage();
  tab.setDefaultTimeout(60_000);
  // A refusal is part of what is tried here; anything else is a fault.
  tab.on("console", (m) => m.type() === "error" && !/status of 4\d\d|'wss:/.test(m.text()) && faults.push(`console: ${m.text()}`));
  tab.on("pageerror", (e) => faults.push(`page: ${e.stack}`));
  return {
    context, tab,
    door: tab.locator("#door"),
    sees: (selector, text) => tab.locator(selector, { hasText: text }).first().waitFor(),
    press: (name) => tab.getByRole("button", { name, exact: true }).click(),
    fill: (label, value) => tab.getByLabel(label, { exact: true }).fill(value),
    inside: () => tab.locator("#tide").waitFor(),
    locked: async () => {
      await tab.locator("#door").waitFor();
      for (const hidden of ["#truth", "#nav", "main", "footer"]) assert.equal(await tab.locator(hidden).isVisible(), false, hidden);
    },
  };
}

async function picture(tab, name) {
  if (!pictures) return;
  for (const [size, viewport] of Object.entries({ desktop, phone })) {
    for (const colorScheme of ["dark", "light"]) {
      await tab.setViewportSize(viewport);
      await tab.emulateMedia({ colorScheme });
      await tab.waitForTimeout(400);
      await tab.screenshot({ path: `${pictures}/login-${name}-${size}-${colorScheme}.png` });
    }
  }
}

const mine = await visit();
const other = await visit();
let token;

const steps = {
  async "a stranger sees the way in, and nothing else"() {
    const asked = [];
    mine.tab.on("request", (r) => asked.push(new URL(r.url()).pathname));
    await mine.tab.goto(page);
    await mine.locked();
    await mine.sees("#door-title", "Set up this gateway");
    await mine.sees("#door-text", fingerprint.replaceAll(":", " "));
    await mine.tab.keyboard.press("Escape");
    await mine.tab.keyboard.press("Escape");
    await mine.locked();
    assert.deepEqual(asked.filter((path) => !path.startsWith("/assets/") && path !== "/" && path !== "/api/v1/session"), []);
    await picture(mine.tab, "setup");
  },
  async "a wrong code and a bad password are refused in words"() {
    await mine.fill("Set-up code", "ABCDE-ABCDE-ABCDE-ABCDE-ABCDEF");
    await mine.fill("Password", first);
    await mine.press("Set up this gateway");
    await mine.sees("#door-fault", "this is not the set-up code\nHint: ");
    await mine.fill("Set-up code", code.toLowerCase().replaceAll("-", " "));
    await mine.fill("Password", "12345");
    await mine.press("Set up this gateway");
    await mine.sees("#door-fault", "the password is too short");
    await picture(mine.tab, "refused");
  },
  async "the code makes an operator"() {
    await mine.fill("Password", first);
    await mine.tab.keyboard.press("Enter");
    await mine.inside();
    const [cookie, ...more] = await mine.context.cookies();
    assert.deepEqual(more, []);
    assert.deepEqual([cookie.name, cookie.httpOnly, cookie.secure, cookie.sameSite, cookie.path], ["__Host-tidegate-north-7", true, true, "Strict", "/"]);
    await mine.tab.reload();
    await mine.inside();
    assert.equal(await mine.tab.evaluate(() => document.cookie), "");
  },
  async "an address with the code fills it in"() {
    await other.tab.goto(`${page}#code=ABCDE`);
    await other.sees("#door-title", "Sign in"); // it is too late for it
    assert.equal(await other.tab.getByLabel("Set-up code").isVisible(), false);
    await picture(other.tab, "signin");
  },
  async "a password manager finds its fields"() {
    const fields = await other.tab.locator("#door input").evaluateAll((all) => all.map((i) => `${i.autocomplete} ${i.type}`));
    assert.deepEqual(fields, ["username text", "off text", "current-password password", "current-password password"]);
  },
  async "wrong passwords take longer, and the page counts it down"() {
    // On a slow machine the first waits are over before they can be seen.
    for (let i = 0; i < 9 && !/^Seconds to wait: \d/.test(await other.tab.locator("#door-go").textContent()); i++) {
      await other.fill("Password", `wrong ${i}`);
      await other.tab.locator("#door-go:enabled").click();
      await other.sees("#door-fault", "this is not the password");
      await other.tab.waitForFunction(() => document.activeElement.name === "password"); // the focus is not lost
    }
    await other.sees("#door-go:disabled", /^Seconds to wait: /);
    await picture(other.tab, "wait");
    await other.tab.locator("#door-go:enabled").waitFor({ timeout: 60_000 });
    await other.fill("Password", first);
    await other.press("Sign in");
    await other.inside();
  },
  async "a token is made, shown once, good, and revoked"() {
    await mine.tab.goto(`${page}#settings`);
    await picture(mine.tab, "settings");
    await mine.tab.getByRole("button", { name: "Tokens" }).click();
    await mine.fill("New token", "two words");
    await mine.press("May look");
    await mine.sees("#sheet .fault", "is no name for a token");
    await mine.fill("New token", "grafana");
    await mine.press("May look");
    await mine.sees("#sheet li", "grafana");
    token = await mine.tab.locator("#sheet code", { hasText: "tg_" }).textContent();
    await picture(mine.tab, "tokens");
    const stranger = await browser.newContext({ ignoreHTTPSErrors: true, extraHTTPHeaders: { Authorization: `Bearer ${token}` } });
    const ask = async (path) => (await stranger.request.get(page + path)).status();
    assert.deepEqual([await ask("api/v1/status"), await ask("api/v1/tokens")], [200, 403]);
    await mine.press("Revoke");
    await mine.tab.locator("#sheet li", { hasText: "grafana" }).waitFor({ state: "detached" });
    assert.equal(await ask("api/v1/status"), 401);
    await mine.press("Close");
  },
  async "another password puts everybody else out"() {
    await mine.tab.getByRole("button", { name: "Change the password" }).click();
    await mine.fill("Old password", "not that one");
    await mine.fill("Password", second);
    await mine.press("Change the password");
    await mine.sees("#door-fault", "this is not the password");
    await mine.fill("Old password", first);
    await picture(mine.tab, "password");
    await mine.press("Change the password");
    await mine.door.waitFor({ state: "hidden" });
    await other.locked(); // without a reload
    await other.sees("#door-title", "Sign in");
    await other.fill("Password", second);
    await other.press("Sign in");
    await other.inside();
    await mine.tab.reload();
    await mine.tab.locator("#settings").waitFor();
  },
  async "signed out is out"() {
    await mine.tab.getByRole("button", { name: "Sign out" }).click();
    await mine.locked();
    assert.deepEqual(await mine.context.cookies(), []);
    assert.equal(await mine.tab.evaluate(() => fetch("/api/v1/status").then((a) => a.status)), 401);
  },
  async "a name that was made to point here opens nothing"() {
    const answer = await other.tab.goto(`https://evil.example:${port}/`);
    assert.equal(answer.status(), 403);
    await other.sees("body", "does not answer to this name");
  },
  async "on the gateway itself one may look, and signs in to touch"() {
    const here = await visit();
    await here.tab.goto(local);
    await here.inside();
    await here.tab.goto(`${local}#settings`);
    await here.tab.getByRole("button", { name: "Tokens" }).click();
    await here.sees("#door-title", "Sign in");
    await here.press("Not now");
    await here.sees("#sheet .fault", "who are you?");
    await here.press("Close");
    await here.tab.getByRole("button", { name: "Tokens" }).click();
    await here.fill("Password", second);
    await here.press("Sign in");
    await here.tab.getByLabel("New token").waitFor(); // what was asked for goes on
  },
  async "a narrow phone has room for all of it"() {
    await mine.tab.setViewportSize({ width: 360, height: 640 });
    const [content, room] = await mine.door.evaluate((e) => [e.scrollWidth, e.clientWidth]);
    assert.ok(content <= room, `${content} wide where there is room for ${room}`);
    for (const box of await mine.tab.locator("#door :is(button, input):visible").all()) assert.ok((await box.boundingBox()).height >= 44);
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
  if (pictures) for (const v of [mine, other]) await v.tab.screenshot({ path: `${pictures}/login-failure-${v === mine ? "mine" : "other"}.png` });
  process.exitCode = 1;
} finally {
  await browser.close();
}
