// Draws which keys the queries of a model read: all heads small, one head large, and the same text as one
// query reads it. attention_map.py describes the value; a byte is 255 times the square root of a weight.

const LARGEST_MAP = 512;
const LARGEST_CELL = 128;
const MARGIN = { left: 52, right: 4, top: 4, bottom: 52 };
const SMALLEST_LETTER_CELL = 9;
const LARGEST_UNUSED_BYTE = 7; // bytes up to this one are weights under 0.001
const STEPS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }; // [query, key]

// `picture` is the value with its bytes unpacked. `held` is the query that a click or a key chose and that
// stays; `pointed` is the cell under the pointer, whose `key` is null while the pointer only chooses a query.
const state = { picture: null, layer: 0, head: 0, held: null, pointed: null, maskOnly: false, linear: false };
let colours = null;
let place = null; // where the large map lies in its canvas
let paintedWidth = 0;
let arrivals = 0;

// ---- the rule: which keys a query may read, always one unbroken run ----

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

// ---- the value: unpacked, and checked against the rule ----

async function inflate(text) {
  const zipped = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function withRows(value) {
  const picture = { ...value, length: value.tokens.length, rowStarts: [], cells: 0 };
  for (let query = 0; query < picture.length; query++) {
    picture.rowStarts.push(picture.cells);
    picture.cells += lastKey(picture, query) - firstKey(picture, query) + 1;
  }
  return picture;
}

async function unpack(value) {
  const picture = withRows(value);
  picture.bytes = await inflate(value.weights).catch(() => new Uint8Array(0));
  const needed = picture.layers * picture.heads * picture.cells;
  if (picture.bytes.length === needed && needed > 0) return picture;
  const window = value.window === null ? "no window" : `a window of ${value.window}`;
  throw new Error(
    `This attention map cannot be drawn: ${picture.bytes.length} weights arrived, but ${value.layers} ` +
      `layers of ${value.heads} heads over ${picture.length} tokens with ${window} have ${needed}. ` +
      "Show it again, or reload the page.",
  );
}

function sketchedPicture() {
  const value = { tokens: Array(24).fill("·"), layers: 4, heads: 4, kv_heads: 4, window: 8, causal: true };
  const picture = withRows({ ...value, label: "", colour: "var(--variant-other)" });
  picture.bytes = new Uint8Array(16 * picture.cells).map((_, cell) => 200 * Math.sin(cell * cell) ** 4);
  return picture;
}

function byteAt(query, key, layer = state.layer, head = state.head) {
  const { heads, cells, rowStarts, bytes } = state.picture;
  return bytes[(layer * heads + head) * cells + rowStarts[query] + key - firstKey(state.picture, query)];
}

// ---- words ----

function shownToken(token) {
  const visible = token
    .replaceAll(" ", "␣")
    .replace(/\r?\n/g, "⏎")
    .replace(/[\u0000-\u001f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)));
  return /^\p{Mark}/u.test(visible) ? `◌${visible}` : visible || "∅";
}

function shortToken(token) {
  const glyphs = [...new Intl.Segmenter().segment(shownToken(token))].map((part) => part.segment);
  return glyphs.length > 4 ? `${glyphs.slice(0, 3).join("")}…` : glyphs.join("");
}

// A byte is right to half a step, which leaves a weight uncertain by its square root / 255 to either side.
function weightInWords(byte) {
  const root = byte / 255;
  return (root * root).toFixed(Math.floor(-Math.log10((2 * root) / 255)));
}

function ruleInWords(query) {
  const { window, causal, layers } = state.picture;
  const [first, last] = [firstKey(state.picture, query), lastKey(state.picture, query)];
  const range = first === last ? `only token ${first}` : `tokens ${first} to ${last}`;
  const sides = causal ? 1 : 2;
  const mask = window === null ? "No window" : `Window of ${window}${causal ? "" : " to both sides"}`;
  const future = causal ? "" : " and no causal mask, so the future may be read";
  const sentence = `${mask}${future}: token ${query} may read ${range}.`;
  if (window === null) return sentence;
  const sum = `${causal ? "" : "2 × "}${layers} × (${window} − 1) + 1 = ${sides * layers * (window - 1) + 1}`;
  return `${sentence} ${layers === 1 ? "1 layer reaches" : `${layers} layers reach`} ${sum} tokens.`;
}

function verdictInWords(query, key) {
  const kind = verdict(state.picture, query, key);
  if (kind === "future") return "forbidden: the future";
  if (kind === "window") return `forbidden: outside the window of ${state.picture.window}`;
  if (state.maskOnly) return "allowed";
  const byte = byteAt(query, key);
  return byte > LARGEST_UNUSED_BYTE ? `weight ${weightInWords(byte)}` : "allowed, unused (weight < 0.001)";
}

function distanceInWords(query, key) {
  if (query === key) return "distance 0, itself";
  return `distance ${Math.abs(query - key)}, ${key < query ? "before" : "after"} the query`;
}

// ---- colours: read from the page, again whenever it turns dark or light ----

function readColours() {
  const style = getComputedStyle(root);
  const named = (name) => style.getPropertyValue(`--${name}`).trim();
  const names = ["attention-none", "attention-full", "hatch-future", "hatch-window"];
  const [none, full, future, window] = names.map((name) => channels(named(name)));
  const [variant, ink, quiet, panel] = ["variant", "ink", "quiet", "panel"].map(named);
  const brightness = (colour) => colour[0] + colour[1] + colour[2];
  const [dark, light] = [none, channels(ink)].sort((a, b) => brightness(a) - brightness(b));
  const level = (byte) => (state.linear ? (byte / 255) ** 2 : byte / 255);
  const ramp = Array.from({ length: 256 }, (_, byte) => mix(none, full, level(byte)));
  const onRamp = ramp.map((colour) => css(brightness(colour) > 3 * 118 ? dark : light));
  const tints = { future: mix(none, future, 0.4), window: mix(none, window, 0.4) };
  colours = { future, window, variant, ink, quiet, panel, ramp, onRamp, tints };
}

// Any CSS colour as [red, green, blue], by painting one pixel with it.
function channels(colour) {
  const brush = new OffscreenCanvas(1, 1).getContext("2d");
  brush.fillStyle = colour;
  brush.fillRect(0, 0, 1, 1);
  return [...brush.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}

function mix(from, to, share) {
  return from.map((channel, index) => Math.round(channel + (to[index] - channel) * share));
}

function css(colour, opacity = 1) {
  return `rgb(${colour.join(" ")} / ${opacity})`;
}

// ---- the page's parts, made once ----

function make(parent, tag, className = "", words = "") {
  const part = document.createElement(tag);
  part.className = className;
  part.textContent = words;
  parent.append(part);
  return part;
}

function makeSwitch(parent, words, press) {
  const button = make(parent, "button", "switch", words);
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

const root = element.querySelector(".attention-map");
const stage = make(root, "div", "stage");
const headGrid = make(stage, "div", "heads");
const mapPanel = make(stage, "div", "map-panel");
const legend = make(stage, "div", "legend");
const words = make(stage, "div", "words");
const tooltip = make(root, "div", "tooltip");
const notice = make(root, "p", "notice");

const toolbar = make(mapPanel, "div", "toolbar");
const mapTitle = make(toolbar, "div", "map-title");
const maskSwitch = makeSwitch(toolbar, "mask only", () => changeView({ maskOnly: !state.maskOnly }));
const scale = make(toolbar, "div", "scale");
make(scale, "span", "scale-name", "scale");
const rootSwitch = makeSwitch(scale, "square root", () => changeView({ linear: false }));
const linearSwitch = makeSwitch(scale, "linear", () => changeView({ linear: true }));
const frame = make(mapPanel, "div", "frame");
const mapCanvas = make(frame, "canvas");
const crosshair = make(frame, "canvas", "crosshair");

const variantName = make(words, "div", "variant-name");
const ruleLine = make(words, "p", "rule");
const textBox = make(words, "div", "text");
const hint = make(words, "div", "hint");
const hintWords = make(hint, "span");
const letGoButton = makeSwitch(hint, "let go", letGo);
let letters = []; // one span for each token
let thumbnails = []; // one button for each head, layer after layer

for (const [part, name] of [[frame, "Attention map"], [textBox, "The text"]]) {
  part.tabIndex = 0;
  part.setAttribute("role", "application");
  part.setAttribute("aria-label", `${name}: arrow keys move, Escape lets go`);
}
headGrid.setAttribute("role", "group");
headGrid.setAttribute("aria-label", "Heads: arrow keys choose");
tooltip.setAttribute("role", "status");
tooltip.hidden = true;

// ---- all heads ----

function buildHeads({ layers, heads, kv_heads }) {
  headGrid.replaceChildren();
  headGrid.style.gridTemplateColumns = `max-content repeat(${heads}, minmax(0, 64px))`;
  make(headGrid, "div", "heads-title", "head");
  make(headGrid, "div");
  for (let head = 0; head < heads; head++) make(headGrid, "div", "head-name", `${head + 1}`);
  thumbnails = [];
  for (let layer = 0; layer < layers; layer++) {
    make(headGrid, "div", "layer-name", `layer ${layer + 1}`);
    for (let head = 0; head < heads; head++) thumbnails.push(makeThumbnail(layer, head));
  }
  if (kv_heads === heads) return;
  const shared = heads / kv_heads;
  for (let group = 0; group < kv_heads; group++) {
    const bracket = make(headGrid, "div", "kv-name", `KV ${group}`);
    bracket.style.gridColumn = `${2 + group * shared} / span ${shared}`;
  }
}

function makeThumbnail(layer, head) {
  const button = make(headGrid, "button", "thumbnail");
  button.type = "button";
  button.setAttribute("aria-label", `layer ${layer + 1}, head ${head + 1}`);
  button.addEventListener("click", () => selectHead(layer, head));
  button.addEventListener("keydown", moveHead);
  make(button, "canvas");
  return button;
}

// A thumbnail has fewer pixels than cells: each pixel shows its strongest cell, and a thin diagonal survives.
function drawThumbnail(canvas, layer, head) {
  const { length } = state.picture;
  const side = Math.min(length, Math.max(8, Math.round(canvas.clientWidth * devicePixelRatio)));
  const strongest = new Int16Array(side * side).fill(-1);
  for (let query = 0; query < length; query++) {
    const row = Math.floor((query * side) / length) * side;
    const last = lastKey(state.picture, query);
    for (let key = firstKey(state.picture, query); key <= last; key++) {
      const pixel = row + Math.floor((key * side) / length);
      strongest[pixel] = Math.max(strongest[pixel], byteAt(query, key, layer, head));
    }
  }
  canvas.width = canvas.height = side;
  paintPixels(canvas.getContext("2d"), side, (row, column) => {
    const byte = strongest[row * side + column];
    if (byte >= 0) return colours.ramp[byte];
    return state.picture.causal && column > row ? colours.tints.future : colours.tints.window;
  });
}

function paintPixels(brush, side, colourAt) {
  const image = brush.createImageData(side, side);
  for (let row = 0, at = 0; row < side; row++) {
    for (let column = 0; column < side; column++, at += 4) {
      const colour = colourAt(row, column);
      if (!colour) continue; // left transparent
      image.data.set(colour, at);
      image.data[at + 3] = 255;
    }
  }
  brush.putImageData(image, 0, 0);
}

// ---- one head: the large map ----

function placeMap() {
  const { length } = state.picture;
  const room = Math.min(LARGEST_MAP, frame.clientWidth - MARGIN.left - MARGIN.right, LARGEST_CELL * length);
  const whole = (Math.floor((room * devicePixelRatio) / length) * length) / devicePixelRatio;
  const size = whole > 0.85 * room ? whole : Math.max(room, 1); // whole pixels where that costs little
  place = { size, cell: size / length, letters: size / length >= SMALLEST_LETTER_CELL };
}

// Clears a canvas and gives a brush whose origin is the map's upper left corner, in CSS pixels.
function brushFor(canvas) {
  const width = MARGIN.left + place.size + MARGIN.right;
  const height = MARGIN.top + place.size + MARGIN.bottom;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const brush = canvas.getContext("2d");
  brush.scale(devicePixelRatio, devicePixelRatio);
  brush.translate(MARGIN.left, MARGIN.top);
  return brush;
}

function drawMap() {
  placeMap();
  const brush = brushFor(mapCanvas);
  brush.fillStyle = css(colours.ramp[0]);
  brush.fillRect(0, 0, place.size, place.size);
  if (!state.maskOnly) drawWeights(brush);
  drawForbidden(brush);
  drawEdge(brush);
  drawAxes(brush);
}

function drawWeights(brush) {
  const { length } = state.picture;
  const small = new OffscreenCanvas(length, length);
  paintPixels(small.getContext("2d"), length, (query, key) =>
    verdict(state.picture, query, key) === "allowed" ? colours.ramp[byteAt(query, key)] : null,
  );
  brush.imageSmoothingEnabled = place.cell * devicePixelRatio < 1;
  brush.drawImage(small, 0, 0, place.size, place.size);
}

function drawForbidden(brush) {
  const { length, window, causal } = state.picture;
  const afterLast = (query) => lastKey(state.picture, query) + 1;
  const outside = window === null || window >= length ? null : `outside the window of ${window}`;
  if (causal) hatch(brush, "future", afterLast, () => length, 1);
  else if (outside) hatch(brush, "window", afterLast, () => length, -1);
  if (outside) hatch(brush, "window", () => 0, (query) => firstKey(state.picture, query), -1);
  if (causal) nameRegion(brush, "the future", length - 1, 1);
  else if (outside) nameRegion(brush, outside, length - window, 1);
  if (outside) nameRegion(brush, outside, length - window, -1);
}

// Fills the keys [from, to) of every query with diagonals: slope 1 falls, slope -1 rises.
function hatch(brush, kind, from, to, slope) {
  const { size, cell } = place;
  const region = new Path2D();
  for (let query = 0; query < state.picture.length; query++) {
    region.rect(from(query) * cell, query * cell, (to(query) - from(query)) * cell, cell);
  }
  brush.save();
  brush.clip(region);
  brush.fillStyle = css(colours[kind], 0.22);
  brush.fillRect(0, 0, size, size);
  brush.strokeStyle = css(colours[kind]);
  brush.lineWidth = 1.5;
  brush.beginPath();
  for (let start = -size; start < 2 * size; start += 8) {
    brush.moveTo(start, 0);
    brush.lineTo(start + slope * size, size);
  }
  brush.stroke();
  brush.restore();
}

// Writes into a corner triangle with legs of so many cells; side 1 is the upper right, -1 the lower left.
function nameRegion(brush, name, legs, side) {
  const leg = legs * place.cell;
  brush.font = `13px ${getComputedStyle(root).fontFamily}`;
  const width = brush.measureText(name).width + 12;
  if (width > (2 / 3) * leg - 24) return;
  const x = place.size / 2 + side * (place.size / 2 - leg / 3);
  const y = place.size / 2 - side * (place.size / 2 - leg / 3);
  brush.fillStyle = colours.panel;
  brush.beginPath();
  brush.roundRect(x - width / 2, y - 11, width, 22, 3);
  brush.fill();
  brush.fillStyle = colours.ink;
  brush.textAlign = "center";
  brush.textBaseline = "middle";
  brush.fillText(name, x, y);
}

// The edge of what may be read, in the variant's colour. Without a causal mask dashes mark the present.
function drawEdge(brush) {
  const { length, causal } = state.picture;
  const { size, cell } = place;
  const edge = new Path2D();
  for (let query = 0; query < length; query++) {
    edge.lineTo(firstKey(state.picture, query) * cell, query * cell);
    edge.lineTo(firstKey(state.picture, query) * cell, (query + 1) * cell);
  }
  for (let query = length - 1; query >= 0; query--) {
    edge.lineTo((lastKey(state.picture, query) + 1) * cell, (query + 1) * cell);
    edge.lineTo((lastKey(state.picture, query) + 1) * cell, query * cell);
  }
  edge.closePath();
  brush.strokeStyle = brush.fillStyle = colours.variant;
  brush.lineWidth = 1.5;
  brush.stroke(edge);
  if (state.maskOnly) {
    brush.globalAlpha = 0.22;
    brush.fill(edge);
    brush.globalAlpha = 1;
  }
  if (causal) return;
  brush.strokeStyle = colours.quiet;
  brush.setLineDash([6, 4]);
  brush.beginPath();
  brush.moveTo(0, 0);
  brush.lineTo(size, size);
  brush.stroke();
  brush.setLineDash([]);
}

function drawAxes(brush) {
  const { size, cell } = place;
  const { length, tokens } = state.picture;
  const step = place.letters ? 1 : [8, 16, 32, 64, 128, 256].find((ticks) => ticks * cell >= 48) ?? 512;
  for (let position = 0; position < length; position += step) {
    const label = place.letters ? shortToken(tokens[position]) : `${position}`;
    drawTick(brush, "key", position, label, colours.quiet);
    drawTick(brush, "query", position, label, colours.quiet);
  }
  brush.font = `13px ${getComputedStyle(root).fontFamily}`;
  brush.fillStyle = colours.quiet;
  brush.textAlign = "center";
  brush.textBaseline = "middle";
  const middle = Math.max(size / 2, 70);
  brush.fillText("key (what is read)", middle, size + MARGIN.bottom - 9);
  brush.save();
  brush.translate(9 - MARGIN.left, middle);
  brush.rotate(-Math.PI / 2);
  brush.fillText("query (who reads)", 0, 0);
  brush.restore();
}

function drawTick(brush, axis, position, label, colour, boxed = false) {
  const short = !place.letters || state.picture.tokens.every((token) => token.length < 2);
  const upright = axis === "query" || short;
  brush.save();
  brush.font = `${boxed ? "bold " : ""}11px ${getComputedStyle(textBox).fontFamily}`;
  const middle = (position + 0.5) * place.cell;
  if (axis === "query") brush.translate(-5, middle);
  else brush.translate(middle, place.size + (upright ? 10 : 4));
  if (!upright) brush.rotate(-Math.PI / 2);
  brush.textAlign = axis === "key" && upright ? "center" : "right";
  brush.textBaseline = "middle";
  if (boxed) {
    const width = brush.measureText(label).width + 6;
    brush.fillStyle = colours.panel;
    brush.strokeStyle = colour;
    brush.lineWidth = 1.5;
    brush.beginPath();
    brush.roundRect(brush.textAlign === "center" ? -width / 2 : 3 - width, -8, width, 15, 2);
    brush.fill();
    brush.stroke();
  }
  brush.fillStyle = boxed ? colours.ink : colour;
  brush.fillText(label, 0, 0);
  brush.restore();
}

// The chosen query's row and the pointed cell have a canvas of their own: moving redraws no weights.
function drawCrosshair() {
  const { size, cell } = place;
  const brush = brushFor(crosshair);
  const query = shownQuery();
  const key = state.pointed?.key ?? null;
  const label = (position) => (place.letters ? shortToken(state.picture.tokens[position]) : `${position}`);
  const [first, last] = [firstKey(state.picture, query), lastKey(state.picture, query)];
  brush.fillStyle = colours.ink;
  brush.globalAlpha = 0.3;
  brush.fillRect(0, query * cell - 1, size, 1);
  brush.fillRect(0, (query + 1) * cell, size, 1);
  if (key !== null) {
    brush.fillRect(key * cell - 1, 0, 1, size);
    brush.fillRect((key + 1) * cell, 0, 1, size);
  }
  brush.globalAlpha = 1;
  brush.lineWidth = 2;
  brush.strokeStyle = colours.variant;
  brush.strokeRect(first * cell - 2, query * cell - 2, (last - first + 1) * cell + 4, cell + 4);
  if (key !== null) {
    brush.strokeStyle = colours.ink;
    brush.strokeRect(key * cell - 2, query * cell - 2, cell + 4, cell + 4);
    drawTick(brush, "key", key, label(key), colours.ink, true);
  }
  drawTick(brush, "query", query, label(query), colours.variant, true);
}

// ---- the text, as the chosen query reads it ----

function buildText(tokens) {
  textBox.replaceChildren();
  letters = tokens.map((token) => {
    if (token.startsWith(" ")) make(textBox, "wbr");
    const letter = make(textBox, "span", "letter", shownToken(token));
    if (token.endsWith(" ")) make(textBox, "wbr");
    if (token.includes("\n")) make(textBox, "br");
    return letter;
  });
}

function paintText() {
  const query = shownQuery();
  letters.forEach((letter, key) => {
    const kind = verdict(state.picture, query, key);
    const marks = `${key === query ? " query" : ""}${key === state.pointed?.key ? " pointed" : ""}`;
    const byte = kind === "allowed" && !state.maskOnly ? byteAt(query, key) : 0;
    letter.className = `letter ${kind}${marks}`;
    letter.style.backgroundColor = byte ? css(colours.ramp[byte]) : "";
    letter.style.color = byte ? colours.onRamp[byte] : "";
  });
}

function paintRule() {
  const query = shownQuery();
  const held = state.held !== null;
  hintWords.textContent = held
    ? `Token ${query} “${shortToken(state.picture.tokens[query])}” is held.`
    : "Point at a token to see what it reads; a click holds it.";
  letGoButton.hidden = !held;
  ruleLine.textContent = ruleInWords(query);
}

// ---- words around the map ----

function paintTitle() {
  const { heads, kv_heads, label } = state.picture;
  const shared = kv_heads < heads ? `, reads KV ${Math.floor((state.head * kv_heads) / heads)}` : "";
  mapTitle.textContent = `layer ${state.layer + 1}, head ${state.head + 1}${shared}`;
  variantName.textContent = label;
  maskSwitch.setAttribute("aria-pressed", state.maskOnly);
  rootSwitch.setAttribute("aria-pressed", !state.linear);
  linearSwitch.setAttribute("aria-pressed", state.linear);
  thumbnails.forEach((button, index) => {
    const selected = index === state.layer * heads + state.head;
    button.setAttribute("aria-pressed", selected);
    button.tabIndex = selected ? 0 : -1;
  });
}

function paintLegend() {
  const { window, causal, length } = state.picture;
  legend.replaceChildren();
  const ramp = make(legend, "div", "ramp");
  make(ramp, "div", "", `weight, ${state.linear ? "linear" : "square-root"} scale`);
  make(ramp, "div", "ramp-bar");
  const ticks = make(ramp, "div", "ramp-ticks");
  for (const share of [0, 0.5, 1]) make(ticks, "span", "", `${state.linear ? share : share * share}`);
  const item = (swatch, name) => {
    const line = make(legend, "div", "legend-item");
    make(line, "span", `swatch ${swatch}`);
    make(line, "span", "", name);
  };
  if (state.maskOnly) item("swatch-rule", "may be read");
  else item("swatch-may", "may be read; empty if unused");
  if (causal) item("swatch-future", "forbidden: the future");
  else item("swatch-diagonal", "above it: the future, not forbidden");
  if (window !== null && window < length) item("swatch-window", `forbidden: outside the window of ${window}`);
}

function paintTooltip() {
  const query = shownQuery();
  const key = state.pointed?.key ?? null;
  tooltip.hidden = key === null;
  if (key === null) return;
  const named = (role, position) => `${role} ${position} “${shownToken(state.picture.tokens[position])}”`;
  tooltip.replaceChildren();
  make(tooltip, "div", "tooltip-cell", `${named("query", query)} → ${named("key", key)}`);
  make(tooltip, "div", "tooltip-verdict", verdictInWords(query, key));
  make(tooltip, "div", "", distanceInWords(query, key));
  const target = state.pointed.inText ? letters[key] : mapCanvas;
  const [around, box] = [root.getBoundingClientRect(), target.getBoundingClientRect()];
  const right = target === mapCanvas ? MARGIN.left + (key + 1) * place.cell : box.width;
  const top = box.top - around.top + (target === mapCanvas ? MARGIN.top + query * place.cell : 0);
  const limit = target === mapCanvas ? box.right - around.left : around.width; // the text stays readable
  const above = target === mapCanvas && top > tooltip.offsetHeight + 14;
  const x = Math.min(box.left - around.left + right + 14, limit - tooltip.offsetWidth);
  const y = above ? top - tooltip.offsetHeight - 14 : top + 32;
  tooltip.style.transform = `translate(${Math.round(Math.max(0, x))}px, ${Math.round(y)}px)`;
}

// ---- choosing ----

// Before anything is chosen a token a little past the middle stands for all: it has a past and a future.
function shownQuery() {
  return state.held ?? state.pointed?.query ?? Math.floor(0.6 * (state.picture.length - 1));
}

function paintChoice() {
  drawCrosshair();
  paintText();
  paintRule();
  paintTooltip();
}

function paintHead() {
  drawMap();
  paintTitle();
  paintChoice();
}

function paintAll() {
  paintedWidth = frame.clientWidth;
  if (!state.picture || !paintedWidth) return; // in a hidden tab: the resize observer calls again
  readColours();
  paintHead();
  paintLegend();
  const { heads } = state.picture;
  thumbnails.forEach((button, index) => {
    drawThumbnail(button.firstChild, Math.floor(index / heads), index % heads);
  });
}

function changeView(change) {
  Object.assign(state, change);
  paintAll();
}

function selectHead(layer, head) {
  Object.assign(state, { layer, head });
  paintHead();
}

function stepOf(event) {
  if (STEPS[event.key]) event.preventDefault(); // or the page would scroll
  return STEPS[event.key];
}

function moveHead(event) {
  const step = stepOf(event);
  if (!step) return;
  const { layers, heads } = state.picture;
  selectHead(clamp(state.layer + step[0], layers), clamp(state.head + step[1], heads));
  thumbnails[state.layer * heads + state.head].focus();
}

function clamp(position, count) {
  return Math.max(0, Math.min(count - 1, position));
}

function point(pointed) {
  state.pointed = pointed;
  paintChoice();
}

function hold(pointed) {
  state.held = state.held === pointed.query ? null : pointed.query;
  point(pointed);
}

function letGo() {
  Object.assign(state, { held: null, pointed: null });
  paintChoice();
}

// While a row is held the pointer only picks the key: rows can be two pixels high.
function cellUnder(event) {
  const box = mapCanvas.getBoundingClientRect();
  const position = (distance) => clamp(Math.floor(distance / place.cell), state.picture.length);
  const query = position(event.clientY - box.top - MARGIN.top);
  return { query, key: position(event.clientX - box.left - MARGIN.left) };
}

function letterUnder(event) {
  return letters.indexOf(event.target.closest(".letter"));
}

function pointAtLetter(event) {
  const position = letterUnder(event);
  if (position < 0) return;
  if (state.held === null) point({ query: position, key: null });
  else point({ query: state.held, key: position, inText: true });
}

function clickLetter(event) {
  const position = letterUnder(event);
  if (position >= 0) hold({ query: position, key: null });
}

// A finger that leaves has not moved on: what it touched stays.
function leave(event) {
  if (event.pointerType !== "touch" && state.picture) point(null);
}

function moveCell(event) {
  const step = stepOf(event);
  if (!step) return;
  const { length } = state.picture;
  const key = state.pointed?.key ?? shownQuery();
  state.held = clamp(shownQuery() + step[0], length);
  point({ query: state.held, key: clamp(key + step[1], length) });
}

function moveLetter(event) {
  const step = stepOf(event);
  if (!step) return;
  const from = shownQuery();
  state.held = step[0] ? letterOnNextLine(from, step[0]) : clamp(from + step[1], letters.length);
  point({ query: state.held, key: null });
}

function letterOnNextLine(from, direction) {
  const down = (letter) => direction * (letter.offsetTop - letters[from].offsetTop);
  const away = (letter) => down(letter) * 1000 + Math.abs(letter.offsetLeft - letters[from].offsetLeft);
  const beyond = letters.filter((letter) => down(letter) > 0).sort((a, b) => away(a) - away(b));
  return beyond.length ? letters.indexOf(beyond[0]) : from;
}

// ---- arrival of a value ----

// Rebuilds only what changed, so that a focus or a held token outlives a new step of the same training.
function show(picture) {
  const before = state.picture ?? {};
  const changed = (...names) => names.some((name) => `${before[name]}` !== `${picture[name]}`);
  state.picture = picture;
  root.style.setProperty("--variant", picture.colour);
  if (changed("layers", "heads", "kv_heads")) buildHeads(picture);
  if (changed("tokens")) {
    buildText(picture.tokens);
    Object.assign(state, { held: null, pointed: null });
  }
  if (state.layer >= picture.layers) state.layer = 0;
  if (state.head >= picture.heads) state.head = 0;
  paintAll();
}

async function receive() {
  const arrival = ++arrivals;
  const value = props.value;
  const empty = !value || !value.weights;
  let failure = null;
  const picture = empty ? sketchedPicture() : await unpack(value).catch((error) => void (failure = error));
  if (arrival !== arrivals) return; // a newer value has come meanwhile
  root.classList.toggle("sketch", empty);
  root.classList.toggle("failed", failure !== null);
  stage.inert = empty;
  const invitation = value?.empty || "The attention of a trained model will appear here.";
  notice.textContent = failure?.message ?? (empty ? invitation : "");
  if (picture) show(picture);
  element.dataset.painted = Number(element.dataset.painted ?? 0) + 1;
}

frame.addEventListener("pointermove", (event) => point(cellUnder(event)));
frame.addEventListener("pointerleave", leave);
frame.addEventListener("click", (event) => hold(cellUnder(event)));
frame.addEventListener("keydown", moveCell);
textBox.addEventListener("pointermove", pointAtLetter);
textBox.addEventListener("pointerleave", leave);
textBox.addEventListener("click", clickLetter);
textBox.addEventListener("keydown", moveLetter);
document.addEventListener("keydown", (event) => event.key === "Escape" && state.held !== null && letGo());
new ResizeObserver(() => frame.clientWidth !== paintedWidth && paintAll()).observe(frame);
const modeObserver = new MutationObserver(paintAll);
for (const page of [document.documentElement, document.body]) {
  modeObserver.observe(page, { attributes: true, attributeFilter: ["class"] });
}
watch("value", receive);
receive();
