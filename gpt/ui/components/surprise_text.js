// A text coloured by the surprise of its tokens. `props.value` is what surprise_text.py documents. A pane shows one
// model's surprise, or by how much one of two models is surer. All listeners sit on the whole, none on a token.

const root = element.querySelector('.surprise-text');
const MOST_BITS = 8; // this surprise and more has the full colour
const MOST_DIFFERENCE = 2; // bits, that is, four times as likely
const NOTED_DIFFERENCE = 0.5; // bits from which on a difference is also underlined
// Halfway up the ramp neither of its ends is legible on it, on the light page or on the dark one: these shares of
// the full colour (in percent) are left out, and there the text changes from one end's colour to the other's.
const UNREADABLE = [40, 58];
const WIDE_PAGE = 1000; // pixels from which on two texts stand side by side at first
const MOST_TINT = 45; // percent of a model's colour under text in ink
const VISIBLE = { ' ': '␣', '\n': '⏎', '\t': '⇥' };
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}\p{Co}]/gu; // characters that leave no mark, or turn the line around

let models = []; // those that have read the text
let panes = []; // what is on the page: { models, isDifference, paper }
// `view` is a model's place, or one of the two names below; `pair` are the places of the models compared.
const state = { view: '', pair: [0, 1], pointed: null, isHeld: false };
const SIDE_BY_SIDE = 'side by side';
const DIFFERENCE = 'difference';

// ---- words ----

function codePoint(character) {
  return `‹${character.codePointAt(0).toString(16).toUpperCase().padStart(4, '0')}›`;
}

function shownToken(token) {
  const marks = token.replace(/[ \n\t]/g, (blank) => VISIBLE[blank]).replace(UNSEEN, codePoint);
  return marks.replace(/^\p{M}/u, '◌$&') || '(empty)';
}

function inText(token) {
  return token.replace(/[^\n ]/gu, (one) => VISIBLE[one] || one.replace(UNSEEN, codePoint)).replace(/\n/g, '⏎\n');
}

function percent(probability) {
  return probability < 0.0005 ? '< 0.1 %' : `${(100 * probability).toFixed(1)} %`;
}

function inBits(bits) {
  return `${bits.toFixed(1)} bits`;
}

// ---- colours ----

function rampShare(bits) {
  const share = Math.max(0, Math.min(1, bits / MOST_BITS));
  const [last, first] = UNREADABLE;
  return share <= 0.5 ? 2 * share * last : first + (2 * share - 1) * (100 - first);
}

function paintSurprise(span, bits) {
  span.style.setProperty('--share', `${rampShare(bits).toFixed(1)}%`);
  if (bits > MOST_BITS / 2) span.classList.add('deep');
}

// Positive where the first model is surer, that is, less surprised.
function paintDifference(span, difference) {
  const share = Math.min(1, Math.abs(difference) / MOST_DIFFERENCE);
  span.style.setProperty('--share', `${(MOST_TINT * share).toFixed(1)}%`);
  span.classList.add(difference > 0 ? 'first-surer' : 'second-surer');
  if (Math.abs(difference) >= NOTED_DIFFERENCE) span.classList.add('noted');
}

function paint(span, pane, index) {
  const [first, second] = pane.models.map((model) => model.bits[index]);
  if (first === null || second === null) span.classList.add('unread');
  else if (pane.isDifference) paintDifference(span, second - first);
  else paintSurprise(span, first);
}

// ---- the page's parts ----

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function modelName(model) {
  const name = node('span', 'name');
  name.style.setProperty('--model-colour', model.colour);
  const picture = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  picture.setAttribute('class', 'swatch');
  picture.setAttribute('aria-hidden', 'true');
  const stroke = document.createElementNS('http://www.w3.org/2000/svg', 'line');
  const looks = { x1: 0, x2: 28, y1: 2, y2: 2, 'stroke-dasharray': model.dash };
  Object.entries(looks).forEach(([attribute, value]) => stroke.setAttribute(attribute, value));
  picture.append(stroke);
  name.append(picture, node('span', 'label', model.label));
  return name;
}

const views = node('div', 'views');
views.setAttribute('role', 'group');
views.setAttribute('aria-label', 'what to show');
const pairRow = node('div', 'pair');
const texts = node('div', 'texts');
const legend = node('div', 'legend');
const totals = node('div', 'totals');
const refusals = node('div', 'refusals');
const tip = node('div', 'tip');
tip.setAttribute('role', 'status');
tip.hidden = true;
const empty = node('p', 'empty');
root.append(views, pairRow, texts, legend, totals, refusals, empty, tip);

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
  return models.length > 1 && window.innerWidth >= WIDE_PAGE ? SIDE_BY_SIDE : '0';
}

function drawViews() {
  const buttons = possibleViews().map(([view, words]) => {
    const button = node('button', '', words);
    button.type = 'button';
    button.dataset.view = view;
    button.setAttribute('aria-pressed', view === state.view);
    return button;
  });
  const hadFocus = views.contains(document.activeElement);
  views.replaceChildren(...buttons);
  if (hadFocus) buttons.find((button) => button.ariaPressed === 'true').focus();
}

// With three or more models the reader says which two are compared.
function drawPair() {
  pairRow.hidden = models.length < 3;
  pairRow.replaceChildren(...state.pair.map((chosen, side) => {
    const label = node('label', '', side === 0 ? 'compare' : 'with');
    const select = node('select');
    select.dataset.side = side;
    models.forEach((model, place) => select.append(new Option(model.label, place, false, place === chosen)));
    label.append(select);
    return label;
  }));
}

// ---- the text ----

function makePane(pane) {
  const section = node('section', 'pane');
  const heading = node('h3');
  pane.models.forEach((model) => heading.append(modelName(model)));
  const note = pane.isDifference ? 'who is surer, token by token' : pane.models[0].note;
  pane.paper = node('div', 'paper');
  pane.paper.tabIndex = 0;
  pane.paper.setAttribute('role', 'group');
  pane.paper.setAttribute('aria-label', 'the text; arrow keys move from token to token, Escape lets go');
  section.style.setProperty('--first-colour', pane.models[0].colour);
  section.style.setProperty('--second-colour', pane.models.at(-1).colour);
  section.classList.toggle('difference', Boolean(pane.isDifference));
  const tokens = document.createDocumentFragment();
  pane.models[0].tokens.forEach((token, index) => {
    const span = node('span', 'token', inText(token));
    span.dataset.index = index;
    paint(span, pane, index);
    tokens.append(span);
  });
  pane.paper.append(tokens);
  section.append(heading, node('p', 'note', note), pane.paper);
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
      + 'token by token; the table compares them by the whole text.';
    texts.replaceChildren(node('p', 'no-difference', sentence));
    return;
  }
  texts.replaceChildren(...panes.map(makePane));
  panes.forEach((pane) => (pane.paper.scrollTop = scrolled));
}

// ---- legend and totals ----

function drawLegend() {
  const cells = node('div', 'cells');
  const [one, other] = comparedModels();
  const isDifference = state.view === DIFFERENCE;
  for (let cell = 0; cell < 17; cell++) {
    const span = node('span', 'token');
    if (isDifference) paintDifference(span, MOST_DIFFERENCE * (1 - cell / 8));
    else paintSurprise(span, (MOST_BITS * cell) / 16);
    cells.append(span);
  }
  legend.className = isDifference ? 'legend difference' : 'legend';
  if (isDifference) legend.style.setProperty('--first-colour', one.colour);
  if (isDifference) legend.style.setProperty('--second-colour', other.colour);
  const words = isDifference ? [`${one.label} is surer`, `${other.label} is surer`] : ['sure', 'surprised'];
  const bits = isDifference ? ['≥ 2 bits', '1', '0', '1', '≥ 2 bits'] : ['0 bits', '2', '4', '6', '≥ 8 bits'];
  const ticks = node('div', 'ticks');
  ticks.append(...bits.map((text) => node('span', '', text)));
  const chances = node('div', 'ticks');
  const times = ['≥ 4 ×', '2 ×', 'as likely', '2 ×', '≥ 4 ×']; // what the bits above them mean
  const shares = isDifference ? times : ['100 %', '25 %', '6 %', '1.6 %', '≤ 0.4 %'];
  chances.append(...shares.map((text) => node('span', '', text)));
  const scale = node('div', 'scale');
  scale.append(cells, ticks, chances);
  const ends = words.map((text, side) => {
    const end = node('span', 'end');
    end.append(node('span', side === 0 ? 'noted first-surer' : 'noted second-surer', text));
    return end;
  });
  legend.replaceChildren(ends[0], scale, ends[1]);
}

function drawTotals() {
  const names = [...new Set(models.flatMap((model) => model.totals.map(([name]) => name)))];
  const table = node('table');
  const head = table.createTHead().insertRow();
  ['', ...names].forEach((name) => head.append(node('th', '', name)));
  const body = table.createTBody();
  models.forEach((model) => {
    const row = body.insertRow();
    const heading = node('th');
    heading.append(modelName(model));
    row.append(heading);
    const found = new Map(model.totals);
    names.forEach((name) => row.insertCell().append(found.get(name) ?? '–'));
  });
  table.querySelectorAll('th').forEach((cell) => (cell.scope = cell.parentNode.parentNode === body ? 'row' : 'col'));
  totals.replaceChildren(table);
}

// ---- one token ----

function tipOfModel(model, index) {
  const row = node('p', 'reading');
  const bits = model.bits[index];
  row.append(modelName(model));
  row.append(node('span', 'number', bits === null ? 'not asked' : percent(2 ** -bits)));
  row.append(node('span', 'number', bits === null ? '' : inBits(bits)));
  return row;
}

function tipOfAlternatives(model, index) {
  const box = node('div', 'alternatives');
  box.style.setProperty('--model-colour', model.colour);
  box.append(node('p', 'note', `${model.label} would have said`));
  (model.alternatives[index] || []).forEach(([token, probability]) => {
    const isIt = token === model.tokens[index];
    const bar = node('p', isIt ? 'bar it' : 'bar');
    const track = node('span', 'track');
    const amount = node('span', 'amount');
    amount.style.width = `${100 * probability}%`;
    track.append(amount);
    bar.append(node('span', 'character', shownToken(token)), track, node('span', 'number', percent(probability)));
    box.append(bar);
  });
  return box;
}

function fillTip(pane, index) {
  const [shown] = pane.models;
  tip.replaceChildren(node('p', 'which', shownToken(shown.tokens[index])));
  if (shown.bits[index] === null) {
    tip.append(node('p', 'note', 'Nothing stands before it, so no model was asked.'));
    return;
  }
  tip.append(...models.filter((model) => sameTokens(model, shown)).map((model) => tipOfModel(model, index)));
  const choices = node('div', 'choices');
  choices.append(...pane.models.map((model) => tipOfAlternatives(model, index)));
  tip.append(choices);
  if (state.isHeld) tip.append(node('p', 'note', 'Held; Esc lets go.'));
}

function placeTip() {
  if (!state.pointed) return;
  const { pane, index } = state.pointed;
  const token = pane.paper.children[index].getClientRects()[0];
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.max(8, Math.min(token.left - 16, document.documentElement.clientWidth - width - 8));
  const below = token.bottom + 8;
  const top = below + height > window.innerHeight && token.top - 8 - height > 0 ? token.top - 8 - height : below;
  Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
}

function mark(isOn) {
  if (!state.pointed) return;
  panes.filter((pane) => sameTokens(pane.models[0], state.pointed.pane.models[0])).forEach((pane) => {
    pane.paper.children[state.pointed.index].classList.toggle('pointed', isOn);
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
  const span = event.target.closest('.paper .token');
  const pane = span && panes.find(({ paper }) => paper === span.parentNode);
  return pane ? { pane, index: Number(span.dataset.index) } : null;
}

// The token of the line above (step -1) or below (1) that stands nearest.
function inNextLine({ pane, index }, step) {
  const tokens = pane.paper.children;
  const from = tokens[index].getClientRects()[0];
  let best = index;
  let smallest = Infinity;
  let line = null;
  for (let at = index + step; at >= 0 && at < tokens.length; at += step) {
    const rect = tokens[at].getClientRects()[0];
    if (Math.abs(rect.top - from.top) < 2) continue;
    line ??= rect.top;
    if (Math.abs(rect.top - line) > 2) break;
    const distance = Math.abs(rect.left - from.left);
    if (distance < smallest) [best, smallest] = [at, distance];
  }
  return best;
}

const MOVES = {
  ArrowLeft: ({ index }) => index - 1,
  ArrowRight: ({ index }) => index + 1,
  ArrowUp: (at) => inNextLine(at, -1),
  ArrowDown: (at) => inNextLine(at, 1),
  Home: () => 0,
  End: ({ pane }) => pane.paper.children.length - 1,
};

function move(event) {
  if (event.key === 'Escape') letGo();
  const pane = panes.find(({ paper }) => paper === event.target);
  if (!pane || !MOVES[event.key] || !pane.paper.children.length) return;
  event.preventDefault();
  const at = state.pointed && state.pointed.pane === pane ? state.pointed : { pane, index: -1 };
  const next = at.index === -1 ? 0 : MOVES[event.key](at);
  const index = Math.max(0, Math.min(pane.paper.children.length - 1, next));
  state.isHeld = true; // what the keys have reached does not follow the mouse
  pane.paper.children[index].scrollIntoView({ block: 'nearest' });
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
  element.dataset.painted = Number(element.dataset.painted || 0) + 1;
}

// A long reading comes as one string: Gradio would walk through every number of it, here and on the server.
function valueGiven() {
  if (!props.value) return { empty: '', models: [] };
  return typeof props.value === 'string' ? JSON.parse(props.value) : props.value;
}

function draw() {
  const value = valueGiven();
  letGo();
  models = value.models.filter((model) => !model.error).map((model) => ({ ...model }));
  models.forEach((model) => (model.alike = models.find((other) => equalLists(other.tokens, model.tokens))));
  const refused = value.models.filter((model) => model.error);
  refusals.replaceChildren(...refused.map((model) => node('p', 'error', `${model.label}: ${model.error}`)));
  empty.hidden = value.models.length > 0;
  empty.textContent = value.empty;
  [views, pairRow, texts, legend, totals].forEach((part) => (part.hidden = models.length === 0));
  if (!models.length) {
    panes = [];
    element.dataset.painted = Number(element.dataset.painted || 0) + 1;
    return;
  }
  state.pair = firstEqualPair() || [0, Math.min(1, models.length - 1)];
  if (!possibleViews().some(([view]) => view === state.view)) state.view = firstView();
  drawTotals();
  drawView();
}

root.addEventListener('click', (event) => {
  const view = event.target.closest('.views button');
  if (view) {
    state.view = view.dataset.view;
    drawView();
  } else if (event.target.closest('.paper')) {
    hold(event);
  }
});
root.addEventListener('change', (event) => {
  const side = Number(event.target.dataset.side);
  const place = Number(event.target.value);
  if (state.pair[1 - side] === place) state.pair[1 - side] = state.pair[side]; // a model and itself: change places
  state.pair[side] = place;
  if (state.view !== SIDE_BY_SIDE) state.view = DIFFERENCE;
  drawView();
  pairRow.querySelectorAll('select')[side].focus();
});
texts.addEventListener('pointerover', follow);
texts.addEventListener('pointerleave', () => state.isHeld || letGo());
root.addEventListener('keydown', move);
window.addEventListener('scroll', placeTip, { capture: true, passive: true });

draw();
watch('value', draw);
