// What may come next: one column of bars a model. `props.value` is what next_token.py documents. It holds logits,
// not probabilities, so that temperature, top-k and top-p reshape the bars here, without asking the server.

const root = element.querySelector(".next-token");
const ROWS = 12; // bars in a column; all further tokens share one row
const LONGEST_TEXT = 1000; // characters of the text that are shown, its last ones
const LONGEST_WAIT_MS = 3000; // until a press that was never answered is forgotten

// `settings` are the reader's own; `given` are the value's that they started from. `pointed` is a token or null.
const state = { settings: null, given: "", pointed: null, waiting: 0 };
let columns = [];

// ---- from logits to probabilities, step by step as next_token_probabilities in gpt/generation/stream.py ----

function normalised(weights, rest) {
  const total = sum(weights) + rest;
  return { tokens: weights.map((weight) => weight / total), rest: rest / total };
}

// Logits fall, so what a cut leaves is always a beginning of the list; equal logits stay or go together in top-k.
function countInTopK(logits, topK) {
  if (topK === 0 || topK >= logits.length) return logits.length;
  const cut = logits.findIndex((logit) => logit < logits[topK - 1]);
  return cut === -1 ? logits.length : cut;
}

function countInTopP(probabilities, topP) {
  if (topP >= 1) return probabilities.length;
  let reached = 0;
  const cut = probabilities.findIndex((probability) => {
    reached += probability;
    return reached - probability >= topP; // what stands before it is enough already
  });
  return cut === -1 ? probabilities.length : cut;
}

// The tokens that were not sent are one lump at the end: of it, top-p keeps what is missing to p.
function cutToTopP(before, topP) {
  const kept = countInTopP(before.tokens, topP);
  const rest = topP >= 1 ? before.rest : between(topP - sum(before.tokens.slice(0, kept)), 0, before.rest);
  return { ...normalised(before.tokens.map((probability, rank) => (rank < kept ? probability : 0)), rest), kept };
}

// The distribution as sampled from, how many tokens it keeps, and as it was `before` anything was cut away.
function distribution(model, { temperature, topK, topP }) {
  const logits = model.logits.map((logit) => logit ?? -Infinity); // minus infinity comes through JSON as null
  if (temperature === 0) {
    const tokens = logits.map((_, rank) => (rank === 0 ? 1 : 0));
    return { tokens, rest: 0, kept: logits.length, before: { tokens, rest: 0 } };
  }
  const weights = logits.map((logit) => Math.exp((logit - logits[0]) / temperature));
  const rest = model.rest !== null && temperature === 1 ? Math.exp(model.rest - logits[0]) : 0;
  const inTopK = countInTopK(logits, topK);
  const keptWeights = weights.map((weight, rank) => (rank < inTopK ? weight : 0));
  const inBoth = cutToTopP(normalised(keptWeights, topK === 0 ? rest : 0), topP);
  return { ...inBoth, kept: Math.min(inTopK, inBoth.kept), before: normalised(weights, rest) };
}

// Top-k throws the unsent tokens away, and temperature 0 takes the first, so neither needs them.
function noteOnTheRest(model, { temperature, topK }) {
  if (model.rest === null || temperature === 0 || temperature === 1) return "";
  const counted = `only the ${model.tokens.length} likeliest tokens are counted`;
  return topK === 0 ? `At this temperature ${counted}.` : `Before the cut, ${counted}.`;
}

// ---- words ----

function endOfText(text) {
  const end = text.slice(-LONGEST_TEXT).replace(/^[\uDC00-\uDFFF]/, "");
  return (end.length < text.length ? "…" : "") + shownText(end);
}

// ---- the page's parts, made once ----

function makeSlider(parent, name, words, { min, max, step }, read) {
  const label = make(parent, "label", "setting");
  make(label, "span", "name", words);
  const range = make(label, "input");
  Object.assign(range, { type: "range", min, max, step });
  const output = make(label, "output");
  range.addEventListener("input", () => {
    state.settings[name] = Number(range.value);
    drawColumns();
  });
  return function show() {
    range.value = state.settings[name];
    setText(output, read(state.settings[name]));
    range.setAttribute("aria-valuetext", output.textContent);
  };
}

function makeAction(words, title, press) {
  const button = makeButton(actions, words, press);
  button.title = title;
  return button;
}

make(root, "h2", "unseen", "What they expect next");
const empty = make(root, "p", "empty");
const page = make(root, "div", "page");
const paper = make(page, "div", "paper");
paper.tabIndex = 0; // so that a long text can be scrolled with the keyboard
paper.setAttribute("role", "group");
paper.setAttribute("aria-label", "the text so far");
const written = make(paper, "span");
const coming = make(paper, "span", "coming"); // a token that was chosen and is not in the text yet
make(paper, "span", "caret");
signMore(paper);
const actions = make(page, "div", "actions");
const likeliest = makeAction("Likeliest", "append the first model’s likeliest token", chooseLikeliest);
const sample = makeAction("Sample", "append a token drawn from the first model’s bars", chooseSample);
const takeBack = makeAction("Take back", "take the last token back", () => trigger("take_back", {}));
const source = make(actions, "span", "source");
const settings = make(page, "div", "settings");
const twoDecimals = (number) => number.toFixed(2);
const showSettings = [
  makeSlider(settings, "temperature", "temperature", { min: 0, max: 2, step: 0.05 }, twoDecimals),
  makeSlider(settings, "topK", "top-k", { min: 0, max: 50, step: 1 }, (number) => (number === 0 ? "all" : String(number))),
  makeSlider(settings, "topP", "top-p", { min: 0.05, max: 1, step: 0.05 }, twoDecimals),
];
const grid = make(page, "div", "columns");
const line = make(page, "p", "line");
line.setAttribute("role", "status");

function makeBar(parent, tag, className) {
  const bar = make(parent, tag, className);
  const token = make(bar, "span", "character");
  const track = make(bar, "span", "track");
  const [before, amount] = ["before", "amount"].map((part) => make(track, "span", part));
  return { bar, token, track, before, amount, percent: make(bar, "span", "percent") };
}

function makeColumn(_, place) {
  const column = node("section", "card column");
  const heading = make(column, "h3");
  heading.append(dashSwatch());
  const parts = { column, stroke: heading.firstChild.firstChild, label: make(heading, "span", "label") };
  parts.note = make(column, "p", "note");
  parts.strip = make(column, "div", "strip");
  parts.strip.setAttribute("aria-hidden", "true"); // the same numbers as the bars, end to end
  const list = make(column, "div", "bars");
  parts.bars = Array.from({ length: ROWS }, (_, rank) => {
    const bar = makeBar(list, "button", "bar");
    bar.bar.type = "button";
    Object.assign(bar.bar.dataset, { place, rank });
    return bar;
  });
  parts.others = makeBar(list, "div", "bar others");
  parts.all = [...parts.bars, parts.others];
  parts.all.forEach((_, rank) => make(parts.strip, "span", rank < ROWS ? "piece" : "piece last"));
  parts.about = make(column, "p", "about");
  parts.error = make(column, "p", "error");
  stopAt(parts, parts.bars[0]);
  return parts;
}

// ---- drawing ----

function fillBar(parts, piece, { words, before, after, isCut }) {
  parts.bar.dataset.probability = after; // unrounded, for tests that the bars sum to 1
  parts.bar.classList.toggle("cut", isCut);
  setText(parts.token, words);
  parts.amount.style.width = `${100 * after}%`;
  parts.before.style.width = isCut ? `${100 * before}%` : "0";
  setText(parts.percent, percent(after));
  piece.style.width = `${100 * after}%`;
}

function fillToken(parts, piece, model, rank) {
  const { shown } = model;
  parts.bar.style.visibility = rank < model.tokens.length ? "visible" : "hidden";
  const bar = { before: shown.before.tokens[rank] ?? 0, after: shown.tokens[rank] ?? 0 };
  bar.words = rank < model.tokens.length ? shownToken(model.tokens[rank]) : "";
  bar.isCut = rank >= shown.kept && rank < model.tokens.length;
  fillBar(parts, piece, bar);
  const share = bar.isCut ? `cut away, ${percent(bar.before)} before` : percent(bar.after);
  parts.bar.setAttribute("aria-label", `choose “${bar.words}”, ${share}`);
  parts.bar.title = bar.isCut ? share : "";
}

function fillOthers(parts, piece, model) {
  const { tokens, rest, kept, before } = model.shown;
  const sumAfterRows = (list) => sum(list.slice(ROWS));
  const total = model.vocab_size ?? (model.rest === null ? model.tokens.length : Infinity);
  const count = total - ROWS;
  const words = count === Infinity ? "all others" : `${grouped(count)} other${count === 1 ? "" : "s"}`;
  parts.bar.style.visibility = count > 0 ? "visible" : "hidden";
  const isCut = kept <= ROWS && rest === 0 && state.settings.temperature > 0;
  fillBar(parts, piece, {
    words, isCut, before: sumAfterRows(before.tokens) + before.rest, after: sumAfterRows(tokens) + rest,
  });
  parts.bar.title = isCut ? `cut away, ${parts.before.style.width} before` : "";
}

function fillColumn(parts, model) {
  parts.column.style.setProperty("--variant", model.colour);
  parts.stroke.setAttribute("stroke-dasharray", model.dash);
  setText(parts.label, model.label);
  setText(parts.note, model.note);
  parts.note.title = model.note; // it may be cut short
  setText(parts.error, model.error);
  parts.column.classList.toggle("failed", Boolean(model.error));
  if (model.error) return;
  parts.bars.forEach((bar, rank) => fillToken(bar, parts.strip.children[rank], model, rank));
  fillOthers(parts.others, parts.strip.lastChild, model);
  setText(parts.about, noteOnTheRest(model, state.settings));
}

let models = []; // the value's, each with the distribution that is `shown`

function drawColumns() {
  showSettings.forEach((show) => show());
  models.forEach((model) => {
    if (!model.error) model.shown = distribution(model, state.settings);
  });
  models.forEach((model, place) => fillColumn(columns[place], model));
  drawPointed();
}

function ofModel(token, model) {
  const rank = model.tokens.indexOf(token);
  if (rank === -1) return model.rest === null ? "does not know it" : `not among its ${model.tokens.length} likeliest`;
  if (rank < model.shown.kept) return percent(model.shown.tokens[rank]);
  return `cut away (${percent(model.shown.before.tokens[rank])} before)`;
}

// One token in every column: its bar, or the row of the others that it is in.
function drawPointed() {
  const token = state.pointed;
  models.forEach((model, place) => {
    if (model.error) return;
    const rank = token === null ? -1 : model.tokens.indexOf(token);
    columns[place].all.forEach(({ bar }, row) => {
      const isSame = rank !== -1 && row === Math.min(rank, ROWS);
      bar.classList.toggle("same", isSame);
      columns[place].strip.children[row].classList.toggle("same", isSame);
    });
  });
  const shares = models.filter((model) => !model.error).map((model) => `${model.label} ${ofModel(token, model)}`);
  const hint = "Point at a bar to read it in every model; press it to append its token.";
  setText(line, token === null ? hint : `“${shownToken(token)}”: ${shares.join(", ")}`);
}

// The reader's own settings stay until a value brings other numbers than the last one did.
function takeSettings({ temperature, top_k: topK, top_p: topP }) {
  const given = JSON.stringify([temperature, topK, topP]);
  if (given !== state.given) Object.assign(state, { given, settings: { temperature, topK, topP } });
}

function drawText(text) {
  setText(written, endOfText(text));
  setText(coming, "");
  paper.scrollTop = paper.scrollHeight;
  takeBack.disabled = text === "";
}

function show(value) {
  models = value.models.map((model) => ({ ...model, rest: model.rest ?? null }));
  state.waiting = 0;
  if (columns.length !== models.length) {
    columns = models.map(makeColumn);
    grid.replaceChildren(...columns.map((parts) => parts.column));
  }
  const longest = Math.max(2, ...models.flatMap((model) => model.tokens.slice(0, 50).map((token) => token.length)));
  grid.style.setProperty("--token-width", `${Math.min(9, longest)}ch`);
  grid.classList.toggle("has-rest", models.some((model) => model.rest !== null));
  takeSettings(value);
  drawText(value.text);
  const first = models.find((model) => !model.error);
  likeliest.disabled = sample.disabled = !first;
  setText(source, first && models.length > 1 ? `both from ${first.label}` : "");
  drawColumns();
}

// ---- choosing ----

// A token is shown in the text at once; until the server has answered, the bars are old and choose nothing more.
function choose(model, rank) {
  if (Date.now() - state.waiting < LONGEST_WAIT_MS) return;
  state.waiting = Date.now();
  const token = model.tokens[rank];
  setText(coming, shownText(token));
  coming.style.setProperty("--variant", model.colour);
  paper.scrollTop = paper.scrollHeight;
  trigger("choose", { token, rank, model: model.label });
}

function firstModel() {
  return models.find((model) => !model.error);
}

function chooseLikeliest() {
  choose(firstModel(), 0);
}

// Only tokens that were sent can be drawn; the rest has no names here.
function chooseSample() {
  const { tokens, rest } = firstModel().shown;
  let left = Math.random() * (1 - rest);
  const drawn = tokens.findIndex((probability) => (left -= probability) < 0);
  choose(firstModel(), drawn === -1 ? 0 : drawn);
}

function pressedBar(event) {
  return event.target.closest("button.bar");
}

function point(event) {
  const bar = pressedBar(event);
  const token = bar ? models[bar.dataset.place].tokens[bar.dataset.rank] : null;
  if (token === state.pointed) return;
  state.pointed = token ?? null;
  drawPointed();
}

function letGo() {
  state.pointed = null;
  drawPointed();
}

// Arrows walk over the bars; a column is one stop of the Tab key, at the bar that was last in use.
function moveFocus(event) {
  if (event.key === "Escape") letGo();
  const bar = pressedBar(event);
  if (!bar || !arrowOf(event)) return;
  event.preventDefault();
  const [down, across] = arrowOf(event);
  const column = columns[Number(bar.dataset.place) + across];
  const next = column && column.bars[Number(bar.dataset.rank) + down];
  if (!next || next.bar.style.visibility === "hidden" || column.column.classList.contains("failed")) return;
  stopAt(column, next);
  next.bar.focus();
}

function stopAt(column, stop) {
  stopTabAt(column.bars.map(({ bar }) => bar), stop.bar);
}

grid.addEventListener("click", (event) => {
  const bar = pressedBar(event);
  if (bar) choose(models[bar.dataset.place], Number(bar.dataset.rank));
});
grid.addEventListener("pointerover", point);
grid.addEventListener("pointerleave", letGo);
grid.addEventListener("focusin", point);
grid.addEventListener("focusout", letGo);
grid.addEventListener("keydown", moveFocus);

showValues({
  page,
  empty,
  holdsSomething: ({ models }) => models.length,
  show,
  forget: () => {
    models = [];
    state.waiting = 0;
  },
});
