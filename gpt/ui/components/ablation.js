// A switch for every head, coloured by what ablating it costs; ablation.py describes the value. A press shows at
// once and asks the server, whose answer brings the loss with all pressed heads ablated.

const root = element.querySelector(".ablation");
const HOW_TO =
  "Press a head to ablate it: its output is replaced with zero. Press it again to restore it; point at one to read " +
  "what it costs.";
const RAMP_STOPS = 12; // of the legend

// `ablated` holds the names of the switches pressed, "head 0 2" or "kv 0 1"; `asked` is when the last press was sent.
const state = { value: null, ablated: new Set(), asked: 0, pointed: null };
let ramp = null; // of the variant's colour; page and model change it
let switches = new Map(); // name -> { name, kind, layer, index, button, cost }
let rows = []; // the switches row by row, for the arrow keys
const wait = makeWait(takeBack);

// ---- one switch's numbers ----

function costOf({ kind, layer, index }) {
  return state.value[kind === "kv" ? "kv_costs" : "costs"][layer][index];
}

function errorOf({ kind, layer, index }) {
  return state.value[kind === "kv" ? "kv_errors" : "errors"][layer][index];
}

// "unmeasured", "noise" within two standard errors of zero or with an error that is not known, "costs" or "helps".
function kindOf(one) {
  const [cost, error] = [costOf(one), errorOf(one)];
  if (cost === null) return "unmeasured";
  if (error === null || Math.abs(cost) <= 2 * error) return "noise";
  return cost > 0 ? "costs" : "helps";
}

function sharesKV() {
  return state.value.kv_heads < state.value.heads && state.value.kv_costs.length > 0;
}

function groupOf(head) {
  return Math.floor((head * state.value.kv_heads) / state.value.heads);
}

function ablatedOf(kind) {
  return [...switches.values()].filter((one) => one.kind === kind && state.ablated.has(one.name));
}

// ---- words ----

function nameInWords({ kind, layer, index }) {
  return kind === "kv" ? `KV ${index} in layer ${layer + 1}` : `head ${index + 1} in layer ${layer + 1}`;
}

function costInWords(one) {
  const [cost, error, kind] = [costOf(one), errorOf(one), kindOf(one)];
  if (kind === "unmeasured") return "has a cost that is not measured";
  const change = `changes the loss by ${withError(cost, error, signedNumber)}`;
  if (error === null) return `${change}, with an error that is not known`;
  if (kind === "noise") return `${change}, which is within the noise`;
  return `${cost > 0 ? "raises" : "lowers"} the loss by ${withError(Math.abs(cost), error)} nats per token`;
}

// "of heads 1, 2 by 100 % and of heads 3, 4 by 0 %": heads that react alike are named together.
function reactionsInWords({ layer, index }) {
  const alike = new Map();
  state.value.kv_reactions[layer][index].forEach((share, head) => {
    const percent = Math.round(100 * share);
    alike.set(percent, [...(alike.get(percent) ?? []), head + 1]);
  });
  const named = (heads) => `of head${heads.length > 1 ? "s" : ""} ${heads.join(", ")}`;
  return listInWords([...alike].map(([percent, heads]) => `${named(heads)} by ${percent} %`));
}

function pointedInWords(one) {
  if (!one) return HOW_TO;
  if (one.kind === "kv" && state.value.kv_reactions.length) {
    return `Ablating ${nameInWords(one)} changes the output ${reactionsInWords(one)}. Alone it ${costInWords(one)}.`;
  }
  const cost = `Ablating ${nameInWords(one)} alone ${costInWords(one)}.`;
  return readsZeros(one) ? `${cost} Its KV ${groupOf(one.index)} is ablated now.` : cost;
}

function countInWords() {
  const named = (count, kind) => (count ? [`${count} ${kind}${count > 1 ? "s" : ""}`] : []);
  return listInWords([...named(ablatedOf("head").length, "head"), ...named(ablatedOf("kv").length, "KV head")]);
}

function lossInWords() {
  const { loss, now, tokens } = state.value;
  const decimals = now && !state.asked ? decimalsAllowedBy(now.error) : 3;
  const whole = `Loss on this text ${loss.toFixed(decimals)} nats per token`;
  if (!state.ablated.size) return `${whole}, a mean over ${tokens}; no head is ablated.`;
  if (state.asked) return `${whole}; with ${countInWords()} ablated: measuring…`;
  if (!now) return `${whole}; ${countInWords()} ablated.`;
  const change = withError(now.change, now.error, signedNumber);
  return `${whole}; with ${countInWords()} ablated ${now.loss.toFixed(decimals)}, a change of ${change}.`;
}

// ---- the page's parts, made once ----

const page = make(root, "div", "page");
const empty = make(root, "p", "empty");
const title = make(page, "div", "variant-name");
const result = make(page, "div", "result");
const lossLine = make(result, "p", "loss");
const restoreAll = makeSwitch(result, "restore all heads", () => press([...state.ablated]));
const work = make(page, "div", "work");
const box = make(work, "div", "box");
const grid = make(box, "div", "grid");
const aside = make(work, "div", "aside");
const line = make(aside, "p", "line");
const legend = make(aside, "div", "legend");
grid.setAttribute("role", "group");
grid.setAttribute("aria-label", "Heads to ablate: arrow keys move, space presses");
lossLine.setAttribute("role", "status");

// ---- the grid ----

function makeHeadSwitch(kind, layer, index) {
  const name = `${kind} ${layer} ${index}`;
  const button = makeButton(grid, "", () => press([name]), kind);
  button.dataset.name = name;
  if (kind === "kv") make(button, "span", "kv-name", `KV ${index}`);
  const one = { kind, layer, index, button, name, cost: make(button, "span", "cost") };
  switches.set(one.name, one);
  return one;
}

function buildGrid({ layers, heads, kv_heads }) {
  grid.replaceChildren();
  switches = new Map();
  rows = [];
  grid.style.setProperty("--heads", heads);
  make(grid, "div", "row-name", "head");
  for (let head = 0; head < heads; head++) make(grid, "div", "head-name", `${head + 1}`);
  for (let layer = 0; layer < layers; layer++) {
    make(grid, "div", "row-name", `layer ${layer + 1}`);
    rows.push(Array.from({ length: heads }, (_, head) => makeHeadSwitch("head", layer, head)));
    if (!sharesKV()) continue;
    make(grid, "div", "blank");
    rows.push(Array.from({ length: kv_heads }, (_, group) => makeHeadSwitch("kv", layer, group)));
    rows.at(-1).forEach((one) => (one.button.style.gridColumn = `span ${heads / kv_heads}`));
  }
  stopAt(rows[0][0]);
}

function largestCost() {
  return Math.max(0, ...[...switches.values()].map((one) => costOf(one) ?? 0));
}

// A head whose key/value head is ablated reads only zeros: its output is zero, whatever its own switch says.
function readsZeros({ kind, layer, index }) {
  return kind === "head" && state.ablated.has(`kv ${layer} ${groupOf(index)}`);
}

function readRamp() {
  const named = variableOf(root);
  ramp = lightnessRamp(...["panel", "variant", "ink"].map((name) => channels(named(name))));
}

// The fill says how large a rise is, whether it is certain or not; the frame, that it is certain.
function fillOf(cost, largest) {
  const fill = cost > 0 ? ramp.at(Math.sqrt(cost / largest)) : "";
  return { fill, onFill: fill && ramp.wordsOn(fill) };
}

function paintSwitch(one, largest) {
  const [cost, error, kind] = [costOf(one), errorOf(one), kindOf(one)];
  const { fill, onFill } = fillOf(cost, largest);
  one.button.className = `${one.kind} ${kind}${readsZeros(one) ? " zeros" : ""}${fill ? " filled" : ""}`;
  one.button.style.setProperty("--fill", fill);
  one.button.style.setProperty("--words", onFill);
  one.cost.textContent = cost === null ? "–" : signedNumber(cost, Math.min(3, decimalsAllowedBy(error)));
  one.button.setAttribute("aria-pressed", state.ablated.has(one.name));
  const words = cost === null ? "not measured" : withError(cost, error, signedNumber);
  one.button.setAttribute("aria-label", `ablate ${nameInWords(one)}, cost ${words}`);
}

function paintRamp(largest) {
  const decimals = largest < 0.1 ? 3 : 2;
  const ticks = [0, 0.25, 1].map((share) => signedNumber(share * largest, share ? decimals : 0));
  const scale = makeRamp(legend, "the loss rises, nats per token, square-root scale", ticks);
  const stops = Array.from({ length: RAMP_STOPS }, (_, i) => ramp.at(i / (RAMP_STOPS - 1)));
  scale.querySelector(".ramp-bar").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
}

function paintLegend(largest) {
  legend.replaceChildren();
  if (largest > 0) paintRamp(largest);
  const items = make(legend, "div", "legend-items");
  const isPartial = [...switches.values()].some((one) => kindOf(one) === "unmeasured");
  for (const [kind, sample, words] of [
    ["costs", "+0.10", "framed: more than 2 standard errors"],
    ["noise", "+0.10", "no frame: within the noise"],
    ["helps", "−0.01", "the loss falls without it"],
    ["sample-ablated", "+0.02", "ablated"],
    ...(isPartial ? [["noise", "–", "not measured"]] : []),
  ]) {
    makeLegendItem(items, `sample ${kind}`, words, sample);
  }
}

// ---- pressing ----

function press(names) {
  for (const name of names) if (!state.ablated.delete(name)) state.ablated.add(name);
  state.asked = Date.now();
  paint();
  const placesOf = (kind) => ablatedOf(kind).map(({ layer, index }) => [layer, index]);
  wait.ask(() => trigger("ablate", { heads: placesOf("head"), kv_heads: placesOf("kv") }));
}

function takeBack() {
  settle(state.value);
  paint();
  lossLine.textContent = `${lossInWords()} The last press was not answered.`;
}

function switchUnder(event) {
  return switches.get(event.target.closest("[data-name]")?.dataset.name) ?? null;
}

function point(one) {
  if (state.value) line.textContent = pointedInWords(one);
}

// What has the focus is described whenever the pointer is elsewhere.
function letGo() {
  const focused = grid.contains(document.activeElement) ? document.activeElement.dataset.name : null;
  point(switches.get(focused) ?? null);
}

// Up and down go to what lies above or below, also between heads and the wider key/value heads.
function moveFocus(event) {
  const step = arrowOf(event);
  const from = switchUnder(event);
  if (!step || !from) return;
  event.preventDefault();
  const at = rows.findIndex((row) => row.includes(from));
  const row = rows[clamp(at + step[0], rows.length)];
  const column = Math.floor(((from.index + 0.5) * row.length) / rows[at].length);
  moveTo(row[clamp(column + step[1], row.length)]);
}

function moveTo(one) {
  stopAt(one);
  one.button.focus();
}

function stopAt(one) {
  stopTabAt([...switches.values()].map(({ button }) => button), one.button);
}

// ---- arrival of a value ----

function namesIn({ ablated, ablated_kv: ablatedKV }) {
  const named = (kind, places) => places.map(([layer, index]) => `${kind} ${layer} ${index}`);
  return [...named("head", ablated), ...named("kv", ablatedKV)];
}

function settle(value) {
  wait.isAnswered();
  state.ablated = new Set(namesIn(value));
  state.asked = 0;
}

// While a press waits for its answer, a value with other switches answers an earlier press.
function isLate(value) {
  if (!state.asked || !state.value) return false;
  const isSameText = ["label", "loss", "tokens", "layers", "heads"].every((name) => value[name] === state.value[name]);
  const names = namesIn(value);
  return isSameText && (names.length !== state.ablated.size || names.some((name) => !state.ablated.has(name)));
}

function paint() {
  readRamp();
  const largest = largestCost();
  for (const one of switches.values()) paintSwitch(one, largest);
  paintLegend(largest);
  lossLine.textContent = lossInWords();
  restoreAll.disabled = !state.ablated.size;
  letGo();
}

function show(value) {
  const late = isLate(value);
  const before = state.value;
  state.value = value;
  root.style.setProperty("--variant", value.colour);
  title.textContent = value.label;
  const hasSameGrid = ["layers", "heads", "kv_heads"].every((name) => before?.[name] === value[name]);
  if (!hasSameGrid) buildGrid(value);
  if (!late) settle(value);
  paint();
}

whenColoursChange(() => state.value && paint());
grid.addEventListener("pointerover", (event) => point(switchUnder(event)));
grid.addEventListener("pointerleave", letGo);
grid.addEventListener("focusin", (event) => point(switchUnder(event)));
grid.addEventListener("focusout", () => point(null));
grid.addEventListener("keydown", moveFocus);
showValues({
  page,
  empty,
  invitation: "What ablating each head costs will appear here.",
  holdsSomething: ({ costs }) => costs?.length,
  show,
  forget: () => settle({ ablated: [], ablated_kv: [] }),
});
