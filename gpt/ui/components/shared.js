// What the components' scripts share; `drawn_component` puts it in front of each.

// ---- parts of the page: all words go through textContent, so none can become markup ----

function make(parent, tag, className = "", words = "") {
  const part = document.createElement(tag);
  part.className = className;
  part.textContent = words;
  parent.append(part);
  return part;
}

function makeSwitch(parent, words, press) {
  const button = make(parent, "button", "switch", words);
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

// ---- tokens, made visible ----

function shownToken(token) {
  const visible = token
    .replaceAll(" ", "␣")
    .replace(/\r?\n/g, "⏎")
    .replace(/[\u0000-\u001f]/g, (control) => String.fromCharCode(0x2400 + control.charCodeAt(0)));
  return /^\p{Mark}/u.test(visible) ? `◌${visible}` : visible || "∅";
}

function shortToken(token) {
  const glyphs = [...new Intl.Segmenter().segment(shownToken(token))].map((part) => part.segment);
  return glyphs.length > 4 ? `${glyphs.slice(0, 3).join("")}…` : glyphs.join("");
}

// ---- colours ----

// Any CSS colour as [red, green, blue], by painting one pixel with it.
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

// ---- values ----

// A value arrives as an object or, because Gradio's page walks long lists slowly, as one JSON string.
function valueAsObject(value) {
  return typeof value === "string" ? JSON.parse(value || "null") : value;
}

// Tests wait on this: how many values the component has shown.
function countAsPainted() {
  element.dataset.painted = Number(element.dataset.painted ?? 0) + 1;
}

// ---- numbers ----

// The decimals that its error leaves a number: two digits of an error that starts with 1 or 2, else one.
function decimalsAllowedBy(error) {
  if (!(error > 0)) return 3;
  const power = Math.floor(Math.log10(error));
  return clamp(error < 3 * 10 ** power ? 1 - power : -power, 5);
}

function plainNumber(number, decimals) {
  return number.toFixed(decimals).replace(/^-(0[.0]*)$/, "$1").replace("-", "−");
}

function signedNumber(number, decimals) {
  const plain = plainNumber(number, decimals);
  return /[1-9]/.test(plain) && number > 0 ? `+${plain}` : plain;
}

function withError(number, error, write = plainNumber) {
  const decimals = decimalsAllowedBy(error);
  const known = Number.isFinite(error); // null: too few tokens to tell
  return write(number, decimals) + (known ? ` ± ${plainNumber(error, decimals)}` : "");
}

function listInWords(parts) {
  return parts.length < 2 ? parts.join("") : `${parts.slice(0, -1).join(", ")} and ${parts.at(-1)}`;
}

function clamp(position, count) {
  return Math.max(0, Math.min(count - 1, position));
}
