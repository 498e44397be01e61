// Numbers within bounds, and numbers in words.

function between(number, least, most) {
  return Math.max(least, Math.min(most, number));
}

// The place in a list of so many that lies nearest to a position.
function clamp(position, count) {
  return between(position, 0, count - 1);
}

function sum(numbers) {
  return numbers.reduce((total, number) => total + number, 0);
}

// 24800 as 24,800.
function grouped(number) {
  return number.toLocaleString("en-US");
}

function percent(probability) {
  if (probability === 0) return "0 %";
  return probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

function plainNumber(number, decimals) {
  return number.toFixed(decimals).replace(/^-(0[.0]*)$/, "$1").replace("-", "−");
}

function signedNumber(number, decimals) {
  const plain = plainNumber(number, decimals);
  return /[1-9]/.test(plain) && number > 0 ? `+${plain}` : plain;
}

// With so many digits that count; below a thousandth as 1.23 × 10⁻⁵.
function significant(number, digits) {
  if (number === 0) return "0";
  const [figures, exponent] = number.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power >= -3) return plainNumber(Number(number.toPrecision(digits)), Math.max(0, digits - 1 - power));
  const raised = [...`${-power}`].map((digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");
  return `${figures.replace("-", "−")} × 10⁻${raised}`;
}

// The decimals that its error leaves a number: two digits of an error that starts with 1 or 2, else one.
function decimalsAllowedBy(error) {
  if (!(error > 0)) return 3;
  const power = Math.floor(Math.log10(error));
  return clamp(error < 3 * 10 ** power ? 1 - power : -power, 5);
}

function withError(number, error, write = plainNumber) {
  const decimals = decimalsAllowedBy(error);
  const known = Number.isFinite(error); // null: too few tokens to tell
  return write(number, decimals) + (known ? ` ± ${plainNumber(error, decimals)}` : "");
}

function listInWords(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}
