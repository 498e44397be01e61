// One large map of the attention map: three sheets of glass, so that a change redraws only one of them. `cells` has a
// pixel for each cell; `mask` has what is forbidden, and the axes; `crosshair` has what is chosen. The map of the
// difference has two models, each other one has one.

const LARGEST_MAP = 800;
const SMALLEST_MAP = 240; // where the window is lower than that, it is scrolled
const BARS_ABOVE = 96; // pixels: the links to the parts, and the map's own title
const LARGEST_CELL = 128;
const MARGIN = { left: 52, right: 4, top: 4, bottom: 36, bottomUnderWords: 52 };
const SMALLEST_LETTER_CELL = 8;
const SNAP = 5; // pixels: where rows are thinner than letters, the pointer this near to a held row means that row
const SECOND_DASH = [5, 3];

function makeMap(parent, models) {
  const frame = make(parent, "div", "frame");
  const [cells, mask, crosshair] = ["cells", "mask", "crosshair"].map((name) => make(frame, "canvas", name));
  for (const canvas of [cells, mask, crosshair]) canvas.setAttribute("aria-hidden", "true"); // the frame has a name and a description
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

// How high a map may be so that all of it is seen at once: where it stands at the top of the page, without scrolling.
function roomBelow(map) {
  const top = Math.round(map.frame.getBoundingClientRect().top + scrollY);
  const under = innerHeight - MARGIN.top - MARGIN.bottomUnderWords;
  const atOnce = under - top;
  return Math.max(SMALLEST_MAP, atOnce >= SMALLEST_MAP ? atOnce : under - BARS_ABOVE);
}

function placeMap(map) {
  const { length } = views[0].picture;
  const across = map.frame.clientWidth - MARGIN.left - MARGIN.right;
  const room = Math.min(LARGEST_MAP, across, roomBelow(map), LARGEST_CELL * length);
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
  for (const canvas of [map.mask, map.crosshair]) sizeCanvas(canvas, width, height);
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

function hatch(brush, map, { side, kind }) {
  const { size, cell } = map.place;
  const rules = rulesOf(map);
  const region = new Path2D();
  for (let query = 0; query < rules[0].length; query++) {
    const { first, last } = runOf(rules, query);
    const [from, to] = side < 0 ? [0, first * cell] : [(last + 1) * cell, size];
    region.rect(from, query * cell, to - from, cell);
  }
  fillHatched(brush, region, kind, colours.hatch[kind]);
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
  drawPlate(brush, x, y, width, height, { fill: colours.panel });
  brush.fillStyle = colours.ink;
  lines.forEach((line, index) => writeWords(brush, line, x, y + 18 * (index - (lines.length - 1) / 2)));
}

// The edge of what a model may read, in its colour; dashed for the second model.
function drawEdge(brush, { place, models }, { picture, index }) {
  const { cell } = place;
  const edgesOf = (query) => ({ left: firstKey(picture, query) * cell, right: (lastKey(picture, query) + 1) * cell });
  const rows = picture.tokens.map((_, query) => ({ ...edgesOf(query), top: query * cell, bottom: (query + 1) * cell }));
  brush.strokeStyle = (models.length > 1 ? colours.signs : colours.variants)[index];
  brush.lineWidth = 1.5;
  brush.setLineDash(index ? SECOND_DASH : []);
  brush.stroke(outlineOf(rows));
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
  writeWords(brush, "key (what is read)", middle, size + bottom - 9);
  brush.save();
  brush.translate(9 - MARGIN.left, middle);
  brush.rotate(-Math.PI / 2);
  writeWords(brush, "query (who reads)", 0, 0);
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
    const plate = { radius: 2, fill: colours.panel, stroke: colour, line: 1.5 };
    drawPlate(brush, align === "center" ? 0 : 3 - width / 2, -0.5, width, 15, plate);
  }
  brush.fillStyle = boxed ? colours.ink : colour;
  writeWords(brush, label, 0, 0, align);
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

// ---- pointing at its cells ----

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
