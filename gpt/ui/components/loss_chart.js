// The loss chart. `loss_chart.py` says what `props.value` holds; this file draws it as SVG. What a visitor chooses
// (axes, part of the run, hidden curves, the step under the crosshair) is kept here and outlives every new value.

const COLUMN_WIDTH = 2; // px: of all points in such a column only the lowest and the highest are drawn
const NARROW = 520; // px: below this width the labels at the ends of curves are numbers only
const FINGER = 24; // px: a click this near to the crosshair is a click on it
const SMALLEST_FRAME = 10; // px: a frame narrower or lower than this is none
const SMOOTHING = 1 / 60; // the smoothed curve averages this share of the run to either side of a step

const X_AXES = {
  step: { title: "training step", hint: "one step: one batch, one update" },
  tokens: { title: "tokens seen", hint: "how much text was read" },
  seconds: { title: "seconds of training", hint: "how long you wait" },
};
const Y_AXES = {
  linear: { hint: "equal distances: equal differences" },
  log: { hint: "equal distances: equal ratios" },
};
const UNITS = {
  nats: { title: "nats per token", hint: "nats per token: what training makes smaller" },
  bits: { title: "bits per character", hint: "bits per character: can be compared between characters and byte pairs" },
};

const choices = { x: "step", y: "linear", unit: "nats", zoom: "all", raw: true, hidden: new Set() };
let unit = 1; // what a loss in nats per token is multiplied by
const cursor = { step: null, held: false, x: 0 }; // x: where the crosshair is, in px
const size = { width: 0, height: 0 };
let curves = []; // what the latest value says, completed by readCurve
let frame = null; // where the latest drawing has put things; null before the first drawing

// ---- words ----

const last = (list) => list[list.length - 1];
const fixed = (loss, digits) => (Number.isFinite(loss) ? loss.toFixed(digits) : "–");

function shortNumber(number) {
  if (number >= 1e6) return `${+(number / 1e6).toFixed(2)}M`;
  return number >= 1e4 ? `${+(number / 1e3).toFixed(1)}k` : grouped(number);
}

// Words are measured on a canvas: measuring them in the page would force a layout at every update.
const pen = document.createElement("canvas").getContext("2d");
function widthOf(words) {
  return pen.measureText(words).width;
}

// ---- drawing ----

function drawAxes(frame) {
  const { x, y, xTicks, yTicks } = frame;
  const digits = Math.max(0, ...yTicks.map((tick) => (String(+tick.toFixed(3)).split(".")[1] ?? "").length));
  const left = yTicks.map((tick) => ({ y: y(tick), words: tick.toFixed(digits) }));
  const below = xTicks.map((tick) => ({ x: x(tick), words: shortNumber(tick) }));
  layers.axes.replaceChildren(...axisParts(frame, left, below, X_AXES[choices.x].title));
}

// A path through the losses, with a gap wherever one is missing. Each column of pixels keeps its lowest and highest
// loss in their order: the picture is the same as with every point, at a cost bounded by the width. The unit is a
// tenth of a pixel, because a browser writes and reads whole numbers several times faster than decimals.
function pathThrough(places, losses, { x, y }) {
  let path = "";
  let join = "M";
  let column = null;
  let lowest = 0;
  let highest = 0;
  const add = (i) => {
    path += `${join}${Math.round(x(places[i]) * 10)} ${Math.round(y(losses[i]) * 10)}`;
    join = "L";
  };
  const closeColumn = () => {
    if (column === null) return;
    add(Math.min(lowest, highest));
    if (lowest !== highest) add(Math.max(lowest, highest));
    column = null;
  };
  for (let i = 0; i < losses.length; i += 1) {
    if (!Number.isFinite(losses[i]) || !Number.isFinite(places[i])) {
      closeColumn();
      join = "M";
      continue;
    }
    const here = Math.floor(x(places[i]) / COLUMN_WIDTH);
    if (here !== column) {
      closeColumn();
      column = here;
      lowest = highest = i;
    } else if (losses[i] < losses[lowest]) lowest = i;
    else if (losses[i] > losses[highest]) highest = i;
  }
  closeColumn();
  return path;
}

// Round markers are strokes of no length with round ends; enough are left out to keep the line between them visible.
function markersAt({ places, losses }, { x, y }) {
  let path = "";
  let previous = -Infinity;
  losses.forEach((loss, i) => {
    const [left, height] = [x(places[i]), y(loss)];
    const crowded = left - previous < 14 && i < losses.length - 1;
    if (!Number.isFinite(loss) || !Number.isFinite(left) || crowded || !isInView(left, height)) return;
    path += `M${left.toFixed(1)} ${height.toFixed(1)}h0`;
    previous = left;
  });
  return path;
}

// The area between mean - spread and mean + spread; nothing where there is no spread.
function bandAround({ places, losses, spreads }, { x, y }) {
  if (!spreads.length) return "";
  const corner = (sign) => (place, i) => `${Math.round(x(place) * 10)} ${Math.round(y(losses[i] + sign * spreads[i]) * 10)}`;
  return `M${[...places.map(corner(1)), ...places.map(corner(-1)).reverse()].join("L")}Z`;
}

function drawCurves(shown) {
  const { left, right, top, bottom } = frame;
  const [width, height] = [right - left, bottom - top];
  const area = { x: left, y: top, width, height, viewBox: [left, top, width, height].map((part) => part * 10).join(" ") };
  for (const [key, content] of Object.entries(area)) layers.curves.setAttribute(key, content);
  const path = (kind, d, dash = "none") => shape("path", { class: `curve ${kind}`, d, "stroke-dasharray": dash });
  const line = (kind, { places }, losses, dash) => path(kind, pathThrough(places, losses, frame), dash);
  const group = (curve, parts) => coloured(shape("g", {}, ...parts.map((part) => part(curve))), curve.colour);
  const layer = (...parts) => shown.map((curve) => group(curve, parts));
  // All raw lines lie under all smoothed ones, and those under the validation losses.
  layers.curves.replaceChildren(
    ...layer(({ validation }) => path("band", bandAround(validation, frame))),
    ...(choices.raw && (dragged || !isZoomed()) ? layer(({ training }) => line("raw", training, training.losses)) : []),
    ...layer(({ training, dash }) => line("smoothed", training, training.smoothed, dash)),
    ...layer(({ validation, dash }) => line("validation", validation, validation.losses, dash)),
  );
  layers.markers.replaceChildren(
    ...layer(...["dot-rims", "dots"].map((kind) => ({ validation }) => path(kind, markersAt(validation, frame)))),
  );
  layers.references.replaceChildren(
    ...frame.references.map(({ loss }) => shape("line", { x1: left, x2: right, y1: frame.y(loss), y2: frame.y(loss) })),
  );
}

function draw() {
  if (size.width === 0) return; // in a tab nobody has opened
  const value = props.value ?? {};
  unit = unitOf(value);
  unitChoice.hidden = !value.tokens_per_character;
  curves = (value.series ?? []).map((given) => readCurve(given, value.max_steps || 0));
  frame = planFrame(value);
  const shown = visibleCurves();
  picture.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`); // so that it shrinks to a printed page
  drawAxes(frame);
  drawCurves(shown);
  drawLabels(shown);
  drawCursor();
  drawLegend();
  setText(yTitle, `↑ loss, ${UNITS[unitChoice.hidden ? "nats" : choices.unit].title}`);
  root.classList.toggle("bare", curves.length === 0);
  setText(message, messageOver(shown, value));
  describe(chartInWords(shown));
  table.fold.hidden = curves.length === 0;
  table.refresh();
}

function messageOver(shown, value) {
  if (curves.length === 0) return value.empty ?? "The loss of each variant will be drawn here.";
  return shown.length === 0 ? "Every curve is hidden: press a name below." : "";
}

// ---- the crosshair ----

// The crosshair follows the curve that has come furthest; of the others it reads the point nearest to it.
function leadingCurve() {
  const started = visibleCurves().filter((curve) => curve.training.steps.length > 0);
  return started.sort((a, b) => last(b.training.steps) - last(a.training.steps))[0];
}

function nearest(sorted, wanted) {
  let low = 0;
  let high = sorted.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < wanted) low = middle;
    else high = middle;
  }
  return wanted - sorted[low] <= sorted[high] - wanted ? low : high;
}

function readingAt(curve, place) {
  const { training, validation } = curve;
  const i = nearest(training.places, place);
  const spacing = last(training.places) / training.places.length;
  if (training.places.length === 0 || place > last(training.places) + spacing) return { curve };
  const step = training.steps[i];
  const j = validation.steps.findLastIndex((measured) => measured <= step);
  const newest = { measured: validation.steps[j], validation: validation.losses[j], spread: validation.spreads[j] };
  return { curve, step, place: training.places[i], loss: training.losses[i], ...newest };
}

function drawCursor() {
  const lead = leadingCurve();
  const { step, held } = cursor;
  const reached = lead && step !== null && step <= last(lead.training.steps);
  const index = reached ? nearest(lead.training.steps, step) : -1;
  const place = lead?.training.places[index];
  tooltip.hidden = !reached || !isInView(frame.x(place), frame.bottom) || marked !== null;
  if (tooltip.hidden) return layers.cursor.replaceChildren();
  const readings = visibleCurves().map((curve) => readingAt(curve, place));
  const x = frame.x(place);
  cursor.x = x;
  const inSight = readings.filter(({ loss, place: at }) => Number.isFinite(loss) && isInView(frame.x(at), frame.y(loss)));
  const dot = (at, loss) => shape("circle", { class: "crosshair-dot", cx: frame.x(at), cy: frame.y(loss), r: 4 });
  layers.cursor.replaceChildren(
    crosshairLine(frame, x, held),
    ...inSight.map(({ curve, place: at, loss }) => coloured(dot(at, loss), curve.colour)),
  );
  fillTooltip(headline(lead, index, place), readings);
  placeBeside(tooltip, x, size.width, frame.top);
}

function headline(lead, index, place) {
  const step = `step ${grouped(lead.training.steps[index])}`;
  if (choices.x === "tokens") return `${step}, ${grouped(place)} tokens`;
  return choices.x === "seconds" ? `${fixed(place, 1)} s` : step;
}

function fillTooltip(title, readings) {
  const bySeconds = choices.x === "seconds"; // then every curve is at a step of its own
  tooltip.replaceChildren();
  const body = makeTable(tooltip, ["", ...(bySeconds ? ["step"] : []), "training", "validation"], "", title);
  for (const { curve, step, loss, measured, validation, spread } of readings) {
    const isEarlier = measured !== undefined && measured !== step;
    const when = `${spread === undefined ? "" : ` ± ${fixed(spread, 3)}`}${isEarlier ? ` at ${grouped(measured)}` : ""}`;
    const steps = bySeconds ? [step === undefined ? "–" : grouped(step)] : [];
    const row = makeRow(body, [swatch(curve), curve.label], [...steps, fixed(loss, 3), fixed(validation, 3) + when]);
    row.lastChild.classList.toggle("earlier", isEarlier);
  }
  make(tooltip, "div", "hint", cursor.held ? "held: Esc or a press on it lets go" : "press to hold, arrows move");
}

function pointAt(left) {
  const lead = leadingCurve();
  if (!lead) return;
  cursor.step = lead.training.steps[nearest(lead.training.places, frame.place(between(left, frame.left, frame.right)))];
}

// ---- legend and switches ----

function swatch({ colour = "", dash = "none" }, kind = "validation") {
  const marks = [shape("path", { class: `curve ${kind}`, d: "M0 5H32", "stroke-dasharray": dash })];
  if (kind === "validation") marks.push(shape("path", { class: "curve dots", d: "M34 5h0" })); // hides no gap of the dash
  return lineSwatch(38, colour, ...marks);
}

function makeLegendEntry(curve) {
  const entry = node("div", "entry");
  const button = makeButton(entry, "", () => {
    if (!choices.hidden.delete(curve.label)) choices.hidden.add(curve.label);
    draw();
  });
  button.title = "hide or show this curve";
  button.append(swatch(curve), curve.label);
  make(entry, "span", "changes", curve.changes);
  return { entry, button, loss: make(entry, "span", "last") };
}

// The buttons stay in place from value to value: one exchanged under a visitor's finger would not hear the click.
let legendEntries = [];
let legendSays = "";
function drawLegend() {
  const says = JSON.stringify(curves.map(({ label, colour, dash, changes }) => [label, colour, dash, changes]));
  if (says !== legendSays) {
    legendSays = says;
    legendEntries = curves.map(makeLegendEntry);
    legend.replaceChildren(...legendEntries.map(({ entry }) => entry));
  }
  const step = commonStep(visibleCurves());
  curves.forEach((curve, i) => {
    legendEntries[i].button.setAttribute("aria-pressed", !choices.hidden.has(curve.label));
    setText(legendEntries[i].loss, fixed(namedPoint(curve, step).loss, frame.digits));
  });
  const measured = step === null || legendEntries.length === 0 ? "" : `, the numbers: at step ${grouped(step)}`;
  setText(keyOfNumbers, measured);
}

// `chosen` is called after a press; the group's `paint` shows what is chosen.
function makeChoice(parent, key, name, options, chosen = draw) {
  const group = make(parent, "div", "choice");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", name);
  const buttons = Object.entries(options).map(([choice, { hint }]) => {
    const button = makeButton(group, choice, () => {
      choices[key] = choice;
      group.paint();
      chosen();
    });
    button.title = hint;
    return button;
  });
  group.paint = () => buttons.forEach((button) => button.setAttribute("aria-pressed", choices[key] === button.textContent));
  group.paint();
  return group;
}

function makeRawSwitch(parent) {
  const button = makeButton(make(parent, "div", "choice"), "raw", () => {
    choices.raw = !choices.raw;
    button.setAttribute("aria-pressed", choices.raw);
    draw();
  });
  button.title = "every single training loss";
  button.setAttribute("aria-pressed", choices.raw);
}

// How the two kinds of line look, whatever their colour.
function makeKeyToLines(parent) {
  const key = make(parent, "div", "key");
  for (const [kind, words] of [["validation", "validation"], ["smoothed", "training, smoothed"]]) {
    make(key, "span").append(swatch({}, kind), words);
  }
  return make(key.firstChild, "span", "numbers"); // at which step the numbers in the legend were measured
}

// On a phone the axes' switches are folded away behind this button.
function makeFold(parent) {
  const fold = makeButton(make(parent, "div", "choice fold"), "axes", () => {
    fold.setAttribute("aria-expanded", root.classList.toggle("unfolded"));
  });
  fold.title = "what the axes measure";
  fold.setAttribute("aria-expanded", "false");
}

// ---- zoom ----

function unframe() {
  dragged = null;
  zoomChoice.paint();
}

function zoomTo(choice) {
  choices.zoom = choice;
  unframe();
  draw();
  spoken.textContent = choice === "all" ? "the whole run" : `the ${choice} of the run`;
}

function zoomBy(direction) {
  const names = Object.keys(ZOOMS);
  zoomTo(names[clamp(names.indexOf(choices.zoom) + direction, names.length)]);
}

// A frame drawn with the mouse: what is in it fills the picture. It is in px until it is let go.
let marked = null; // { x: [from, to], y: [from, to] }

function inPlot({ clientX, clientY }) {
  const { left, top, width } = plot.getBoundingClientRect();
  const scale = size.width / width; // the page may be shown enlarged
  const at = [(clientX - left) * scale, (clientY - top) * scale];
  return { x: between(at[0], frame.left, frame.right), y: between(at[1], frame.top, frame.bottom) };
}

function mark(start, end) {
  marked = { x: [start.x, end.x].sort((a, b) => a - b), y: [start.y, end.y].sort((a, b) => a - b) };
  const [[left, right], [top, bottom]] = [marked.x, marked.y];
  drawCursor();
  layers.marked.replaceChildren(
    shape("rect", { class: "marked", x: left, y: top, width: right - left, height: bottom - top }),
  );
}

function zoomIntoMarked() {
  const { x: [left, right], y: [top, bottom] } = marked;
  if (right - left >= SMALLEST_FRAME && bottom - top >= SMALLEST_FRAME) {
    dragged = { x: [frame.place(left), frame.place(right)], y: [frame.loss(bottom), frame.loss(top)] };
    choices.zoom = "";
    zoomChoice.paint();
  }
  unmark();
  draw();
}

function unmark() {
  marked = null;
  layers.marked.replaceChildren();
}

function watchFrames() {
  let start = null;
  let wasMarked = false; // the click that follows is not one on a step
  plot.addEventListener("pointerdown", (event) => {
    wasMarked = false;
    if (event.pointerType === "mouse" && event.button === 0 && frame && curves.length) start = inPlot(event);
  });
  plot.addEventListener("pointermove", (event) => {
    if (!start) return;
    const end = inPlot(event);
    if (marked === null && Math.hypot(end.x - start.x, end.y - start.y) < 8) return;
    if (marked === null) plot.setPointerCapture(event.pointerId);
    mark(start, end);
  });
  plot.addEventListener("pointerup", () => {
    start = null;
    if (marked === null) return;
    wasMarked = true;
    zoomIntoMarked();
  });
  plot.addEventListener("pointercancel", () => {
    start = null;
    unmark();
  });
  plot.addEventListener("click", (event) => wasMarked && event.stopImmediatePropagation());
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && marked === null && !cursor.held && isZoomed()) zoomTo("all");
    else if (event.key === "Escape" && (marked !== null || cursor.held)) unmark();
    else if (event.key === "+" || event.key === "=") zoomBy(1);
    else if (event.key === "-") zoomBy(-1);
    else if (event.key === "0") zoomTo("all");
    else return;
    event.stopPropagation(); // one Esc, one thing let go
  });
}

// ---- what a visitor does ----

function letGo() {
  Object.assign(cursor, { step: null, held: false });
  drawCursor();
}

function press(left) {
  const isOnCrosshair = Math.abs(left - cursor.x) < FINGER / 2;
  if (cursor.held && isOnCrosshair) return letGo();
  pointAt(left);
  cursor.held = cursor.step !== null;
  drawCursor();
}

function step(direction, isFast) {
  const lead = leadingCurve();
  if (!lead) return false;
  const { steps } = lead.training;
  const moved = nearest(steps, cursor.step) + direction * (isFast ? 10 : 1);
  const wanted = cursor.step === null ? steps.length - 1 : clamp(moved, steps.length);
  Object.assign(cursor, { step: steps[wanted], held: true });
  drawCursor();
  spoken.textContent = tableInWords(tooltip);
  return true;
}

function follow(left) {
  pointAt(left);
  drawCursor();
}

// ---- the parts of the page, and the first drawing ----

const root = element.querySelector(".loss-chart");
root.classList.add("frame");
make(root, "h2", "unseen", "How the loss falls");
const switches = make(root, "div", "switches");
const yTitle = make(switches, "span", "y-title");
const zoomChoice = makeChoice(switches, "zoom", "part of the run", ZOOMS, () => zoomTo(choices.zoom));
zoomChoice.classList.add("zoom");
makeFold(switches);
const otherAxis = () => {
  if (choices.zoom === "") choices.zoom = "all"; // a frame was drawn in the units before
  unframe();
  draw();
};
const unitChoice = makeChoice(switches, "unit", "unit of the loss", UNITS, otherAxis);
makeChoice(switches, "x", "horizontal axis", X_AXES, otherAxis);
makeChoice(switches, "y", "vertical axis", Y_AXES);
makeRawSwitch(switches);
const { plot, picture, tooltip } = makePlot(
  root, "Loss chart. The left and right arrow keys read out the losses step by step, plus and minus show less or more of the run.",
);
const message = node("p", "message");
tooltip.before(message);
const layers = { // from the lowest to the highest
  axes: shape("g", { class: "axes" }),
  references: shape("g", { class: "reference" }),
  curves: shape("svg"), // an inner picture, because it cuts off what lies outside it
  markers: shape("g"),
  labels: shape("g"),
  cursor: shape("g"),
  marked: shape("g"),
};
picture.append(...Object.values(layers));
const foot = make(root, "div", "foot");
const legend = make(foot, "div", "legend");
const keyOfNumbers = makeKeyToLines(foot);
const describe = makeDescription(root, plot);
const table = makeTableFold(root, "Validation losses", fillTable);
const spoken = makeSpoken(root);

watchFrames(); // before the crosshair, which hears no click that ends a frame
watchPlot(plot, { isHeld: () => cursor.held, follow, press, letGo, step });
whenSized(plot, size, () => {
  pen.font = `600 13px ${getComputedStyle(root).fontFamily}`;
  draw();
});
watch("value", draw);
