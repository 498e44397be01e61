// Colours as [red, green, blue], read from the page's variables, for what is drawn on a canvas.

// Any CSS colour, by painting one pixel with it.
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

// Reads a variable as it stands at that part of the page: variableOf(root)("ink").
function variableOf(part) {
  const style = getComputedStyle(part);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function hatchColours(named) {
  return { future: channels(named("hatch-future")), window: channels(named("hatch-window")) };
}

// Calls whenever the page turns dark or light.
function whenColoursChange(paint) {
  const observer = new MutationObserver(paint);
  for (const page of [document.documentElement, document.body]) {
    observer.observe(page, { attributes: true, attributeFilter: ["class"] });
  }
}
