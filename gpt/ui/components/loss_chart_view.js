// Of the loss chart: which part of the run and which losses are in view, and where they lie on the picture.

// Shares of what has been trained that are left out on the left. Losses fall fastest at the beginning; without it, the
// axis needs to hold little more than the validation losses, and curves that lay on each other come apart.
const ZOOMS = {
  all: { leftOut: 0, hint: "the whole run (0 or Esc)" },
  "last half": { leftOut: 1 / 2, hint: "the second half, as large as its validation losses allow (+ and −)" },
  "last quarter": { leftOut: 3 / 4, hint: "the last quarter, as large as its validation losses allow (+ and −)" },
};
let dragged = null; // { x: [from, to], y: [from, to] } where a visitor has drawn a frame round what they want to see

const isZoomed = () => dragged !== null || choices.zoom !== "all";

// ---- the horizontal axis ----

const reachedBy = ({ training }) => last(training.places) || 0;

// How far the horizontal axis reaches: to the end of the run, so that it keeps still while the run is under way.
function endOfX(maxSteps) {
  const ends = curves.map((curve) => {
    const reached = reachedBy(curve);
    if (choices.x === "step") return Math.max(maxSteps, reached);
    if (choices.x === "tokens") return Math.max(maxSteps * curve.tokensPerStep || 0, reached);
    return reached * Math.max(1, maxSteps / (last(curve.training.steps) || maxSteps));
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

// Of a run under way the end of a zoomed view moves on by whole steps of the axis, never at every update.
function rangeOfPlaces(maxSteps) {
  const end = endOfX(maxSteps);
  if (dragged) return dragged.x;
  const reached = Math.max(0, ...visibleCurves().map(reachedBy));
  if (choices.zoom === "all" || reached === 0) return [0, end];
  const step = niceStep(reached, 10);
  const to = Math.min(end, Math.ceil(reached / step) * step);
  return [ZOOMS[choices.zoom].leftOut * to, to];
}

// ---- the vertical axis ----

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

// What a zoomed view holds: the validation losses of its part of the run, and where there are none, the smoothed ones.
function rangeOfZoom(shown, [from, to]) {
  const inside = ({ places }, losses) => losses.filter((loss, i) => Number.isFinite(loss) && places[i] >= from && places[i] <= to);
  let losses = shown.flatMap(({ validation }) => inside(validation, validation.losses));
  if (!losses.length) losses = shown.flatMap(({ training }) => inside(training, training.smoothed));
  if (!losses.length) return null;
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const room = Math.max(0.08 * (high - low), 0.01);
  return [low - room, high + room];
}

// Ends are rounded outwards, so that the axis moves seldom and by small whole steps. `loss` is what lies at a height.
function scaleOfLosses([low, high], top, bottom) {
  const step = niceStep(high - low, (bottom - top) / 45);
  const share = (y) => (bottom - y) / (bottom - top);
  if (choices.y === "linear") {
    const rounding = niceStep(high - low, 15);
    const [from, to] = [Math.floor(low / rounding) * rounding, Math.ceil(high / rounding) * rounding];
    const loss = (y) => from + share(y) * (to - from);
    return { place: linearScale(from, to, bottom, top), loss, ticks: multiples(step, from, to) };
  }
  const finer = isZoomed() ? 400 : 20; // parts of a power of ten
  const from = 10 ** (Math.floor(Math.log10(Math.max(low, 1e-3)) * finer) / finer);
  const to = 10 ** (Math.ceil(Math.log10(Math.max(high, 2e-3)) * finer) / finer);
  const ticks = to / from < 8 ? multiples(step, from, to) : rungs(from, to);
  return { place: logScale(from, to, bottom, top), loss: (y) => from * (to / from) ** share(y), ticks };
}

// ---- both ----

// The margin at the right holds the longest label there may be, so that a zoom does not move the picture.
function planFrame(value) {
  const narrow = size.width < NARROW;
  const known = (value.references ?? []).filter((reference) => Number.isFinite(reference.loss));
  const lines = known.map(({ label, loss }) => ({ label, loss: loss * unit }));
  const names = narrow ? [""] : [...curves.map((curve) => curve.label), ...lines.map((line) => line.label)];
  const margin = LABEL_GAP + 8 + Math.max(...names.concat("").map((name) => widthOf(`${name} 0.000`)));
  const box = { left: 44, top: narrow ? 20 : 12, bottom: size.height - 44, right: size.width - margin };
  const shown = visibleCurves();
  const [xFrom, xTo] = rangeOfPlaces(value.max_steps || 0);
  const zoomed = isZoomed() ? (dragged?.y ?? rangeOfZoom(shown, [xFrom, xTo])) : null;
  const losses = scaleOfLosses(zoomed ?? rangeOfLosses(shown, lines), box.top, box.bottom);
  const x = linearScale(xFrom, xTo, box.left, box.right);
  const y = (loss) => between(losses.place(loss), box.top - 300, box.bottom + 300);
  const xTicks = multiples(niceStep(xTo - xFrom, (box.right - box.left) / (narrow ? 60 : 80)), xFrom, xTo);
  const references = lines.filter(({ loss }) => y(loss) >= box.top && y(loss) <= box.bottom);
  const digits = zoomed ? 3 : 2;
  const place = (left) => xFrom + ((left - box.left) / (box.right - box.left)) * (xTo - xFrom);
  return { ...box, narrow, references, x, y, place, loss: losses.loss, xTicks, yTicks: losses.ticks, digits };
}

const isInView = (left, height) =>
  left >= frame.left - 1 && left <= frame.right + 1 && height >= frame.top - 4 && height <= frame.bottom + 4;
