// What may come next: one column of bars a model. `props.value` is what next_token.py documents. It holds logits,
// not probabilities, so that temperature, top-k and top-p reshape the bars here, without asking the server.

const root = element.querySelector('.next-token');
const ROWS = 12; // bars in a column; all further tokens share one row
const LONGEST_TEXT = 1000; // characters of the text that are shown, its last ones
const LONGEST_WAIT_MS = 3000; // until a press that was never answered is forgotten
const VISIBLE = { ' ': '␣', '\n': '⏎', '\t': '⇥' };
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}\p{Co}]/gu; // characters that leave no mark, or turn the line around

// `settings` are the reader's own; `given` are the value's that they started from. `pointed` is a token or null.
const state = { settings: null, given: '', pointed: null, waiting: 0 };
let columns = [];

// ---- from logits to probabilities, step by step as next_token_probabilities in gpt/generation.py ----

function normalised(weights, rest) {
  const total = weights.reduce((sum, weight) => sum + weight, rest);
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
  const sum = before.tokens.slice(0, kept).reduce((total, probability) => total + probability, 0);
  const rest = topP >= 1 ? before.rest : Math.max(0, Math.min(before.rest, topP - sum));
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
  if (model.rest === null || temperature === 0 || temperature === 1) return '';
  const counted = `only the ${model.tokens.length} likeliest tokens are counted`;
  return topK === 0 ? `At this temperature ${counted}.` : `Before the cut, ${counted}.`;
}

// ---- words ----

function codePoint(character) {
  return `‹${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}›`;
}

function shownToken(token) {
  const marks = token.replace(/[ \n\t]/g, (blank) => VISIBLE[blank]).replace(UNSEEN, codePoint);
  return marks.replace(/^\p{M}/u, '◌$&') || '(empty)';
}

function shownText(text) {
  const end = text.slice(-LONGEST_TEXT).replace(/^[\uDC00-\uDFFF]/, '');
  const marks = end.replace(/ +$/, (spaces) => '␣'.repeat(spaces.length)).replace(/\n/g, '⏎\n');
  return (end.length < text.length ? '…' : '') + marks.replace(/[^\n\t]/gu, (one) => one.replace(UNSEEN, codePoint));
}

function percent(probability) {
  if (probability === 0) return '0 %';
  return probability < 0.0005 ? '< 0.1 %' : `${(100 * probability).toFixed(1)} %`;
}

// ---- the page's parts, made once ----

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function button(text, title, press) {
  const made = node('button', '', text);
  made.type = 'button';
  made.title = title;
  made.addEventListener('click', press);
  return made;
}

function slider(name, words, { min, max, step }, read) {
  const label = node('label', 'setting');
  const range = node('input');
  Object.assign(range, { type: 'range', min, max, step });
  const output = node('output');
  label.append(node('span', 'name', words), range, output);
  range.addEventListener('input', () => {
    state.settings[name] = Number(range.value);
    drawColumns();
  });
  const show = () => {
    range.value = state.settings[name];
    setText(output, read(state.settings[name]));
    range.setAttribute('aria-valuetext', output.textContent);
  };
  return { label, show };
}

const empty = node('p', 'empty');
const page = node('div', 'page');
const paper = node('div', 'paper');
paper.tabIndex = 0; // so that a long text can be scrolled with the keyboard
paper.setAttribute('aria-label', 'the text so far');
const written = node('span');
const coming = node('span', 'coming'); // a token that was chosen and is not in the text yet
paper.append(written, coming, node('span', 'caret'));
const likeliest = button('Likeliest', 'append the first model’s likeliest token', chooseLikeliest);
const sample = button('Sample', 'append a token drawn from the first model’s bars', chooseSample);
const takeBack = button('Take back', 'take the last token back', () => trigger('take_back', {}));
const source = node('span', 'source');
const actions = node('div', 'actions');
actions.append(likeliest, sample, takeBack, source);
const sliders = [
  slider('temperature', 'temperature', { min: 0, max: 2, step: 0.05 }, (number) => number.toFixed(2)),
  slider('topK', 'top-k', { min: 0, max: 50, step: 1 }, (number) => (number === 0 ? 'all' : String(number))),
  slider('topP', 'top-p', { min: 0.05, max: 1, step: 0.05 }, (number) => number.toFixed(2)),
];
const settingsRow = node('div', 'settings');
settingsRow.append(...sliders.map((one) => one.label));
const grid = node('div', 'columns');
const line = node('p', 'line');
line.setAttribute('role', 'status');
page.append(paper, actions, settingsRow, grid, line);
root.append(empty, page);

function makeBar(tag, className) {
  const bar = node(tag, className);
  const parts = { bar, token: node('span', 'token'), track: node('span', 'track'), percent: node('span', 'percent') };
  parts.before = node('span', 'before');
  parts.amount = node('span', 'amount');
  parts.track.append(parts.before, parts.amount);
  bar.append(parts.token, parts.track, parts.percent);
  return parts;
}

function makeSwatch() {
  const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  picture.setAttribute('class', 'swatch');
  picture.setAttribute('aria-hidden', 'true');
  const stroke = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  Object.entries({ x1: 0, x2: 28, y1: 2, y2: 2 }).forEach(([name, at]) => stroke.setAttribute(name, at));
  picture.append(stroke);
  return { picture, stroke };
}

function makeColumn(_, place) {
  const column = node('section', 'column');
  const swatch = makeSwatch();
  const parts = { column, stroke: swatch.stroke, label: node('span', 'label'), note: node('p', 'note') };
  const heading = node('h3');
  heading.append(swatch.picture, parts.label);
  parts.strip = node('div', 'strip');
  parts.strip.setAttribute('aria-hidden', 'true'); // the same numbers as the bars, end to end
  parts.list = node('div', 'bars');
  parts.bars = Array.from({ length: ROWS }, (_, rank) => {
    const bar = makeBar('button', 'bar');
    Object.assign(bar.bar, { type: 'button', tabIndex: rank === 0 ? 0 : -1 });
    Object.assign(bar.bar.dataset, { place, rank });
    return bar;
  });
  parts.others = makeBar('div', 'bar others');
  parts.all = [...parts.bars, parts.others];
  parts.strip.append(...parts.all.map((_, rank) => node('span', rank < ROWS ? 'piece' : 'piece last')));
  parts.list.append(...parts.all.map((bar) => bar.bar));
  parts.about = node('p', 'about');
  parts.error = node('p', 'error');
  column.append(heading, parts.note, parts.strip, parts.list, parts.about, parts.error);
  return parts;
}

// ---- drawing ----

function fillBar(parts, piece, { words, before, after, isCut }) {
  parts.bar.dataset.probability = after; // unrounded, for tests that the bars sum to 1
  parts.bar.classList.toggle('cut', isCut);
  setText(parts.token, words);
  parts.amount.style.width = `${100 * after}%`;
  parts.before.style.width = isCut ? `${100 * before}%` : '0';
  setText(parts.percent, percent(after));
  piece.style.width = `${100 * after}%`;
}

function fillToken(parts, piece, model, rank) {
  const { shown } = model;
  parts.bar.style.visibility = rank < model.tokens.length ? 'visible' : 'hidden';
  const bar = { before: shown.before.tokens[rank] ?? 0, after: shown.tokens[rank] ?? 0 };
  bar.words = rank < model.tokens.length ? shownToken(model.tokens[rank]) : '';
  bar.isCut = rank >= shown.kept && rank < model.tokens.length;
  fillBar(parts, piece, bar);
  const share = bar.isCut ? `cut away, ${percent(bar.before)} before` : percent(bar.after);
  parts.bar.setAttribute('aria-label', `choose “${bar.words}”, ${share}`);
  parts.bar.title = bar.isCut ? share : '';
}

function fillOthers(parts, piece, model) {
  const { tokens, rest, kept, before } = model.shown;
  const sumAfterRows = (list) => list.slice(ROWS).reduce((sum, probability) => sum + probability, 0);
  const total = model.vocab_size ?? (model.rest === null ? model.tokens.length : Infinity);
  const count = total - ROWS;
  const words = count === Infinity ? 'all others' : `${count.toLocaleString('en')} other${count === 1 ? '' : 's'}`;
  parts.bar.style.visibility = count > 0 ? 'visible' : 'hidden';
  const isCut = kept <= ROWS && rest === 0 && state.settings.temperature > 0;
  fillBar(parts, piece, {
    words, isCut, before: sumAfterRows(before.tokens) + before.rest, after: sumAfterRows(tokens) + rest,
  });
  parts.bar.title = isCut ? `cut away, ${parts.before.style.width} before` : '';
}

function fillColumn(parts, model) {
  parts.column.style.setProperty('--model-colour', model.colour);
  parts.stroke.setAttribute('stroke-dasharray', model.dash);
  setText(parts.label, model.label);
  setText(parts.note, model.note);
  parts.note.title = model.note; // it may be cut short
  setText(parts.error, model.error);
  parts.column.classList.toggle('failed', Boolean(model.error));
  if (model.error) return;
  parts.bars.forEach((bar, rank) => fillToken(bar, parts.strip.children[rank], model, rank));
  fillOthers(parts.others, parts.strip.lastChild, model);
  setText(parts.about, noteOnTheRest(model, state.settings));
}

let models = []; // the value's, each with the distribution that is `shown`

function drawColumns() {
  sliders.forEach((one) => one.show());
  models.forEach((model) => {
    if (!model.error) model.shown = distribution(model, state.settings);
  });
  models.forEach((model, place) => fillColumn(columns[place], model));
  drawPointed();
  element.dataset.painted = Number(element.dataset.painted || 0) + 1;
}

function ofModel(token, model) {
  const rank = model.tokens.indexOf(token);
  if (rank === -1) return model.rest === null ? 'does not know it' : `not among its first ${model.tokens.length}`;
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
      bar.classList.toggle('same', isSame);
      columns[place].strip.children[row].classList.toggle('same', isSame);
    });
  });
  const shares = models.filter((model) => !model.error).map((model) => `${model.label} ${ofModel(token, model)}`);
  const hint = 'Point at a bar to read it in every model; press it to append its token.';
  setText(line, token === null ? hint : `“${shownToken(token)}”: ${shares.join(', ')}`);
}

// The reader's own settings stay until a value brings other numbers than the last one did.
function takeSettings({ temperature, top_k: topK, top_p: topP }) {
  const given = JSON.stringify([temperature, topK, topP]);
  if (given !== state.given) Object.assign(state, { given, settings: { temperature, topK, topP } });
}

function drawText(text) {
  setText(written, shownText(text));
  setText(coming, '');
  paper.scrollTop = paper.scrollHeight;
  takeBack.disabled = text === '';
}

function draw() {
  const value = props.value || { empty: '', models: [] };
  empty.hidden = value.models.length > 0;
  page.hidden = !empty.hidden;
  setText(empty, value.empty);
  models = value.models.map((model) => ({ ...model, rest: model.rest ?? null }));
  state.waiting = 0;
  if (!models.length) {
    element.dataset.painted = Number(element.dataset.painted || 0) + 1;
    return;
  }
  if (columns.length !== models.length) {
    columns = models.map(makeColumn);
    grid.replaceChildren(...columns.map((parts) => parts.column));
  }
  const longest = Math.max(2, ...models.flatMap((model) => model.tokens.slice(0, 50).map((token) => token.length)));
  grid.style.setProperty('--token-width', `${Math.min(9, longest)}ch`);
  grid.classList.toggle('has-rest', models.some((model) => model.rest !== null));
  takeSettings(value);
  drawText(value.text);
  const first = models.find((model) => !model.error);
  likeliest.disabled = sample.disabled = !first;
  setText(source, first && models.length > 1 ? `both from ${first.label}` : '');
  drawColumns();
}

// ---- choosing ----

// A token is shown in the text at once; until the server has answered, the bars are old and choose nothing more.
function choose(model, rank) {
  if (Date.now() - state.waiting < LONGEST_WAIT_MS) return;
  state.waiting = Date.now();
  const token = model.tokens[rank];
  setText(coming, shownText(token));
  coming.style.setProperty('--model-colour', model.colour);
  paper.scrollTop = paper.scrollHeight;
  trigger('choose', { token, rank, model: model.label });
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
  return event.target.closest('button.bar');
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

const STEPS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }; // [column, row]

// Arrows walk over the bars; a column is one stop of the Tab key, at the bar that was last in use.
function moveFocus(event) {
  if (event.key === 'Escape') letGo();
  const bar = pressedBar(event);
  if (!bar || !STEPS[event.key]) return;
  event.preventDefault();
  const [across, down] = STEPS[event.key];
  const column = columns[Number(bar.dataset.place) + across];
  const next = column && column.bars[Number(bar.dataset.rank) + down];
  if (!next || next.bar.style.visibility === 'hidden' || column.column.classList.contains('failed')) return;
  column.bars.forEach((one) => (one.bar.tabIndex = one === next ? 0 : -1));
  next.bar.focus();
}

grid.addEventListener('click', (event) => {
  const bar = pressedBar(event);
  if (bar) choose(models[bar.dataset.place], Number(bar.dataset.rank));
});
grid.addEventListener('pointerover', point);
grid.addEventListener('pointerleave', letGo);
grid.addEventListener('focusin', point);
grid.addEventListener('focusout', letGo);
grid.addEventListener('keydown', moveFocus);

draw();
watch('value', draw);
