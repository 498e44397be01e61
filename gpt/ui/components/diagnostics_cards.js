// A card for each chart: its title, a sentence, the plot, and its figures as a table on demand.

// Three digits of a number, "–" of null; at an axis no more of them than it needs.
function threeDigits(number, least = 3) {
  if (!Number.isFinite(number)) return "–";
  if (number && (number < 1e-3 || number >= 1e5)) return number.toExponential(least - 1).replace("-", "−");
  return number.toLocaleString("en-US", { minimumSignificantDigits: least, maximumSignificantDigits: 3 });
}

function tickNumber(number) {
  return threeDigits(number, 1);
}

// `fill` writes the table into the box; it is called when the table is unfolded, and by `table.refresh`.
function makeCard(parent, title, explanation, fill) {
  const card = make(parent, "section", "frame");
  make(card, "h3", "", title);
  const words = make(card, "p", "explanation", explanation);
  const options = make(card, "div", "options");
  const yTitle = make(card, "div", "y-title");
  const { plot, picture, tooltip } = makePlot(card, `${title}: chart. The arrow keys read it out.`);
  const message = node("p", "message");
  tooltip.before(message);
  const legend = make(card, "div", "legend");
  const describe = makeDescription(card, plot);
  const table = makeTableFold(card, title, fill);
  const spoken = makeSpoken(card);
  return { card, words, options, yTitle, plot, picture, tooltip, message, legend, describe, table, spoken };
}

// A line through points [x, y] in px, with a gap wherever one has no height.
function pathThrough(points) {
  let join = "M";
  return points.map(([x, y]) => {
    const step = Number.isFinite(y) ? `${join}${x.toFixed(1)} ${y.toFixed(1)}` : "";
    join = step ? "L" : "M";
    return step;
  }).join("");
}

// The place in a rising list of the number nearest to the one wanted.
function nearestPlace(numbers, wanted) {
  return numbers.reduce((best, number, i) => (Math.abs(number - wanted) < Math.abs(numbers[best] - wanted) ? i : best), 0);
}

function swatchOf({ colour, dash }) {
  return lineSwatch(32, colour, shape("path", { class: "curve", d: "M0 5H32", "stroke-dasharray": dash || "none" }));
}

function hintOf(isHeld) {
  return isHeld ? "held: Esc or another press lets go" : "press to hold, arrows move";
}
