// Drives the sheet of a series. usage: node series.mjs <page> <control> <chromium> [folder for pictures]
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { Points } from "../assets/history.js";
import { open, picture, run } from "./browser.mjs";

const [page, control, executablePath, pictures] = process.argv.slice(2);
const b = await open(executablePath, page, { hasTouch: true });
const { tab } = b;
const scene = async (name) => assert.ok((await fetch(`${control}/${name}`, { method: "POST" })).ok, name);
const sees = (selector, text) => tab.locator(selector, { hasText: text }).first().waitFor();
const press = (name) => tab.getByRole("button", { name, exact: true }).click();
const sum = () => tab.locator(".plot").getAttribute("aria-label");
const settled = async () => {
  await tab.waitForFunction(() => document.querySelector("#sheet [role=status]")?.textContent === "");
};
// color counts the pixels of the picture that have a colour of the style sheet.
const color = (name) => tab.evaluate((name) => {
  const plot = document.querySelector(".plot canvas");
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [plot.width, plot.height];
  const c = copy.getContext("2d", { willReadFrequently: true });
  c.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(name);
  c.fillRect(0, 0, 1, 1);
  const [r, g, b] = c.getImageData(0, 0, 1, 1).data;
  c.clearRect(0, 0, 1, 1);
  c.drawImage(plot, 0, 0);
  const { data } = c.getImageData(0, 0, copy.width, copy.height);
  let n = 0;
  for (let i = 0; i < data.length; i += 4) n += data[i + 3] > 0 && Math.abs(data[i] - r) + Math.abs(data[i + 1] - g) + Math.abs(data[i + 2] - b) < 12;
  return n;
}, name);
// old is how many readings of the last hour are of the hour before by now.
const began = Date.now();
const old = () => Math.ceil((Date.now() - began) / 10_000);
const readings = async () => Number(/^([\d,]+) reading/.exec(await sum())[1].replaceAll(",", ""));

const steps = {
  async "points of several answers add up, and no more are kept than fit"() {
    const points = new Points(100);
    const all = [];
    for (let i = 0; i < 5000; i++) all.push({ t: 1e12 + 1000 * i + (i > 3000 ? 600_000 : 0), v: Math.round(100 * Math.sin(i / 50)) + (i === 4321 ? 900 : 0), q: i === 77 ? 2 : 0 });
    points.every = 1000;
    for (let end = all.length; end > 0; end -= 700) points.add(all.slice(Math.max(0, end - 700), end), 0);
    const sum = points.sum();
    assert.ok(points.list.length <= 100 && points.list.length > 40, `${points.list.length} points`);
    assert.deepEqual([sum.n, sum.min, sum.max, sum.q, sum.last], [5000, -100, Math.max(...all.map((p) => p.v)), 2, all.at(-1).v]);
    assert.ok(Math.abs(sum.mean - all.reduce((a, p) => a + p.v, 0) / 5000) < 1e-9);
    assert.deepEqual(points.holes(), [[1e12 + 3_000_000, 1e12 + 3_601_000]]);
    points.add([{ t: all.at(-1).t + 1000, v: 5 }], 0);
    assert.equal(points.sum().n, 5001);
  },
  async "a tap on a value opens its picture, with what was before the page was"() {
    await tab.goto(page);
    await scene("boiler?value=71.5");
    await tab.locator(".metric", { hasText: "temp" }).click();
    await sees("#sheet .big b", "71.5");
    await tab.locator(".plot canvas").waitFor();
    await settled();
    const n = await readings();
    assert.ok(n >= 340 - old() && n <= 365, `${n} readings in an hour`);
    assert.ok((await color("--tide")) > 300, "no line");
    assert.ok((await color("--warn-ink")) > 20, "bad readings are not marked");
    await sees(".legend", "not of good quality");
    await picture(tab, pictures, "series-hour");
  },
  async "readings that come are added"() {
    const before = await readings();
    await scene("boiler?value=72.25");
    await sees("#sheet .big b", "72.25");
    await tab.waitForFunction((n) => document.querySelector(".plot").ariaLabel.includes("72.25") && n, before);
    assert.ok((await readings()) > before);
  },
  async "a day has its hole, the unset clock, and its spike"() {
    await press("24 h");
    await settled();
    const n = await readings();
    assert.ok(n > 8200 - old() && n < 8300, `${n} readings in a day without an hour`);
    assert.match(await sum(), /max 95\.25/);
    for (const words of ["between least and most", "nothing came", "clock was not set"]) await sees(".legend", words);
    assert.ok((await color("--line")) > 500, "no hole");
    await picture(tab, pictures, "series-day");
  },
  async "declared losses are shown where they were"() {
    await press("All");
    await settled();
    await sees(".legend", "lost, and reported");
    assert.ok((await readings()) > 16_800);
    await picture(tab, pictures, "series-all");
  },
  async "dragging zooms in, finer than before, and back leads out"() {
    await press("24 h");
    await settled();
    const wide = await readings();
    const box = await tab.locator(".u-over").boundingBox();
    await tab.mouse.move(box.x + box.width * 0.85, box.y + 80);
    await tab.mouse.down();
    await tab.mouse.move(box.x + box.width * 0.95, box.y + 90, { steps: 5 });
    await tab.mouse.up();
    await settled();
    const near = await readings();
    assert.ok(near > 700 && near < 1000, `${near} readings in a tenth of a day`);
    await press("Back");
    await settled();
    assert.ok(Math.abs((await readings()) - wide) < 5 + old());
    await press("Zoom in");
    await settled();
    assert.ok((await readings()) < wide * 0.6);
    await tab.locator(".u-over").dblclick();
    await settled();
    assert.ok(Math.abs((await readings()) - wide) < 5 + old());
  },
  async "earlier and later turn the pages"() {
    await press("1 h");
    await settled();
    await press("Earlier");
    await settled();
    const n = await readings();
    assert.ok(n >= 355 && n <= 362, `${n} readings in an hour`);
    await press("Later");
    await settled();
    assert.ok(await tab.getByRole("button", { name: "Later" }).isDisabled());
  },
  async "two fingers stretch the picture"() {
    await press("24 h");
    await settled();
    const wide = await readings();
    const { x, y, width } = await tab.locator(".u-over").boundingBox();
    const touch = await b.context.newCDPSession(tab);
    const fingers = (type, ...at) => touch.send("Input.dispatchTouchEvent", { type, touchPoints: at.map((share, id) => ({ x: x + share * width, y: y + 90, id })) });
    await fingers("touchStart", 0.4, 0.6);
    for (const d of [0.05, 0.1, 0.2, 0.3]) await fingers("touchMove", 0.4 - d, 0.6 + d);
    await fingers("touchEnd");
    await settled();
    const near = await readings();
    assert.ok(near > 0.15 * wide && near < 0.35 * wide, `${near} of ${wide} readings`);
    await press("Back");
    await settled();
    await fingers("touchStart", 0.2);
    for (const at of [0.3, 0.5, 0.7]) await fingers("touchMove", at);
    await fingers("touchEnd");
    await settled();
    assert.ok(!(await tab.getByRole("button", { name: "Later" }).isDisabled()), "one finger does not push it");
  },
  async "the cursor says what is under it"() {
    await press("1 h");
    await settled();
    const box = await tab.locator(".u-over").boundingBox();
    await tab.mouse.move(box.x + box.width / 2, box.y + 60);
    await sees(".point", /\d\d:\d\d:\d\d\s+[67]\d\.\d+ °C/);
  },
  async "the copy comes with the gateway's name and reads back"() {
    const download = tab.waitForEvent("download");
    await tab.getByRole("link", { name: "Download as CSV" }).click();
    const file = await download;
    assert.equal(file.suggestedFilename(), "plant-7_boiler_temp.csv");
    const rows = (await readFile(await file.path(), "utf8")).trimEnd().split("\r\n").map((row) => row.split(","));
    assert.deepEqual(rows[0].slice(0, 6), ["time", "device", "metric", "unit", "value", "kind"]);
    assert.ok(rows.length > 340 - old() && rows.length < 370, `${rows.length} rows`);
    assert.match(rows[1][0], /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.ok(rows.slice(1).every((row) => row.length === 11 && row[1] === "boiler" && row[4] > 60 && row[4] < 80));
  },
  async "texts are a list of changes, truths are steps"() {
    await press("Close");
    await tab.locator(".metric", { hasText: "state" }).click();
    await sees(".changes li:first-child b", "<b>heating</b>");
    await sees(".changes", "cooling down");
    assert.equal(await tab.locator(".plot").isVisible(), false);
    await picture(tab, pictures, "series-texts");
    await press("Close");
    await tab.locator(".metric", { hasText: "pump" }).click();
    await settled();
    await tab.locator(".plot canvas").waitFor();
    await picture(tab, pictures, "series-truth");
  },
  async "a series with a star in its name is that one, and one reading is a picture"() {
    await press("Close");
    await scene("fresh");
    await tab.locator(".metric", { hasText: "a*" }).click();
    await settled();
    await tab.waitForFunction(() => document.querySelector(".plot").ariaLabel?.startsWith("1 reading "));
    await press("Earlier");
    await sees("#sheet [role=status]", "Nothing of this series is on flash in this time. The oldest reading on flash is of");
    await picture(tab, pictures, "series-nothing");
    await press("Close");
    await tab.locator(".uplot").waitFor({ state: "detached" });
  },
};

await run(steps, b, pictures);
