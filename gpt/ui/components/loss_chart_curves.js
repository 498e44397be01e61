// Of the loss chart: a value as it arrives is made into curves.

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
  return choices.unit === "nats" || !tokens ? 1 : tokens / Math.LN2;
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
