// Draws which keys the queries of one model or two read: all heads small, one head large, for two models the
// difference between their chosen heads, and the same text as each held query reads it. attention_map.py describes
// the value; a byte is 255 times the square root of a weight.
//
// In this order: the rule, the value, words, colours; one map, one model, the difference, the text; what is
// painted when, choosing, the arrival of a value.

const LARGEST_MAP = 512;
const LARGEST_CELL = 128;
const MARGIN = { left: 52, right: 4, top: 4, bottom: 36, bottomUnderWords: 52 };
const SMALLEST_LETTER_CELL = 8;
const SNAP = 5; // pixels: where rows are thinner than letters, the pointer this near to a held row means that row
const LARGEST_UNUSED_BYTE = 7; // bytes up to this one are weights under 0.001
const MOST_HELD = 4;
const MANY_TOKENS = 100; // several strips of longer texts are set smaller
const SECOND_DASH = [5, 3];
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }; // [query, key]

// What the reader has chosen; it outlives a new value as long as it fits that value.
const state = {
  chosen: [{ layer: 0, head: 0 }, { layer: 0, head: 0 }], // the large head of each model
  sameHead: true,
  held: [], // queries that a click or a key chose and that stay, the oldest first; arrows move the last
  resting: false, // the last held query was told to stay: the next arrow holds another
  pointed: null, // { query, key, map or letter }, the cell under the pointer; `key` is null where it has only a query
  maskOnly: false,
  linear: false,
};
const views = []; // one for each model
let difference = null; // the third map, where there are two models
let readings = []; // for each query that is shown, a strip of text for each model
let colours = null;
let edition = 0; // counts what changes the look of all strips
let paintedWidth = 0;
let arrivals = 0;

// ---- the rule: which keys a query may read, always one unbroken run around the query itself ----

function firstKey({ window }, query) {
  return window === null ? 0 : Math.max(0, query - window + 1);
}

function lastKey({ window, causal, length }, query) {
  if (causal) return query;
  return window === null ? length - 1 : Math.min(length - 1, query + window - 1);
}

function verdict(rule, query, key) {
  if (rule.causal && key > query) return "future";
  return key < firstKey(rule, query) || key > lastKey(rule, query) ? "window" : "allowed";
}

function isNarrow({ window, length }) {
  return window !== null && window < length;
}

// Visits every allowed cell, in the order in which the bytes of a head arrive.
function eachCell(rule, visit) {
  for (let query = 0, at = 0; query < rule.length; query++) {
    const last = lastKey(rule, query);
    for (let key = firstKey(rule, query); key <= last; key++) visit(query, key, at++);
  }
}

// The run of keys that at least one of the rules allows; all runs hold the query, so there is no gap in it.
function runOf(rules, query) {
  const first = Math.min(...rules.map((rule) => firstKey(rule, query)));
  return { first, last: Math.max(...rules.map((rule) => lastKey(rule, query))) };
}

// What no rule allows lies in two corners of the map: keys before the run (side -1) and keys after it (side 1).
// A corner is a triangle with legs of so many cells.
function corners(rules) {
  const { length } = rules[0];
  const windows = [...new Set(rules.map((rule) => rule.window))];
  const outside = windows.length === 1 ? `outside the window of ${windows[0]}` : "outside both windows";
  const found = [];
  if (rules.every(isNarrow)) {
    found.push({ side: -1, kind: "window", name: outside, legs: length - Math.max(...windows) });
  }
  if (rules.every((rule) => rule.causal || isNarrow(rule))) {
    const causal = rules.filter((rule) => rule.causal).length;
    const legs = length - Math.max(...rules.map((rule) => (rule.causal ? 1 : rule.window)));
    const name = causal === rules.length ? "the future" : causal ? "forbidden in both" : outside;
    found.push({ side: 1, kind: causal ? "future" : "window", name, legs });
  }
  return found;
}

// ---- the value: unpacked, and checked against the rule ----

async function inflate(base64) {
  const binary = atob(base64);
  const zipped = new Uint8Array(binary.length);
  for (let at = 0; at < zipped.length; at++) zipped[at] = binary.charCodeAt(at);
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A picture is a model of the value with its weights unpacked: `bytes` has `cells` of them for each head, and the
// row of a query starts at `rowStarts[query]`.
function withRows(model) {
  const picture = { ...model, length: model.tokens.length, rowStarts: [], cells: 0 };
  for (let query = 0; query < picture.length; query++) {
    picture.rowStarts.push(picture.cells);
    picture.cells += lastKey(picture, query) - firstKey(picture, query) + 1;
  }
  return picture;
}

async function unpack(model) {
  const picture = withRows(model);
  picture.bytes = await inflate(model.weights).catch(() => new Uint8Array(0));
  const needed = picture.layers * picture.heads * picture.cells;
  if (picture.bytes.length === needed && needed > 0) return picture;
  const window = model.window === null ? "no window" : `a window of ${model.window}`;
  throw new Error(
    `This attention map cannot be drawn: ${picture.bytes.length} weights arrived, but ${model.layers} ` +
      `layers of ${model.heads} heads over ${picture.length} tokens with ${window} have ${needed}. ` +
      "Show it again, or reload the page.",
  );
}

function sketchedPicture() {
  const model = { tokens: Array(24).fill("·"), layers: 4, heads: 4, kv_heads: 4, window: 8, causal: true };
  const picture = withRows({ ...model, label: "", colour: "var(--variant-other)" });
  picture.bytes = new Uint8Array(16 * picture.cells).map((_, cell) => 200 * Math.sin(cell * cell) ** 4);
  return picture;
}

function hasHead({ layers, heads }, layer, head) {
  const within = (number, count) => Number.isInteger(number) && number >= 0 && number < count;
  return within(layer, layers) && within(head, heads);
}

function bytesOf({ bytes, heads, cells }, { layer, head }) {
  return bytes.subarray((layer * heads + head) * cells, (layer * heads + head + 1) * cells);
}

// The byte of a cell in a head's bytes; 0 where the model may not read.
function byteAt(picture, bytes, query, key) {
  if (verdict(picture, query, key) !== "allowed") return 0;
  return bytes[picture.rowStarts[query] + key - firstKey(picture, query)];
}

function weightOf(byte) {
  return (byte / 255) ** 2;
}

// ---- words ----

// A byte is right to half a step, which leaves a weight uncertain by its square root / 255 to either side.
function digitsFor(...bytes) {
  const uncertainty = bytes.reduce((sum, byte) => sum + (2 * byte) / 255 ** 2, 0);
  return Math.min(4, Math.floor(-Math.log10(uncertainty)));
}

function ruleInWords(picture, query) {
  const { window, causal, layers } = picture;
  const [first, last] = [firstKey(picture, query), lastKey(picture, query)];
  const range = first === last ? `only token ${first}` : `tokens ${first} to ${last}`;
  const sides = causal ? 1 : 2;
  const mask = window === null ? "No window" : `Window of ${window}${causal ? "" : " to both sides"}`;
  const future = causal ? "" : " and no causal mask, so the future may be read";
  const sentence = `${mask}${future}: token ${query} may read ${range}.`;
  if (window === null) return sentence;
  const reach = sides * layers * (window - 1) + 1;
  const sum = `${causal ? "" : "2 × "}${layers} × (${window} − 1) + 1 = ${reach} token${reach === 1 ? "" : "s"}`;
  return `${sentence} ${layers === 1 ? "1 layer reaches" : `${layers} layers reach`} ${sum}.`;
}

function verdictInWords(picture, chosen, query, key) {
  const kind = verdict(picture, query, key);
  if (kind === "future") return "forbidden: the future";
  if (kind === "window") return `forbidden: outside the window of ${picture.window}`;
  if (state.maskOnly) return "allowed";
  const byte = byteAt(picture, bytesOf(picture, chosen), query, key);
  if (byte <= LARGEST_UNUSED_BYTE) return "allowed, unused (weight < 0.001)";
  return `weight ${weightOf(byte).toFixed(digitsFor(byte))}`;
}

function differenceInWords(query, key) {
  const kinds = views.map(({ picture }) => verdict(picture, query, key));
  if (!kinds.includes("allowed")) return "forbidden in both: no difference";
  if (state.maskOnly) return kinds[0] === kinds[1] ? "allowed in both" : "allowed in one only";
  const bytes = views.map(({ picture, chosen }) => byteAt(picture, bytesOf(picture, chosen), query, key));
  if (Math.max(...bytes) <= LARGEST_UNUSED_BYTE) return "difference under 0.001";
  const amount = weightOf(bytes[0]) - weightOf(bytes[1]);
  const digits = Math.abs(amount).toFixed(digitsFor(...bytes));
  const sign = Number(digits) === 0 ? "" : amount < 0 ? "−" : "+";
  const counted = kinds[0] === kinds[1] ? "" : ", as a forbidden cell counts as 0";
  return `difference ${sign}${digits}${counted}`;
}

function distanceInWords(query, key) {
  if (query === key) return "distance 0, itself";
  return `distance ${Math.abs(query - key)}, ${key < query ? "before" : "after"} the query`;
}

function titleInWords({ heads, kv_heads }, { layer, head }) {
  const shared = kv_heads < heads ? `, reads KV ${Math.floor((head * kv_heads) / heads)}` : "";
  return `layer ${layer + 1}, head ${head + 1}${shared}`;
}

function tokenInWords(position) {
  return `${position} “${shortToken(views[0].picture.tokens[position])}”`;
}

function listInWords(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

function hintInWords() {
  const { held, resting } = state;
  if (!held.length) return `Point at a token to see what it reads; a click holds it, up to ${MOST_HELD}.`;
  const verb = held.length === 1 ? "is" : "are";
  const words = `Token${held.length === 1 ? "" : "s"} ${listInWords(held.map(tokenInWords))} ${verb} held.`;
  return resting ? `${words} Arrow keys place another.` : words;
}

// Two models may bear the same name, such as one model at two steps of its training.
function nameOf(view) {
  const isTwin = views.length > 1 && views[0].picture.label === views[1].picture.label;
  return isTwin ? `${view.picture.label} (${["first", "second"][view.index]})` : view.picture.label;
}

// ---- colours: read from the page, again whenever it turns dark or light ----

function pixelOf(colour) {
  return new Uint32Array(Uint8Array.of(...colour, 255).buffer)[0];
}

function readColours() {
  const style = getComputedStyle(root);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["attention-none", "attention-full", "hatch-future", "hatch-window", "paper", "quiet"];
  const [none, full, future, window, paper, grey] = names.map((name) => channels(named(name)));
  const [ink, quiet, panel] = ["ink", "quiet", "panel"].map(named);
  const [sans, monospace] = [style.fontFamily, named("monospace")];
  const variants = views.map(({ mapPanel }) => getComputedStyle(mapPanel).getPropertyValue("--variant").trim());
  const brightness = (colour) => colour[0] + colour[1] + colour[2];
  const [dark, light] = [none, channels(ink)].sort((a, b) => brightness(a) - brightness(b));
  const level = (share) => (state.linear ? share * share : share); // of the square root of a weight
  const ramp = Array.from({ length: 256 }, (_, byte) => mix(none, full, level(byte / 255)));
  colours = { ink, quiet, panel, sans, monospace, variants, hatch: { future, window } };
  colours.ramp = ramp.map((colour) => css(colour));
  colours.onRamp = ramp.map((colour) => css(brightness(colour) > 3 * 118 ? dark : light));
  colours.pixels = Uint32Array.from(ramp, pixelOf);
  colours.tints = { future: pixelOf(mix(none, future, 0.4)), window: pixelOf(mix(none, window, 0.4)) };
  colours.mayRead = variants.map((colour) => pixelOf(mix(none, channels(colour), 0.22)));
  if (variants.length < 2) return;
  colours.areAlike = variants[0] === variants[1];
  colours.signs = colours.areAlike ? [named("variant-gpt2"), named("variant-modern")] : variants;
  const [first, second] = colours.signs.map(channels);
  const end = (place) => (place < 255 ? second : first);
  colours.differences = Uint32Array.from({ length: 511 }, (_, place) =>
    pixelOf(mix(paper, end(place), level(Math.abs(place - 255) / 255))),
  );
  colours.whoMayRead = [first, second, grey].map((colour) => pixelOf(mix(paper, colour, 0.35)));
}

// ---- the page's parts that every value needs, made once ----

const root = element.querySelector(".attention-map");
const stage = make(root, "div", "stage");
const tooltip = make(root, "div", "tooltip");
const notice = make(root, "p", "notice");
tooltip.setAttribute("role", "status");
tooltip.hidden = true;

const switches = make(stage, "div", "switches");
const sameSwitch = makeSwitch(switches, "same head", () => changeView({ sameHead: !state.sameHead }));
sameSwitch.title = "choosing a head of one model chooses the same one of the other";
const maskSwitch = makeSwitch(switches, "mask only", () => changeView({ maskOnly: !state.maskOnly }));
const scale = make(switches, "div", "scale");
make(scale, "span", "scale-name", "scale");
const rootSwitch = makeSwitch(scale, "square root", () => changeView({ linear: false }));
const linearSwitch = makeSwitch(scale, "linear", () => changeView({ linear: true }));

const legend = make(stage, "div", "legend");
const words = make(stage, "div", "words");
const hint = make(words, "div", "hint");
const hintWords = make(hint, "span");
const letGoButton = makeSwitch(hint, "let go", letGo);
const readingList = make(words, "div", "readings");

function nameKeyboardPlace(part, name) {
  part.tabIndex = 0;
  part.setAttribute("role", "application");
  part.setAttribute("aria-label", `${name}: arrow keys move, Enter holds another, Escape lets go`);
}

// ---- one map: three sheets of glass, so that a change redraws only one of them ----
// `cells` has a pixel for each cell; `mask` has what is forbidden, and the axes; `crosshair` has what is chosen.
// The map of the difference has two models, each other one has one.

function makeMap(parent, models) {
  const frame = make(parent, "div", "frame");
  const [cells, mask, crosshair] = ["cells", "mask", "crosshair"].map((name) => make(frame, "canvas", name));
  const map = { models, frame, cells, mask, crosshair, place: null };
  frame.addEventListener("pointermove", (event) => point(cellUnder(map, event)));
  frame.addEventListener("pointerleave", leave);
  frame.addEventListener("click", (event) => clickCell(cellUnder(map, event)));
  frame.addEventListener("keydown", (event) => moveCell(map, event));
  return map;
}

function rulesOf({ models }) {
  return models.map(({ picture }) => picture);
}

function placeMap(map) {
  const { length } = views[0].picture;
  const room = Math.min(LARGEST_MAP, map.frame.clientWidth - MARGIN.left - MARGIN.right, LARGEST_CELL * length);
  const whole = (Math.floor((room * devicePixelRatio) / length) * length) / devicePixelRatio;
  const size = whole > 0.85 * room ? whole : Math.max(room, 1); // whole pixels where that costs little
  const cell = size / length;
  const letters = cell >= SMALLEST_LETTER_CELL;
  const upright = !letters || views[0].picture.tokens.every((token) => token.length < 2); // the keys' labels
  const bottom = upright ? MARGIN.bottom : MARGIN.bottomUnderWords;
  map.place = { size, cell, letters, upright, bottom };
  map.cells.style.cssText = `left: ${MARGIN.left}px; top: ${MARGIN.top}px; width: ${size}px; height: ${size}px;`;
  map.cells.style.imageRendering = cell * devicePixelRatio < 1 ? "auto" : "pixelated";
  const [width, height] = [MARGIN.left + size + MARGIN.right, MARGIN.top + size + bottom];
  for (const canvas of [map.mask, map.crosshair]) {
    canvas.width = Math.round(width * devicePixelRatio);
    canvas.height = Math.round(height * devicePixelRatio);
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  }
}

// A clean sheet, and a brush whose origin is the map's upper left corner, in CSS pixels.
function brushFor(canvas) {
  const brush = canvas.getContext("2d");
  brush.resetTransform();
  brush.clearRect(0, 0, canvas.width, canvas.height);
  brush.scale(devicePixelRatio, devicePixelRatio);
  brush.translate(MARGIN.left, MARGIN.top);
  return brush;
}

// Fills a canvas of side x side pixels; pixels that `fill` leaves at 0 stay transparent.
function paintPixels(canvas, side, fill) {
  const image = new ImageData(side, side);
  fill(new Uint32Array(image.data.buffer));
  canvas.width = canvas.height = side;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function write(brush, words, x, y, align = "center") {
  brush.textAlign = align;
  brush.textBaseline = "middle";
  brush.fillText(words, x, y);
}

function drawMask(map) {
  placeMap(map);
  const brush = brushFor(map.mask);
  for (const corner of corners(rulesOf(map))) {
    hatch(brush, map, corner);
    nameCorner(brush, map, corner);
  }
  map.models.forEach((view) => drawEdge(brush, map, view));
  if (rulesOf(map).every(({ causal }) => !causal)) drawPresent(brush, map);
  drawAxes(brush, map);
}

// Future: grey lines that fall. Outside the window: warm lines that rise.
function hatch(brush, map, { side, kind }) {
  const { size, cell } = map.place;
  const rules = rulesOf(map);
  const region = new Path2D();
  for (let query = 0; query < rules[0].length; query++) {
    const { first, last } = runOf(rules, query);
    const [from, to] = side < 0 ? [0, first * cell] : [(last + 1) * cell, size];
    region.rect(from, query * cell, to - from, cell);
  }
  brush.fillStyle = css(colours.hatch[kind], 0.22);
  brush.fill(region);
  brush.fillStyle = hatchPattern(brush, kind);
  brush.fill(region);
}

function hatchPattern(brush, kind) {
  const side = Math.round(8 * devicePixelRatio);
  const tile = new OffscreenCanvas(side, side);
  const pen = tile.getContext("2d");
  const slope = kind === "future" ? 1 : -1;
  pen.strokeStyle = css(colours.hatch[kind]);
  pen.lineWidth = 1.1 * devicePixelRatio;
  for (const start of [-side, 0, side, 2 * side]) {
    pen.moveTo(start - side, -slope * side);
    pen.lineTo(start + 2 * side, 2 * slope * side);
  }
  pen.stroke();
  const pattern = brush.createPattern(tile, "repeat");
  pattern.setTransform(new DOMMatrix().scale(8 / side));
  return pattern;
}

// In one line or two, if the triangle has room for them.
function nameCorner(brush, { place }, { side, name, legs }) {
  const leg = legs * place.cell;
  const words = name.split(" ");
  const half = Math.floor(words.length / 2);
  const two = [words.slice(0, half).join(" "), words.slice(half).join(" ")];
  brush.font = `13px ${colours.sans}`;
  const widthOf = (lines) => Math.max(...lines.map((line) => brush.measureText(line).width)) + 12;
  const heightOf = (lines) => 18 * lines.length + 4;
  const lines = [[name], two].find((lines) => widthOf(lines) + heightOf(lines) < (2 / 3) * leg);
  if (!lines) return;
  const [width, height] = [widthOf(lines), heightOf(lines)];
  const x = place.size / 2 + side * (place.size / 2 - leg / 3);
  const y = place.size / 2 - side * (place.size / 2 - leg / 3);
  brush.fillStyle = colours.panel;
  brush.beginPath();
  brush.roundRect(x - width / 2, y - height / 2, width, height, 3);
  brush.fill();
  brush.fillStyle = colours.ink;
  lines.forEach((line, index) => write(brush, line, x, y + 18 * (index - (lines.length - 1) / 2)));
}

// The edge of what a model may read, in its colour; dashed for the second model.
function drawEdge(brush, { place, models }, { picture, index }) {
  const { cell } = place;
  const edge = new Path2D();
  for (let query = 0; query < picture.length; query++) {
    edge.lineTo(firstKey(picture, query) * cell, query * cell);
    edge.lineTo(firstKey(picture, query) * cell, (query + 1) * cell);
  }
  for (let query = picture.length - 1; query >= 0; query--) {
    edge.lineTo((lastKey(picture, query) + 1) * cell, (query + 1) * cell);
    edge.lineTo((lastKey(picture, query) + 1) * cell, query * cell);
  }
  edge.closePath();
  brush.strokeStyle = (models.length > 1 ? colours.signs : colours.variants)[index];
  brush.lineWidth = 1.5;
  brush.setLineDash(index ? SECOND_DASH : []);
  brush.stroke(edge);
  brush.setLineDash([]);
}

// Without a causal mask, dashes mark where the present is.
function drawPresent(brush, { place }) {
  brush.strokeStyle = colours.quiet;
  brush.setLineDash([6, 4]);
  brush.beginPath();
  brush.moveTo(0, 0);
  brush.lineTo(place.size, place.size);
  brush.stroke();
  brush.setLineDash([]);
}

function drawAxes(brush, map) {
  const { size, cell, letters, bottom } = map.place;
  const step = letters ? 1 : [8, 16, 32, 64, 128, 256].find((ticks) => ticks * cell >= 48) ?? 512;
  for (let position = 0; position < views[0].picture.length; position += step) {
    drawTick(brush, map, "key", position, colours.quiet);
    drawTick(brush, map, "query", position, colours.quiet);
  }
  brush.font = `13px ${colours.sans}`;
  brush.fillStyle = colours.quiet;
  const middle = Math.max(size / 2, 70);
  write(brush, "key (what is read)", middle, size + bottom - 9);
  brush.save();
  brush.translate(9 - MARGIN.left, middle);
  brush.rotate(-Math.PI / 2);
  write(brush, "query (who reads)", 0, 0);
  brush.restore();
}

function drawTick(brush, map, axis, position, colour, boxed = false) {
  const { size, cell, letters } = map.place;
  const label = letters ? shortToken(views[0].picture.tokens[position]) : `${position}`;
  const upright = axis === "query" || map.place.upright;
  brush.save();
  brush.font = `${boxed ? "bold " : ""}11px ${colours.monospace}`;
  const middle = (position + 0.5) * cell;
  if (axis === "query") brush.translate(-5, middle);
  else brush.translate(middle, size + (upright ? 10 : 4));
  if (!upright) brush.rotate(-Math.PI / 2);
  const align = axis === "key" && upright ? "center" : "right";
  if (boxed) {
    const width = brush.measureText(label).width + 6;
    brush.fillStyle = colours.panel;
    brush.strokeStyle = colour;
    brush.lineWidth = 1.5;
    brush.beginPath();
    brush.roundRect(align === "center" ? -width / 2 : 3 - width, -8, width, 15, 2);
    brush.fill();
    brush.stroke();
  }
  brush.fillStyle = boxed ? colours.ink : colour;
  write(brush, label, 0, 0, align);
  brush.restore();
}

// The queries that are shown are outlined; the pointed cell has lines that lead to both axes.
function drawCrosshair(map) {
  const { size, cell } = map.place;
  const colour = map.models.length > 1 ? colours.ink : colours.variants[map.models[0].index];
  const brush = brushFor(map.crosshair);
  const box = (column, columns, row) =>
    brush.strokeRect(column * cell - 2, row * cell - 2, columns * cell + 4, cell + 4);
  const lines = (query, key) => {
    brush.fillStyle = colours.ink;
    brush.globalAlpha = 0.3;
    for (const edge of [query * cell - 1, (query + 1) * cell]) brush.fillRect(0, edge, size, 1);
    for (const edge of [key * cell - 1, (key + 1) * cell]) if (key !== null) brush.fillRect(edge, 0, 1, size);
    brush.globalAlpha = 1;
  };
  const { query, key } = state.pointed ?? { query: mainQuery(), key: null };
  lines(query, key);
  brush.lineWidth = 2;
  for (const shown of shownQueries()) {
    const { first, last } = runOf(rulesOf(map), shown);
    brush.strokeStyle = colour;
    box(first, last - first + 1, shown);
    drawTick(brush, map, "query", shown, colour, true);
  }
  if (key === null) return;
  brush.strokeStyle = colours.ink;
  box(key, 1, query);
  drawTick(brush, map, "key", key, colours.ink, true);
  if (!shownQueries().includes(query)) drawTick(brush, map, "query", query, colours.ink, true);
}

// ---- one model: its name, all its heads, and the chosen one large ----

function makeModelView(index) {
  const side = ["first", "second"][index];
  const view = { index, picture: {}, chosen: state.chosen[index], thumbnails: [] };
  view.headPanel = make(stage, "div", `head-panel ${side}`);
  view.name = make(view.headPanel, "div", "variant-name");
  view.headGrid = make(view.headPanel, "div", "heads");
  view.headGrid.setAttribute("role", "group");
  view.mapPanel = make(stage, "div", `map-panel ${side}`);
  view.toolbar = make(view.mapPanel, "div", "toolbar");
  view.title = make(view.toolbar, "div", "map-title");
  view.map = makeMap(view.mapPanel, [view]);
  view.rule = make(view.headPanel, "p", "rule");
  view.panels = [view.headPanel, view.mapPanel];
  return view;
}

function fillModelView(view, picture) {
  const before = view.picture;
  view.picture = picture;
  for (const panel of view.panels) panel.style.setProperty("--variant", picture.colour);
  if (["layers", "heads", "kv_heads"].some((name) => before[name] !== picture[name])) buildHeads(view);
  if (!hasHead(picture, view.chosen.layer, view.chosen.head)) Object.assign(view.chosen, { layer: 0, head: 0 });
}

function nameModelView(view) {
  const model = views.length > 1 ? ` of ${nameOf(view)}` : "";
  view.name.textContent = nameOf(view);
  view.headGrid.setAttribute("aria-label", `Heads${model}: arrow keys choose`);
  nameKeyboardPlace(view.map.frame, `Attention map${model}`);
}

function buildHeads(view) {
  const { headGrid, picture } = view;
  const { layers, heads, kv_heads } = picture;
  headGrid.replaceChildren();
  headGrid.style.setProperty("--heads", heads);
  headGrid.style.setProperty("--layers", layers);
  make(headGrid, "div", "layer-name", "head");
  for (let head = 0; head < heads; head++) make(headGrid, "div", "head-name", `${head + 1}`);
  view.thumbnails = [];
  for (let layer = 0; layer < layers; layer++) {
    make(headGrid, "div", "layer-name", `layer ${layer + 1}`);
    for (let head = 0; head < heads; head++) view.thumbnails.push(makeThumbnail(view, layer, head));
  }
  if (kv_heads === heads) return;
  const shared = heads / kv_heads;
  for (let group = 0; group < kv_heads; group++) {
    const bracket = make(headGrid, "div", "kv-name", `KV ${group}`);
    bracket.style.gridColumn = `${2 + group * shared} / span ${shared}`;
  }
}

function makeThumbnail(view, layer, head) {
  const button = make(view.headGrid, "button", "thumbnail");
  button.type = "button";
  button.setAttribute("aria-label", `layer ${layer + 1}, head ${head + 1}`);
  button.addEventListener("click", () => readerChooses(view, layer, head));
  button.addEventListener("keydown", (event) => moveHead(view, event));
  make(button, "canvas");
  return button;
}

// A thumbnail has fewer pixels than cells: each pixel shows its strongest cell, and a thin diagonal survives.
function drawThumbnails({ picture, thumbnails }) {
  const { length, heads, causal } = picture;
  const side = Math.min(length, Math.max(8, Math.round(thumbnails[0].clientWidth * devicePixelRatio)));
  const pixelAt = Uint16Array.from({ length }, (_, position) => Math.floor((position * side) / length));
  thumbnails.forEach((button, index) => {
    const bytes = bytesOf(picture, { layer: Math.floor(index / heads), head: index % heads });
    const strongest = new Int16Array(side * side).fill(-1);
    eachCell(picture, (query, key, at) => {
      const pixel = pixelAt[query] * side + pixelAt[key];
      if (bytes[at] > strongest[pixel]) strongest[pixel] = bytes[at];
    });
    paintPixels(button.firstChild, side, (pixels) => {
      strongest.forEach((byte, pixel) => {
        const isFuture = causal && pixel % side > Math.floor(pixel / side);
        const tint = isFuture ? colours.tints.future : colours.tints.window;
        pixels[pixel] = byte < 0 ? tint : colours.pixels[byte];
      });
    });
  });
}

function drawCells({ index, picture, chosen, map }) {
  const bytes = bytesOf(picture, chosen);
  paintPixels(map.cells, picture.length, (pixels) => {
    eachCell(picture, (query, key, at) => {
      const pixel = state.maskOnly ? colours.mayRead[index] : colours.pixels[bytes[at]];
      pixels[query * picture.length + key] = pixel;
    });
  });
}

function paintHeadChoice({ picture, chosen, title, thumbnails }) {
  title.textContent = titleInWords(picture, chosen);
  thumbnails.forEach((button, index) => {
    const isChosen = index === chosen.layer * picture.heads + chosen.head;
    button.setAttribute("aria-pressed", isChosen);
    button.tabIndex = isChosen ? 0 : -1;
  });
}

// ---- the difference: the first model's head minus the second's ----

function makeDifference() {
  const panel = make(stage, "div", "map-panel difference");
  const title = make(make(panel, "div", "toolbar"), "div", "map-title");
  const map = makeMap(panel, views);
  nameKeyboardPlace(map.frame, "Map of the difference");
  return { panel, title, map };
}

function drawDifference() {
  const pictures = rulesOf(difference.map);
  const bytes = views.map(({ picture, chosen }) => bytesOf(picture, chosen));
  const weightAt = (model, query, key) => weightOf(byteAt(pictures[model], bytes[model], query, key));
  const { length } = pictures[0];
  paintPixels(difference.map.cells, length, (pixels) => {
    for (let query = 0; query < length; query++) {
      const { first, last } = runOf(pictures, query);
      for (let key = first; key <= last; key++) {
        pixels[query * length + key] = state.maskOnly
          ? sharedMaskPixel(query, key)
          : differencePixel(weightAt(0, query, key) - weightAt(1, query, key));
      }
    }
  });
}

// As for weights, equal steps of colour are equal steps of the square root.
function differencePixel(amount) {
  return colours.differences[255 + Math.sign(amount) * Math.round(255 * Math.sqrt(Math.abs(amount)))];
}

function sharedMaskPixel(query, key) {
  const [first, second] = views.map(({ picture }) => verdict(picture, query, key) === "allowed");
  return colours.whoMayRead[first && second ? 2 : first ? 0 : 1];
}

function drawDifferenceTitle() {
  difference.title.replaceChildren();
  views.forEach((view, index) => {
    if (index) make(difference.title, "span", "minus", " − ");
    const name = make(difference.title, "span", "chip", nameOf(view));
    name.style.setProperty("--variant", colours.signs[index]);
  });
  difference.title.title = difference.title.textContent;
}

// ---- the text, as a query reads it ----

function makeStrip(view) {
  const panel = make(readingList, "div", "reading");
  const strip = { view, panel, query: null, edition: 0, looks: [], pointed: null };
  strip.heading = make(panel, "div", "reading-name");
  strip.box = make(panel, "div", "text");
  strip.letters = view.picture.tokens.map((token) => makeLetter(strip.box, token));
  const letterUnder = (event) => strip.letters.indexOf(event.target.closest(".letter"));
  strip.box.addEventListener("pointermove", (event) => pointAtLetter(strip, letterUnder(event)));
  strip.box.addEventListener("pointerleave", leave);
  strip.box.addEventListener("click", (event) => clickLetter(letterUnder(event)));
  strip.box.addEventListener("keydown", (event) => moveLetter(strip, event));
  return strip;
}

function makeLetter(box, token) {
  if (token.startsWith(" ")) make(box, "wbr");
  const letter = make(box, "span", "letter", shownToken(token));
  if (token.endsWith(" ")) make(box, "wbr");
  if (token.includes("\n")) make(box, "br");
  return letter;
}

function paintStrip(strip, query) {
  if (strip.query !== query || strip.edition !== edition) paintLetters(strip, query);
  const pointed = state.pointed?.key ?? null;
  if (pointed === strip.pointed) return;
  strip.letters[strip.pointed]?.classList.remove("pointed");
  strip.letters[pointed]?.classList.add("pointed");
  strip.pointed = pointed;
}

function paintLetters(strip, query) {
  const { view, panel, box, heading, letters } = strip;
  const { picture, chosen } = view;
  const bytes = bytesOf(picture, chosen);
  const who = views.length > 1 ? `${nameOf(view)}: the` : "the";
  panel.style.setProperty("--variant", picture.colour);
  heading.textContent = `${who} text as token ${tokenInWords(query)} reads it`;
  nameKeyboardPlace(box, heading.textContent);
  if (strip.edition !== edition) strip.looks = [];
  letters.forEach((letter, key) => {
    const kind = verdict(picture, query, key);
    const byte = kind === "allowed" && !state.maskOnly ? byteAt(picture, bytes, query, key) : 0;
    const look = `${kind} ${key === query} ${byte}`;
    if (strip.looks[key] === look) return;
    strip.looks[key] = look;
    letter.className = `letter ${kind}${key === query ? " query" : ""}`;
    letter.style.backgroundColor = byte ? colours.ramp[byte] : "";
    letter.style.color = byte ? colours.onRamp[byte] : "";
  });
  strip.letters[strip.pointed]?.classList.remove("pointed");
  if (strip.query !== query && box.scrollHeight > box.clientHeight) {
    box.scrollTop = letters[query].offsetTop - box.clientHeight / 2;
  }
  Object.assign(strip, { query, edition, pointed: null });
}

function paintReadings() {
  const queries = shownQueries();
  while (readings.length > queries.length) readings.pop().forEach(({ panel }) => panel.remove());
  readingList.classList.toggle("small", queries.length > 1 && views[0].picture.length > MANY_TOKENS);
  queries.forEach((query, index) => {
    readings[index] ??= views.map(makeStrip);
    readings[index].forEach((strip) => paintStrip(strip, query));
  });
}

function forgetReadings() {
  readings = [];
  readingList.replaceChildren();
}

// ---- words around the maps ----

function paintSwitches() {
  sameSwitch.setAttribute("aria-pressed", state.sameHead);
  maskSwitch.setAttribute("aria-pressed", state.maskOnly);
  rootSwitch.setAttribute("aria-pressed", !state.linear);
  linearSwitch.setAttribute("aria-pressed", state.linear);
}

function paintHint() {
  views.forEach(({ rule, picture }) => (rule.textContent = ruleInWords(picture, mainQuery())));
  hintWords.textContent = hintInWords();
  letGoButton.hidden = !state.held.length;
}

function paintLegend() {
  legend.replaceChildren();
  const scales = make(legend, "div", "scales");
  const items = make(legend, "div", "items");
  const item = (name, swatch, colour = "") => {
    const line = make(items, "div", "legend-item");
    make(line, "span", `swatch ${swatch}`).style.setProperty("--variant", colour);
    make(line, "span", "", name);
  };
  const pictures = views.map(({ picture }) => picture);
  addScale(scales, "weight", "", [0, 0.5, 1]);
  if (difference) explainDifference(scales, item);
  else if (state.maskOnly) item("may be read", "swatch-rule", pictures[0].colour);
  else item("may be read; empty if unused", "swatch-may", pictures[0].colour);
  if (pictures.some(({ causal }) => causal)) item("forbidden: the future", "swatch-future");
  if (pictures.some(({ causal }) => !causal)) item("above it: the future, not forbidden", "swatch-diagonal");
  const windows = [...new Set(pictures.filter(isNarrow).map(({ window }) => window))];
  if (windows.length) item(`forbidden: outside the window of ${windows.join(" or ")}`, "swatch-window");
}

function explainDifference(scales, item) {
  const [first, second] = views.map(nameOf);
  if (state.maskOnly) {
    item("both may read", "swatch-rule", "var(--quiet)");
    views.forEach((view, index) => item(`only ${nameOf(view)} may read`, "swatch-rule", colours.signs[index]));
    return;
  }
  const ends = [colours.signs[1], "var(--paper)", colours.signs[0]];
  const bar = addScale(scales, "difference", `linear-gradient(to right, ${ends})`, [-1, -0.5, 0, 0.5, 1]);
  const sides = make(bar, "div", "scale-sides");
  make(sides, "span", "", `${second} larger`);
  make(sides, "span", "", `${first} larger`);
  if (colours.areAlike) {
    make(bar, "div", "", `Both models have one colour: here blue stands for ${first}, orange for ${second}.`);
  }
  item(`${first} may read`, "swatch-may", colours.signs[0]);
  item(`${second} may read`, "swatch-may dashed", colours.signs[1]);
}

function addScale(scales, name, gradient, places) {
  const part = make(scales, "div", `weight-scale ${name}`);
  make(part, "div", "", `${name}, ${state.linear ? "linear" : "square root"}`);
  make(part, "div", "ramp-bar").style.background = gradient;
  const ticks = make(part, "div", "ramp-ticks");
  for (const place of places) {
    const amount = state.linear ? place : place * Math.abs(place);
    make(ticks, "span", "", `${amount}`.replace("-", "−"));
  }
  return part;
}

function paintTooltip() {
  tooltip.hidden = (state.pointed?.key ?? null) === null;
  if (tooltip.hidden) return;
  const { query, key } = state.pointed;
  const { tokens } = views[0].picture;
  const named = (role, position) => `${role} ${position} “${shownToken(tokens[position])}”`;
  tooltip.replaceChildren();
  make(tooltip, "div", "tooltip-cell", `${named("query", query)} → ${named("key", key)}`);
  for (const view of views) {
    const words = verdictInWords(view.picture, view.chosen, query, key);
    const line = make(tooltip, "div", "tooltip-verdict", difference ? `${nameOf(view)}: ${words}` : words);
    line.classList.toggle("chip", difference !== null);
    line.style.setProperty("--variant", view.picture.colour);
  }
  if (difference) make(tooltip, "div", "tooltip-verdict", differenceInWords(query, key));
  make(tooltip, "div", "", distanceInWords(query, key));
  placeTooltip(state.pointed);
}

// Beside the cell and over it where there is room; under the letter, so that the text before it stays readable.
function placeTooltip({ query, key, map, letter }) {
  const [around, box] = [root.getBoundingClientRect(), (letter ?? map.mask).getBoundingClientRect()];
  const right = map ? MARGIN.left + (key + 1) * map.place.cell : box.width;
  const top = box.top - around.top + (map ? MARGIN.top + query * map.place.cell : 0);
  const limit = map ? box.right - around.left : around.width;
  const above = map && top > tooltip.offsetHeight + 14;
  const below = map ? map.place.cell + 14 : 32;
  const x = Math.min(box.left - around.left + right + 14, limit - tooltip.offsetWidth);
  const y = above ? top - tooltip.offsetHeight - 14 : top + below;
  tooltip.style.transform = `translate(${Math.round(Math.max(0, x))}px, ${Math.round(y)}px)`;
}

// ---- what is painted when ----

// The query that the words are about. Before anything is chosen it is one a little past the middle: it has a past
// and a future.
function mainQuery() {
  return state.held.at(-1) ?? state.pointed?.query ?? Math.floor(0.6 * (views[0].picture.length - 1));
}

function shownQueries() {
  return state.held.length ? state.held : [mainQuery()];
}

function maps() {
  return [...views, difference].filter(Boolean).map(({ map }) => map);
}

// After a move of the pointer, or a change of what is held.
function paintChoice() {
  if (!paintedWidth) return;
  maps().forEach(drawCrosshair);
  paintReadings();
  paintHint();
  paintTooltip();
}

// After another head was chosen in some of the views.
function paintHeads(changed) {
  changed.forEach(paintHeadChoice);
  Object.assign(element.dataset, views[0].chosen);
  if (!paintedWidth) return;
  edition++;
  changed.forEach(drawCells);
  if (difference) drawDifference();
  paintChoice();
}

// After a new value or width, or a change of scale or mode.
function paintAll() {
  paintedWidth = views.length ? root.clientWidth : 0;
  if (paintedWidth) {
    readColours();
    views.forEach(drawThumbnails);
    maps().forEach(drawMask);
    if (difference) drawDifferenceTitle();
    paintSwitches();
    paintLegend();
  }
  paintHeads(views);
}

// ---- choosing a head ----

// Gives a view a head, and the other view too under "same head"; where there is no such head nothing changes.
function setHead(view, { layer, head }) {
  const asked = views.filter((other) => other === view || state.sameHead);
  const changed = asked.filter(({ picture }) => hasHead(picture, layer, head));
  changed.forEach(({ chosen }) => Object.assign(chosen, { layer, head }));
  return changed;
}

function readerChooses(view, layer, head) {
  const changed = setHead(view, { layer, head });
  paintHeads(changed);
  if (!changed.includes(views[0])) return;
  document.dispatchEvent(new CustomEvent("gpt-lab:head", { detail: { layer, head } }));
}

function changeView(change) {
  Object.assign(state, change);
  if (change.sameHead) setHead(views[1], views[0].chosen);
  paintAll();
}

function stepOf(event) {
  if (STEPS[event.key]) event.preventDefault(); // or the page would scroll
  return STEPS[event.key];
}

function moveHead(view, event) {
  const step = stepOf(event);
  if (!step) return;
  const { chosen, picture, thumbnails } = view;
  readerChooses(view, clamp(chosen.layer + step[0], picture.layers), clamp(chosen.head + step[1], picture.heads));
  thumbnails[chosen.layer * picture.heads + chosen.head].focus();
}

// ---- choosing queries and cells ----

function point(pointed) {
  if (["query", "key", "map", "letter"].every((name) => pointed?.[name] === state.pointed?.[name])) return;
  state.pointed = pointed;
  paintChoice();
}

// A finger that leaves has not moved on: what it touched stays.
function leave(event) {
  if (event.pointerType !== "touch") point(null);
}

function toggleHeld(query) {
  const others = state.held.filter((held) => held !== query);
  const isNew = others.length === state.held.length;
  Object.assign(state, { held: isNew ? [...others, query].slice(-MOST_HELD) : others, resting: false });
  if (isNew) announceQuery(query);
}

function announceQuery(position) {
  document.dispatchEvent(new CustomEvent("gpt-lab:query", { detail: { position } }));
}

function letGo() {
  Object.assign(state, { held: [], resting: false, pointed: null });
  paintChoice();
}

// Moves the last held query, or holds one more where that one was told to stay; other held ones are stepped over.
function moveHeld(target, direction) {
  const others = state.resting ? state.held : state.held.slice(0, -1);
  while (others.includes(target)) target += direction;
  if (target < 0 || target >= views[0].picture.length) return;
  Object.assign(state, { held: [...others, target].slice(-MOST_HELD), resting: false });
}

// Enter or Space: what is held stays, and the next arrow holds another. Once more, and it is let go.
function rest(event) {
  if (event.key !== "Enter" && event.key !== " ") return false;
  event.preventDefault();
  if (!state.held.length || state.resting) toggleHeld(mainQuery());
  else announceQuery(mainQuery());
  state.resting = true;
  paintChoice();
  return true;
}

function cellUnder(map, event) {
  const box = map.mask.getBoundingClientRect();
  const { cell, letters } = map.place;
  const position = (distance) => clamp(Math.floor(distance / cell), views[0].picture.length);
  const y = event.clientY - box.top - MARGIN.top;
  const away = (held) => Math.abs((held + 0.5) * cell - y);
  const near = letters ? [] : state.held.filter((held) => away(held) < SNAP).sort((a, b) => away(a) - away(b));
  return { query: near[0] ?? position(y), key: position(event.clientX - box.left - MARGIN.left), map };
}

function clickCell(cell) {
  toggleHeld(cell.query);
  state.pointed = cell;
  paintChoice();
}

function moveCell(map, event) {
  const step = rest(event) ? null : stepOf(event);
  if (!step) return;
  const query = mainQuery();
  if (step[0]) moveHeld(query + step[0], step[0]);
  else if (!state.held.length) moveHeld(query, 1);
  const key = clamp((state.pointed?.key ?? query) + step[1], views[0].picture.length);
  state.pointed = { query: mainQuery(), key, map };
  paintChoice();
}

function pointAtLetter(strip, position) {
  if (position < 0) return;
  if (state.held.length) point({ query: strip.query, key: position, letter: strip.letters[position] });
  else point({ query: position, key: null });
}

function clickLetter(position) {
  if (position < 0) return;
  toggleHeld(position);
  state.pointed = { query: position, key: null };
  paintChoice();
}

function moveLetter(strip, event) {
  const step = rest(event) ? null : stepOf(event);
  if (!step) return;
  const from = mainQuery();
  moveHeld(step[0] ? letterOnNextLine(strip.letters, from, step[0]) : from + step[1], step[0] || step[1]);
  state.pointed = null;
  paintChoice();
}

function letterOnNextLine(letters, from, direction) {
  const down = (letter) => direction * (letter.offsetTop - letters[from].offsetTop);
  const away = (letter) => down(letter) * 1000 + Math.abs(letter.offsetLeft - letters[from].offsetLeft);
  const beyond = letters.filter((letter) => down(letter) > 0).sort((a, b) => away(a) - away(b));
  return beyond.length ? letters.indexOf(beyond[0]) : from;
}

// ---- arrival of a value ----

// Rebuilds only what changed, so that a focus or a held query outlives a new step of the same training.
function show(pictures) {
  const before = views[0]?.picture.tokens;
  const isNewText = JSON.stringify(before) !== JSON.stringify(pictures[0].tokens);
  const isNewCount = views.length !== pictures.length;
  while (views.length > pictures.length) views.pop().panels.forEach((panel) => panel.remove());
  while (views.length < pictures.length) views.push(makeModelView(views.length));
  pictures.forEach((picture, index) => fillModelView(views[index], picture));
  views.forEach(nameModelView);
  if (isNewCount) arrange();
  if (isNewCount || isNewText) forgetReadings();
  if (isNewText) Object.assign(state, { held: [], resting: false });
  if (isNewCount || isNewText) state.pointed = null;
  if (isNewCount && views.length > 1 && state.sameHead) setHead(views[1], views[0].chosen);
  paintAll();
}

// One model has the switches above its map; with two they have a place of their own.
function arrange() {
  const isPair = views.length > 1;
  if (isPair) views.forEach(({ headPanel, rule }) => headPanel.append(rule));
  else words.prepend(views[0].rule);
  stage.classList.toggle("pair", isPair);
  sameSwitch.hidden = !isPair;
  if (isPair) stage.append(switches);
  else views[0].toolbar.append(switches);
  difference?.panel.remove();
  difference = isPair ? makeDifference() : null;
  stage.append(legend, words); // the order of the Tab key
}

async function receive() {
  const arrival = ++arrivals;
  const models = props.value?.models ?? [];
  const isEmpty = !models.length;
  let failure = null;
  const unpacked = isEmpty ? [sketchedPicture()] : Promise.all(models.map(unpack));
  const pictures = await Promise.resolve(unpacked).catch((error) => void (failure = error));
  if (arrival !== arrivals) return; // a newer value has come meanwhile
  root.classList.toggle("sketch", isEmpty);
  root.classList.toggle("failed", failure !== null);
  stage.inert = isEmpty;
  const invitation = props.value?.empty || "The attention of a trained model will appear here.";
  notice.textContent = failure?.message ?? (isEmpty ? invitation : "");
  if (pictures) show(pictures);
  element.dataset.painted = Number(element.dataset.painted ?? 0) + 1;
}

document.addEventListener("keydown", (event) => event.key === "Escape" && state.held.length && letGo());
document.addEventListener("gpt-lab:choose-head", ({ detail }) => {
  const isThere = !stage.inert && views.length && hasHead(views[0].picture, detail?.layer, detail?.head);
  if (!isThere) return;
  paintHeads(setHead(views[0], detail));
  root.scrollIntoView({ block: "start" }); // it was chosen in a table below
});
new ResizeObserver(() => root.clientWidth !== paintedWidth && paintAll()).observe(root);
const modeObserver = new MutationObserver(paintAll);
for (const page of [document.documentElement, document.body]) {
  modeObserver.observe(page, { attributes: true, attributeFilter: ["class"] });
}
watch("value", receive);
receive();
