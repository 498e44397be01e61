// The third map of the attention map, where there are two models: the first one's head minus the second's.

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

function explainDifference(scales, item) {
  const [first, second] = views.map(nameOf);
  if (state.maskOnly) {
    item("both may read", "swatch-rule", "var(--quiet)");
    views.forEach((view, index) => item(`only ${nameOf(view)} may read`, "swatch-rule", colours.signs[index]));
    return;
  }
  const ends = [colours.signs[1], "var(--paper)", colours.signs[0]];
  const bar = addScale(scales, "difference", [-1, -0.5, 0, 0.5, 1]);
  bar.style.setProperty("--ramp", `linear-gradient(to right, ${ends})`);
  const sides = make(bar, "div", "scale-sides");
  make(sides, "span", "", `${second} larger`);
  make(sides, "span", "", `${first} larger`);
  if (colours.areAlike) {
    make(bar, "div", "", `Both models have one colour: here blue stands for ${first}, orange for ${second}.`);
  }
  item(`${first} may read`, "swatch-may", colours.signs[0]);
  item(`${second} may read`, "swatch-may dashed", colours.signs[1]);
}
