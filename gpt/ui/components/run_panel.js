// How far a run is, what its models write, what they cost. `props.value` is what run_panel.py documents.
// Samples of earlier evaluations stay, and one step is looked at in all models together.

const root = element.querySelector('.run-panel');
const LOOK_MS = 2000;
const HEARTBEAT_MS = 10000;
const LONGEST_WAIT_MS = 60000;

function node(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

const bar = node('div', 'bar');
const filled = node('div', 'filled');
bar.append(filled);
bar.setAttribute('role', 'progressbar');
bar.setAttribute('aria-label', 'share of the run that is done');
const sentence = node('p', 'sentence');
sentence.setAttribute('role', 'status');

const writing = node('div', 'writing');
const writingHead = node('div', 'head');
const writingTitle = node('h3', '', 'What it writes');
const scrubber = node('div', 'scrubber');
const earlier = node('button', '', '◂');
earlier.setAttribute('aria-label', 'earlier sample');
const atStep = node('output', 'at-step');
const later = node('button', '', '▸');
later.setAttribute('aria-label', 'later sample');
const range = node('input');
range.type = 'range';
range.min = 0;
range.setAttribute('aria-label', 'which evaluation to read');
scrubber.append(earlier, range, later, atStep);
writingHead.append(writingTitle, scrubber);
const samples = node('div', 'samples');
writing.append(writingHead, samples);

// What comes next, after a prompt of the reader's own.
const guessing = node('div', 'guessing');
const guessingHead = node('div', 'head');
const question = node('label', '', 'Next character after ');
const promptInput = node('input', 'prompt');
promptInput.value = 'ROMEO:';
promptInput.maxLength = 200;
question.append(promptInput);
guessingHead.append(node('h3', '', 'What it expects'), question);
const guessingNote = node('p', 'note');
const guesses = node('div', 'guesses');
guessing.append(guessingHead, guessingNote, guesses);

const links = node('p', 'links');
const costs = node('div', 'costs');
const proof = node('details', 'proof');
proof.append(node('summary', '', 'What was equal'));
const proofList = node('dl');
proof.append(proofList);
root.append(bar, sentence, writing, guessing, costs, proof, links);

let chosenStep = null; // null follows the newest sample

function stepsOf(value) {
  const steps = new Set();
  value.models.forEach((model) => model.samples.forEach(([step]) => steps.add(step)));
  return [...steps].sort((a, b) => a - b);
}

function chooseIndex(index) {
  const steps = stepsOf(props.value);
  const bounded = Math.max(0, Math.min(steps.length - 1, index));
  chosenStep = bounded === steps.length - 1 ? null : steps[bounded];
  drawSamples(props.value);
}

function sampleAt(model, step) {
  const upTo = model.samples.filter(([at]) => at <= step);
  return upTo.length ? upTo[upTo.length - 1][1] : '';
}

function drawSamples(value) {
  const steps = stepsOf(value);
  writing.hidden = steps.length === 0;
  if (!steps.length) return;
  if (chosenStep !== null && !steps.includes(chosenStep)) chosenStep = null;
  const index = chosenStep === null ? steps.length - 1 : steps.indexOf(chosenStep);
  range.max = steps.length - 1;
  range.value = index;
  earlier.disabled = index === 0;
  later.disabled = index === steps.length - 1;
  setText(atStep, `step ${steps[index].toLocaleString('en')}`);
  while (samples.children.length > value.models.length) samples.lastChild.remove();
  while (samples.children.length < value.models.length) {
    const card = node('section', 'card');
    const heading = node('h4');
    heading.append(node('span', 'swatch'), node('span', 'label'));
    card.append(heading, node('pre'));
    samples.append(card);
  }
  value.models.forEach((model, position) => {
    const card = samples.children[position];
    card.style.setProperty('--model-colour', model.colour);
    setText(card.querySelector('.label'), model.label);
    setText(card.querySelector('pre'), sampleAt(model, steps[index]).replace(/^\n+/, ''));
  });
}

function drawCosts(value) {
  const names = value.models.length ? value.models[0].facts.map(([name]) => name) : [];
  costs.hidden = names.length === 0;
  const table = node('table');
  const head = table.createTHead().insertRow();
  ['', ...names].forEach((name) => {
    const cell = node('th', '', name);
    cell.scope = 'col';
    head.append(cell);
  });
  const body = table.createTBody();
  value.models.forEach((model) => {
    const row = body.insertRow();
    row.style.setProperty('--model-colour', model.colour);
    const label = node('th');
    label.scope = 'row';
    label.append(node('span', 'swatch'), node('span', 'label', model.label));
    row.append(label);
    model.facts.forEach(([, fact]) => row.insertCell().append(fact));
  });
  costs.replaceChildren(table);
}

function drawProof(value) {
  proof.hidden = value.proof.length === 0;
  proofList.replaceChildren(...value.proof.flatMap(([name, text]) => [node('dt', '', name), node('dd', '', text)]));
}

// --- What it expects ---------------------------------------------------------------------------------------

let asked = ''; // the run, its newest evaluation and the prompt that the bars are of

// Asks again when there is a newer evaluation or another prompt; the answer may come after a later question's.
async function askForGuesses() {
  const value = props.value;
  const question = JSON.stringify([value.run, stepsOf(value).at(-1), promptInput.value]);
  if (!value.models.length || !stepsOf(value).length || question === asked) return;
  if (asked && JSON.parse(asked)[0] !== value.run) guesses.replaceChildren(); // not another run's bars meanwhile
  asked = question;
  const answer = await server.next_characters({ run: value.run, prompt: promptInput.value });
  if (question === asked) drawGuesses(answer);
}

const VISIBLE = { ' ': '␣', '\n': '⏎', '\t': '⇥' };

function drawGuesses(answer) {
  setText(guessingNote, answer.error || '');
  guesses.replaceChildren(...(answer.models || []).map(guessCard));
}

function guessCard(model) {
  const card = node('section', 'card');
  card.style.setProperty('--model-colour', model.colour);
  const list = node('ol');
  model.bars.filter(([, probability]) => probability >= 0.0005).forEach(([character, probability]) => {
    const row = node('li');
    const track = node('span', 'track');
    const amount = node('span', 'amount');
    amount.style.width = `${100 * probability}%`;
    track.append(amount);
    row.append(node('span', 'character', VISIBLE[character] || character), track);
    row.append(node('span', 'percent', `${(100 * probability).toFixed(1)} %`));
    list.append(row);
  });
  card.append(node('h4', '', model.label), list);
  return card;
}

let typing = 0;
promptInput.addEventListener('input', () => {
  clearTimeout(typing);
  typing = setTimeout(askForGuesses, 300);
});

// --- Links -------------------------------------------------------------------------------------------------

function drawLinks(run) {
  links.hidden = !run;
  if (!run || links.dataset.run === run) return;
  links.dataset.run = run;
  const linkTo = (words, query) => {
    const link = node('a', '', words);
    link.href = `${window.location.origin}${window.location.pathname}?${query}`;
    return link;
  };
  links.replaceChildren(linkTo('Link to this run', `run=${run}`), ' · ', linkTo('for watching only', `run=${run}&hands=off`));
}

// The address names the run, so that reloading or sharing it leads back here.
function keepInAddress(run) {
  const address = new URL(window.location.href);
  if (!run || address.searchParams.get('run') === run) return;
  address.searchParams.set('run', run);
  window.history.replaceState(window.history.state, '', address);
}

function draw() {
  const value = props.value;
  if (!value) return;
  drawings += 1;
  keepInAddress(value.run);
  bar.style.visibility = value.share === null ? 'hidden' : 'visible';
  filled.style.width = `${100 * (value.share || 0)}%`;
  bar.setAttribute('aria-valuenow', Math.round(100 * (value.share || 0)));
  setText(sentence, value.sentence);
  sentence.classList.toggle('error', value.is_error);
  drawSamples(value);
  drawCosts(value);
  drawProof(value);
  drawLinks(value.run);
  askForGuesses();
}

earlier.addEventListener('click', () => chooseIndex(Number(range.value) - 1));
later.addEventListener('click', () => chooseIndex(Number(range.value) + 1));
range.addEventListener('input', () => chooseIndex(Number(range.value)));

// --- Whether this page is still told ---------------------------------------------------------------------------

// A run goes on while somebody says they are watching; a closed or frozen page says nothing. The server answers with the
// run's version. A page that shows another one, and is told nothing, has lost its watch, and takes the run up again.
let drawings = 0;
let drawingsSeen = 0;
let askedAt = performance.now();
let wait = LOOK_MS; // from one question to the next, while nothing is drawn
let timesBehind = 0;
let isAsking = false;

async function look() {
  if (!element.isConnected) {
    clearInterval(looking);
    return;
  }
  const run = props.value && props.value.run;
  if (!run || isAsking) return;
  const since = performance.now() - askedAt;
  if (drawings !== drawingsSeen) {
    drawingsSeen = drawings;
    wait = LOOK_MS;
    timesBehind = 0;
    if (since < HEARTBEAT_MS) return;
  } else if (since < wait) {
    return;
  }
  isAsking = true;
  const version = await server.still_watching({ run });
  isAsking = false;
  askedAt = performance.now();
  if (drawings !== drawingsSeen || version === null || version === undefined) return; // told meanwhile, or not answered
  if (version === props.value.version) {
    timesBehind = 0;
    wait = Math.min(2 * wait, HEARTBEAT_MS);
    return;
  }
  timesBehind += 1;
  if (timesBehind % 2 === 0) {
    wait = Math.min(LOOK_MS * 2 ** (timesBehind / 2), LONGEST_WAIT_MS);
    trigger('take_up', {});
  } else {
    wait = LOOK_MS; // at first the news may be on its way; later a new watch has brought nothing, nor would another
    if (timesBehind > 1) window.gptLabStream?.renew();
  }
}

const looking = setInterval(look, LOOK_MS);

draw();
watch('value', draw);
