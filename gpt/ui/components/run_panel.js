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
promptInput.value = "ROMEO:";
promptInput.maxLength = 200;
const guessingNote = make(guessing, "p", "note");
const guesses = make(guessing, "div", "guesses");

const costs = makeScrollBox(root, "What the models cost");
costs.classList.add("costs");
const proof = make(root, "details", "proof");
make(proof, "summary", "", "What was equal");
const proofList = make(proof, "dl");
const links = make(root, "p", "links");

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
  writing.hidden = steps.length === 0;
  if (!steps.length) return;
  if (chosenStep !== null && !steps.includes(chosenStep)) chosenStep = null;
  const index = chosenStep === null ? steps.length - 1 : steps.indexOf(chosenStep);
  range.max = steps.length - 1;
  range.value = index;
  earlier.disabled = index === 0;
  later.disabled = index === steps.length - 1;
  setText(atStep, `step ${grouped(steps[index])}`);
  while (samples.children.length > value.models.length) samples.lastChild.remove();
  while (samples.children.length < value.models.length) {
    const card = make(samples, "section", "card");
    make(make(card, "h4"), "span", "label");
    make(card, "pre").tabIndex = 0; // so that a long text can be scrolled with the keyboard
  }
  value.models.forEach((model, position) => {
    const card = samples.children[position];
    card.style.setProperty("--variant", model.colour);
    setText(card.querySelector(".label"), model.label);
    const text = card.querySelector("pre");
    text.setAttribute("role", "group");
    text.setAttribute("aria-label", `what ${model.label} writes`);
    setText(text, sampleAt(model, steps[index]).replace(/^\n+/, ""));
  });
}

function drawCosts(value) {
  const names = value.models.length ? value.models[0].facts.map(([name]) => name) : [];
  costs.hidden = names.length === 0;
  costs.replaceChildren();
  const body = makeTable(costs, ["", ...names]);
  for (const model of value.models) {
    const name = [node("span", "swatch"), node("span", "label", model.label)];
    const row = makeRow(body, name, model.facts.map(([, fact]) => fact));
    row.style.setProperty("--variant", model.colour);
  }
}

function drawProof(value) {
  proof.hidden = value.proof.length === 0;
  proofList.replaceChildren(...value.proof.flatMap(([name, text]) => [node("dt", "", name), node("dd", "", text)]));
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
  make(card, "h4", "", model.label);
  const list = make(card, "ol");
  for (const [character, probability] of model.bars.filter(([, probability]) => probability >= 0.0005)) {
    const row = make(list, "li");
    make(row, "span", "character", shownToken(character));
    make(make(row, "span", "track"), "span", "amount").style.width = `${100 * probability}%`;
    make(row, "span", "percent", percent(probability));
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

// The address names the run, so that reloading or sharing it leads back here.
function keepInAddress(run) {
  const address = new URL(window.location.href);
  if (!run || address.searchParams.get("run") === run) return;
  address.searchParams.set("run", run);
  window.history.replaceState(window.history.state, "", address);
}

function draw() {
  const value = props.value;
  if (!value) return;
  drawings += 1;
  guesses.classList.toggle("of-tokens", value.predicts === "token");
  setText(promptWords, `Next ${value.predicts ?? "character"} after `);
  keepInAddress(value.run);
  bar.style.visibility = value.share === null ? "hidden" : "visible";
  filled.style.width = `${100 * (value.share || 0)}%`;
  bar.setAttribute("aria-valuenow", Math.round(100 * (value.share || 0)));
  setText(sentence, value.sentence);
  sentence.classList.toggle("error", value.is_error);
  announce(value.sentence, kindOfNews(value));
  drawSamples(value);
  guessing.hidden = value.may_read === false; // it would only say that the text is somebody else's
  drawCosts(value);
  drawProof(value);
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
