// Plots as SVG elements; colours come from the style sheet.

const SVG = "http://www.w3.org/2000/svg";

function element(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function brief(value) {
  const short = Math.abs(value) >= 1e4 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(3)));
  return short.replace("-", "−");
}

const HEIGHT = 150, FLOOR = 112, TOP = 24;
const WIDTH = matchMedia("(max-width: 34rem)").matches ? 340 : 540; // in pixels, so that texts are as large as others

// Held-out own scores as bars, the threshold, and where this sample lies; far out, it stays at the border.
export function histogram(own, score) {
  const span = own.most - own.least;
  const left = Math.min(own.least, score) - 0.02 * span;
  const far = Math.max(own.most, own.threshold);
  const cut = score > far + 3 * span || score < own.least - 3 * span;
  const right = Math.max(far, cut ? far + 0.6 * span : score) + 0.08 * span;
  const low = cut && score < own.least ? own.least - 0.6 * span : left;
  const x = (value) => ((Math.min(Math.max(value, low), right) - low) / (right - low)) * WIDTH;
  const plot = element("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const label = `This sample scores ${brief(score)}. Held-out own samples score ${brief(own.least)} to ${brief(own.most)}; up to ${brief(own.threshold)} is attributed.`;
  plot.append(element("title", {}, label));
  const most = Math.sqrt(Math.max(...own.counts)), step = span / own.counts.length;
  own.counts.forEach((count, i) => {
    if (!count) return;
    const from = x(own.least + i * step), height = (Math.sqrt(count) / most) * (FLOOR - TOP);
    plot.append(element("rect", { class: "own", x: from, y: FLOOR - height, height, width: Math.max(x(own.least + (i + 1) * step) - from - 0.6, 0.8) }));
  });
  plot.append(element("line", { class: "axis", x1: 0, x2: WIDTH, y1: FLOOR, y2: FLOOR }));
  const limit = x(own.threshold), here = x(score);
  plot.append(element("line", { class: "limit", x1: limit, x2: limit, y1: TOP - 8, y2: FLOOR }));
  plot.append(element("text", { x: limit, y: FLOOR + 15, "text-anchor": anchor(limit) }, `threshold ${brief(own.threshold)}`));
  const mine = element("g", { class: "mine" });
  mine.append(element("line", { class: "here", x1: here, x2: here, y1: TOP, y2: FLOOR }), element("circle", { class: "dot", cx: here, cy: TOP, r: 4.5 }));
  mine.append(element("text", { class: "mark", x: here, y: TOP - 10, "text-anchor": anchor(here) }, `this one, ${brief(score)}${cut ? " (far out)" : ""}`));
  plot.append(mine);
  plot.append(element("text", { x: 0, y: HEIGHT - 4 }, "← like the model"), element("text", { x: WIDTH, y: HEIGHT - 4, "text-anchor": "end" }, "unlike →"));
  return plot;
}

const anchor = (x) => (x < 90 ? "start" : x > WIDTH - 90 ? "end" : "middle");

export function length(share) {
  const plot = element("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" });
  plot.append(element("rect", { class: "own", x: 0, y: 0, height: 6, width: Math.max(1, 100 * share), rx: 1 }));
  return plot;
}
