// Of the loss chart: the labels at the ends of the curves and of the grey lines, where none lies on another.

const LABEL_HEIGHT = 17; // px
const LABEL_GAP = 14; // px between the end of a curve and its label
const SAME_END = 40; // px: curves that end this near to each other have their labels in one column

// The newest step at which all these curves have a validation loss: there they can be compared.
function commonStep(shown) {
  const newest = shown.map(({ validation }) => last(validation.steps)).filter(Number.isFinite);
  return newest.length ? Math.min(...newest) : null;
}

// A curve's validation loss at that step, and where it is; of a curve that has none, the end of its training losses.
function namedPoint(curve, step) {
  const { training, validation } = curve;
  const at = validation.steps.findLastIndex((measured) => measured <= step);
  if (at >= 0) return { place: validation.places[at], loss: validation.losses[at] };
  return { place: last(training.places), loss: last(training.smoothed) };
}

function endLabel(curve, step) {
  const { place, loss } = namedPoint(curve, step);
  const end = Math.max(last(curve.training.places) ?? 0, last(curve.validation.places) ?? 0);
  if (!Number.isFinite(loss) || !Number.isFinite(end)) return null;
  const [left, height] = [frame.x(place), frame.y(loss)];
  if (isZoomed() && !isInView(left, height)) return null;
  const number = fixed(loss, frame.digits);
  return {
    curve,
    words: frame.narrow ? ["", number] : [curve.label, ` ${number}`],
    point: isInView(left, height) ? { x: left, y: height } : null, // where the number was measured
    wanted: between(height, frame.top, frame.bottom),
    x: between(frame.x(end), frame.left, frame.right) + LABEL_GAP,
  };
}

function drawEndLabel({ curve, words: [name, loss], point, x, y }) {
  const line = point && { class: "curve leader", d: `M${point.x + 4} ${point.y}L${Math.max(x - 3, point.x + 4)} ${y}` };
  const text = shape("text", { x, y: y + 4 }, shape("tspan", { class: "name" }, name), loss);
  return coloured(shape("g", { class: "end" }, ...(line ? [shape("path", line)] : []), text), curve.colour);
}

// References are named in the margin, or on their line where the margin is narrow.
function referenceLabel({ label, loss }) {
  const words = [label, ` ${fixed(loss, 2)}`];
  const line = frame.y(loss);
  if (frame.narrow) return { words, line, wanted: line - 10, x: frame.right - widthOf(words.join("")) };
  return { words, line, wanted: line, x: frame.right + LABEL_GAP };
}

function drawReferenceLabel({ words, line, x, y }) {
  const moved = !frame.narrow && Math.abs(y - line) > 1;
  const leader = { class: "leader", d: `M${frame.right} ${line}L${x - 3} ${y}` };
  return shape("g", { class: "reference" }, ...(moved ? [shape("path", leader)] : []), shape("text", { x, y: y + 4 }, ...words));
}

// Gives labels that lie above each other their heights `y`: in the order of the heights they want, each a label's
// height from the next, none within a blocked stretch { y, reach }, and together as near as can be to what they want
// (the smallest sum of squares, found label by label over all heights).
function settle(labels, blocked) {
  if (!labels.length) return;
  const ordered = [...labels].sort((a, b) => a.wanted - b.wanted);
  const from = Math.round(frame.top);
  const count = Math.max(Math.round(frame.bottom) - from, ordered.length * LABEL_HEIGHT) + 1;
  const isFree = Array.from({ length: count }, (_, i) => !blocked.some(({ y, reach }) => Math.abs(from + i - y) < reach));
  const best = []; // best[n][i]: { cost, at } of the first n + 1 labels, the last of them at i or above
  for (const [n, { wanted }] of ordered.entries()) {
    best.push([]);
    for (let i = 0; i < count; i += 1) {
      const before = n === 0 ? 0 : (best[n - 1][i - LABEL_HEIGHT]?.cost ?? Infinity);
      const cost = isFree[i] ? before + (from + i - wanted) ** 2 : Infinity;
      const above = best[n][i - 1];
      best[n].push(above && above.cost <= cost ? above : { cost, at: i });
    }
  }
  if (best.at(-1).at(-1).cost === Infinity) return settle(labels, []); // there is no room: they may touch a line
  let limit = count - 1;
  for (let n = ordered.length - 1; n >= 0; n -= 1) {
    const { at } = best[n][limit];
    ordered[n].y = from + at;
    limit = at - LABEL_HEIGHT;
  }
}

const rightOf = (label) => label.x + widthOf(label.words.join(""));
const lieSideBySide = (one, other) => one.x < rightOf(other) && rightOf(one) > other.x;

// Labels in columns: those that would lie on each other are in one.
function columnsOf(labels) {
  const columns = [];
  for (const label of [...labels].sort((a, b) => a.x - b.x)) {
    const column = columns.find((others) => others.some((other) => lieSideBySide(label, other)));
    if (column) column.push(label);
    else columns.push([label]);
  }
  return columns;
}

// The grey lines keep their labels; those of the curves keep clear of these, and of the lines.
function drawLabels(shown) {
  const step = commonStep(shown);
  const references = frame.references.map(referenceLabel);
  settle(references, []);
  const ends = shown.map((curve) => endLabel(curve, step)).filter(Boolean);
  const furthest = Math.max(...ends.map((end) => end.x));
  for (const end of ends) if (furthest - end.x < SAME_END) end.x = furthest;
  const heading = step === null || frame.narrow || !ends.length ? null : { words: [`at step ${grouped(step)}`], x: furthest };
  for (const column of columnsOf(ends)) {
    if (heading && column.some((end) => end.x === furthest)) {
      heading.wanted = Math.min(...column.map((end) => end.wanted)) - LABEL_HEIGHT;
      column.push(heading);
    }
    settle(column, column.flatMap((end) => references.flatMap((label) => [
      ...(lieSideBySide(end, label) ? [{ y: label.y, reach: LABEL_HEIGHT }] : []),
      ...(end.x < frame.right ? [{ y: label.line, reach: LABEL_HEIGHT / 2 + 2 }] : []),
    ])));
  }
  const title = heading && shape("text", { class: "heading", x: heading.x, y: heading.y + 4 }, ...heading.words);
  layers.labels.replaceChildren(
    ...references.map(drawReferenceLabel), ...ends.map(drawEndLabel), ...(title ? [shape("g", { class: "end" }, title)] : []),
  );
}
