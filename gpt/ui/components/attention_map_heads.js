// One model of the attention map: its name, all its heads as thumbnails, and the chosen one large.

function makeModelView(index) {
  const side = ["first", "second"][index];
  const view = { index, picture: {}, chosen: state.chosen[index], thumbnails: [] };
  view.headPanel = make(stage, "div", `head-panel ${side}`);
  view.name = make(view.headPanel, "div", "variant-name");
  view.headGrid = make(view.headPanel, "div", "heads");
  view.headGrid.setAttribute("role", "group");
  view.mapPanel = make(stage, "div", `map-panel ${side}`);
  view.toolbar = make(view.mapPanel, "div", "toolbar");
  view.title = make(view.toolbar, "div", "map-title");
  view.map = makeMap(view.mapPanel, [view]);
  describeView(view);
  view.rule = make(view.headPanel, "p", "rule");
  view.panels = [view.headPanel, view.mapPanel];
  return view;
}

function fillModelView(view, picture) {
  const before = view.picture;
  view.picture = picture;
  for (const panel of view.panels) panel.style.setProperty("--variant", picture.colour);
  if (["layers", "heads", "kv_heads"].some((name) => before[name] !== picture[name])) buildHeads(view);
  if (!hasHead(picture, view.chosen.layer, view.chosen.head)) Object.assign(view.chosen, { layer: 0, head: 0 });
}

function nameModelView(view) {
  const model = views.length > 1 ? ` of ${nameOf(view)}` : "";
  view.name.textContent = nameOf(view);
  view.headGrid.setAttribute("aria-label", `Heads${model}: arrow keys choose`);
  nameKeyboardPlace(view.map.frame, `Attention map${model}`);
}

function buildHeads(view) {
  const { headGrid, picture } = view;
  const { layers, heads, kv_heads } = picture;
  headGrid.replaceChildren();
  headGrid.style.setProperty("--heads", heads);
  headGrid.style.setProperty("--layers", layers);
  make(headGrid, "div", "layer-name", "head");
  for (let head = 0; head < heads; head++) make(headGrid, "div", "head-name", `${head + 1}`);
  view.thumbnails = [];
  for (let layer = 0; layer < layers; layer++) {
    make(headGrid, "div", "layer-name", `layer ${layer + 1}`);
    for (let head = 0; head < heads; head++) view.thumbnails.push(makeThumbnail(view, layer, head));
  }
  if (kv_heads === heads) return;
  const shared = heads / kv_heads;
  for (let group = 0; group < kv_heads; group++) {
    const bracket = make(headGrid, "div", "kv-name", `KV ${group}`);
    bracket.style.gridColumn = `${2 + group * shared} / span ${shared}`;
  }
}

function makeThumbnail(view, layer, head) {
  const button = makeButton(view.headGrid, "", () => readerChooses(view, layer, head), "thumbnail");
  button.setAttribute("aria-label", `layer ${layer + 1}, head ${head + 1}`);
  button.addEventListener("keydown", (event) => moveHead(view, event));
  make(button, "canvas").setAttribute("aria-hidden", "true");
  return button;
}

// A thumbnail has fewer pixels than cells: each pixel shows its strongest cell, and a thin diagonal survives.
function drawThumbnails({ picture, thumbnails }) {
  const { length, heads, causal } = picture;
  const side = Math.min(length, Math.max(8, Math.round(thumbnails[0].clientWidth * devicePixelRatio)));
  const pixelAt = Uint16Array.from({ length }, (_, position) => Math.floor((position * side) / length));
  thumbnails.forEach((button, index) => {
    const bytes = bytesOf(picture, { layer: Math.floor(index / heads), head: index % heads });
    const strongest = new Int16Array(side * side).fill(-1);
    eachCell(picture, (query, key, at) => {
      const pixel = pixelAt[query] * side + pixelAt[key];
      if (bytes[at] > strongest[pixel]) strongest[pixel] = bytes[at];
    });
    paintPixels(button.firstChild, side, (pixels) => {
      strongest.forEach((byte, pixel) => {
        const isFuture = causal && pixel % side > Math.floor(pixel / side);
        const tint = isFuture ? colours.tints.future : colours.tints.window;
        pixels[pixel] = byte < 0 ? tint : colours.pixels[byte];
      });
    });
  });
}

function drawCells({ index, picture, chosen, map }) {
  const bytes = bytesOf(picture, chosen);
  paintPixels(map.cells, picture.length, (pixels) => {
    eachCell(picture, (query, key, at) => {
      const pixel = state.maskOnly ? colours.mayRead[index] : colours.pixels[bytes[at]];
      pixels[query * picture.length + key] = pixel;
    });
  });
}

function paintHeadChoice(view) {
  const { picture, chosen, title, thumbnails } = view;
  view.describe(headInWords(view));
  view.table.refresh();
  title.textContent = titleInWords(picture, chosen);
  const pressed = thumbnails[chosen.layer * picture.heads + chosen.head];
  for (const button of thumbnails) button.setAttribute("aria-pressed", button === pressed);
  stopTabAt(thumbnails, pressed);
}

// ---- choosing a head ----

// Gives a view a head, and the other view too under "same head"; where there is no such head nothing changes.
function setHead(view, { layer, head }) {
  const asked = views.filter((other) => other === view || state.sameHead);
  const changed = asked.filter(({ picture }) => hasHead(picture, layer, head));
  changed.forEach(({ chosen }) => Object.assign(chosen, { layer, head }));
  return changed;
}

function readerChooses(view, layer, head) {
  const changed = setHead(view, { layer, head });
  paintHeads(changed);
  if (!changed.includes(views[0])) return;
  document.dispatchEvent(new CustomEvent("gpt-lab:head", { detail: { layer, head } }));
}

function moveHead(view, event) {
  const step = stepOf(event);
  if (!step) return;
  const { chosen, picture, thumbnails } = view;
  readerChooses(view, clamp(chosen.layer + step[0], picture.layers), clamp(chosen.head + step[1], picture.heads));
  thumbnails[chosen.layer * picture.heads + chosen.head].focus();
}
