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

const status = make(root, "p", "status");
const track = make(root, "div", "progress");
const filled = make(track, "div", "filled");
const both = make(root, "div", "both");
const drawing = make(both, "div", "drawing frame");
const titles = make(drawing, "div", "titles");
const yTitle = make(titles, "span", "y-title");
const rightTitle = make(titles, "span", "right-title");
const { plot, picture, tooltip } = makePlot(
  drawing, "Chart of what is measured and what is computed. The left and right arrow keys read it out.",
);
const legend = make(drawing, "div");
const note = make(drawing, "p", "note");
const found = make(both, "div", "found");
const sentences = make(found, "div", "sentences");
const box = makeScrollBox(found, "The numbers of the chart");
const describe = makeDescription(drawing, plot);
const spoken = makeSpoken(root);
const announce = makeAnnouncer(root);

// ---- words ----

// Words with their exponents raised: T^{1.9} as T with 1.9 above.
function withExponents(words) {
  return words.split(/\^\{([^}]*)\}/).map((piece, i) => node(i % 2 ? "sup" : "span", "", piece));
}

function inWords(words) {
  return words.replace(/\^\{([^}]*)\}/g, " to the power $1");
}

function short(number) {
  if (number === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(number))));
  return number.toLocaleString("en-US", { maximumFractionDigits: Math.min(4, digits) });
}

// What is measured of each curve, and where nothing is, what is computed.
function chartInWords({ x, y, right, curves }) {
  const along = (from, to) => `(${x.title}: ${grouped(from)} to ${grouped(to)})`;
  return curves.map(({ label, measured, computed }) => {
    const [kind, points, unit] = measured.length ? ["measured line", measured, y.unit] : ["computed line", computed, right?.unit ?? y.unit];
    return courseInWords(label, `the ${kind}`, points, (number) => `${short(number)} ${unit}`, along);
  }).join(" ");
}

// ---- scales ----

function scaleOf({ kind, from, to }, start, end) {
  return (kind === "linear" ? linearScale : logScale)(from, to, start, end);
}

// All heights on the left axis: what is computed in another unit is brought to it.
function heights({ curves, right }) {
  const per = right?.per ?? 1;
  return curves.flatMap(({ measured, computed }) => [
    ...measured.flatMap(([, ...numbers]) => numbers),
    ...computed.map(([, number]) => number / per),
  ]);
}

function niceLinear(highest, room) {
  const step = niceStep(highest || 1, room);
  const to = Math.ceil((highest || 1) / step - 1e-9) * step;
  return { to, ticks: multiples(step, 0, to) };
}

function planY(value) {
  const numbers = heights(value).filter((number) => value.y.scale === "linear" || number > 0);
  const room = size.height > 320 ? 6 : 5;
  if (value.y.scale === "linear") {
    const { to, ticks } = niceLinear(Math.max(0, ...numbers), room);
    return { kind: "linear", from: 0, to, ticks };
  }
  const [low, high] = numbers.length ? [Math.min(...numbers), Math.max(...numbers)] : [1, 100];
  const from = LADDER.findLast((tick) => tick <= low * 1.001) ?? low;
  const to = LADDER.find((tick) => tick >= high * 0.999) ?? high;
  const inside = rungs(from, to);
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
  return { ...area, narrow, xs, ys, x: scaleOf(xs, area.left, area.right), y: scaleOf(ys, area.bottom, area.top) };
}

function axes(value) {
  const { left, top, bottom, xs, ys, x, y, narrow } = frame;
  const right = (tick) => (value.right ? short(tick * value.right.per) : "");
  const everySecond = narrow && xs.ticks.length > 6;
  const yTicks = ys.ticks.map((tick) => ({ y: y(tick), words: short(tick), right: right(tick) }));
  const xTicks = xs.ticks.map((tick, i) => ({ x: x(tick), words: everySecond && i % 2 ? "" : grouped(tick) }));
  const edge = shape("line", { class: "grid", x1: left, x2: left, y1: top, y2: bottom });
  return [...axisParts(frame, yTicks, xTicks, value.x.title), edge];
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

function inColour({ colour }, parts) {
  return coloured(shape("g", {}, ...parts), colour);
}

function draw() {
  if (!state.value || size.width === 0) return; // in a tab nobody has opened
  const { value } = state;
  frame = plan(value);
  // On a line through 0 dots say all; between lengths far apart a line leads the eye.
  const joined = value.y.scale === "log";
  picture.replaceChildren(
    ...axes(value),
    ...value.curves.map((curve) => inColour(curve, [line("computed", curve.computed, curve.dash, value.right?.per)])),
    ...value.curves.map((curve) => inColour(curve, dots({ ...curve, joined }))),
    shape("g", { class: "cursor" }),
  );
  drawCursor();
}

// ---- legend, sentences and table ----

function swatch({ colour, dash }, kind) {
  const marks = [shape("path", { class: kind, d: "M0 5H36", "stroke-dasharray": dash || "none" })];
  if (kind === "measured") marks.push(shape("circle", { class: "dot", cx: 18, cy: 5, r: DOT }));
  return lineSwatch(36, colour, ...marks);
}

function buildLegend({ curves }) {
  const wordsOf = (curve, kind) => {
    const words = node("span");
    words.append(...withExponents(curve[`${kind}_words`] ?? ""));
    return [swatch(curve, kind), words];
  };
  legend.replaceChildren();
  const body = makeTable(legend, ["", "measured", "computed"], "legend");
  for (const curve of curves) makeRow(body, curve.label, ["measured", "computed"].map((kind) => wordsOf(curve, kind)));
}

function buildTable({ columns, rows }) {
  box.replaceChildren();
  box.hidden = !rows.length;
  const body = makeTable(box, columns.map(({ name, kind }) => ({ words: name, kind })), "numbers");
  for (const [head, ...cells] of rows) {
    for (const cell of makeRow(body, head, cells).children) {
      const words = cell.textContent;
      cell.classList.toggle("number", /^[\d–]/.test(words) && words.length < 30 && !/×/.test(words));
      cell.classList.toggle("unequal", words === "no");
    }
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
  const hasBars = value.curves.some(({ measured }) => measured.some((point) => point.length > 2));
  const columns = ["", hasBars ? "measured (quartiles)" : "measured", "computed"];
  tooltip.replaceChildren();
  const body = makeTable(tooltip, columns, "", `${value.x.title}: ${grouped(at)}`);
  for (const curve of value.curves) {
    const computed = cellOf(curve.computed, at, value.right?.unit ?? value.y.unit);
    makeRow(body, [swatch(curve, "computed"), curve.label], [cellOf(curve.measured, at, value.y.unit), computed]);
  }
  make(tooltip, "div", "hint", state.held ? "held: Esc or another press lets go" : "press to hold, arrows move");
}

function drawCursor() {
  const layer = picture.querySelector(".cursor");
  if (!layer) return;
  layer.replaceChildren();
  tooltip.hidden = state.at === null;
  if (state.at === null) return;
  const x = frame.x(state.at);
  layer.append(crosshairLine(frame, x, state.held));
  fillTooltip();
  placeBeside(tooltip, x, size.width, 8);
}

function nearestTo(left) {
  return places().reduce((best, at) => (Math.abs(frame.x(at) - left) < Math.abs(frame.x(best) - left) ? at : best));
}

function lookAt(at, held) {
  Object.assign(state, { at, held });
  drawCursor();
}

function letGo() {
  lookAt(null, false);
}

function follow(left) {
  if (frame && places().length) lookAt(nearestTo(left), false);
}

function press(left) {
  if (!frame || !places().length) return;
  if (state.held) return letGo();
  lookAt(nearestTo(left), true);
}

function step(direction) {
  if (!frame || !places().length) return false;
  const all = places();
  const index = state.at === null ? all.length - 1 : clamp(all.indexOf(state.at) + direction, all.length);
  lookAt(all[index], true);
  spoken.textContent = tableInWords(tooltip);
  return true;
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

function say(words, kind = words) {
  setText(status, words);
  announce(words, kind);
}

function show(value) {
  state.value = value;
  if (state.at !== null && !places().includes(state.at)) letGo();
  say(value.status, value.progress === null ? value.status : `under way, quarter ${quarterOf(value.progress)}`);
  track.classList.toggle("unused", value.progress === null);
  filled.style.width = `${100 * (value.progress ?? 0)}%`;
  yTitle.textContent = `↑ ${value.y.title}`;
  rightTitle.textContent = value.right ? `${value.right.title} ↑` : "";
  note.textContent = value.note;
  buildLegend(value);
  sentences.replaceChildren();
  value.sentences.forEach((words) => make(sentences, "p").append(...withExponents(words)));
  buildTable(value);
  describe([chartInWords(value), ...value.sentences.map(inWords)].join(" "));
  box.setAttribute("aria-label", `In numbers: ${value.y.title}`);
  draw();
}

watchPlot(plot, { isHeld: () => state.held, follow, press, letGo, step });
whenSized(plot, size, draw);
watch("value", receive);
receive();
