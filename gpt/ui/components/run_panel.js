// How far a run is, what its models write, what they cost. `props.value` is what run_panel.py documents.
// Samples of earlier evaluations stay, and one step is looked at in all models together.

const root = element.querySelector(".run-panel");
const LOOK_MS = 2000;
const HEARTBEAT_MS = 10000;
const LONGEST_WAIT_MS = 60000;

const bar = make(root, "div", "bar");
const filled = make(bar, "div", "filled");
bar.setAttribute("role", "progressbar");
bar.setAttribute("aria-label", "share of the run that is done");
const sentence = make(root, "p", "sentence");
const announce = makeAnnouncer(root);

const writing = make(root, "div", "writing");
const writingHead = make(writing, "div", "head");
make(writingHead, "h3", "", "What it writes");
const coming = make(writingHead, "span", "coming");
const scrubber = make(writingHead, "div", "scrubber");
const earlier = makeButton(scrubber, "◂", () => chooseIndex(Number(range.value) - 1));
earlier.setAttribute("aria-label", "earlier sample");
const range = make(scrubber, "input");
Object.assign(range, { type: "range", min: 0 });
range.setAttribute("aria-label", "which evaluation to read");
const later = makeButton(scrubber, "▸", () => chooseIndex(Number(range.value) + 1));
later.setAttribute("aria-label", "later sample");
const atStep = make(scrubber, "output", "at-step");
const samples = make(writing, "div", "samples");

// What comes next, after a prompt of the reader's own.
const guessing = make(root, "div", "guessing");
const guessingHead = make(guessing, "div", "head");
make(guessingHead, "h3", "", "What it expects");
const promptLabel = make(guessingHead, "label");
const promptWords = make(promptLabel, "span");
const promptInput = make(promptLabel, "input", "prompt");
promptInput.value = "What sh"; // all, e, ould: where the models differ
promptInput.maxLength = 200;
const guessingNote = make(guessing, "p", "note");
const guesses = make(guessing, "div", "guesses");

const costs = makeScrollBox(root, "What the models cost");
costs.classList.add("costs");
const setting = makeFacts("What it was set to");
const proof = makeFacts("What was equal");
const links = make(root, "p", "links");

// A fold with a list of names and values. On paper all folds are open.
function makeFacts(title) {
  const fold = make(root, "details", "proof");
  make(fold, "summary", "", title);
  const list = make(fold, "dl");
  const draw = (facts) => {
    fold.hidden = !facts?.length;
    list.replaceChildren(...(facts ?? []).flatMap(([name, text]) => [node("dt", "", name), node("dd", "", text)]));
  };
  return { fold, draw };
}

const openedForPrint = [];
window.addEventListener("beforeprint", () => {
  openedForPrint.push(...[setting.fold, proof.fold].filter((fold) => !fold.open));
  for (const fold of openedForPrint) fold.open = true;
});
window.addEventListener("afterprint", () => {
  for (const fold of openedForPrint.splice(0)) fold.open = false;
});

let chosenStep = null; // null follows the newest sample

function stepsOf(value) {
  const steps = new Set();
  value.models.forEach((model) => model.samples.forEach(([step]) => steps.add(step)));
  return [...steps].sort((a, b) => a - b);
}

function chooseIndex(index) {
  const steps = stepsOf(props.value);
  const bounded = clamp(index, steps.length);
  chosenStep = bounded === steps.length - 1 ? null : steps[bounded];
  drawSamples(props.value);
}

function sampleAt(model, step) {
  const upTo = model.samples.filter(([at]) => at <= step);
  return upTo.length ? upTo[upTo.length - 1][1] : "";
}

function drawSamples(value) {
  const steps = stepsOf(value);
  const next = value.next_sample ?? null;
  writing.hidden = steps.length === 0 && next === null;
  if (writing.hidden) return;
  setText(coming, comingWords(next));
  if (chosenStep !== null && !steps.includes(chosenStep)) chosenStep = null;
  const index = chosenStep === null ? steps.length - 1 : steps.indexOf(chosenStep);
  range.max = Math.max(0, steps.length - 1);
  range.value = index;
  range.disabled = steps.length < 2;
  earlier.disabled = index <= 0;
  later.disabled = index >= steps.length - 1;
  setText(atStep, steps.length ? `step ${grouped(steps[index])}` : "");
  while (samples.children.length > value.models.length) samples.lastChild.remove();
  while (samples.children.length < value.models.length) {
    const card = make(samples, "section", "card");
    make(card, "h4").append(node("span", "dash-place"), node("span", "label"));
    make(card, "pre").tabIndex = 0; // so that a long text can be scrolled with the keyboard
  }
  value.models.forEach((model, position) => {
    const card = samples.children[position];
    card.style.setProperty("--variant", model.colour);
    setText(card.querySelector(".label"), model.label);
    showDash(card.querySelector(".dash-place"), model.dash);
    const text = card.querySelector("pre");
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", `what ${model.label} writes`);
    const written = sampleAt(model, steps[index]);
    const isBlank = written !== "" && !written.trim();
    text.classList.toggle("blank", isBlank);
    setText(text, isBlank ? "(only spaces and line breaks)" : written.replace(/^\n+/, ""));
  });
}

function comingWords(next) {
  if (next === null) return "";
  return next === 0 ? "the first sample comes before the first step" : `next sample at step ${grouped(next)}`;
}

// The line of a model as on the chart, drawn again only where it has changed.
function showDash(place, dash) {
  if (place.dataset.dash === dash) return;
  place.dataset.dash = dash;
  place.replaceChildren(dashSwatch(dash));
}

function drawCosts(value) {
  const names = value.models.length ? value.models[0].facts.map(([name]) => name) : [];
  costs.hidden = names.length === 0;
  costs.replaceChildren();
  const body = makeTable(costs, ["", ...names]);
  for (const model of value.models) {
    const name = [dashSwatch(model.dash), node("span", "label", model.label)];
    const row = makeRow(body, name, model.facts.map(([, fact]) => fact));
    row.style.setProperty("--variant", model.colour);
  }
}

// ---- what it expects ----

let asked = ""; // the run, its newest evaluation and the prompt that the bars are of

// Asks again when there is a newer evaluation or another prompt; the answer may come after a later question's.
async function askForGuesses() {
  const value = props.value;
  const question = JSON.stringify([value.run, stepsOf(value).at(-1), promptInput.value]);
  if (!value.models.length || !stepsOf(value).length || question === asked) return;
  if (asked && JSON.parse(asked)[0] !== value.run) guesses.replaceChildren(); // not another run's bars meanwhile
  asked = question;
  if (!guesses.children.length) setText(guessingNote, "Asking the models…");
  const answer = await server.next_characters({ run: value.run, prompt: promptInput.value });
  if (question === asked) drawGuesses(answer);
}

function drawGuesses(answer) {
  setText(guessingNote, answer.error || "");
  guesses.replaceChildren(...(answer.models || []).map(guessCard));
}

function guessCard(model) {
  const card = node("section", "card");
  card.style.setProperty("--variant", model.colour);
  const { dash } = props.value.models.find(({ label }) => label === model.label) ?? model; // as on the chart
  make(card, "h4").append(dashSwatch(dash), model.label);
  const list = make(card, "ol");
  for (const [character, probability] of model.bars) { // all of them, so that no gap opens or closes
    const row = make(list, "li");
    make(row, "span", "character", shownToken(character));
    make(make(row, "span", "track"), "span", "amount").style.width = `${100 * probability}%`;
    make(row, "span", "percent", percent(probability || 1e-9)); // it is rounded, never none
  }
  return card;
}

let typing = 0;
promptInput.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(askForGuesses, 300);
});

// ---- links ----

function drawLinks(run) {
  links.hidden = !run;
  if (!run || links.dataset.run === run) return;
  links.dataset.run = run;
  const linkTo = (words, query) => {
    const link = node("a", "", words);
    link.href = `${window.location.origin}${window.location.pathname}?${query}`;
    return link;
  };
  links.replaceChildren(linkTo("Link to this run", `run=${run}`), " · ", linkTo("for watching only", `run=${run}&hands=off`));
}

function draw() {
  const value = props.value;
  if (!value) return;
  drawings += 1;
  guesses.classList.toggle("of-tokens", value.predicts === "token");
  setText(promptWords, `Next ${value.predicts ?? "character"} after `);
  bar.style.visibility = value.share === null ? "hidden" : "visible";
  filled.style.width = `${100 * (value.share || 0)}%`;
  bar.setAttribute("aria-valuenow", Math.round(100 * (value.share || 0)));
  setText(sentence, value.sentence);
  sentence.classList.toggle("error", value.is_error);
  announce(value.sentence, kindOfNews(value));
  drawSamples(value);
  guessing.hidden = value.may_read === false || !value.models.length; // it would only say that the text is somebody else's
  drawCosts(value);
  setting.draw(value.settings);
  proof.draw(value.proof);
  drawLinks(value.run);
  askForGuesses();
  tellWhichRun();
}

// What is worth saying aloud: another run or state, another place in the queue, a quarter of the way, an error.
function kindOfNews({ run, state, share, is_error: isError, sentence: words }) {
  const said = isError ? words : state === "waiting" ? words.split(",")[0] : "";
  return JSON.stringify([run, state, quarterOf(share), said]);
}

// The diagnostics are of this run, and go along with it.
function tellWhichRun() {
  document.dispatchEvent(new CustomEvent("gpt-lab:run", { detail: { run: props.value?.run ?? "" } }));
}

document.addEventListener("gpt-lab:which-run", tellWhichRun);

range.addEventListener("input", () => chooseIndex(Number(range.value)));

// --- Whether this page is still told ---------------------------------------------------------------------------

// A run goes on while somebody says they are watching; a closed or frozen page says nothing. The server answers with the
// run's version. A page that shows another one, and is told nothing, has lost its watch, and asks for another.
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
    trigger("watch_again", {});
  } else {
    wait = LOOK_MS; // at first the news may be on its way; later a new watch has brought nothing, nor would another
    if (timesBehind > 1) window.gptLabStream?.renew();
  }
}

const looking = setInterval(look, LOOK_MS);

draw();
watch("value", draw);
