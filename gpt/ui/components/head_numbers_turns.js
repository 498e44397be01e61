// Where rotary positions act: each pair of the query's numbers as an arrow, before it is turned and after.

const DIAL = 22; // radius, in CSS pixels

function drawTurns(value) {
  const { before, query, angles, position } = value;
  const half = angles.length;
  const pairs = angles.map((angle, pair) => ({
    pair,
    angle,
    from: [before[pair], before[pair + half]],
    to: [query[pair], query[pair + half]],
  }));
  const longest = Math.max(...pairs.map(({ from }) => Math.hypot(...from))) || 1;
  setText(
    turnsPart.note,
    `Numbers i and i + ${half} are a pair: an arrow, dashed before it is turned, solid after. It turns by the token’s ` +
      `position, ${position}, times the pair’s speed θ, and keeps its length, which is drawn on a square-root scale.`,
  );
  turns.replaceChildren(...pairs.map((one) => makeDial(one, half, longest)));
}

function makeDial({ pair, angle, from, to }, half, longest) {
  const dial = node("figure", "dial");
  const side = 2 * DIAL + 4;
  const picture = shape(
    "svg",
    { width: side, height: side, viewBox: `${-side / 2} ${-side / 2} ${side} ${side}`, role: "img" },
    shape("circle", { r: DIAL, class: "circle" }),
    arrow(from, longest, "arrow-before"),
    arrow(to, longest, "arrow-after"),
  );
  const [start, end] = [from, to].map((ends) => `(${ends.map(threeDigits).join(", ")})`);
  const turn = `${threeDigits(angle)} radians`;
  picture.setAttribute("aria-label", `numbers ${pair} and ${pair + half}: from ${start} by ${turn} to ${end}`);
  dial.append(picture);
  const caption = make(dial, "figcaption");
  make(caption, "span", "", `${pair}, ${pair + half}`);
  make(caption, "span", "angle", `${threeDigits(angle)} rad`);
  return dial;
}

// An arrow from the middle; its head is a dot, which can be seen on the shortest.
function arrow([x, y], longest, look) {
  const length = Math.hypot(x, y) || 1;
  const drawn = (DIAL * Math.sqrt(length / longest)) / length;
  const end = [x * drawn, -y * drawn];
  const made = shape("g", { class: look });
  made.append(shape("line", { x2: end[0], y2: end[1] }), shape("circle", { cx: end[0], cy: end[1], r: 2.5 }));
  return made;
}
