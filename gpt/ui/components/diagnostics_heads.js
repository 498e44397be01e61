// One score of every head of a model at each step that was kept: a thin line a head, its layer told by the shade. The
// steps lie on a scale of log(1 + step), because most of them are early.

const heads = {
  value: null, // what the server has answered
  end: 1, // the last step of the run
  size: { width: 0, height: 0 },
  frame: null,
  at: null, // the place of the step and the number of the head that is looked at: { place, head }
  held: false,
  pointer: 0, // how far down the pointer is
};

function makeHeadsChart(parent) {
  const words = "One line for each head: what it does at each step that was kept.";
  Object.assign(heads, makeCard(parent, "Heads, as they learned", words, fillHeadFigures));
  for (const kind of ["pointermove", "click"]) {
    heads.plot.addEventListener(kind, (event) => {
      heads.pointer = event.clientY - heads.plot.getBoundingClientRect().top;
    });
  }
  watchPlot(heads.plot, {
    isHeld: () => heads.held,
    follow: (left) => pointHeads(left, false),
    press: (left) => (heads.held ? lookAtHead(null, false) : pointHeads(left, true)),
    letGo: () => lookAtHead(null, false),
    step: (direction) => moveHeads(direction, 0),
  });
  heads.plot.addEventListener("keydown", (event) => {
    const [down, right] = arrowOf(event) ?? [0, 0];
    if (down && !right && moveHeads(0, down)) event.preventDefault();
  });
  whenSized(heads.plot, heads.size, drawHeads);
}

// ---- words ----

function headName(number) {
  return `layer ${Math.floor(number / heads.value.heads) + 1}, head ${(number % heads.value.heads) + 1}`;
}

function scoreInWords(score) {
  return score === null ? "–" : `${threeDigits(score)} ${heads.value.unit}`.trim();
}

// Early layers lie near the ink, later ones near the variant's colour: both stand out from the page.
function shaded(part, layer) {
  const share = heads.value.layers === 1 ? 100 : 15 + (85 * layer) / (heads.value.layers - 1);
  part.classList.add("shaded");
  part.style.setProperty("--variant", heads.value.colour);
  part.style.setProperty("--share", `${share.toFixed(0)}%`);
  return part;
}

function shadedAsHead(part, number) {
  return shaded(part, Math.floor(number / heads.value.heads));
}

// ---- drawing ----

function planHeads() {
  const { size, value, end } = heads;
  const known = value.values.flat().filter((score) => score !== null);
  const step = niceStep(Math.max(0.01, ...known), 4);
  const top = Math.ceil(Math.max(0, ...known) / step - 1e-9) * step || step;
  const box = { left: 48, top: 10, right: size.width - 12, bottom: size.height - 44 };
  const along = linearScale(0, Math.log1p(Math.max(end, ...value.steps)), box.left, box.right);
  const y = linearScale(0, top, box.bottom, box.top);
  return { ...box, x: (at) => along(Math.log1p(at)), y, yTicks: multiples(step, 0, top) };
}

// A step's number is left out where it would touch the one before; the last one always stands.
function headTicks({ x }) {
  const { steps } = heads.value;
  let edge = Infinity;
  return [...steps].reverse().map((step) => {
    const words = grouped(step);
    const half = 4 * words.length + 4;
    const isFree = x(step) + half < edge;
    if (isFree) edge = x(step) - half;
    return { x: x(step), words: isFree ? words : "" };
  });
}

function headPath(number) {
  const { x, y } = heads.frame;
  const { steps, values } = heads.value;
  const points = steps.map((step, place) => [x(step), values[place][number] === null ? NaN : y(values[place][number])]);
  return shadedAsHead(shape("path", { class: "head", d: pathThrough(points) }), number);
}

function drawHeads() {
  if (heads.size.width === 0 || !heads.value) return;
  heads.frame = planHeads();
  const { y, yTicks } = heads.frame;
  const left = yTicks.map((tick) => ({ y: y(tick), words: tickNumber(tick) }));
  const count = heads.value.layers * heads.value.heads;
  heads.picture.replaceChildren(
    shape("g", { class: "axes" }, ...axisParts(heads.frame, left, headTicks(heads.frame), "training step, log scale")),
    ...Array.from({ length: count }, (_, number) => headPath(number)),
    shape("g", { class: "cursor" }),
  );
  drawHeadCursor();
  drawHeadLegend();
  heads.table.refresh();
}

function drawHeadLegend() {
  const entries = Array.from({ length: heads.value.layers }, (_, layer) => {
    const entry = node("span", "entry");
    entry.append(shaded(swatchOf({ colour: "" }), layer), `layer ${layer + 1}`);
    return entry;
  });
  heads.legend.replaceChildren(...entries);
}

// ---- one head at one step ----

function lookAtHead(at, held) {
  Object.assign(heads, { at, held });
  drawHeadCursor();
}

function pointHeads(left, held) {
  if (!heads.frame || !heads.value) return;
  const { x, y } = heads.frame;
  const { steps, values } = heads.value;
  const place = nearestPlace(steps.map(x), left);
  const away = values[place].map((score) => (score === null ? Infinity : Math.abs(y(score) - heads.pointer)));
  lookAtHead({ place, head: away.indexOf(Math.min(...away)) }, held);
}

function moveHeads(right, down) {
  if (!heads.frame || !heads.value) return false;
  const { steps, values } = heads.value;
  const before = heads.at ?? { place: steps.length - 1 - right, head: -Math.max(0, down) };
  lookAtHead({ place: clamp(before.place + right, steps.length), head: clamp(before.head + down, values[0].length) }, true);
  heads.spoken.textContent = tableInWords(heads.tooltip);
  return true;
}

function drawHeadCursor() {
  const { at, held, tooltip, frame, value } = heads;
  const layer = heads.picture.querySelector(".cursor");
  tooltip.hidden = !layer || !at || at.place >= value.steps.length;
  layer?.replaceChildren();
  if (tooltip.hidden) return;
  const step = value.steps[at.place];
  const score = value.values[at.place][at.head];
  const line = headPath(at.head);
  line.classList.add("chosen");
  layer.append(crosshairLine(frame, frame.x(step), held), line);
  if (score !== null) {
    const dot = shape("circle", { class: "dot", cx: frame.x(step), cy: frame.y(score), r: 4 });
    layer.append(shadedAsHead(dot, at.head));
  }
  tooltip.replaceChildren();
  const body = makeTable(tooltip, ["", value.name], "", headName(at.head));
  makeRow(body, `step ${grouped(step)}`, [scoreInWords(score)]);
  make(tooltip, "div", "hint", hintOf(held));
  placeBeside(tooltip, frame.x(step), heads.size.width, frame.top);
}

// ---- the figures, and the arrival of an answer ----

function fillHeadFigures(box) {
  box.replaceChildren();
  if (!heads.value) return;
  const { steps, values, name } = heads.value;
  const body = makeTable(box, ["", ...steps.map((step) => `step ${grouped(step)}`)], "numbers", name);
  values[0].forEach((_, number) => makeRow(body, headName(number), values.map((scores) => threeDigits(scores[number]))));
}

// `answer` is null where there is nothing to show, and `message` says why.
function showHeads(answer, message, end) {
  Object.assign(heads, { value: answer, end, frame: answer ? heads.frame : null });
  setText(heads.message, message);
  if (!answer) {
    heads.picture.replaceChildren();
    heads.legend.replaceChildren();
    heads.describe("");
    lookAtHead(null, false);
    return heads.table.refresh();
  }
  setText(heads.words, `One line for each head: ${answer.definition}. Measured on ${answer.text}.`);
  setText(heads.yTitle, `↑ ${answer.name} (${answer.unit || "share of the weight"})`);
  const last = answer.values.at(-1);
  const best = last.reduce((found, score, number) => (score !== null && !(score <= last[found]) ? number : found), 0);
  const highest = `Highest at step ${grouped(answer.steps.at(-1))}: ${headName(best)}, ${scoreInWords(last[best])}.`;
  heads.describe(`${heads.words.textContent} ${highest}`);
  if (heads.at && heads.at.head >= last.length) lookAtHead(null, false);
  drawHeads();
}
