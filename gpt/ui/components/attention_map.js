// Draws which keys the queries of one model or two read: all heads small, one head large, for two models the
// difference between their chosen heads, and the same text as each held query reads it. attention_map.py describes
// the value; a byte is 255 times the square root of a weight.
//
// Here are what the reader has chosen, the colours, the parts of the page, what is painted when, and the arrival of a
// value; `attention_map_*.js` draw the parts of the picture from them.

const MOST_HELD = 4;

// What the reader has chosen; it outlives a new value as long as it fits that value.
const state = {
  chosen: [{ layer: 0, head: 0 }, { layer: 0, head: 0 }], // the large head of each model
  sameHead: true,
  held: [], // queries that a click or a key chose and that stay, the oldest first; arrows move the last
  resting: false, // the last held query was told to stay: the next arrow holds another
  pointed: null, // { query, key, map or letter }, the cell under the pointer; `key` is null where it has only a query
  maskOnly: false,
  linear: false,
};
const views = []; // one for each model
let difference = null; // the third map, where there are two models
let readings = []; // for each query that is shown, a strip of text for each model
let colours = null;
let edition = 0; // counts what changes the look of all strips
let paintedWidth = 0;
let paintedHeight = 0; // of the window, which the maps fit
let arrivals = 0;

// ---- colours: read from the page, again whenever it turns dark or light ----

function pixelOf(colour) {
  return new Uint32Array(Uint8Array.of(...colour, 255).buffer)[0];
}

function readColours() {
  const named = variableOf(root);
  const hatch = hatchColours(named);
  const names = ["attention-none", "attention-full", "paper", "quiet"];
  const [none, full, paper, grey] = names.map((name) => channels(named(name)));
  const [ink, quiet, panel] = ["ink", "quiet", "panel"].map(named);
  const [sans, monospace] = [getComputedStyle(root).fontFamily, named("monospace")];
  const variants = views.map(({ mapPanel }) => variableOf(mapPanel)("variant"));
  const brightness = (colour) => colour[0] + colour[1] + colour[2];
  const [dark, light] = [none, channels(ink)].sort((a, b) => brightness(a) - brightness(b));
  const level = (share) => (state.linear ? share * share : share); // of the square root of a weight
  const ramp = Array.from({ length: 256 }, (_, byte) => mix(none, full, level(byte / 255)));
  colours = { ink, quiet, panel, sans, monospace, variants, hatch };
  colours.ramp = ramp.map((colour) => css(colour));
  colours.onRamp = ramp.map((colour) => css(brightness(colour) > 3 * 118 ? dark : light));
  colours.pixels = Uint32Array.from(ramp, pixelOf);
  colours.tints = { future: pixelOf(mix(none, hatch.future, 0.4)), window: pixelOf(mix(none, hatch.window, 0.4)) };
  colours.mayRead = variants.map((colour) => pixelOf(mix(none, channels(colour), 0.22)));
  if (variants.length < 2) return;
  colours.areAlike = variants[0] === variants[1];
  colours.signs = colours.areAlike ? [named("variant-gpt2"), named("variant-modern")] : variants;
  const [first, second] = colours.signs.map(channels);
  const end = (place) => (place < 255 ? second : first);
  colours.differences = Uint32Array.from({ length: 511 }, (_, place) =>
    pixelOf(mix(paper, end(place), level(Math.abs(place - 255) / 255))),
  );
  colours.whoMayRead = [first, second, grey].map((colour) => pixelOf(mix(paper, colour, 0.35)));
}

// ---- the page's parts that every value needs, made once ----

const root = element.querySelector(".attention-map");
const stage = make(root, "div", "stage");
const tooltip = make(root, "div", "tooltip");
const notice = make(root, "p", "notice");
tooltip.setAttribute("role", "status");
tooltip.hidden = true;

const switches = make(stage, "div", "switches");
const sameSwitch = makeSwitch(switches, "same head", () => changeView({ sameHead: !state.sameHead }));
sameSwitch.title = "choosing a head of one model chooses the same one of the other";
const maskSwitch = makeSwitch(switches, "mask only", () => changeView({ maskOnly: !state.maskOnly }));
const scale = make(switches, "div", "scale");
make(scale, "span", "scale-name", "scale");
const rootSwitch = makeSwitch(scale, "square root", () => changeView({ linear: false }));
const linearSwitch = makeSwitch(scale, "linear", () => changeView({ linear: true }));

const legend = make(stage, "div", "legend");
const words = make(stage, "div", "words");
const hint = make(words, "div", "hint");
const hintWords = make(hint, "span");
const letGoButton = makeSwitch(hint, "let go", letGo);
const readingList = make(words, "div", "readings");

function nameKeyboardPlace(part, name) {
  makeKeyboardPlace(part, `${name}: arrow keys move, Enter holds another, Escape lets go`);
}

// ---- words around the maps ----

function paintSwitches() {
  sameSwitch.setAttribute("aria-pressed", state.sameHead);
  maskSwitch.setAttribute("aria-pressed", state.maskOnly);
  rootSwitch.setAttribute("aria-pressed", !state.linear);
  linearSwitch.setAttribute("aria-pressed", state.linear);
}

function paintHint() {
  views.forEach(({ rule, picture }) => (rule.textContent = ruleInWords(picture, mainQuery())));
  hintWords.textContent = hintInWords();
  letGoButton.hidden = !state.held.length;
}

function paintLegend() {
  legend.replaceChildren();
  const scales = make(legend, "div", "scales");
  const items = make(legend, "div", "items");
  const item = (name, swatch, colour = "") =>
    makeLegendItem(items, `swatch ${swatch}`, name).style.setProperty("--variant", colour);
  const pictures = views.map(({ picture }) => picture);
  addScale(scales, "weight", [0, 0.5, 1]);
  if (difference) explainDifference(scales, item);
  else if (state.maskOnly) item("may be read", "swatch-rule", pictures[0].colour);
  else item("may be read; empty if unused", "swatch-may", pictures[0].colour);
  if (pictures.some(({ causal }) => causal)) item("forbidden: the future", "swatch-future");
  if (pictures.some(({ causal }) => !causal)) item("above it: the future, not forbidden", "swatch-diagonal");
  const windows = [...new Set(pictures.filter(isNarrow).map(({ window }) => window))];
  if (windows.length) item(`forbidden: outside the window of ${windows.join(" or ")}`, "swatch-window");
}

function addScale(scales, name, places) {
  const ticks = places.map((place) => `${state.linear ? place : place * Math.abs(place)}`.replace("-", "−"));
  const ramp = makeRamp(scales, `${name}, ${state.linear ? "linear" : "square root"}`, ticks);
  ramp.classList.add(name);
  return ramp;
}

function paintTooltip() {
  tooltip.hidden = (state.pointed?.key ?? null) === null;
  if (tooltip.hidden) return;
  const { query, key } = state.pointed;
  const { tokens } = views[0].picture;
  const named = (role, position) => `${role} ${position} “${shownToken(tokens[position])}”`;
  tooltip.replaceChildren();
  make(tooltip, "div", "tooltip-cell", `${named("query", query)} → ${named("key", key)}`);
  for (const view of views) {
    const words = verdictInWords(view.picture, view.chosen, query, key);
    const line = make(tooltip, "div", "tooltip-verdict", difference ? `${nameOf(view)}: ${words}` : words);
    line.classList.toggle("chip", difference !== null);
    line.style.setProperty("--variant", view.picture.colour);
  }
  if (difference) make(tooltip, "div", "tooltip-verdict", differenceInWords(query, key));
  make(tooltip, "div", "", distanceInWords(query, key));
  placeTooltip(state.pointed);
}

// Beside the cell and over it where there is room; under the letter, so that the text before it stays readable.
function placeTooltip({ query, key, map, letter }) {
  const [around, box] = [root.getBoundingClientRect(), (letter ?? map.mask).getBoundingClientRect()];
  const right = map ? MARGIN.left + (key + 1) * map.place.cell : box.width;
  const top = box.top - around.top + (map ? MARGIN.top + query * map.place.cell : 0);
  const limit = map ? box.right - around.left : around.width;
  const above = map && top > tooltip.offsetHeight + 14;
  const below = map ? map.place.cell + 14 : 32;
  const x = Math.min(box.left - around.left + right + 14, limit - tooltip.offsetWidth);
  const y = above ? top - tooltip.offsetHeight - 14 : top + below;
  tooltip.style.transform = `translate(${Math.round(Math.max(0, x))}px, ${Math.round(y)}px)`;
}

// ---- what is painted when ----

// The query that the words are about. Before anything is chosen it is one a little past the middle: it has a past
// and a future.
function mainQuery() {
  return state.held.at(-1) ?? state.pointed?.query ?? firstQuery();
}

function firstQuery() {
  return Math.floor(0.6 * (views[0].picture.length - 1));
}

function shownQueries() {
  return state.held.length ? state.held : [mainQuery()];
}

function maps() {
  return [...views, difference].filter(Boolean).map(({ map }) => map);
}

// After a move of the pointer, or a change of what is held.
function paintChoice() {
  if (!paintedWidth) return;
  maps().forEach(drawCrosshair);
  paintReadings();
  paintHint();
  paintTooltip();
}

// After another head was chosen in some of the views.
function paintHeads(changed) {
  if (!views.length) return; // nothing has arrived yet
  changed.forEach(paintHeadChoice);
  Object.assign(element.dataset, views[0].chosen);
  if (!paintedWidth) return;
  edition++;
  changed.forEach(drawCells);
  if (difference) drawDifference();
  paintChoice();
}

// After a new value or width, or a change of scale or mode.
function paintAll() {
  paintedWidth = views.length ? root.clientWidth : 0;
  paintedHeight = innerHeight;
  if (paintedWidth) {
    readColours();
    views.forEach(drawThumbnails);
    maps().forEach(drawMask);
    if (difference) drawDifferenceTitle();
    paintSwitches();
    paintLegend();
  }
  paintHeads(views);
}

// ---- choosing ----

function changeView(change) {
  Object.assign(state, change);
  if (change.sameHead) setHead(views[1], views[0].chosen);
  paintAll();
}

// Where an arrow key leads, [query, key].
function stepOf(event) {
  const step = arrowOf(event);
  if (step) event.preventDefault(); // or the page would scroll
  return step;
}

function point(pointed) {
  if (["query", "key", "map", "letter"].every((name) => pointed?.[name] === state.pointed?.[name])) return;
  state.pointed = pointed;
  paintChoice();
}

// A finger that leaves has not moved on: what it touched stays.
function leave(event) {
  if (event.pointerType !== "touch") point(null);
}

function toggleHeld(query) {
  const others = state.held.filter((held) => held !== query);
  const isNew = others.length === state.held.length;
  Object.assign(state, { held: isNew ? [...others, query].slice(-MOST_HELD) : others, resting: false });
  if (isNew) announceQuery(query);
}

function announceQuery(position) {
  document.dispatchEvent(new CustomEvent("gpt-lab:query", { detail: { position } }));
}

function letGo() {
  Object.assign(state, { held: [], resting: false, pointed: null });
  paintChoice();
}

// Moves the last held query, or holds one more where that one was told to stay; other held ones are stepped over.
function moveHeld(target, direction) {
  const others = state.resting ? state.held : state.held.slice(0, -1);
  while (others.includes(target)) target += direction;
  if (target < 0 || target >= views[0].picture.length) return;
  Object.assign(state, { held: [...others, target].slice(-MOST_HELD), resting: false });
}

// Enter or Space: what is held stays, and the next arrow holds another. Once more, and it is let go.
function rest(event) {
  if (event.key !== "Enter" && event.key !== " ") return false;
  event.preventDefault();
  if (!state.held.length || state.resting) toggleHeld(mainQuery());
  else announceQuery(mainQuery());
  state.resting = true;
  paintChoice();
  return true;
}

// ---- arrival of a value ----

// Rebuilds only what changed, so that a focus or a held query outlives a new step of the same training.
function show(pictures) {
  const before = views[0]?.picture.tokens;
  const isNewText = JSON.stringify(before) !== JSON.stringify(pictures[0].tokens);
  const isNewCount = views.length !== pictures.length;
  while (views.length > pictures.length) views.pop().panels.forEach((panel) => panel.remove());
  while (views.length < pictures.length) views.push(makeModelView(views.length));
  pictures.forEach((picture, index) => fillModelView(views[index], picture));
  views.forEach(nameModelView);
  if (isNewCount) arrange();
  if (isNewCount || isNewText) forgetReadings();
  if (isNewText) Object.assign(state, { held: [], resting: false });
  if (isNewCount || isNewText) state.pointed = null;
  if (isNewCount && views.length > 1 && state.sameHead) setHead(views[1], views[0].chosen);
  paintAll();
}

// One model has the switches above its map; with two they have a place of their own.
function arrange() {
  const isPair = views.length > 1;
  if (isPair) views.forEach(({ headPanel, rule }) => headPanel.append(rule));
  else words.prepend(views[0].rule);
  stage.classList.toggle("pair", isPair);
  sameSwitch.hidden = !isPair;
  if (isPair) stage.append(switches);
  else views[0].toolbar.append(switches);
  difference?.panel.remove();
  difference = isPair ? makeDifference() : null;
  stage.append(legend, words); // the order of the Tab key
}

// A link may ask for a head of the first picture that it leads to.
let askedHead = window.gptLabAddress?.head();

function chooseAskedHead() {
  if (hasHead(views[0].picture, askedHead.layer, askedHead.head)) paintHeads(setHead(views[0], askedHead));
  askedHead = null;
}

async function receive() {
  const arrival = ++arrivals;
  const models = props.value?.models ?? [];
  const isEmpty = !models.length;
  let failure = null;
  const unpacked = isEmpty ? [sketchedPicture()] : Promise.all(models.map(unpack));
  const pictures = await Promise.resolve(unpacked).catch((error) => void (failure = error));
  if (arrival !== arrivals) return; // a newer value has come meanwhile
  root.classList.toggle("sketch", isEmpty);
  root.classList.toggle("failed", failure !== null);
  stage.inert = isEmpty;
  const invitation = props.value?.empty || "The attention of a trained model will appear here.";
  notice.textContent = failure?.message ?? (isEmpty ? invitation : "");
  if (pictures) show(pictures);
  if (askedHead && !isEmpty && pictures) chooseAskedHead();
  countAsPainted();
}

document.addEventListener("keydown", (event) => event.key === "Escape" && state.held.length && letGo());
document.addEventListener("gpt-lab:choose-head", ({ detail }) => {
  const isThere = !stage.inert && views.length && hasHead(views[0].picture, detail?.layer, detail?.head);
  if (!isThere) return;
  paintHeads(setHead(views[0], detail));
  element.scrollIntoView({ block: "start" }); // it was chosen in a table below
});
document.addEventListener("gpt-lab:which", ({ detail }) => {
  if (stage.inert || !views.length) return;
  Object.assign(detail, views[0].chosen, { position: state.held.at(-1) ?? firstQuery() });
});
new ResizeObserver(() => root.clientWidth !== paintedWidth && paintAll()).observe(root);
addEventListener("resize", () => {
  const isBar = Math.abs(innerHeight - paintedHeight) < 100; // a phone's address bar comes and goes
  if (root.clientWidth && !isBar) paintAll();
});
whenColoursChange(paintAll);
watch("value", receive);
receive();
