// A text coloured by the surprise of its tokens. `props.value` is what surprise_text.py documents. A pane shows one
// model's surprise, or by how much one of two models is surer. All listeners sit on the whole, none on a token.

const root = element.querySelector(".surprise-text");
const MOST_BITS = 8; // this surprise and more has the full colour
const MOST_DIFFERENCE = 2; // bits, that is, four times as likely
const NOTED_DIFFERENCE = 0.5; // bits from which on a difference is also underlined
// Halfway up the ramp neither of its ends is legible on it, on the light page or on the dark one: these shares of
// the full colour (in percent) are left out, and there the text changes from one end's colour to the other's.
const UNREADABLE = [40, 58];
const WIDE_PAGE = 1000; // pixels from which on two texts stand side by side at first
const MOST_TINT = 45; // percent of a model's colour under text in ink

let models = []; // those that have read the text
let panes = []; // what is on the page: { models, isDifference, paper }
// `view` is a model's place, or one of the two names below; `pair` are the places of the models compared.
const state = { view: "", pair: [0, 1], pointed: null, isHeld: false };
const SIDE_BY_SIDE = "side by side";
const DIFFERENCE = "difference";
const SIDES = ["first-surer", "second-surer"];

// ---- words ----

function inBits(bits) {
  return `${bits.toFixed(1)} bits`;
}

// ---- colours ----

function rampShare(bits) {
  const share = between(bits / MOST_BITS, 0, 1);
  const [last, first] = UNREADABLE;
  return share <= 0.5 ? 2 * share * last : first + (2 * share - 1) * (100 - first);
}

function paintSurprise(span, bits) {
  span.style.setProperty("--share", `${rampShare(bits).toFixed(1)}%`);
  if (bits > MOST_BITS / 2) span.classList.add("deep");
}

// Positive where the first model is surer, that is, less surprised.
function paintDifference(span, difference) {
  const share = Math.min(1, Math.abs(difference) / MOST_DIFFERENCE);
  span.style.setProperty("--share", `${(MOST_TINT * share).toFixed(1)}%`);
  span.classList.add(SIDES[difference > 0 ? 0 : 1]);
  if (Math.abs(difference) >= NOTED_DIFFERENCE) span.classList.add("noted");
}

function paint(span, pane, index) {
  const [first, second] = pane.models.map((model) => model.bits[index]);
  if (first === null || second === null) span.classList.add("unread");
  else if (pane.isDifference) paintDifference(span, second - first);
  else paintSurprise(span, first);
}

// ---- the page's parts ----

function modelName(model) {
  const name = node("span", "name");
  name.style.setProperty("--variant", model.colour);
  name.append(dashSwatch(model.dash), node("span", "label", model.label));
  return name;
}

make(root, "h2", "unseen", "How much the text surprises them");
const page = make(root, "div");
const views = make(page, "div", "views");
views.setAttribute("role", "group");
views.setAttribute("aria-label", "what to show");
const pairRow = make(page, "div", "pair");
const texts = make(page, "div", "texts");
const legend = make(page, "div", "legend");
const totals = makeScrollBox(page, "The models' surprise, in all");
totals.classList.add("totals");
const refusals = make(root, "div", "refusals");
const empty = make(root, "p", "empty");
const tip = make(root, "div", "tip");
tip.setAttribute("role", "status");
tip.hidden = true;

// ---- which models, which view ----

function equalLists(one, other) {
  return one.length === other.length && one.every((token, at) => token === other[at]);
}

// Long texts are compared once: `alike` is the first model that cuts the text as this one does.
function sameTokens(one, other) {
  return one.alike === other.alike;
}

function firstEqualPair() {
  for (let one = 0; one < models.length; one++) {
    const other = models.findIndex((model, at) => at > one && sameTokens(models[one], model));
    if (other !== -1) return [one, other];
  }
  return null;
}

function comparedModels() {
  return state.pair.map((place) => models[place]);
}

function panesOfView() {
  if (state.view === DIFFERENCE) return [{ models: comparedModels(), isDifference: true }];
  if (state.view === SIDE_BY_SIDE) return comparedModels().map((model) => ({ models: [model] }));
  return [{ models: [models[state.view]] }];
}

function possibleViews() {
  const names = models.map((model, place) => [String(place), model.label]);
  if (models.length > 1) names.push([SIDE_BY_SIDE, SIDE_BY_SIDE]);
  const [one, other] = comparedModels();
  if (firstEqualPair()) names.push([DIFFERENCE, `difference ${one.label} − ${other.label}`]);
  return names;
}

function firstView() {
  return models.length > 1 && window.innerWidth >= WIDE_PAGE ? SIDE_BY_SIDE : "0";
}

function drawViews() {
  const buttons = possibleViews().map(([view, words]) => {
    const button = node("button", "", words);
    button.type = "button";
    button.dataset.view = view;
    button.setAttribute("aria-pressed", view === state.view);
    return button;
  });
  const hadFocus = views.contains(document.activeElement);
  views.replaceChildren(...buttons);
  if (hadFocus) buttons.find((button) => button.ariaPressed === "true").focus();
}

// With three or more models the reader says which two are compared.
function drawPair() {
  pairRow.hidden = models.length < 3;
  pairRow.replaceChildren(...state.pair.map((chosen, side) => {
    const label = node("label", "", side === 0 ? "compare" : "with");
    const select = node("select");
    select.dataset.side = side;
    models.forEach((model, place) => select.append(new Option(model.label, place, false, place === chosen)));
    label.append(select);
    return label;
  }));
}

// ---- the text ----

function makePane(pane) {
  const section = node("section", "card pane");
  const heading = make(section, "h3");
  pane.models.forEach((model) => heading.append(modelName(model)));
  const note = pane.isDifference ? "who is surer, token by token" : pane.models[0].note;
  make(section, "p", "note", note);
  pane.paper = make(section, "div", "paper");
  pane.paper.tabIndex = 0;
  pane.paper.setAttribute("role", "group");
  pane.paper.setAttribute("aria-label", "the text; arrow keys move from token to token, Escape lets go");
  section.style.setProperty("--variant", pane.models[0].colour);
  section.style.setProperty("--first-colour", pane.models[0].colour);
  section.style.setProperty("--second-colour", pane.models.at(-1).colour);
  section.classList.toggle("difference", Boolean(pane.isDifference));
  pane.models[0].tokens.forEach((token, index) => {
    const span = make(pane.paper, "span", "token", shownPiece(token));
    span.dataset.index = index;
    paint(span, pane, index);
  });
  return section;
}

function drawTexts() {
  const scrolled = panes.length ? panes[0].paper.scrollTop : 0;
  letGo();
  panes = panesOfView();
  const [one, other] = comparedModels();
  if (state.view === DIFFERENCE && !sameTokens(one, other)) {
    panes = [];
    const sentence = `${one.label} and ${other.label} cut this text into different tokens, so there is no difference `
      + "token by token; the table compares them by the whole text.";
    texts.replaceChildren(node("p", "no-difference", sentence));
    return;
  }
  texts.replaceChildren(...panes.map(makePane));
  panes.forEach((pane) => (pane.paper.scrollTop = scrolled));
}

// ---- legend and totals ----

function drawLegend() {
  const cells = node("div", "cells");
  const [one, other] = comparedModels();
  const isDifference = state.view === DIFFERENCE;
  for (let cell = 0; cell < 17; cell++) {
    const span = node("span", "token");
    if (isDifference) paintDifference(span, MOST_DIFFERENCE * (1 - cell / 8));
    else paintSurprise(span, (MOST_BITS * cell) / 16);
    cells.append(span);
  }
  legend.className = isDifference ? "legend difference" : "legend";
  if (isDifference) legend.style.setProperty("--first-colour", one.colour);
  if (isDifference) legend.style.setProperty("--second-colour", other.colour);
  const words = isDifference ? [`${one.label} is surer`, `${other.label} is surer`] : ["sure", "surprised"];
  const bits = isDifference ? ["≥ 2 bits", "1", "0", "1", "≥ 2 bits"] : ["0 bits", "2", "4", "6", "≥ 8 bits"];
  const times = ["≥ 4 ×", "2 ×", "as likely", "2 ×", "≥ 4 ×"]; // what the bits above them mean
  const makeEnd = (side) => make(make(legend, "span", "end"), "span", `noted ${SIDES[side]}`, words[side]);
  legend.replaceChildren();
  makeEnd(0);
  const scale = make(legend, "div", "scale");
  scale.append(cells);
  makeRampTicks(scale, bits);
  makeRampTicks(scale, isDifference ? times : ["100 %", "25 %", "6 %", "1.6 %", "≤ 0.4 %"]);
  makeEnd(1);
}

function drawTotals() {
  const names = [...new Set(models.flatMap((model) => model.totals.map(([name]) => name)))];
  totals.replaceChildren();
  const body = makeTable(totals, ["", ...names]);
  for (const model of models) {
    const found = new Map(model.totals);
    makeRow(body, modelName(model), names.map((name) => found.get(name) ?? "–"));
  }
}

// ---- one token ----

function addReading(model, index) {
  const bits = model.bits[index];
  const row = make(tip, "p", "reading");
  row.append(modelName(model));
  make(row, "span", "number", bits === null ? "not asked" : percent(2 ** -bits));
  make(row, "span", "number", bits === null ? "" : inBits(bits));
}

function addAlternatives(parent, model, index) {
  const box = make(parent, "div", "alternatives");
  box.style.setProperty("--variant", model.colour);
  make(box, "p", "note", `${model.label} would have said`);
  for (const [token, probability] of model.alternatives[index] || []) {
    const bar = make(box, "p", token === model.tokens[index] ? "bar it" : "bar");
    make(bar, "span", "character", shownToken(token));
    make(make(bar, "span", "track"), "span", "amount").style.width = `${100 * probability}%`;
    make(bar, "span", "number", percent(probability));
  }
}

function fillTip(pane, index) {
  const [shown] = pane.models;
  tip.replaceChildren();
  make(tip, "p", "which", shownToken(shown.tokens[index]));
  if (shown.bits[index] === null) {
    make(tip, "p", "note", "Nothing comes before it, so no model was asked.");
    return;
  }
  models.filter((model) => sameTokens(model, shown)).forEach((model) => addReading(model, index));
  const choices = make(tip, "div", "choices");
  pane.models.forEach((model) => addAlternatives(choices, model, index));
  if (state.isHeld) make(tip, "p", "note", "Held; Esc lets go.");
}

function placeTip() {
  if (!state.pointed) return;
  const { pane, index } = state.pointed;
  const token = pane.paper.children[index].getClientRects()[0];
  const { width, height } = tip.getBoundingClientRect();
  const left = between(token.left - 16, 8, document.documentElement.clientWidth - width - 8);
  const below = token.bottom + 8;
  const top = below + height > window.innerHeight && token.top - 8 - height > 0 ? token.top - 8 - height : below;
  Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
}

function mark(isOn) {
  if (!state.pointed) return;
  panes.filter((pane) => sameTokens(pane.models[0], state.pointed.pane.models[0])).forEach((pane) => {
    pane.paper.children[state.pointed.index].classList.toggle("pointed", isOn);
  });
}

function point(pane, index) {
  mark(false);
  state.pointed = { pane, index };
  mark(true);
  fillTip(pane, index);
  tip.hidden = false;
  placeTip();
}

function letGo() {
  mark(false);
  Object.assign(state, { pointed: null, isHeld: false });
  tip.hidden = true;
}

function tokenUnder(event) {
  const span = event.target.closest(".paper .token");
  const pane = span && panes.find(({ paper }) => paper === span.parentNode);
  return pane ? { pane, index: Number(span.dataset.index) } : null;
}

const MOVES = {
  ArrowLeft: ({ index }) => index - 1,
  ArrowRight: ({ index }) => index + 1,
  ArrowUp: ({ pane, index }) => nearestOnNextLine(pane.paper.children, index, -1),
  ArrowDown: ({ pane, index }) => nearestOnNextLine(pane.paper.children, index, 1),
  Home: () => 0,
  End: ({ pane }) => pane.paper.children.length - 1,
};

function move(event) {
  if (event.key === "Escape") letGo();
  const pane = panes.find(({ paper }) => paper === event.target);
  if (!pane || !MOVES[event.key] || !pane.paper.children.length) return;
  event.preventDefault();
  const at = state.pointed && state.pointed.pane === pane ? state.pointed : { pane, index: -1 };
  const next = at.index === -1 ? 0 : MOVES[event.key](at);
  const index = clamp(next, pane.paper.children.length);
  state.isHeld = true; // what the keys have reached does not follow the mouse
  pane.paper.children[index].scrollIntoView({ block: "nearest" });
  point(pane, index);
}

function hold(event) {
  const at = tokenUnder(event);
  const isSame = at && state.isHeld && state.pointed.index === at.index && state.pointed.pane === at.pane;
  letGo();
  if (!at || isSame) return;
  state.isHeld = true;
  point(at.pane, at.index);
}

function follow(event) {
  if (state.isHeld) return;
  const at = tokenUnder(event);
  if (at) point(at.pane, at.index);
  else letGo();
}

// ---- the whole ----

function drawView() {
  drawViews();
  drawPair();
  drawTexts();
  drawLegend();
}

function show(value) {
  letGo();
  models = value.models.filter((model) => !model.error).map((model) => ({ ...model }));
  models.forEach((model) => (model.alike = models.find((other) => equalLists(other.tokens, model.tokens))));
  const refused = value.models.filter((model) => model.error);
  refusals.replaceChildren(...refused.map((model) => node("p", "error", `${model.label}: ${model.error}`)));
  page.hidden = models.length === 0;
  if (!models.length) return void (panes = []);
  state.pair = firstEqualPair() || [0, Math.min(1, models.length - 1)];
  if (!possibleViews().some(([view]) => view === state.view)) state.view = firstView();
  drawTotals();
  drawView();
}

root.addEventListener("click", (event) => {
  const view = event.target.closest(".views button");
  if (view) {
    state.view = view.dataset.view;
    drawView();
  } else if (event.target.closest(".paper")) {
    hold(event);
  }
});
root.addEventListener("change", (event) => {
  const side = Number(event.target.dataset.side);
  const place = Number(event.target.value);
  if (state.pair[1 - side] === place) state.pair[1 - side] = state.pair[side]; // a model and itself: change places
  state.pair[side] = place;
  if (state.view !== SIDE_BY_SIDE) state.view = DIFFERENCE;
  drawView();
  pairRow.querySelectorAll("select")[side].focus();
});
texts.addEventListener("pointerover", follow);
texts.addEventListener("pointerleave", () => state.isHeld || letGo());
root.addEventListener("keydown", move);
window.addEventListener("scroll", placeTip, { capture: true, passive: true });

showValues({
  page,
  empty,
  holdsSomething: ({ models: readings }) => readings.length,
  show,
  forget: () => show({ models: [] }),
});
