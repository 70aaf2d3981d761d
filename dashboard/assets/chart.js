// The picture of a series: uPlot, what is drawn behind it, and the fingers on it.
import uPlot from "./uplot/uplot.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const font = "13px system-ui, sans-serif";

// chart puts a picture into holder. view is the time that it shows, marks what lies
// behind the line; it calls move(view) when somebody has chosen another time, back()
// on a double tap, and point(index) when the cursor is on a point. What it draws are
// columns: times, the least, the most, the mean, and the mean where it is doubtful.
export function chart(holder, { format, view, marks, move, back, point }) {
  const axis = { stroke: () => css("--soft"), font, grid: { stroke: () => css("--line"), width: 1 } };
  const line = { stroke: () => css("--tide"), width: 2, points: { size: 6, fill: () => css("--tide") } };
  const edge = { stroke: () => `${css("--tide")}80`, width: 1, points: { show: false } };
  const worse = { paths: () => null, points: { show: true, size: 9, width: 2, stroke: () => css("--warn-ink"), fill: () => css("--card") } };
  const u = new uPlot({
    width: holder.clientWidth, height: holder.clientHeight, padding: [10, 24, 0, 0],
    scales: { x: { range: () => [view().from, view().to] } },
    axes: [
      { ...axis, values: (_, times, __, ___, step) => times.map(clock(step)), space: 78, size: 44 },
      { ...axis, values: (_, values, __, ___, step) => values.map((v) => format(v, step)), size: wide },
    ],
    series: [{}, edge, edge, line, worse],
    bands: [{ series: [2, 1], fill: () => css("--tide-pale") }],
    cursor: { points: { size: 9 }, drag: { dist: 8 }, bind: { dblclick: () => back } },
    hooks: {
      drawClear: [(u) => drawMarks(u, marks())],
      setCursor: [(u) => point(u.cursor.idx)],
      setSelect: [(u) => {
        const { left, width } = u.select;
        u.setSelect({ width: 0 }, false);
        if (width > 8) move({ from: u.posToVal(left, "x"), to: u.posToVal(left + width, "x") });
      }],
    },
  }, [[], [], [], [], []], holder);
  gestures(u, view, move);
  const sizes = new ResizeObserver(() => u.setSize({ width: holder.clientWidth, height: holder.clientHeight }));
  sizes.observe(holder);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const again = () => u.redraw();
  dark.addEventListener("change", again);
  return {
    draw: (columns) => u.setData(columns),
    end() {
      sizes.disconnect();
      dark.removeEventListener("change", again);
      u.destroy();
    },
  };
}

// wide is the room for the longest of the words, some pixels a character.
const wide = (_, words) => 18 + 8 * Math.max(2, ...(words ?? []).map((w) => w.length));

// clock words times that are a step apart; the day stands below where it is another.
function clock(step) {
  let day = "";
  return (time) => {
    const date = new Date(time);
    const today = date.toLocaleDateString("en-GB", step < 250 * 864e5 ? { day: "numeric", month: "short" } : { month: "short", year: "numeric" });
    const of = today === day ? "" : today;
    day = today;
    if (step >= 864e5) return of;
    const text = date.toLocaleTimeString("en-GB", step < 6e4 ? {} : { hour: "2-digit", minute: "2-digit" });
    return `${text}\n${of}`;
  };
}

// drawMarks fills the times [from, to] of each kind from the top to the bottom.
function drawMarks(u, marks) {
  const { ctx, bbox: { left, top, width, height } } = u;
  const x = (t) => Math.min(Math.max(u.valToPos(t, "x", true), left), left + width);
  for (const { times, color, hatched } of marks) {
    ctx.fillStyle = hatched ? hatch(ctx, css(color)) : css(color);
    for (const [from, to] of times) {
      const [a, b] = [x(from), x(to)];
      if (b > left && a < left + width) ctx.fillRect(a, top, Math.max(b - a, 2), height);
    }
  }
}

function hatch(ctx, color) {
  const size = 8 * devicePixelRatio;
  const tile = document.createElement("canvas");
  tile.width = tile.height = size;
  const c = tile.getContext("2d");
  c.strokeStyle = color;
  c.lineWidth = devicePixelRatio;
  for (const shift of [-size, 0, size]) {
    c.moveTo(shift, size);
    c.lineTo(shift + size, 0);
  }
  c.stroke();
  return ctx.createPattern(tile, "repeat");
}

// gestures lets one finger push the picture, and two stretch it.
function gestures(u, view, move) {
  const fingers = new Map(); // pointer → pixels from the left
  let begun; // what was shown, and where the fingers were, when one was put down or lifted
  const begin = () => (begun = { ...view(), at: [...fingers.values()], moved: begun?.moved });
  const onFinger = (name, f) => u.over.addEventListener(name, (e) => e.pointerType !== "mouse" && f(e));
  const place = (e) => fingers.set(e.pointerId, e.clientX - u.over.getBoundingClientRect().left);
  onFinger("pointerdown", (e) => {
    if (!fingers.size) begun = undefined;
    u.over.setPointerCapture(e.pointerId);
    place(e);
    begin();
  });
  onFinger("pointermove", (e) => {
    if (!fingers.has(e.pointerId)) return;
    place(e);
    const [a, b] = fingers.values();
    const [a0, b0] = begun.at;
    const spread = b === undefined ? 1 : Math.abs(b0 - a0) / Math.max(Math.abs(b - a), 10);
    if (!begun.moved && spread === 1 && Math.abs(a - a0) < 8) return;
    begun.moved = true;
    const perPixel = (begun.to - begun.from) / u.over.clientWidth;
    const from = begun.from + (a0 - a * spread) * perPixel;
    move({ from, to: from + (begun.to - begun.from) * spread }, true);
  });
  const lift = (e) => {
    if (!fingers.delete(e.pointerId)) return;
    if (fingers.size) begin();
    else if (begun.moved) move(view());
  };
  onFinger("pointerup", lift);
  onFinger("pointercancel", lift);
}
