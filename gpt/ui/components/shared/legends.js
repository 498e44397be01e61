// Legends: a colour ramp with its ticks, and swatches with words.

function makeRamp(parent, words, ticks) {
  const ramp = make(parent, "div", "ramp");
  make(ramp, "div", "", words);
  make(ramp, "div", "ramp-bar");
  makeRampTicks(ramp, ticks);
  return ramp;
}

function makeRampTicks(parent, ticks) {
  const line = make(parent, "div", "ramp-ticks");
  for (const tick of ticks) make(line, "span", "", tick);
}

// Returns the swatch.
function makeLegendItem(parent, swatch, words, sample = "") {
  const item = make(parent, "div", "legend-item");
  const made = make(item, "span", swatch, sample);
  make(item, "span", "", words);
  return made;
}
