// What was measured as dots on thick lines, what is computed as thin lines; cost_chart.py describes the value. Where a
// reader looks (the crosshair) is the page's own and outlives every new value.

const root = element.querySelector(".cost-chart");
const NARROW = 520; // px: below this width ticks are fewer
const DOT = 4; // px, radius
const CAP = 4; // px, half the width of an error bar's ends

const state = { value: null, at: null, held: false }; // at: where the crosshair is, on the x axis
const size = { width: 0, height: 0 };
let frame = null; // where the latest drawing has put things

// ---- the page's parts, made once ----

function shape(name, attributes = {}, words = "") {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, content] of Object.entries(attributes)) node.setAttribute(key, content);
  if (words) node.textContent = words;
  return node;
}

const status = make(root, "p", "status");
const track = make(root, "div", "progress");
const filled = make(track, "div", "filled");
const both = make(root, "div", "both");
const drawing = make(both, "div", "drawing");
const titles = make(drawing, "div", "titles");
const yTitle = make(titles, "span", "y-title");
const rightTitle = make(titles, "span", "right-title");
const plot = make(drawing, "div", "plot");
const picture = shape("svg", { "aria-hidden": "true" });
const tooltip = make(plot, "div", "tooltip");
const legend = make(drawing, "table", "legend");
const note = make(drawing, "p", "note");
const found = make(both, "div", "found");
const sentences = make(found, "div", "sentences");
const box = make(found, "div", "box");
const table = make(box, "table", "numbers");
const spoken = make(root, "div", "unseen");
plot.prepend(picture);
tooltip.hidden = true;
status.setAttribute("role", "status");
spoken.setAttribute("aria-live", "polite"); // only what the arrow keys ask for
box.tabIndex = 0;
box.setAttribute("role", "region");
box.setAttribute("aria-label", "The numbers of the chart");
plot.tabIndex = 0;
plot.setAttribute("role", "application");
plot.setAttribute("aria-roledescription", "chart");
plot.setAttribute("aria-label", "Chart of what is measured and what is computed. The left and right arrow keys read it out.");

// ---- words ----

// Writes words with their exponents raised: T^{1.9} as T with 1.9 above.
function write(parent, words) {
  const pieces = words.split(/\^\{([^}]*)\}/);
  parent.replaceChildren();
  pieces.forEach((piece, i) => make(parent, i % 2 ? "sup" : "span", "", piece));
}

function inWords(words) {
  return words.replace(/\^\{([^}]*)\}/g, " to the power $1");
}

function short(number) {
  if (number === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(number))));
  return number.toLocaleString("en-US", { maximumFractionDigits: Math.min(4, digits) });
}

// ---- scales ----

function scale({ kind, from, to }, start, end) {
  if (kind === "linear") return (number) => start + ((number - from) / (to - from)) * (end - start);
  return (number) => start + (Math.log(number / from) / Math.log(to / from)) * (end - start);
}

// All heights on the left axis: what is computed in another unit is brought to it.
function heights({ curves, right }) {
  const per = right?.per ?? 1;
  return curves.flatMap(({ measured, computed }) => [
    ...measured.flatMap(([, ...numbers]) => numbers),
    ...computed.map(([, number]) => number / per),
  ]);
}

const NICE = [1, 2, 5];

function niceLinear(highest, room) {
  const rough = (highest || 1) / room;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const count = Math.ceil((highest || 1) / step - 1e-9);
  return { to: count * step, ticks: Array.from({ length: count + 1 }, (_, i) => i * step) };
}

function planY(value) {
  const numbers = heights(value).filter((number) => value.y.scale === "linear" || number > 0);
  const room = size.height > 320 ? 6 : 5;
  if (value.y.scale === "linear") {
    const { to, ticks } = niceLinear(Math.max(0, ...numbers), room);
    return { kind: "linear", from: 0, to, ticks };
  }
  const ladder = Array.from({ length: 16 }, (_, i) => 10 ** (i - 6)).flatMap((power) => NICE.map((one) => one * power));
  const [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [1, 100];
  const from = ladder.findLast((tick) => tick <= low * 1.001) ?? low;
  const to = ladder.find((tick) => tick >= high * 0.999) ?? high;
  const inside = ladder.filter((tick) => tick >= from * 0.999 && tick <= to * 1.001);
  const decades = inside.filter((tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9);
  return { kind: "log", from, to: Math.max(to, from * 2), ticks: inside.length > 9 ? decades : inside };
}

function planX({ x, curves }) {
  const places = [...x.ticks, ...curves.flatMap(({ measured, computed }) => [...measured, ...computed].map(([at]) => at))];
  const [low, high] = [Math.min(...places), Math.max(...places)];
  if (x.scale === "linear") return { kind: "linear", from: Math.min(0, low), to: high, ticks: x.ticks };
  return { kind: "log", from: low / 1.12, to: high * 1.12, ticks: x.ticks };
}

// ---- drawing ----

function plan(value) {
  const narrow = size.width < NARROW;
  const area = { left: 48, top: 10, bottom: size.height - 44, right: size.width - (value.right ? 56 : 14) };
  const [xs, ys] = [planX(value), planY(value)];
  return { ...area, narrow, xs, ys, x: scale(xs, area.left, area.right), y: scale(ys, area.bottom, area.top) };
}

function axes(value) {
  const { left, right, top, bottom, xs, ys, x, y, narrow } = frame;
  const parts = [];
  for (const tick of ys.ticks) {
    parts.push(shape("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }));
    parts.push(shape("text", { class: "y-tick", x: left - 8, y: y(tick) + 4 }, short(tick)));
    if (value.right) parts.push(shape("text", { class: "right-tick", x: right + 8, y: y(tick) + 4 }, short(tick * value.right.per)));
  }
  parts.push(shape("line", { class: "baseline", x1: left, x2: right, y1: bottom, y2: bottom }));
  xs.ticks.forEach((tick, i) => {
    parts.push(shape("line", { class: "baseline", x1: x(tick), x2: x(tick), y1: bottom, y2: bottom + 5 }));
    if (narrow && xs.ticks.length > 6 && i % 2) return;
    parts.push(shape("text", { class: "x-tick", x: x(tick), y: bottom + 19 }, tick.toLocaleString("en-US")));
  });
  parts.push(shape("text", { class: "from-right", x: right, y: bottom + 38 }, `${value.x.title} →`));
  parts.push(shape("line", { class: "grid", x1: left, x2: left, y1: top, y2: bottom }));
  return parts;
}

function line(kind, points, dash, per = 1) {
  const path = points.map(([at, number], i) => `${i ? "L" : "M"}${frame.x(at).toFixed(1)} ${frame.y(number / per).toFixed(1)}`);
  return shape("path", { class: kind, d: path.join(""), "stroke-dasharray": dash || "none" });
}

function errorBar([at, , low, high]) {
  const [x, top, bottom] = [frame.x(at), frame.y(high), frame.y(low)];
  const d = `M${x} ${top}V${bottom}M${x - CAP} ${top}h${2 * CAP}M${x - CAP} ${bottom}h${2 * CAP}`;
  return shape("path", { class: "error-bar", d });
}

function dots({ measured, joined = true, dash }) {
  const parts = measured.length > 1 && joined ? [line("measured", measured, dash)] : [];
  for (const point of measured) {
    if (point.length > 2) parts.push(errorBar(point));
    parts.push(shape("circle", { class: "dot", cx: frame.x(point[0]), cy: frame.y(point[1]), r: DOT }));
  }
  return parts;
}

function coloured({ colour }, parts) {
  const group = shape("g");
  group.style.color = colour; // where a browser drops whatever is not a colour
  group.append(...parts);
  return group;
}

function draw() {
  if (!state.value || size.width === 0) return; // in a tab nobody has opened
  const { value } = state;
  frame = plan(value);
  // On a line through 0 dots say all; between lengths far apart a line leads the eye.
  const joined = value.y.scale === "log";
  picture.replaceChildren(
    ...axes(value),
    ...value.curves.map((curve) => coloured(curve, [line("computed", curve.computed, curve.dash, value.right?.per)])),
    ...value.curves.map((curve) => coloured(curve, dots({ ...curve, joined }))),
    shape("g", { class: "cursor" }),
  );
  drawCursor();
}

// ---- legend, sentences and table ----

function swatch({ colour, dash }, kind) {
  const mark = shape("svg", { class: "swatch", viewBox: "0 0 36 10", "aria-hidden": "true" });
  mark.append(shape("path", { class: kind, d: "M0 5H36", "stroke-dasharray": dash || "none" }));
  if (kind === "measured") mark.append(shape("circle", { class: "dot", cx: 18, cy: 5, r: DOT }));
  mark.style.color = colour;
  return mark;
}

function buildLegend({ curves }) {
  legend.replaceChildren();
  const heading = make(make(legend, "thead"), "tr");
  for (const words of ["", "measured", "computed"]) make(heading, "th", "", words).scope = "col";
  const body = make(legend, "tbody");
  for (const curve of curves) {
    const row = make(body, "tr");
    make(row, "th", "name", curve.label).scope = "row";
    for (const kind of ["measured", "computed"]) {
      const cell = make(row, "td");
      cell.append(swatch(curve, kind));
      write(make(cell, "span"), curve[`${kind}_words`] ?? "");
    }
  }
}

function buildTable({ columns, rows }) {
  table.replaceChildren();
  box.hidden = !rows.length;
  const heading = make(make(table, "thead"), "tr");
  for (const { name, kind } of columns) {
    const cell = make(heading, "th", "", name);
    cell.scope = "col";
    if (kind) make(cell, "span", "kind", kind);
  }
  const body = make(table, "tbody");
  for (const row of rows) {
    const line = make(body, "tr");
    row.forEach((words, i) => {
      const cell = make(line, i ? "td" : "th", /^[\d–]/.test(words) && words.length < 30 && !/×/.test(words) ? "number" : "", words);
      if (!i) cell.scope = "row";
      if (words === "no") cell.classList.add("unequal");
    });
  }
}

// ---- the crosshair ----

function places() {
  const all = state.value.curves.flatMap(({ measured, computed }) => [...measured, ...computed].map(([at]) => at));
  return [...new Set(all)].sort((a, b) => a - b);
}

function cellOf(points, at, unit) {
  const point = points.find(([x]) => x === at);
  if (!point) return "–";
  const [, number, low, high] = point;
  return `${short(number)} ${unit}${high === undefined ? "" : ` (${short(low)} to ${short(high)})`}`;
}

function fillTooltip() {
  const { value, at } = state;
  tooltip.replaceChildren();
  const grid = make(tooltip, "table");
  make(grid, "caption", "", `${value.x.title}: ${at.toLocaleString("en-US")}`);
  const heading = make(make(grid, "thead"), "tr");
  const hasBars = value.curves.some(({ measured }) => measured.some((point) => point.length > 2));
  for (const words of ["", hasBars ? "measured (quartiles)" : "measured", "computed"]) make(heading, "th", "", words).scope = "col";
  const body = make(grid, "tbody");
  for (const curve of value.curves) {
    const row = make(body, "tr");
    const name = make(row, "th");
    name.scope = "row";
    name.append(swatch(curve, "computed"), curve.label);
    make(row, "td", "", cellOf(curve.measured, at, value.y.unit));
    make(row, "td", "", cellOf(curve.computed, at, value.right?.unit ?? value.y.unit));
  }
  make(tooltip, "div", "hint", state.held ? "held: Esc or another click lets go" : "click to hold, arrows move");
}

function drawCursor() {
  const layer = picture.querySelector(".cursor");
  if (!layer) return;
  layer.replaceChildren();
  tooltip.hidden = state.at === null;
  if (state.at === null) return;
  const x = frame.x(state.at);
  layer.append(shape("line", { class: state.held ? "crosshair held" : "crosshair", x1: x, x2: x, y1: frame.top, y2: frame.bottom }));
  fillTooltip();
  const beside = x + 14 + tooltip.offsetWidth <= size.width ? x + 14 : x - 14 - tooltip.offsetWidth;
  tooltip.style.left = `${Math.max(0, Math.min(size.width - tooltip.offsetWidth, beside))}px`;
}

function nearestTo(event) {
  const x = event.clientX - plot.getBoundingClientRect().left;
  return places().reduce((best, at) => (Math.abs(frame.x(at) - x) < Math.abs(frame.x(best) - x) ? at : best));
}

function lookAt(at, held) {
  Object.assign(state, { at, held });
  drawCursor();
}

function letGo() {
  lookAt(null, false);
}

function press(event) {
  if (!frame || !places().length) return;
  if (state.held) return letGo();
  lookAt(nearestTo(event), true);
}

function move(event) {
  if (event.key === "Escape") return letGo();
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!direction || !frame || !places().length) return;
  event.preventDefault();
  const all = places();
  const index = state.at === null ? all.length - 1 : clamp(all.indexOf(state.at) + direction, all.length);
  lookAt(all[index], true);
  const row = (one) => [...one.children].map((cell) => cell.textContent).filter(Boolean).join(", ");
  const words = [...tooltip.querySelectorAll("caption, tbody tr")].map((one) => (one.children.length ? row(one) : one.textContent));
  spoken.textContent = words.join("; ");
}

// ---- arrival of a value ----

const holdsMeasurements = (value) => Boolean(value?.curves?.some(({ measured }) => measured.length));

function receive() {
  const value = valueAsObject(props.value);
  root.hidden = !value?.curves;
  if (value?.curves) {
    const { value: shown } = state;
    const keeps = value.is_preview && holdsMeasurements(shown);
    if (!keeps) show(value);
    else if (shown.progress === null) say(value.settings === shown.settings ? shown.status : keptInWords(shown, value));
  }
  countAsPainted();
}

function keptInWords(shown, asked) {
  return `Shown: ${shown.settings}. Press Measure for: ${asked.settings}.`;
}

function say(words) {
  if (status.textContent !== words) status.textContent = words;
}

function show(value) {
  state.value = value;
  if (state.at !== null && !places().includes(state.at)) letGo();
  say(value.status);
  track.classList.toggle("unused", value.progress === null);
  filled.style.width = `${100 * (value.progress ?? 0)}%`;
  yTitle.textContent = `↑ ${value.y.title}`;
  rightTitle.textContent = value.right ? `${value.right.title} ↑` : "";
  note.textContent = value.note;
  buildLegend(value);
  sentences.replaceChildren();
  value.sentences.forEach((words) => write(make(sentences, "p"), words));
  buildTable(value);
  plot.setAttribute("aria-description", [value.status, ...value.sentences].map(inWords).join(" "));
  draw();
}

plot.addEventListener("pointermove", (event) => state.held || !frame || !places().length || lookAt(nearestTo(event), false));
plot.addEventListener("pointerleave", () => state.held || letGo());
plot.addEventListener("click", press);
plot.addEventListener("keydown", move);
new ResizeObserver(([entry]) => {
  Object.assign(size, { width: entry.contentRect.width, height: entry.contentRect.height });
  draw();
}).observe(plot);
watch("value", receive);
receive();
