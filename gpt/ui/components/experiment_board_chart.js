// One chart of a result: lines over numbers, or rows of dots by name, with error bars and lines to compare with.

const NARROW = 520; // px: below this width ticks are fewer
const CAP = 4; // px, half the width of an error bar's ends
const MOST_DOTS = 40; // points of a curve that are drawn as dots, too
const MARKERS = ["circle", "square", "diamond", "triangle", "down", "plus"];

const isKnown = (number) => number !== null && Number.isFinite(number);

function shortNumber(number) {
  if (number === 0) return "0";
  const digits = Math.max(0, 2 - Math.floor(Math.log10(Math.abs(number))));
  return number.toLocaleString("en-US", { maximumFractionDigits: Math.min(4, digits) }).replace("-", "−");
}

function groupedNumber(number, decimals) {
  const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
  return number.toLocaleString("en-US", digits).replace("-", "−");
}

// A number with its error, where it has one.
function measured(number, error) {
  return isKnown(error) && error > 0 ? withError(number, error, groupedNumber) : shortNumber(number);
}

// Curves of one colour differ by their markers, too.
function markerOf({ variant, others_before: before }) {
  return variant === "other" ? MARKERS[before % MARKERS.length] : "circle";
}

function markerPath(kind, x, y, r = 4) {
  const outlines = {
    square: `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z`,
    diamond: `M${x} ${y - 1.3 * r}L${x + 1.3 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.3 * r} ${y}Z`,
    triangle: `M${x} ${y - 1.2 * r}L${x + 1.2 * r} ${y + r}H${x - 1.2 * r}Z`,
    down: `M${x} ${y + 1.2 * r}L${x + 1.2 * r} ${y - r}H${x - 1.2 * r}Z`,
    plus: `M${x - 1.3 * r} ${y - 1}h${1.3 * r - 1}v${-1.3 * r + 1}h2v${1.3 * r - 1}h${1.3 * r - 1}v2h${-1.3 * r + 1}v${1.3 * r - 1}h-2v${-1.3 * r + 1}h${-1.3 * r + 1}Z`,
    circle: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  };
  return shape("path", { class: "dot", d: outlines[kind] });
}

// ---- axes ----

// Where an axis begins and ends, and its ticks, for numbers that are there.
function planAxis(numbers, scale, range, count) {
  const known = [...numbers, ...(range ?? [])].filter((number) => isKnown(number) && (scale !== "log" || number > 0));
  let [low, high] = known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
  if (scale === "log") {
    const from = LADDER.findLast((tick) => tick <= low * 1.001) ?? low;
    const to = Math.max(LADDER.find((tick) => tick >= high * 0.999) ?? high, from * 2);
    const inside = rungs(from, to);
    return { from, to, ticks: inside.length > count + 2 ? inside.filter((_, i) => i % 3 === 0) : inside };
  }
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  const step = niceStep(high - low, count);
  const [from, to] = [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
  return { from, to, ticks: multiples(step, from, to) };
}

function scaleBy(scale, { from, to }, start, end) {
  return (scale === "log" ? logScale : linearScale)(from, to, start, end);
}

// Where an error bar ends: a share is never less than 0 nor more than 1, however uncertain it is.
function errorEnds({ y_limits: limits }, number, error) {
  const spread = isKnown(error) ? error : 0;
  const ends = [number - spread, number + spread];
  return limits ? ends.map((end) => between(end, ...limits)) : ends;
}

function heightsOf(chart) {
  return chart.curves.flatMap(({ y, error }) =>
    y.flatMap((number, i) => (isKnown(number) ? errorEnds(chart, number, error[i]) : [])),
  );
}

// ---- lines over numbers ----

const NAME_OF_MARK = 16; // px, the height of a line of its words

function planLines(chart, size, extra = []) {
  const area = { left: 52, top: 22 + NAME_OF_MARK * chart.x_marks.length, bottom: size.height - 44, right: size.width - 16 };
  const heights = [...heightsOf(chart), ...chart.y_marks.map(([at]) => at), ...extra];
  const places = [...chart.curves.flatMap(({ x }) => x), ...chart.x_marks.map(([at]) => at)];
  const xs = chart.x_range
    ? { ...planAxis(chart.x_range, chart.x_scale, null, 8), from: chart.x_range[0], to: chart.x_range[1] }
    : planAxis(places, chart.x_scale, null, size.width < NARROW ? 5 : 8);
  if (chart.x_scale === "linear" && !chart.x_range) {
    const known = places.filter(isKnown);
    [xs.from, xs.to] = [Math.min(...known), Math.max(...known, xs.from + 1e-9)]; // no empty margin beside the curves
    xs.ticks = xs.ticks.filter((tick) => tick >= xs.from - 1e-9 && tick <= xs.to + 1e-9);
  }
  const ys = planAxis(heights, chart.y_scale, chart.y_range, 6);
  return {
    ...area, xs, ys,
    x: scaleBy(chart.x_scale, xs, area.left, area.right),
    y: scaleBy(chart.y_scale, ys, area.bottom, area.top),
  };
}

function axesOfLines(chart, frame) {
  const yTicks = frame.ys.ticks.map((tick) => ({ y: frame.y(tick), words: shortNumber(tick), right: "" }));
  const xTicks = frame.xs.ticks
    .filter((tick) => tick >= frame.xs.from * 0.999 && tick <= frame.xs.to * 1.001)
    .map((tick) => ({ x: frame.x(tick), words: shortNumber(tick) }));
  return axisParts(frame, yTicks, xTicks, chart.x_title);
}

function marksOfLines(chart, frame) {
  // Their names stand above the curves, one above the other.
  const upright = chart.x_marks.flatMap(([at, words], i) => {
    const [x, y] = [frame.x(at), frame.top - NAME_OF_MARK * (chart.x_marks.length - i) + 6];
    const isRight = x > (frame.left + frame.right) / 2;
    const place = { class: isRight ? "mark-words end" : "mark-words", x: x + (isRight ? -5 : 5), y };
    return [shape("line", { class: "mark", x1: x, x2: x, y1: y - 10, y2: frame.bottom }), shape("text", place, words)];
  });
  const level = chart.y_marks.flatMap(([at, words]) => {
    const y = frame.y(at);
    return [
      shape("line", { class: "mark", x1: frame.left, x2: frame.right, y1: y, y2: y }),
      shape("text", { class: "mark-words end", x: frame.right, y: y - 5 }, `${words} ${shortNumber(at)}`),
    ];
  });
  return [...upright, ...level];
}

// A line that is broken where a number is missing.
function pathThrough(points, frame) {
  let isDown = false;
  return points.map(([x, y]) => {
    if (!isKnown(y)) { isDown = false; return ""; }
    const piece = `${isDown ? "L" : "M"}${frame.x(x).toFixed(1)} ${frame.y(y).toFixed(1)}`;
    isDown = true;
    return piece;
  }).join("");
}

function curveParts(chart, curve, frame) {
  const points = curve.x.map((x, i) => [x, curve.y[i]]);
  const parts = [shape("path", { class: "curve", d: pathThrough(points, frame), "stroke-dasharray": curve.dash || "none" })];
  curve.x.forEach((at, i) => {
    if (!isKnown(curve.y[i])) return;
    const [x, y] = [frame.x(at), frame.y(curve.y[i])];
    if (isKnown(curve.error[i])) {
      const [low, high] = errorEnds(chart, curve.y[i], curve.error[i]);
      const [top, bottom] = [frame.y(high), frame.y(Math.max(low, frame.ys.from))];
      const cap = curve.x.length <= MOST_DOTS ? CAP : 0;
      parts.push(shape("path", { class: "error-bar", d: `M${x} ${top}V${bottom}M${x - cap} ${top}h${2 * cap}M${x - cap} ${bottom}h${2 * cap}` }));
    }
    if (curve.x.length <= MOST_DOTS) parts.push(markerPath(markerOf(curve), x, y, 3.5));
  });
  return coloured(shape("g", {}, ...parts), curve.colour);
}

// ---- rows of dots ----

const ROW = 34; // px

function drawRows(chart, size, picture) {
  const longest = Math.max(...chart.rows.map((row) => row.length));
  const left = Math.min(24 + 7.2 * longest, size.width * 0.45);
  const area = { left, top: 8, bottom: 8 + ROW * chart.rows.length, right: size.width - 24 };
  const xs = planAxis([...heightsOf(chart), ...chart.y_marks.map(([at]) => at)], chart.y_scale, chart.y_range, size.width < NARROW ? 4 : 7);
  const x = scaleBy(chart.y_scale, xs, area.left, area.right);
  const y = (row) => area.top + ROW * (row + 0.5);
  const grid = xs.ticks.flatMap((tick) => [
    shape("line", { class: "grid", x1: x(tick), x2: x(tick), y1: area.top, y2: area.bottom }),
    shape("text", { class: "x-tick", x: x(tick), y: area.bottom + 18 }, shortNumber(tick)),
  ]);
  const names = chart.rows.map((row, i) => shape("text", { class: "y-tick", x: left - 10, y: y(i) + 4 }, row));
  const marks = chart.y_marks.flatMap(([at, words]) => [
    shape("line", { class: "mark", x1: x(at), x2: x(at), y1: area.top, y2: area.bottom }),
    shape("text", { class: x(at) > size.width / 2 ? "mark-words end" : "mark-words", x: x(at) + (x(at) > size.width / 2 ? -5 : 5), y: area.bottom - 4 }, words),
  ]);
  const alone = chart.curves.length === 1;
  const dots = chart.curves.map((curve) => coloured(shape("g", {}, ...curve.x.flatMap((row, i) => {
    if (!isKnown(curve.y[i])) return [];
    const [at, middle, error] = [x(curve.y[i]), y(row), curve.error[i]];
    const parts = [];
    if (isKnown(error)) {
      const [low, high] = errorEnds(chart, curve.y[i], error).map((end) => x(Math.max(end, xs.from)));
      parts.push(shape("path", { class: "error-bar", d: `M${low} ${middle}H${high}M${low} ${middle - CAP}v${2 * CAP}M${high} ${middle - CAP}v${2 * CAP}` }));
    }
    parts.push(markerPath(markerOf(curve), at, middle));
    if (alone) {
      const isRight = at > (area.left + area.right) / 2;
      parts.push(shape("text", { class: isRight ? "value end" : "value", x: at + (isRight ? -10 : 10), y: middle - 8 }, measured(curve.y[i], error)));
    }
    return parts;
  })), curve.colour));
  const title = shape("text", { class: "from-right", x: area.right, y: area.bottom + 38 }, `${chart.y_title} →`);
  picture.replaceChildren(...grid, ...names, ...marks, ...dots, title);
  return area.bottom + 48;
}

// ---- one chart with its legend and its figures ----

function legendOf(parent, curves, { more = [], hasLines = true } = {}) {
  const legend = make(parent, "ul", "legend");
  for (const curve of [...curves, ...more]) {
    const line = shape("path", { class: "curve", d: "M0 5H36", "stroke-dasharray": curve.dash || "none" });
    const marks = hasLines ? [line] : [];
    if (curve.others_before !== undefined) marks.push(markerPath(markerOf(curve), 18, 5, 3.5));
    make(legend, "li").append(lineSwatch(36, curve.colour, ...marks), node("span", "", curve.label));
  }
  return legend;
}

function tableOf(parent, chart) {
  return makeTableFold(parent, chart.title, (box) => {
    if (box.firstChild) return;
    const body = makeTable(box, [chart.rows.length ? "" : chart.x_title, ...chart.curves.map(({ label }) => label)]);
    for (const at of placesOf(chart)) {
      makeRow(body, chart.rows.length ? chart.rows[at] : shortNumber(at), chart.curves.map((curve) => cellAt(curve, at)));
    }
  });
}

// Curves by where they begin and end; rows of dots by what is largest and smallest.
function chartInWords(chart) {
  if (!chart.rows.length) {
    const along = (from, to) => `(${chart.x_title}: ${shortNumber(from)} to ${shortNumber(to)})`;
    return chart.curves.map((curve) => {
      const points = curve.x.map((x, i) => [x, curve.y[i]]);
      return courseInWords(curve.label, chart.y_title, points, shortNumber, along);
    }).join(" ");
  }
  return chart.curves.flatMap(({ label, x, y }) => {
    const known = x.map((row, i) => [chart.rows[row], y[i]]).filter(([, number]) => isKnown(number)).sort((a, b) => b[1] - a[1]);
    if (!known.length) return [];
    const [most, least] = [known[0], known.at(-1)];
    const named = ([row, number]) => `${shortNumber(number)}, ${row}`;
    const what = chart.curves.length > 1 ? `${label}: ${chart.y_title}` : chart.y_title;
    return known.length > 1 ? [`${what} is largest at ${named(most)}, and smallest at ${named(least)}.`] : [`${what} is ${named(most)}.`];
  }).join(" ");
}

function placesOf({ curves }) {
  return [...new Set(curves.flatMap(({ x }) => x))].sort((a, b) => a - b);
}

function cellAt(curve, at) {
  const place = curve.x.indexOf(at);
  if (place < 0 || !isKnown(curve.y[place])) return "–";
  return measured(curve.y[place], curve.error[place]);
}

// Builds a chart in `parent`. `prediction` is [[x, y], ...] drawn beside the curves, or null.
function makeChart(parent, chart, prediction = null) {
  const frame = make(parent, "section", "chart frame");
  make(frame, "h3", "", chart.title);
  if (!chart.rows.length) make(frame, "div", "y-title", `↑ ${chart.y_title}`);
  const { plot, picture, tooltip } = makePlot(frame, `${chart.title}. The left and right arrow keys read it out.`);
  const spoken = makeSpoken(frame);
  const size = { width: 0, height: 0 };
  let plan = null;
  const look = { at: null, held: false };

  const draw = () => {
    if (!size.width) return;
    if (chart.rows.length) {
      plot.style.height = `${drawRows(chart, size, picture)}px`;
      return;
    }
    plan = planLines(chart, size, (prediction ?? []).map(([, y]) => y));
    const parts = [...axesOfLines(chart, plan), ...marksOfLines(chart, plan), ...chart.curves.map((curve) => curveParts(chart, curve, plan))];
    if (prediction) parts.push(shape("path", { class: "predicted", d: pathThrough(prediction, plan) }));
    picture.replaceChildren(...parts, shape("g", { class: "cursor" }));
    drawCursor();
  };
  const drawCursor = () => {
    const layer = picture.querySelector(".cursor");
    if (!layer) return;
    layer.replaceChildren();
    tooltip.hidden = look.at === null;
    if (look.at === null) return;
    layer.append(crosshairLine(plan, plan.x(look.at), look.held));
    tooltip.replaceChildren();
    const body = makeTable(tooltip, ["", chart.y_title], "", `${chart.x_title}: ${shortNumber(look.at)}`);
    for (const curve of chart.curves) makeRow(body, curve.label, [cellAt(curve, look.at)]);
    placeBeside(tooltip, plan.x(look.at), size.width, 8);
  };
  const lookAt = (at, held) => { Object.assign(look, { at, held }); drawCursor(); };
  const nearest = (left) => placesOf(chart).reduce((best, at) => (Math.abs(plan.x(at) - left) < Math.abs(plan.x(best) - left) ? at : best));
  const canLook = () => plan && placesOf(chart).length;
  watchPlot(plot, {
    isHeld: () => look.held,
    follow: (left) => canLook() && lookAt(nearest(left), false),
    press: (left) => canLook() && (look.held ? lookAt(null, false) : lookAt(nearest(left), true)),
    letGo: () => lookAt(null, false),
    step: (direction) => {
      if (!canLook()) return false;
      const all = placesOf(chart);
      lookAt(all[look.at === null ? 0 : clamp(all.indexOf(look.at) + direction, all.length)], true);
      spoken.textContent = tableInWords(tooltip);
      return true;
    },
  });
  const drawnToo = prediction ? [{ label: "your prediction", dash: "1 5", colour: "var(--ink)" }] : [];
  if (chart.curves.length + drawnToo.length > 1) legendOf(frame, chart.curves, { more: drawnToo, hasLines: !chart.rows.length });
  makeDescription(frame, plot)(chartInWords(chart));
  tableOf(frame, chart);
  whenSized(plot, size, draw);
}
