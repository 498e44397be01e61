// Scales and their ticks, linear and logarithmic.

function linearScale(from, to, start, end) {
  return (number) => start + ((number - from) / (to - from)) * (end - start);
}

function logScale(from, to, start, end) {
  return (number) => start + (Math.log(number / from) / Math.log(to / from)) * (end - start);
}

// Every 1, 2 and 5 times a power of ten, from a millionth to five thousand millions.
const LADDER = Array.from({ length: 16 }, (_, power) => 10 ** (power - 6)).flatMap((one) => [one, 2 * one, 5 * one]);

// The rungs of the ladder on an axis, its ends included.
function rungs(from, to) {
  return LADDER.filter((rung) => rung >= from * 0.999 && rung <= to * 1.001);
}

// A step of 1, 2 or 5 times a power of ten, so that at most so many fit into the span.
function niceStep(span, count) {
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

function multiples(step, from, to) {
  const first = Math.ceil(from / step - 1e-9);
  const count = Math.floor(to / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => (first + i) * step + 0); // + 0, because -0 would be written "-0"
}
