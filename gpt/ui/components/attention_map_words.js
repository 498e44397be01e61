// What the attention map says in words: of its rule, a cell, a head, and what is held.

// A byte is right to half a step, which leaves a weight uncertain by its square root / 255 to either side.
function digitsFor(...bytes) {
  const uncertainty = bytes.reduce((sum, byte) => sum + (2 * byte) / 255 ** 2, 0);
  return Math.min(4, Math.floor(-Math.log10(uncertainty)));
}

function ruleInWords(picture, query) {
  const { window, causal, layers } = picture;
  const [first, last] = [firstKey(picture, query), lastKey(picture, query)];
  const range = first === last ? `only token ${first}` : `tokens ${first} to ${last}`;
  const sides = causal ? 1 : 2;
  const mask = window === null ? "No window" : `Window of ${window}${causal ? "" : " to both sides"}`;
  const future = causal ? "" : " and no causal mask, so the future may be read";
  const sentence = `${mask}${future}: token ${query} may read ${range}.`;
  if (window === null) return sentence;
  const reach = sides * layers * (window - 1) + 1;
  const sum = `${causal ? "" : "2 × "}${layers} × (${window} − 1) + 1 = ${reach} token${reach === 1 ? "" : "s"}`;
  return `${sentence} ${layers === 1 ? "1 layer reaches" : `${layers} layers reach`} ${sum}.`;
}

function verdictInWords(picture, chosen, query, key) {
  const kind = verdict(picture, query, key);
  if (kind === "future") return "forbidden: the future";
  if (kind === "window") return `forbidden: outside the window of ${picture.window}`;
  if (state.maskOnly) return "allowed";
  const byte = byteAt(picture, bytesOf(picture, chosen), query, key);
  if (byte <= LARGEST_UNUSED_BYTE) return "allowed, unused (weight < 0.001)";
  return `weight ${weightOf(byte).toFixed(digitsFor(byte))}`;
}

function differenceInWords(query, key) {
  const kinds = views.map(({ picture }) => verdict(picture, query, key));
  if (!kinds.includes("allowed")) return "forbidden in both: no difference";
  if (state.maskOnly) return kinds[0] === kinds[1] ? "allowed in both" : "allowed in one only";
  const bytes = views.map(({ picture, chosen }) => byteAt(picture, bytesOf(picture, chosen), query, key));
  if (Math.max(...bytes) <= LARGEST_UNUSED_BYTE) return "difference under 0.001";
  const amount = weightOf(bytes[0]) - weightOf(bytes[1]);
  const digits = Math.abs(amount).toFixed(digitsFor(...bytes));
  const sign = Number(digits) === 0 ? "" : amount < 0 ? "−" : "+";
  const counted = kinds[0] === kinds[1] ? "" : ", as a forbidden cell counts as 0";
  return `difference ${sign}${digits}${counted}`;
}

function distanceInWords(query, key) {
  if (query === key) return "distance 0, itself";
  return `distance ${Math.abs(query - key)}, ${key < query ? "before" : "after"} the query`;
}

function titleInWords({ heads, kv_heads }, { layer, head }) {
  const shared = kv_heads < heads ? `, reads KV ${Math.floor((head * kv_heads) / heads)}` : "";
  return `layer ${layer + 1}, head ${head + 1}${shared}`;
}

function tokenInWords(position) {
  return `${position} “${shortToken(views[0].picture.tokens[position])}”`;
}

function hintInWords() {
  const { held, resting } = state;
  if (!held.length) return `Point at a token to see what it reads; press to hold it, up to ${MOST_HELD}.`;
  const verb = held.length === 1 ? "is" : "are";
  const words = `Token${held.length === 1 ? "" : "s"} ${listInWords(held.map(tokenInWords))} ${verb} held.`;
  return resting ? `${words} Arrow keys place another.` : words;
}

// Two models may bear the same name, such as one model at two steps of its training.
function nameOf(view) {
  const isTwin = views.length > 1 && views[0].picture.label === views[1].picture.label;
  return isTwin ? `${view.picture.label} (${["first", "second"][view.index]})` : view.picture.label;
}
