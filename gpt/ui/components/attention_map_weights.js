// The weights of the attention map's value: unpacked, and checked against the mask's rule. A byte is 255 times the
// square root of a weight; a head's bytes are those of its allowed cells, row by row.

const LARGEST_UNUSED_BYTE = 7; // bytes up to this one are weights under 0.001

async function inflate(base64) {
  const binary = atob(base64);
  const zipped = new Uint8Array(binary.length);
  for (let at = 0; at < zipped.length; at++) zipped[at] = binary.charCodeAt(at);
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A picture is a model of the value with its weights unpacked: `bytes` has `cells` of them for each head, and the
// row of a query starts at `rowStarts[query]`.
function withRows(model) {
  const picture = { ...model, length: model.tokens.length, rowStarts: [], cells: 0 };
  for (let query = 0; query < picture.length; query++) {
    picture.rowStarts.push(picture.cells);
    picture.cells += lastKey(picture, query) - firstKey(picture, query) + 1;
  }
  return picture;
}

async function unpack(model) {
  const picture = withRows(model);
  picture.bytes = await inflate(model.weights).catch(() => new Uint8Array(0));
  const needed = picture.layers * picture.heads * picture.cells;
  if (picture.bytes.length === needed && needed > 0) return picture;
  const window = model.window === null ? "no window" : `a window of ${model.window}`;
  throw new Error(
    `This attention map cannot be drawn: ${picture.bytes.length} weights arrived, but ${model.layers} ` +
      `layers of ${model.heads} heads over ${picture.length} tokens with ${window} have ${needed}. ` +
      "Show it again, or reload the page.",
  );
}

function sketchedPicture() {
  const model = { tokens: Array(24).fill("·"), layers: 4, heads: 4, kv_heads: 4, window: 8, causal: true };
  const picture = withRows({ ...model, label: "", colour: "var(--variant-other)" });
  picture.bytes = new Uint8Array(16 * picture.cells).map((_, cell) => 200 * Math.sin(cell * cell) ** 4);
  return picture;
}

function hasHead({ layers, heads }, layer, head) {
  const within = (number, count) => Number.isInteger(number) && number >= 0 && number < count;
  return within(layer, layers) && within(head, heads);
}

function bytesOf({ bytes, heads, cells }, { layer, head }) {
  return bytes.subarray((layer * heads + head) * cells, (layer * heads + head + 1) * cells);
}

// The byte of a cell in a head's bytes; 0 where the model may not read.
function byteAt(picture, bytes, query, key) {
  if (verdict(picture, query, key) !== "allowed") return 0;
  return bytes[picture.rowStarts[query] + key - firstKey(picture, query)];
}

function weightOf(byte) {
  return (byte / 255) ** 2;
}
