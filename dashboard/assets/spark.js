// A sparkline is one SVG path for the line and one for the water below it.

const width = 120;
const height = 32;
const pad = 3;
const svg = "http://www.w3.org/2000/svg";

export function spark() {
  const picture = document.createElementNS(svg, "svg");
  picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("class", "spark");
  picture.setAttribute("aria-hidden", "true");
  for (const name of ["area", "line"]) {
    const path = document.createElementNS(svg, "path");
    path.setAttribute("class", name);
    picture.append(path);
  }
  return picture;
}

// draw fills the whole width; a series that never changes is a calm line in
// the middle.
export function draw(picture, points) {
  if (points.length < 2) return;
  let [least, most] = [Math.min(...points), Math.max(...points)];
  if (least === most) [least, most] = [least - 1, most + 1];
  const step = width / (points.length - 1);
  const line = points.map((p, i) => {
    const y = height - pad - ((p - least) / (most - least)) * (height - 2 * pad);
    return `${(i * step).toFixed(1)} ${y.toFixed(1)}`;
  }).join("L");
  picture.firstChild.setAttribute("d", `M${line}V${height}H0Z`);
  picture.lastChild.setAttribute("d", `M${line}`);
}
