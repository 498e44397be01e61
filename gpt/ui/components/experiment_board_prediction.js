// What a visitor predicts: one of the sentences, or a curve drawn with a pointer or the arrow keys.

const SAMPLES = 33; // of a drawn curve
const FEWEST = 4; // of them that make a prediction

const emptyCurve = () => Array(SAMPLES).fill(null);

// ---- the address keeps it ----

function addressFields() {
  return new URL(window.location.href).searchParams;
}

function writeAddress(fields) {
  const address = new URL(window.location.href);
  for (const [name, words] of Object.entries(fields)) {
    if (words) address.searchParams.set(name, words);
    else address.searchParams.delete(name);
  }
  window.history.replaceState(window.history.state, "", address);
}

// Heights as whole per cents of the range, a dot where nothing was drawn: "12.13..40".
function curveInWords(curve) {
  return curve.some((height) => height !== null) ? curve.map((height) => (height === null ? "" : Math.round(100 * height))).join(".") : "";
}

function curveFromWords(words) {
  const pieces = (words ?? "").split(".");
  if (pieces.length !== SAMPLES) return emptyCurve();
  return pieces.map((piece) => (/^\d{1,3}$/.test(piece) ? between(Number(piece) / 100, 0, 1) : null));
}

// ---- drawing it ----

// The place of a sample in the drawing's own units.
function sampleAt({ x_range: [low, high], x_scale: scale }, index) {
  const share = index / (SAMPLES - 1);
  return scale === "log" ? low * (high / low) ** share : low + share * (high - low);
}

function curvePoints(drawing, curve) {
  const [low, high] = drawing.y_range;
  return curve.map((height, i) => [sampleAt(drawing, i), height === null ? null : low + height * (high - low)]);
}

// An empty chart to draw on; `changed` is told after each stroke. Returns { redraw }.
function makeDrawing(parent, drawing, curve, changed) {
  const frame = make(parent, "section", "chart frame");
  make(frame, "h3", "", `Draw what you expect of “${drawing.of}”`);
  make(frame, "div", "y-title", `↑ ${drawing.y_title}`);
  const words = "Draw the curve you expect: left and right arrows choose a place, up and down set its height, Delete takes it away.";
  const { plot, picture } = makePlot(frame, words);
  const spoken = makeSpoken(frame);
  const chart = {
    title: "", curves: [], x_marks: [], y_marks: [], rows: [],
    x_title: drawing.x_title, x_scale: drawing.x_scale, x_range: drawing.x_range, y_scale: "linear", y_range: drawing.y_range,
  };
  const size = { width: 0, height: 0 };
  let plan = null;
  let last = null; // the sample that was set last in this stroke
  let at = null; // the sample that the keys set

  const redraw = () => {
    if (!size.width) return;
    plan = planLines(chart, size);
    const parts = [...axesOfLines(chart, plan), shape("path", { class: "predicted", d: pathThrough(curvePoints(drawing, curve), plan) })];
    if (!curve.some((height) => height !== null)) {
      parts.push(shape("text", { class: "hint", x: (plan.left + plan.right) / 2, y: (plan.top + plan.bottom) / 2 }, "draw here"));
    }
    if (at !== null) parts.push(crosshairLine(plan, plan.x(sampleAt(drawing, at)), true));
    picture.replaceChildren(...parts);
  };
  const shareOf = (place, start, end) => between((place - start) / (end - start), 0, 1);
  const set = (event) => {
    const box = plot.getBoundingClientRect();
    const index = Math.round(shareOf(event.clientX - box.left, plan.left, plan.right) * (SAMPLES - 1));
    const height = 1 - shareOf(event.clientY - box.top, plan.top, plan.bottom);
    const from = last ?? { index, height };
    const [first, end] = [Math.min(from.index, index), Math.max(from.index, index)];
    for (let i = first; i <= end; i += 1) {
      const share = index === from.index ? 1 : (i - from.index) / (index - from.index);
      curve[i] = from.height + share * (height - from.height);
    }
    last = { index, height };
    redraw();
  };
  plot.addEventListener("pointerdown", (event) => {
    if (!plan) return;
    plot.setPointerCapture(event.pointerId);
    last = null;
    set(event);
  });
  plot.addEventListener("pointermove", (event) => last && set(event));
  for (const end of ["pointerup", "pointercancel"]) {
    plot.addEventListener(end, () => {
      if (last) changed();
      last = null;
    });
  }
  plot.addEventListener("keydown", (event) => {
    const arrow = arrowOf(event);
    if (!arrow && event.key !== "Delete" && event.key !== "Backspace") return;
    event.preventDefault();
    at ??= 0;
    if (!arrow) curve[at] = null;
    else if (arrow[1]) at = clamp(at + arrow[1], SAMPLES);
    else curve[at] = between((curve[at] ?? curve[Math.max(0, at - 1)] ?? 0.5) - 0.05 * arrow[0], 0, 1);
    const [place, height] = curvePoints(drawing, curve)[at];
    spoken.textContent = `${drawing.x_title} ${shortNumber(place)}: ${height === null ? "nothing drawn" : shortNumber(height)}`;
    redraw();
    changed();
  });
  makeButton(frame, "Rub out", () => {
    curve.fill(null);
    redraw();
    changed();
  }, "quiet");
  whenSized(plot, size, redraw);
  return { redraw };
}
