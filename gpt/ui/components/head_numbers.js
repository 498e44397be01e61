// One head in numbers; head_numbers.py describes the value. What it is about, the attention map knows, which it asks;
// the numbers it asks the server for, once a reader has it in view.
//
// Here are what is shown, the parts of the page, and when the server is asked; `head_numbers_*.js` draw and write.

const root = element.querySelector(".head-numbers");

// `asked` is the place { layer, head, position } that the server was asked for last; `isStale`, whether the numbers
// shown are of something else than what is chosen now; `key`, the position of the key that the reader chose, or null.
const state = { value: null, asked: null, isStale: false, key: null };
const wait = makeWait(stopWaiting);

// ---- the page's parts, made once ----

const page = make(root, "div", "page");
const empty = make(root, "p", "empty");
const title = make(page, "div", "variant-name");
const place = make(page, "p", "place");
place.setAttribute("role", "status");
const body = make(page, "div", "numbers");
const takeAway = make(body, "div", "take-away");
const copyButton = makeSwitch(takeAway, "Copy as CSV", () => copyWords(copyButton, asCsv(state.value)));
makeSwitch(takeAway, "Save as CSV", () => saveFile("head.csv", new Blob([asCsv(state.value)], { type: "text/csv" })));
const queryPart = makePart("1. The query");
const turnsPart = makePart("Where it is turned");
const keysPart = makePart("2. Every key it is compared with");
const outputPart = makePart("3. What it reads");
const turns = make(turnsPart.content, "div", "turns");
const [queryBox, keysBox, outputBox] = [
  [queryPart, "Numbers of the query and of one key"],
  [keysPart, "All keys; arrow keys move from key to key"],
  [outputPart, "Numbers of what the head reads and gives on"],
].map(([{ content }, name]) => makeScrollBox(content, name));
keysBox.classList.add("keys");
const legend = make(keysPart.content, "div", "legend");

function makePart(name) {
  const part = make(body, "section", "part");
  make(part, "h3", "", name);
  return { part, note: make(part, "p", "note"), content: make(part, "div") };
}

// ---- words ----

function headInWords({ layer, head, kv }) {
  return `Layer ${layer + 1}, head ${head + 1}${kv === null ? "" : ` (reads KV ${kv})`}`;
}

function tokenInWords(position) {
  return `“${shownToken(state.value.tokens[position])}”`;
}

function placeInWords(value) {
  const where = `${headInWords(value)}, as token ${value.position} ${tokenInWords(value.position)} reads.`;
  return `${where} Choose another head, or hold another token, in the map above.`;
}

// ---- what is painted ----

// The key whose numbers stand beside the query's: the reader's, or the one that is read most.
function chosenKey() {
  return state.key ?? state.value.weights.indexOf(Math.max(...state.value.weights));
}

function paint() {
  const { value } = state;
  root.style.setProperty("--variant", value.colour);
  setText(title, value.label);
  setText(place, placeInWords(value));
  turnsPart.part.hidden = value.angles === null;
  if (value.angles) drawTurns(value);
  buildKeys(value);
  paintKey();
  centreKey(chosenKey());
}

// After another key was chosen.
function paintKey() {
  buildQuery(state.value, chosenKey());
  buildOutput(state.value, chosenKey());
  markKey(chosenKey());
}

function chooseKey(position) {
  state.key = position;
  paintKey();
}

function paintWaiting() {
  body.hidden = state.value === null;
  body.classList.toggle("stale", state.isStale);
  if (state.value === null) setText(place, state.asked ? "Computing…" : "");
}

// ---- asking ----

// What the attention map shows large; without a map, the first head and token.
function chosenPlace() {
  const detail = { layer: 0, head: 0, position: 0 };
  document.dispatchEvent(new CustomEvent("gpt-lab:which", { detail }));
  return detail;
}

function isSamePlace(one, other) {
  return ["layer", "head", "position"].every((name) => one?.[name] === other?.[name]);
}

// Folded away it has no width, and asks for nothing.
function askInView(rest = 0) {
  if (!state.isStale || page.hidden || !root.clientWidth) return;
  wait.ask(() => {
    state.asked = chosenPlace();
    trigger("ask", state.asked);
    paintWaiting();
  }, rest);
}

function followChoice() {
  if (page.hidden) return;
  state.isStale = true;
  askInView(REST_MS);
}

function stopWaiting() {
  state.asked = null;
  paintWaiting();
}

// ---- arrival of a value ----

function show(value) {
  if (value.edition) {
    state.isStale = true;
    paintWaiting();
    askInView();
    return;
  }
  if (state.asked && !isSamePlace(value, state.asked)) return; // an answer from before; the next is on its way
  wait.isAnswered();
  if (value.tokens.length !== state.value?.tokens.length) state.key = null;
  state.value = unpacked(value);
  state.isStale = state.asked !== null && !isSamePlace(chosenPlace(), state.asked); // another was chosen meanwhile
  paintWaiting();
  paint();
  askInView();
}

// Keys and values as a list of vectors each.
function unpacked(value) {
  const vectors = (base64) => {
    const numbers = new Float32Array(Uint8Array.from(atob(base64), (one) => one.charCodeAt(0)).buffer);
    const width = value.query.length;
    return value.tokens.map((_, position) => [...numbers.subarray(position * width, (position + 1) * width)]);
  };
  return { ...value, keys: vectors(value.keys), values: vectors(value.values) };
}

keysBox.addEventListener("keydown", moveKey);
keysBox.addEventListener("click", pressKeyRow);
for (const event of ["head", "choose-head", "query"]) document.addEventListener(`gpt-lab:${event}`, followChoice);
showValues({
  page,
  empty,
  invitation: "The numbers of one head will appear here.",
  holdsSomething: ({ edition, weights }) => edition || weights?.length,
  show,
  forget: () => Object.assign(state, { value: null, asked: null, isStale: false }),
});
let width = root.clientWidth;
new ResizeObserver(() => {
  const comesIntoView = !width && root.clientWidth;
  width = root.clientWidth;
  if (comesIntoView) askInView();
}).observe(root);
