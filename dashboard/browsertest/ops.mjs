// Drives the tasks of whoever looks after gateways.
// usage: node ops.mjs <page> <control> <chromium> [folder for pictures]
import assert from "node:assert/strict";
import { drive } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);

const close = async ({ tab }) => {
  await tab.keyboard.press("Escape");
  await tab.locator("#sheet").waitFor({ state: "hidden" });
};
const choose = ({ tab }, label, value) => tab.getByLabel(label, { exact: true }).selectOption(value);
const newest = ({ tab }) => tab.locator("#sheet .way p").first();
const download = async (b, name) => {
  const [file] = await Promise.all([b.tab.waitForEvent("download"), b.press(name)]);
  return { name: file.suggestedFilename(), path: await file.path() };
};
const judge = async (what, path) => (await fetch(`${control}/${what}?file=${encodeURIComponent(path)}`, { method: "POST" })).json();

await drive({ page, control, executablePath, pictures }, {
  async "the log grows while one looks"(b) {
    await b.tab.goto(`${page}#tasks`);
    await b.sees(".task", "Blink");
    await b.press(/^Log/);
    await b.sees("#sheet .way", "INFO gateway runs gateway=north-7");
    await b.sees("#sheet .way", "WARN link is down; readings wait in the buffer");
    await b.picture("ops-log");
    await b.fits("#sheet");
    const before = await newest(b).textContent();
    await fetch(`${page}/api/v1/identify`, { method: "POST", body: `{"seconds":1}` });
    await b.sees("#sheet .way p", "the gateway has shown itself by=command");
    const lines = await b.tab.locator("#sheet .way p").allTextContents();
    const shown = lines.findIndex((line) => line.includes("the gateway has shown itself by=command"));
    assert.ok(shown < lines.indexOf(before), lines.join("\n")); // above, and others may have come
  },
  async "it waits while it is paused, and only what matters is chosen"(b) {
    await b.press("Pause");
    const before = await newest(b).textContent();
    await fetch(`${page}/api/v1/identify`, { method: "POST", body: `{"seconds":301}` }); // is refused
    await fetch(`${page}/api/v1/identify`, { method: "POST", body: `{"seconds":2}` });
    await b.tab.waitForTimeout(2500);
    assert.equal(await newest(b).textContent(), before);
    const count = await b.tab.locator("#sheet .way p").count();
    await b.press("Pause");
    await b.tab.waitForFunction((n) => document.querySelectorAll("#sheet .way p").length > n, count);
    await choose(b, "Level", "warn");
    await b.tab.waitForFunction(() => !document.querySelector("#sheet .way").textContent.includes("INFO"));
    await b.sees("#sheet .way", "WARN link is down");
    await b.tab.locator("#sheet button[aria-pressed=false]").waitFor();
    await close(b);
  },
  async "a support bundle is downloaded and unpacks"(b) {
    await b.press(/^Support bundle/);
    await b.picture("ops-bundle");
    const file = await download(b, "Download");
    assert.match(file.name, /^north-7-support-\d{8}-\d{6}\.tar\.gz$/);
    const { ok, files } = await judge("bundle", file.path);
    assert.ok(ok);
    for (const name of ["README.txt", "status.json", "log.ndjson", "check.txt"]) assert.ok(files.includes(`tidegate/${name}`), name);
    await close(b);
  },
  async "what waits is taken away, and the cloud can read it"(b) {
    await b.press(/^Export/);
    await b.sees("#sheet", "What waits for");
    await b.picture("ops-export");
    await b.fits("#sheet");
    const file = await download(b, "Download");
    assert.match(file.name, /^north-7-\d{8}-\d{6}\.chunks$/);
    const { readings, waiting } = await judge("chunks", file.path);
    assert.equal(readings, waiting);
    await choose(b, "Format", "csv");
    assert.match((await download(b, "Download")).name, /\.csv$/);
    await close(b);
  },
  async "a stick is filled, and what goes wrong is said"(b) {
    const stick = { mount: "/media/stick", device: "sda1", label: "Kingston DataTraveler", file_system: "vfat", free: 7_900_000_000, size: 8e9, read_only: false };
    await b.tab.route("**/api/v1/sticks", (r) => r.fulfill({ json: [stick] }));
    await b.press(/^Export/);
    b.away = true; // a refusal is no fault of the page
    await b.press(/^To Kingston DataTraveler, 7.9 GB/);
    await b.sees("#sheet .fault", "no stick is mounted at \"/media/stick\"");
    b.away = false;
    await b.tab.route("**/api/v1/export", (r) => r.fulfill({ body: `{"bytes":1000,"readings":50}\n{"bytes":81200,"readings":2345,"file":"/media/stick/north-7.chunks"}\n` }));
    await b.press(/^To Kingston DataTraveler, 7.9 GB/);
    await b.sees("#sheet .way", "2,345 readings, 81 kB /media/stick/north-7.chunks is whole: pull the stick out.");
    await b.picture("ops-stick");
    await b.tab.unroute("**/api/v1/sticks");
    await b.tab.unroute("**/api/v1/export");
    await close(b);
  },
  async "the gateway shows which one it is"(b) {
    await b.press(/^Blink/);
    await b.press("300 s");
    await b.tab.waitForFunction(async () => (await (await fetch("/api/v1/identify")).json()).left > 200);
    await b.picture("ops-blink");
    await b.press("Stop");
    await b.tab.waitForFunction(async () => (await (await fetch("/api/v1/identify")).json()).left === 0);
    await close(b);
  },
});
