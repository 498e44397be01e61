// What can reach one output, as a cone from the text up through the layers, and how much does, as darkness;
// receptive_field.py describes the value. Pressing a token asks the server for that token's cone.

const root = element.querySelector(".receptive-field");
const READABLE_CELL = 14; // CSS pixels of a cell in which a letter can be read
const LARGEST_CELL = 40;
const EDGE = 32; // height of the line above the rows, with the output, and of the one below, with the text

// `pointed` is the cell under the pointer or the keys, { row, position }; `asked` a position not answered yet.
const state = { value: null, pointed: null, asked: null, whole: false };
const wait = makeWait(stopWaiting);
let colours = null;
let place = null; // the size of a cell and of the picture, in CSS pixels
let paintedWidth = 0;

// ---- words ----

function rowInWords(row) {
  return row === 0 ? "embeddings" : `after layer ${row}`;
}

function reachInWords({ cone, reach, formula, inside, outside }) {
  const layers = `${cone.length - 1} layer${cone.length > 2 ? "s" : ""}`;
  const here = inside === 1 ? "1 of them is in this text" : `${inside} of them are in this text`;
  const rule = reach === null
    ? `No window: ${inside} token${inside > 1 ? "s" : ""} can reach this output.`
    : `${layers} reach ${formula} tokens; ${here}.`;
  return `${rule} Measured: largest influence outside the cone ${significant(outside, 1)}.`;
}

function cellKind(row, position) {
  const { cone, query } = state.value;
  if (position >= cone[row][0] && position <= cone[row][1]) return "inside";
  if (row === cone.length - 1) return "other";
  return position > query && !seesFuture() ? "future" : "window";
}

function cellInWords({ row, position }) {
  const { tokens, influence } = state.value;
  const where = `Token ${position} “${shownToken(tokens[position])}”, ${rowInWords(row)}`;
  const share = `influence ${influence[row][position].toFixed(2)} of the row’s largest`;
  return `${where}: ${{
    inside: share,
    other: "another output, not this one",
    future: "the future, which nothing here reads",
    window: "outside the window, out of reach",
  }[cellKind(row, position)]}.`;
}

function lineInWords() {
  const { asked, pointed, value } = state;
  if (asked !== null) return `Token ${asked} “${shownToken(value.tokens[asked])}”: measuring…`;
  return pointed ? cellInWords(pointed) : "Press a token to see what can reach the output after it.";
}

function fieldInWords(value) {
  const { tokens, query, cone, influence } = value;
  const strongest = influence[0].indexOf(Math.max(...influence[0]));
  const what = `The output after token ${query} “${shownToken(tokens[query])}”`;
  const [first, last] = cone[0];
  return `${what} is reached by tokens ${first} to ${last}, most by ${strongest} “${shownToken(tokens[strongest])}”. ${reachInWords(value)}`;
}

// A row for each row of the picture, the output's first.
function fillTable(tableBox) {
  const { cone, influence, tokens } = state.value;
  const named = (position) => `${position} “${shownToken(tokens[position])}”`;
  tableBox.replaceChildren();
  const columns = ["row", "first token that can reach it", "last token", "strongest influence", "mean place of the influence"];
  const body = makeTable(tableBox, columns);
  for (let row = cone.length - 1; row >= 0; row--) {
    const shares = influence[row];
    const all = sum(shares);
    const mean = all > 0 ? plainNumber(sum(shares.map((share, position) => share * position)) / all, 1) : "–";
    makeRow(body, rowInWords(row), [...cone[row].map(named), named(shares.indexOf(Math.max(...shares))), mean]);
  }
}

// Without a causal mask the cone reaches past the query.
function seesFuture() {
  const { cone, query } = state.value;
  return cone.some(([, last]) => last > query);
}

// ---- the page's parts, made once ----

const page = make(root, "div", "page");
const empty = make(root, "p", "empty");
const top = make(page, "div", "top");
const title = make(top, "div", "variant-name");
const zoomSwitch = makeSwitch(top, "whole text", toggleZoom);
const rule = make(page, "p", "rule");
const drawing = make(page, "div", "drawing");
const names = make(drawing, "div", "names");
const box = make(drawing, "div", "box");
const canvas = make(box, "canvas");
canvas.setAttribute("aria-hidden", "true"); // the box that it fills has a name and says what it shows
const pointer = make(box, "div", "pointer");
const line = make(page, "p", "line");
const legend = make(page, "div", "legend");
const note = make(page, "p", "note");
makeKeyboardPlace(box, "Receptive field: arrow keys move, Enter chooses a token, Escape lets go");
line.setAttribute("role", "status");
const describe = makeDescription(page, box);
const table = makeTableFold(page, "What can reach one output", fillTable);

function readColours() {
  const named = variableOf(root);
  const [variant, ink, panel] = ["variant", "ink", "panel"].map((name) => channels(named(name)));
  const none = mix(panel, variant, 0.1); // the cone itself, where nothing was measured
  const full = mix(variant, ink, 0.55);
  const influence = (share) => (share < 0.5 ? mix(none, variant, 2 * share) : mix(variant, full, 2 * share - 1));
  colours = { variant, ink, panel, influence, hatch: hatchColours(named), quiet: channels(named("quiet")) };
  root.style.setProperty("--influence-ramp", `linear-gradient(to right, ${css(none)}, ${css(variant)}, ${css(full)})`);
}

// ---- the picture ----

function placePicture() {
  const { tokens, cone } = state.value;
  const room = box.clientWidth - 2;
  const fitting = Math.min(LARGEST_CELL, room / tokens.length);
  const needsZoom = fitting < READABLE_CELL;
  const cell = needsZoom && !state.whole ? READABLE_CELL : fitting;
  const height = cone.length > 8 ? 20 : 28;
  place = { cell, height, width: cell * tokens.length, bottom: EDGE + height * cone.length, letters: cell >= 9 };
  zoomSwitch.hidden = !needsZoom;
  zoomSwitch.setAttribute("aria-pressed", state.whole);
}

function makeBrush() {
  const height = place.bottom + EDGE;
  const ratio = Math.min(devicePixelRatio, 16000 / place.width);
  sizeCanvas(canvas, place.width, height, ratio);
  const brush = canvas.getContext("2d");
  brush.scale(ratio, ratio);
  return brush;
}

// Rows go upward: row 0, the embeddings, lies lowest.
function topOf(row) {
  return place.bottom - (row + 1) * place.height;
}

function drawPicture() {
  const brush = makeBrush();
  const { cone, query, tokens } = state.value;
  const below = cone.slice(0, -1);
  hatch(brush, "window", below.map(([first], row) => [row, 0, first]));
  hatch(brush, seesFuture() ? "window" : "future", below.map(([, last], row) => [row, last + 1, tokens.length]));
  brush.globalAlpha = state.asked === null ? 1 : 0.3; // it is another token's, soon
  drawInfluence(brush);
  drawCone(brush);
  drawOutput(brush, query);
  brush.globalAlpha = 1;
  drawText(brush);
}

// Hatches spans [row, from, to), as in the attention map.
function hatch(brush, kind, spans) {
  const region = new Path2D();
  for (const [row, from, to] of spans) {
    region.rect(from * place.cell, topOf(row), (to - from) * place.cell, place.height);
  }
  fillHatched(brush, region, kind, colours.hatch[kind]);
}

// Cells keep a gap where there is room for one, so that rows read as rows.
function drawInfluence(brush) {
  const gap = place.letters ? 1 : 0;
  state.value.cone.forEach(([first, last], row) => {
    brush.fillStyle = css(colours.panel);
    brush.fillRect(first * place.cell, topOf(row), (last - first + 1) * place.cell, place.height);
    for (let position = first; position <= last; position++) {
      brush.fillStyle = css(colours.influence(Math.sqrt(state.value.influence[row][position])));
      brush.fillRect(position * place.cell, topOf(row) + 1, place.cell - gap, place.height - 2);
    }
  });
}

function drawCone(brush) {
  const rows = state.value.cone.map(([first, last], row) => ({
    left: first * place.cell,
    right: (last + 1) * place.cell,
    top: topOf(row),
    bottom: topOf(row) + place.height,
  }));
  brush.strokeStyle = css(colours.variant);
  brush.lineWidth = 2;
  brush.stroke(outlineOf(rows.reverse()));
}

function drawOutput(brush, query) {
  const middle = (query + 0.5) * place.cell;
  brush.strokeStyle = css(colours.variant);
  brush.lineWidth = 2;
  brush.beginPath();
  brush.moveTo(middle, topOf(state.value.cone.length - 1));
  brush.lineTo(middle, 24);
  brush.stroke();
  drawBoxed(brush, shortToken(state.value.target), middle, 13, colours.variant);
}

function drawBoxed(brush, words, middle, y, colour) {
  brush.font = `bold 13px ${getComputedStyle(canvas).fontFamily}`;
  const width = Math.max(18, brush.measureText(words).width + 8);
  const x = between(middle, 1 + width / 2, place.width - width / 2 - 1);
  drawPlate(brush, x, y, width, 22, { fill: css(colours.panel), stroke: css(colour) });
  brush.fillStyle = css(colours.ink);
  writeWords(brush, words, x, y + 1);
}

// The text below the rows, with what is out of reach struck through; where cells are too small, positions instead.
function drawText(brush) {
  const { tokens, query } = state.value;
  const y = place.bottom + EDGE / 2;
  brush.font = `13px ${getComputedStyle(canvas).fontFamily}`;
  brush.textBaseline = "middle";
  if (place.letters) tokens.forEach((token, position) => drawToken(brush, token, position, y));
  else drawPositions(brush, y);
  const chosen = state.asked ?? query;
  drawBoxed(brush, shortToken(tokens[chosen]), (chosen + 0.5) * place.cell, y, colours.ink);
}

function drawToken(brush, token, position, y) {
  const middle = (position + 0.5) * place.cell;
  const reaches = cellKind(0, position) === "inside";
  brush.textAlign = "center";
  brush.fillStyle = css(reaches ? colours.ink : colours.quiet);
  brush.fillText(shortToken(token), middle, y + 1, 0.95 * place.cell);
  if (!reaches) brush.fillRect(middle - 0.35 * place.cell, y, 0.7 * place.cell, 1);
}

function drawPositions(brush, y) {
  const step = [8, 16, 32, 64].find((positions) => positions * place.cell >= 40) ?? 128;
  brush.fillStyle = css(colours.quiet);
  for (let position = 0; position < state.value.tokens.length; position += step) {
    brush.textAlign = position === 0 ? "left" : "center";
    brush.fillText(`${position}`, position === 0 ? 0 : (position + 0.5) * place.cell, y + 1);
  }
}

// ---- names, legend and words ----

function buildNames() {
  names.replaceChildren();
  const name = (words, height) => (make(names, "div", "", words).style.height = `${height}px`);
  name("output", EDGE);
  for (let row = state.value.cone.length - 1; row >= 0; row--) name(rowInWords(row), place.height);
  name("text", EDGE);
}

function buildLegend() {
  const { cone, query, reach, tokens } = state.value;
  legend.replaceChildren();
  makeRamp(legend, "measured influence relative to the row’s largest, square-root scale", [0, 0.25, 1]);
  const items = make(legend, "div", "legend-items");
  const item = (swatch, words) => makeLegendItem(items, `swatch ${swatch}`, words);
  item("swatch-cone", "can reach this output");
  if (reach !== null) item("swatch-window", "outside the window");
  if (cone[0][1] === query && query < tokens.length - 1) item("swatch-future", "the future");
}

function paintPointer() {
  pointer.hidden = state.pointed === null;
  line.textContent = lineInWords();
  if (!state.pointed) return;
  const { row, position } = state.pointed;
  const box = { left: position * place.cell, top: topOf(row), width: place.cell, height: place.height };
  for (const [side, length] of Object.entries(box)) pointer.style[side] = `${length}px`;
}

function scrollToPosition(position) {
  const middle = (position + 0.5) * place.cell;
  const margin = Math.min(64, box.clientWidth / 4);
  const isVisible = middle > box.scrollLeft + margin && middle < box.scrollLeft + box.clientWidth - margin;
  if (!isVisible) box.scrollLeft = middle - 0.7 * box.clientWidth; // what it reads lies to its left
}

function paint() {
  paintedWidth = box.clientWidth;
  if (!state.value || !paintedWidth) return; // in a hidden tab: the resize observer calls again
  readColours();
  placePicture();
  drawPicture();
  buildNames();
  buildLegend();
  paintPointer();
}

function paintAndScroll() {
  paint();
  if (place) scrollToPosition(state.asked ?? state.value.query);
}

function toggleZoom() {
  state.whole = !state.whole;
  paintAndScroll();
}

// ---- choosing ----

function choose(position, rest = 0) {
  if (!state.value || !Number.isInteger(position) || position !== clamp(position, state.value.tokens.length)) return;
  if (position === (state.asked ?? state.value.query)) return;
  state.asked = position;
  wait.ask(() => trigger("choose", { position: state.asked }), rest);
  paint();
}

function stopWaiting() {
  state.asked = null;
  paint();
}

function cellUnder(event) {
  const bounds = canvas.getBoundingClientRect();
  const { tokens, cone } = state.value;
  const row = clamp(Math.floor((place.bottom - (event.clientY - bounds.top)) / place.height), cone.length);
  return { row, position: clamp(Math.floor((event.clientX - bounds.left) / place.cell), tokens.length) };
}

function point(pointed) {
  if (!state.value) return;
  state.pointed = pointed;
  paintPointer();
}

function leave(event) {
  if (event.pointerType !== "touch") point(null);
}

function pressKey(event) {
  if (event.key === "Escape") point(null);
  if ((event.key === "Enter" || event.key === " ") && state.pointed) {
    event.preventDefault();
    choose(state.pointed.position);
  }
  const step = arrowOf(event);
  if (!step) return;
  event.preventDefault(); // or the page would scroll
  const { tokens, cone, query } = state.value;
  const from = state.pointed ?? { row: 0, position: state.asked ?? query };
  point({ row: clamp(from.row - step[0], cone.length), position: clamp(from.position + step[1], tokens.length) });
  scrollToPosition(state.pointed.position);
}

// ---- arrival of a value ----

function show(value) {
  const before = state.value;
  const hasNewText = `${before?.tokens}` !== `${value.tokens}`;
  if (hasNewText) Object.assign(state, { asked: null, pointed: null });
  state.value = value;
  if (value.query === state.asked) state.asked = null;
  if (state.pointed && state.pointed.row >= value.cone.length) state.pointed = null;
  if (state.asked === null) wait.isAnswered();
  root.style.setProperty("--variant", value.colour);
  title.textContent = value.label;
  rule.textContent = reachInWords(value);
  describe(fieldInWords(value));
  table.refresh();
  note.textContent = value.note ?? "";
  if (hasNewText) paintAndScroll();
  else paint();
}

box.addEventListener("pointermove", (event) => place && point(cellUnder(event)));
box.addEventListener("pointerleave", leave);
box.addEventListener("click", (event) => place && choose(cellUnder(event).position));
box.addEventListener("keydown", (event) => place && pressKey(event));
document.addEventListener("gpt-lab:query", ({ detail }) => choose(detail.position, REST_MS));
new ResizeObserver(() => box.clientWidth !== paintedWidth && paintAndScroll()).observe(box);
whenColoursChange(paint);
showValues({
  page,
  empty,
  invitation: "What can reach one output will appear here.",
  holdsSomething: ({ tokens, cone }) => tokens?.length && cone?.length,
  show,
  forget: () => (state.value = null),
});
