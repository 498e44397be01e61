// A sequential ramp of a colour whose lightness falls (in the dark: rises) evenly, so that equal steps look equal.

const LINEAR = [
  [0.4122214708, 0.5363325363, 0.0514459929],
  [0.2119034982, 0.6806995451, 0.1073969566],
  [0.0883024619, 0.2817188376, 0.6299787005],
];
const OKLAB = [
  [0.2104542553, 0.793617785, -0.0040720468],
  [1.9779984951, -2.428592205, 0.4505937099],
  [0.0259040371, 0.7827717662, -0.808675766],
];
const applied = (matrix, vector) => matrix.map((row) => row.reduce((total, one, i) => total + one * vector[i], 0));

// [lightness, a, b] of [red, green, blue].
function oklab(colour) {
  const light = colour.map((byte) => (byte <= 10 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
  return applied(OKLAB, applied(LINEAR, light).map(Math.cbrt));
}

// The luminance of [red, green, blue] by which contrast is reckoned.
function luminance(colour) {
  const light = colour.map((byte) => (byte <= 10 ? byte / 3294.6 : ((byte / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2];
}

// `at(share)` of the way from the ground, 0, over the colour to nearly ink, 1: in CSS. `wordsOn(colour)` is black or
// white, whichever stands out from it: by at least 4.5 to 1, since the two have 21 to 1 between them.
function lightnessRamp(ground, colour, ink) {
  const [from, middle, to] = [ground, colour, mix(colour, ink, 0.75)].map(oklab);
  const turn = (middle[0] - from[0]) / (to[0] - from[0]); // where the colour itself lies
  const chroma = (share, i) =>
    share < turn ? from[i] + (share / turn) * (middle[i] - from[i]) : middle[i] + ((share - turn) / (1 - turn)) * (to[i] - middle[i]);
  const at = (share) => `oklab(${from[0] + share * (to[0] - from[0])} ${chroma(share, 1)} ${chroma(share, 2)})`;
  const wordsOn = (filled) => ((luminance(channels(filled)) + 0.05) ** 2 > 1.05 * 0.05 ? "black" : "white");
  return { at, wordsOn };
}
