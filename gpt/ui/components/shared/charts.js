// A chart in SVG: the plot with its axes, and a crosshair that a pointer or the arrow keys move and a click holds.

// The colour comes through `style`, where a browser drops whatever is not a colour.
function coloured(part, colour) {
  part.style.color = colour;
  return part;
}

// A sample of a line in a legend.
function lineSwatch(width, colour, ...marks) {
  const looks = { class: "swatch", viewBox: `0 0 ${width} 10`, "aria-hidden": "true" };
  return coloured(shape("svg", looks, ...marks), colour);
}

// { plot, picture, tooltip }: the picture is drawn in the plot, and the tooltip stands beside the crosshair.
function makePlot(parent, label) {
  const plot = make(parent, "div", "plot");
  makeKeyboardPlace(plot, label);
  plot.setAttribute("aria-roledescription", "chart");
  const picture = shape("svg", { "aria-hidden": "true" });
  plot.append(picture);
  const tooltip = make(plot, "div", "tooltip");
  tooltip.hidden = true;
  return { plot, picture, tooltip };
}

// The axes in a box { left, right, top, bottom }. Ticks on the left are { y, words, right }, where `right` are the
// words of an axis on the right side, if there is one; ticks below are { x, words }. The title stands below.
function axisParts({ left, right, top, bottom }, yTicks, xTicks, title) {
  const line = (name, x1, x2, y1, y2) => shape("line", { class: name, x1, x2, y1, y2 });
  const words = (name, x, y, said) => (said ? [shape("text", { class: name, x, y }, said)] : []);
  return [
    ...yTicks.map(({ y }) => line("grid", left, right, y, y)),
    ...yTicks.flatMap((tick) => words("y-tick", left - 8, tick.y + 4, tick.words)),
    ...yTicks.flatMap((tick) => words("right-tick", right + 8, tick.y + 4, tick.right)),
    line("baseline", left, right, bottom, bottom),
    ...xTicks.map(({ x }) => line("baseline", x, x, bottom, bottom + 5)),
    ...xTicks.flatMap((tick) => words("x-tick", tick.x, bottom + 19, tick.words)),
    ...words("from-right", right, bottom + 38, `${title} →`),
  ];
}

function crosshairLine({ top, bottom }, x, isHeld) {
  return shape("line", { class: isHeld ? "crosshair held" : "crosshair", x1: x, x2: x, y1: top, y2: bottom });
}

// Beside the crosshair, on whichever side has the room.
function placeBeside(tooltip, x, width, top) {
  const beside = x + 14 + tooltip.offsetWidth <= width ? x + 14 : x - 14 - tooltip.offsetWidth;
  tooltip.style.transform = `translate(${between(beside, 0, width - tooltip.offsetWidth)}px, ${top}px)`;
}

// `hand` says what the pointer and the keys do: { isHeld(), follow(x), press(x), letGo(), step(direction, isFast) }.
// `step` returns whether there was anything to step to; x is in pixels from the plot's left edge.
function watchPlot(plot, hand) {
  const inside = (event) => event.clientX - plot.getBoundingClientRect().left;
  plot.addEventListener("pointermove", (event) => hand.isHeld() || hand.follow(inside(event)));
  plot.addEventListener("pointerleave", () => hand.isHeld() || hand.letGo());
  plot.addEventListener("click", (event) => hand.press(inside(event)));
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hand.letGo();
    const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (direction && hand.step(direction, event.shiftKey)) event.preventDefault();
  });
}

// Draws once the plot has a size, which it has not in a tab that nobody has opened, and whenever that changes.
function whenSized(plot, size, draw) {
  new ResizeObserver(([{ contentRect }]) => {
    Object.assign(size, { width: contentRect.width, height: contentRect.height });
    draw();
  }).observe(plot);
}
