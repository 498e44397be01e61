// A chart of one number by training step, a line for each variant. What a chart is about: { title, explanation, name, yTitle,
// isLog, write, tick, steps and numbers: the names of a curve's lists }; all curves have the same steps.

function makeLineChart(parent, about) {
  const chart = { about, curves: [], end: 1, limit: 0, size: { width: 0, height: 0 }, frame: null, at: null, held: false };
  Object.assign(chart, makeCard(parent, about.title, about.explanation, (box) => fillLineFigures(chart, box)));
  chart.yTitle.textContent = `↑ ${about.yTitle}`;
  watchPlot(chart.plot, {
    isHeld: () => chart.held,
    follow: (left) => pointLines(chart, left, false),
    press: (left) => (chart.held ? lookAtLines(chart, null, false) : pointLines(chart, left, true)),
    letGo: () => lookAtLines(chart, null, false),
    step: (direction, isFast) => stepLines(chart, direction * (isFast ? 10 : 1)),
  });
  whenSized(chart.plot, chart.size, () => drawLines(chart));
  return chart;
}

function stepsOf({ curves, about }) {
  return curves[0]?.[about.steps] ?? [];
}

function rangeOf({ curves, about, limit }) {
  const all = curves.flatMap((curve) => curve[about.numbers]);
  const known = all.filter((number) => number !== null && (!about.isLog || number > 0));
  const wanted = about.isLog && limit > 0 && known.length ? [...known, limit] : known;
  return wanted.length ? [Math.min(...wanted), Math.max(...wanted)] : [0.1, 1];
}

// The vertical axis { from, to, ticks }: of the logarithmic one the ends are rungs, the other begins at 0.
function axisOf(chart) {
  const [low, high] = rangeOf(chart);
  if (!chart.about.isLog) {
    const step = niceStep(Math.max(high, 0.01), 4);
    const to = Math.ceil(high / step - 1e-9) * step || step;
    return { from: 0, to, ticks: multiples(step, 0, to) };
  }
  const from = LADDER.findLast((rung) => rung <= low * 1.001) ?? low;
  const to = Math.max(LADDER.find((rung) => rung >= high * 0.999) ?? high, from * 2);
  const all = rungs(from, to);
  const decades = all.filter((rung) => Math.abs(Math.log10(rung) - Math.round(Math.log10(rung))) < 1e-9);
  return { from, to, ticks: all.length > 6 ? decades : all };
}

function planLines(chart) {
  const { size, end, about } = chart;
  const axis = axisOf(chart);
  const box = { left: 48, top: 10, right: size.width - 12, bottom: size.height - 44 };
  const y = (about.isLog ? logScale : linearScale)(axis.from, axis.to, box.bottom, box.top);
  const x = linearScale(0, end, box.left, box.right);
  const xTicks = multiples(niceStep(end, (box.right - box.left) / 70), 0, end);
  return { ...box, x, y: (number) => (number === null || (about.isLog && number <= 0) ? NaN : y(number)), xTicks, axis };
}

function drawLines(chart) {
  const { about, size, curves, limit, picture } = chart;
  if (size.width === 0) return; // in a fold that nobody has opened
  chart.frame = planLines(chart);
  const { x, y, xTicks, axis, left, right } = chart.frame;
  const yTicks = axis.ticks.map((tick) => ({ y: y(tick), words: about.tick(tick) }));
  const below = xTicks.map((tick) => ({ x: x(tick), words: grouped(tick) }));
  const lines = curves.map((curve) => {
    const points = curve[about.steps].map((step, i) => [x(step), y(curve[about.numbers][i])]);
    const line = shape("path", { class: "curve", d: pathThrough(points), "stroke-dasharray": curve.dash || "none" });
    return coloured(shape("g", {}, line, ...(about.isLog ? [] : dotsAt(points))), curve.colour);
  });
  picture.replaceChildren(
    shape("g", { class: "axes" }, ...axisParts(chart.frame, yTicks, below, "training step")),
    ...(about.isLog && limit > 0 ? limitParts(y(limit), left, right, limit) : []),
    ...lines,
    shape("g", { class: "cursor" }),
  );
  drawLinesCursor(chart);
  const isEmpty = !curves.some((curve) => curve[about.numbers].some((number) => number !== null));
  setText(chart.message, isEmpty ? "It will be drawn here, step by step." : "");
  chart.describe(`${about.explanation} ${linesInWords(chart)}`);
  chart.table.refresh();
}

function linesInWords({ about, curves }) {
  const courses = curves.map((curve) => {
    const points = curve[about.steps].map((step, i) => [step, curve[about.numbers][i]]);
    return courseInWords(curve.label, about.name, points, about.write, (from, to) => `from step ${grouped(from)} to step ${grouped(to)}`);
  });
  return courses.join(" ");
}

function dotsAt(points) {
  return points.filter(([, y]) => Number.isFinite(y)).map(([cx, cy]) => shape("circle", { class: "dot", cx, cy, r: 3 }));
}

function limitParts(y, left, right, limit) {
  return [
    shape("line", { class: "limit", x1: left, x2: right, y1: y, y2: y }),
    shape("text", { class: "from-right", x: right, y: y - 5 }, `cut to ${tickNumber(limit)}`),
  ];
}

// ---- the crosshair ----

function lookAtLines(chart, at, held) {
  Object.assign(chart, { at, held });
  drawLinesCursor(chart);
}

function pointLines(chart, left, held) {
  const steps = stepsOf(chart);
  if (!chart.frame || !steps.length) return;
  const { x } = chart.frame;
  lookAtLines(chart, steps[nearestPlace(steps, (left - x(0)) / (x(1) - x(0)))], held);
}

function stepLines(chart, count) {
  const steps = stepsOf(chart);
  if (!chart.frame || !steps.length) return false;
  const place = chart.at === null ? steps.length - 1 : clamp(nearestPlace(steps, chart.at) + count, steps.length);
  lookAtLines(chart, steps[place], true);
  chart.spoken.textContent = tableInWords(chart.tooltip);
  return true;
}

function drawLinesCursor(chart) {
  const { frame, tooltip, at, held, curves, about } = chart;
  const layer = chart.picture.querySelector(".cursor");
  const place = stepsOf(chart).indexOf(at);
  tooltip.hidden = !layer || place < 0;
  layer?.replaceChildren();
  if (tooltip.hidden) return;
  layer.append(crosshairLine(frame, frame.x(at), held));
  tooltip.replaceChildren();
  const body = makeTable(tooltip, ["", about.name], "", `step ${grouped(at)}`);
  for (const curve of curves) makeRow(body, [swatchOf(curve), curve.label], [about.write(curve[about.numbers][place])]);
  make(tooltip, "div", "hint", hintOf(held));
  placeBeside(tooltip, frame.x(at), chart.size.width, frame.top);
}

// ---- the figures ----

// Rows are only added while the same curves grow, so that whoever reads the table is not disturbed.
function fillLineFigures(chart, box) {
  const { curves, about } = chart;
  const steps = stepsOf(chart);
  const names = JSON.stringify(curves.map(({ label }) => label));
  let body = box.querySelector("tbody");
  if (!body || box.dataset.names !== names || body.children.length > steps.length) {
    box.dataset.names = names;
    box.replaceChildren();
    body = makeTable(box, ["step", ...curves.map(({ label }) => label)], "numbers", about.name);
  }
  for (let i = body.children.length; i < steps.length; i += 1) {
    makeRow(body, grouped(steps[i]), curves.map((curve) => about.write(curve[about.numbers][i])));
  }
}
