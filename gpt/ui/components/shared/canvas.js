// Drawing on a canvas, in CSS pixels; colours are those of colours.js, or in CSS.

// A canvas with so many device pixels for each CSS pixel.
function sizeCanvas(canvas, width, height, ratio = devicePixelRatio) {
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
}

function writeWords(brush, words, x, y, align = "center") {
  brush.textAlign = align;
  brush.textBaseline = "middle";
  brush.fillText(words, x, y);
}

// A rounded box around a middle, for words to stand on.
function drawPlate(brush, x, y, width, height, { radius = 3, fill, stroke = null, line = 2 }) {
  brush.beginPath();
  brush.roundRect(x - width / 2, y - height / 2, width, height, radius);
  brush.fillStyle = fill;
  brush.fill();
  if (stroke === null) return;
  brush.strokeStyle = stroke;
  brush.lineWidth = line;
  brush.stroke();
}

// The outline of rows { left, right, top, bottom } from the top down, which may be of any length.
function outlineOf(rows) {
  const edge = new Path2D();
  for (const { left, top, bottom } of rows) {
    edge.lineTo(left, top);
    edge.lineTo(left, bottom);
  }
  for (const { right, top, bottom } of [...rows].reverse()) {
    edge.lineTo(right, bottom);
    edge.lineTo(right, top);
  }
  edge.closePath();
  return edge;
}

// Hatches what the mask forbids. The future: lines that fall. Outside the window: lines that rise.
function fillHatched(brush, region, kind, colour) {
  brush.fillStyle = css(colour, 0.22);
  brush.fill(region);
  brush.fillStyle = hatchPattern(brush, kind, colour);
  brush.fill(region);
}

function hatchPattern(brush, kind, colour) {
  const side = Math.round(8 * devicePixelRatio);
  const tile = new OffscreenCanvas(side, side);
  const pen = tile.getContext("2d");
  const slope = kind === "future" ? 1 : -1;
  pen.strokeStyle = css(colour);
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
