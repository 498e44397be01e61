// The loss chart. `loss_chart.py` says what `props.value` holds; this file draws it as SVG. What a visitor chooses
// (axes, hidden curves, the step under the crosshair) is kept here and outlives every new value.

const COLUMN_WIDTH = 2; // px: of all points in such a column only the lowest and the highest are drawn
const NARROW = 520; // px: below this width the labels at the ends of curves are numbers only
const LABEL_HEIGHT = 17; // px
const LABEL_GAP = 14; // px between the end of a curve and its label
const FINGER = 24; // px: a click this near to the crosshair is a click on it
const SMOOTHING = 1 / 60; // the smoothed curve averages this share of the run to either side of a step

const X_AXES = {
  step: { title: "training step", hint: "one step: one batch, one update" },
  tokens: { title: "tokens seen", hint: "how much text was read" },
  seconds: { title: "seconds of training", hint: "how long one has to wait" },
};
const Y_AXES = {
  linear: { hint: "equal distances: equal differences" },
  log: { hint: "equal distances: equal ratios" },
};
const UNITS = {
  "nats per token": { hint: "what training makes smaller" },
  "bits per character": { hint: "can be compared between characters and byte pairs" },
};

const choices = { x: "step", y: "linear", unit: "nats per token", raw: true, hidden: new Set() };
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

// ---- reading a value ----

// Numbers arrive as text that grows at its end, "4.21 3.97 nan ": only what is new is read. Plain lists do as well.
const alreadyRead = new Map();
function readNumbers(given, name) {
  if (typeof given !== "string") return given ?? [];
  let known = alreadyRead.get(name);
  if (!known || !given.startsWith(known.text)) known = { text: "", numbers: [] };
  for (const word of given.slice(known.text.length).split(" ")) if (word) known.numbers.push(Number(word));
  known.text = given;
  alreadyRead.set(name, known);
  return known.numbers;
}

const inUnit = (losses) => (unit === 1 ? losses : losses.map((loss) => loss * unit));

function unitOf({ tokens_per_character: tokens }) {
  return choices.unit === "nats per token" || !tokens ? 1 : tokens / Math.LN2;
}

// `places` is where each loss lies on the horizontal axis, in the unit chosen.
function readLine(given, prefix) {
  const read = (key) => readNumbers(given[prefix + key], `${given.label} ${prefix + key}`);
  const line = { steps: read("steps"), losses: inUnit(read("losses")) };
  if (choices.x === "step") return { ...line, places: line.steps };
  if (choices.x === "seconds") return { ...line, places: read("seconds") };
  return { ...line, places: line.steps.map((step) => step * given.tokens_per_step) };
}

function readCurve(given, maxSteps) {
  const training = readLine(given, "");
  training.smoothed = smooth(training.losses, Math.max(1, Math.round(maxSteps * SMOOTHING)));
  return {
    label: String(given.label),
    colour: given.colour || "var(--quiet)",
    dash: given.dash || "none",
    changes: given.changes ?? "",
    tokensPerStep: given.tokens_per_step,
    training,
    validation: { ...readLine(given, "validation_"), spreads: readSpreads(given) },
  };
}

// Where a curve is a mean over several runs: how far they lie apart at each validation loss.
function readSpreads(given) {
  return inUnit(readNumbers(given.validation_spreads, `${given.label} validation_spreads`));
}

// The middle one of a loss and its two neighbours; the loss itself where a neighbour is missing.
function middleOf(before, loss, after) {
  const middle = Math.max(Math.min(before, loss), Math.min(Math.max(before, loss), after));
  return Number.isFinite(before) && Number.isFinite(after) ? middle : loss;
}

// A centred mean, which does not lag behind the curve. The window shrinks at the start, where the loss falls fastest.
// The middle of every three neighbours goes in, so that one wild step does not lift the whole window.
function smooth(losses, radius) {
  const sums = new Float64Array(losses.length + 1); // sums[i] is of the losses before i, counts[i] their number
  const counts = new Float64Array(losses.length + 1);
  for (let i = 0; i < losses.length; i += 1) {
    const loss = losses[i];
    const known = Number.isFinite(loss);
    sums[i + 1] = sums[i] + (known ? middleOf(losses[i - 1], loss, losses[i + 1]) : 0);
    counts[i + 1] = counts[i] + (known ? 1 : 0);
  }
  return losses.map((loss, i) => {
    if (!Number.isFinite(loss)) return null;
    const from = Math.max(0, i - radius);
    const to = Math.min(losses.length, i + Math.min(radius, i) + 1);
    return (sums[to] - sums[from]) / (counts[to] - counts[from]);
  });
}

const visibleCurves = () => curves.filter((curve) => !choices.hidden.has(curve.label));
const lastValidation = (curve) => last(curve.validation.losses.filter(Number.isFinite));

// ---- scales ----

// How far the horizontal axis reaches: to the end of the run, so that it keeps still while the run is under way.
function endOfX(maxSteps) {
  const ends = curves.map(({ training, tokensPerStep }) => {
    const reached = last(training.places) || 0;
    if (choices.x === "step") return Math.max(maxSteps, reached);
    if (choices.x === "tokens") return Math.max(maxSteps * tokensPerStep || 0, reached);
    return reached * Math.max(1, maxSteps / (last(training.steps) || maxSteps));
  });
  const end = Math.max(curves.length ? 0 : maxSteps, ...ends) || 100;
  const running = curves.some(({ training }) => (last(training.steps) ?? 0) < maxSteps);
  return choices.x === "seconds" && running ? roomForSeconds(end) : end;
}

// The end of a run in seconds is a guess that changes at every update: the axis moves only when the guess leaves it.
let secondsOnAxis = 0;
function roomForSeconds(expected) {
  const tooLong = expected < 0.6 * secondsOnAxis;
  const step = niceStep(expected, 8);
  if (expected > secondsOnAxis || tooLong) secondsOnAxis = Math.ceil((expected * 1.1) / step) * step;
  return secondsOnAxis;
}

// The first and the last losses are always in sight. Of the others the highest 2 % may leave the picture, so that
// one spike does not flatten everything else.
function rangeOfLosses(shown, references) {
  const wanted = references.map((reference) => reference.loss);
  for (const { training, validation } of shown) {
    const { length } = training.losses;
    const count = Math.min(length, 500); // sorting a sample is enough
    const sample = Array.from({ length: count }, (_, i) => training.losses[Math.floor((i * length) / count)]);
    const known = sample.concat(validation.losses).filter(Number.isFinite);
    const sorted = Float64Array.from(known).sort();
    wanted.push(known[0], last(known), sorted[0], sorted[Math.floor((sorted.length - 1) * 0.98)]);
  }
  const finite = wanted.filter(Number.isFinite);
  if (finite.length === 0) return [0, 5];
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  return high - low > 0.01 ? [low, high] : [low - 0.5, high + 0.5];
}

// Ends are rounded outwards, so that the axis moves seldom and by small whole steps.
function scaleOfLosses([low, high], top, bottom) {
  const step = niceStep(high - low, (bottom - top) / 45);
  if (choices.y === "linear") {
    const rounding = niceStep(high - low, 15);
    const [from, to] = [Math.floor(low / rounding) * rounding, Math.ceil(high / rounding) * rounding];
    return { place: linearScale(from, to, bottom, top), ticks: multiples(step, from, to) };
  }
  const from = 10 ** (Math.floor(Math.log10(Math.max(low, 1e-3)) * 20) / 20);
  const to = 10 ** (Math.ceil(Math.log10(Math.max(high, 2e-3)) * 20) / 20);
  const ticks = to / from < 8 ? multiples(step, from, to) : rungs(from, to);
  return { place: logScale(from, to, bottom, top), ticks };
}

function planFrame(value) {
  const narrow = size.width < NARROW;
  const known = (value.references ?? []).filter((reference) => Number.isFinite(reference.loss));
  const references = known.map(({ label, loss }) => ({ label, loss: loss * unit }));
  const names = narrow ? [""] : [...curves.map((curve) => curve.label), ...references.map((line) => line.label)];
  const margin = LABEL_GAP + 8 + Math.max(...names.concat("").map((name) => widthOf(`${name} 0.00`)));
  const box = { left: 36, top: narrow ? 20 : 10, bottom: size.height - 44, right: size.width - margin };
  const xEnd = endOfX(value.max_steps || 0);
  const x = linearScale(0, xEnd, box.left, box.right);
  const losses = scaleOfLosses(rangeOfLosses(visibleCurves(), references), box.top, box.bottom);
  // Far outside the picture is far enough: browsers draw huge coordinates wrongly.
  const y = (loss) => between(losses.place(loss), box.top - 300, box.bottom + 300);
  const xTicks = multiples(niceStep(xEnd, (box.right - box.left) / (narrow ? 60 : 80)), 0, xEnd);
  return { ...box, narrow, references, x, y, xTicks, yTicks: losses.ticks };
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
function markersAt({ places, losses }, { x, y, top }) {
  let path = "";
  let previous = -Infinity;
  losses.forEach((loss, i) => {
    const [left, height] = [x(places[i]), y(loss)];
    const crowded = left - previous < 14 && i < losses.length - 1;
    if (!Number.isFinite(loss) || !Number.isFinite(left) || crowded || height < top - 4) return;
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
  const height = bottom - top;
  const area = { y: top, width: size.width, height, viewBox: `0 ${top * 10} ${size.width * 10} ${height * 10}` };
  for (const [key, content] of Object.entries(area)) layers.curves.setAttribute(key, content);
  const path = (kind, d, dash = "none") => shape("path", { class: `curve ${kind}`, d, "stroke-dasharray": dash });
  const line = (kind, { places }, losses, dash) => path(kind, pathThrough(places, losses, frame), dash);
  const group = (curve, parts) => coloured(shape("g", {}, ...parts.map((part) => part(curve))), curve.colour);
  const layer = (...parts) => shown.map((curve) => group(curve, parts));
  // All raw lines lie under all smoothed ones, and those under the validation losses.
  layers.curves.replaceChildren(
    ...layer(({ validation }) => path("band", bandAround(validation, frame))),
    ...(choices.raw ? layer(({ training }) => line("raw", training, training.losses)) : []),
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

// Moves labels apart by as little as possible: labels that overlap form a block, centred where its labels want to be.
function spread(labels) {
  const blocks = [];
  for (const label of [...labels].sort((a, b) => a.wanted - b.wanted)) {
    let block = { labels: [label], centre: label.wanted };
    const room = (above) => ((above.labels.length + block.labels.length) * LABEL_HEIGHT) / 2;
    while (blocks.length > 0 && block.centre - last(blocks).centre < room(last(blocks))) {
      const merged = [...blocks.pop().labels, ...block.labels];
      block = { labels: merged, centre: merged.reduce((sum, one) => sum + one.wanted, 0) / merged.length };
    }
    blocks.push(block);
  }
  for (const { labels: stacked, centre } of blocks) {
    const height = (stacked.length - 1) * LABEL_HEIGHT;
    const first = Math.max(frame.top, Math.min(centre - height / 2, frame.bottom - height));
    stacked.forEach((label, i) => { label.y = first + i * LABEL_HEIGHT; });
  }
}

function endLabel(curve) {
  const { training, validation } = curve;
  const loss = lastValidation(curve) ?? last(training.smoothed.filter(Number.isFinite));
  const end = Math.max(last(training.places) ?? 0, last(validation.places) ?? 0);
  if (!Number.isFinite(loss) || !Number.isFinite(end)) return null;
  const wanted = between(frame.y(loss), frame.top, frame.bottom);
  const words = frame.narrow ? ["", fixed(loss, 2)] : [curve.label, ` ${fixed(loss, 2)}`];
  return { curve, words, wanted, x: frame.x(end) + LABEL_GAP };
}

function drawEndLabel({ curve, words: [name, loss], wanted, x, y }) {
  const leader = shape("path", { class: "curve leader", d: `M${x - LABEL_GAP + 4} ${wanted}L${x - 3} ${y}` });
  const text = shape("text", { x, y: y + 4 }, shape("tspan", { class: "name" }, name), loss);
  return coloured(shape("g", { class: "end" }, leader, text), curve.colour);
}

// References are named in the margin, or on their line where the margin is narrow.
function referenceLabel({ label, loss }) {
  const words = [label, ` ${fixed(loss, 2)}`];
  if (frame.narrow) return { words, wanted: frame.y(loss) - 10, x: frame.right - widthOf(words.join("")) };
  return { words, wanted: frame.y(loss), x: frame.right + LABEL_GAP };
}

function drawReferenceLabel({ words, x, y }) {
  return shape("g", { class: "reference" }, shape("text", { x, y: y + 4 }, ...words));
}

// Only labels that lie side by side make room for each other: those of the references and of the curves that have
// come this far, and those of the other curves.
function drawLabels(shown) {
  const ends = shown.map(endLabel).filter(Boolean);
  const references = frame.references.map(referenceLabel);
  const right = (label) => label.x + widthOf(label.words.join(""));
  const beside = (end) => references.some((label) => end.x < right(label) && right(end) > label.x);
  spread([...references, ...ends.filter(beside)]);
  spread(ends.filter((end) => !beside(end)));
  layers.labels.replaceChildren(...references.map(drawReferenceLabel), ...ends.map(drawEndLabel));
}

function draw() {
  if (size.width === 0) return; // in a tab nobody has opened
  const value = props.value ?? {};
  unit = unitOf(value);
  unitChoice.hidden = !value.tokens_per_character;
  curves = (value.series ?? []).map((given) => readCurve(given, value.max_steps || 0));
  frame = planFrame(value);
  const shown = visibleCurves();
  drawAxes(frame);
  drawCurves(shown);
  drawLabels(shown);
  drawCursor();
  drawLegend();
  setText(yTitle, unitChoice.hidden ? "↑ loss (nats per token)" : "↑ loss");
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
  tooltip.hidden = !reached;
  if (!reached) return layers.cursor.replaceChildren();
  const index = nearest(lead.training.steps, step);
  const place = lead.training.places[index];
  const readings = visibleCurves().map((curve) => readingAt(curve, place));
  const x = frame.x(place);
  cursor.x = x;
  const inSight = readings.filter(({ loss }) => Number.isFinite(loss) && frame.y(loss) >= frame.top);
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
  make(tooltip, "div", "hint", cursor.held ? "held: Esc or a click on it lets go" : "click to hold, arrows move");
}

function pointAt(left) {
  const lead = leadingCurve();
  if (!lead) return;
  const place = (left - frame.x(0)) / (frame.x(1) - frame.x(0));
  cursor.step = lead.training.steps[nearest(lead.training.places, place)];
}

// ---- legend and switches ----

function swatch({ colour = "", dash = "none" }, kind = "validation") {
  const marks = [shape("path", { class: `curve ${kind}`, d: "M0 5H32", "stroke-dasharray": dash })];
  if (kind === "validation") marks.push(shape("path", { class: "curve dots", d: "M16 5h0" }));
  return lineSwatch(32, colour, ...marks);
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
  curves.forEach((curve, i) => {
    legendEntries[i].button.setAttribute("aria-pressed", !choices.hidden.has(curve.label));
    setText(legendEntries[i].loss, fixed(lastValidation(curve), 2));
  });
}

function makeChoice(parent, key, name, options) {
  const group = make(parent, "div", "choice");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", name);
  for (const [choice, { hint }] of Object.entries(options)) {
    const button = makeButton(group, choice, () => {
      choices[key] = choice;
      for (const other of group.children) other.setAttribute("aria-pressed", other === button);
      draw();
    });
    button.title = hint;
    button.setAttribute("aria-pressed", choices[key] === choice);
  }
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
const unitChoice = makeChoice(switches, "unit", "unit of the loss", UNITS);
makeChoice(switches, "x", "horizontal axis", X_AXES);
makeChoice(switches, "y", "vertical axis", Y_AXES);
makeRawSwitch(switches);
const { plot, picture, tooltip } = makePlot(
  root, "Loss chart. The left and right arrow keys read out the losses step by step.",
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
};
picture.append(...Object.values(layers));
const foot = make(root, "div", "foot");
const legend = make(foot, "div", "legend");
makeKeyToLines(foot);
const describe = makeDescription(root, plot);
const table = makeTableFold(root, "Validation losses", fillTable);
const spoken = makeSpoken(root);

watchPlot(plot, { isHeld: () => cursor.held, follow, press, letGo, step });
whenSized(plot, size, () => {
  pen.font = `600 13px ${getComputedStyle(root).fontFamily}`;
  draw();
});
watch("value", draw);
