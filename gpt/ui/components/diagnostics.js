// Diagnostics of the run on the page, in a fold. Unfolded and in sight, it asks for what is new whenever the page was
// told of its run, one question at a time; `diagnostics.py` describes the answers.

const root = element.querySelector(".diagnostics");

const state = {
  run: "",
  told: -1, // the last step that was answered
  answer: null, // the latest, with all that was told before in its series
  isBehind: false, // whether there may be more to know
  isAsking: false,
  rest: 0, // ms from an answer to the next question
  timer: null,
  model: 0,
  score: "previous",
  askedHeads: "", // the question about heads that was asked last
};

// ---- the page's parts, made once ----

const fold = make(root, "details", "fold");
make(fold, "summary", "", "Diagnostics");
const invitation = make(fold, "p", "empty");
const page = make(fold, "div", "page");
const legend = make(page, "div", "legend");
const charts = make(page, "div", "charts");
const norms = makeLineChart(charts, {
  title: "Gradient norm",
  explanation: "How large the gradient of each update is, over all weights together.",
  name: "norm",
  yTitle: "norm, log scale",
  isLog: true,
  write: threeDigits,
  tick: tickNumber,
  steps: "steps",
  numbers: "norms",
});
const shares = makeLineChart(charts, {
  title: "Right next tokens",
  explanation: "How often the next token is the one the model expects most, in the validation windows.",
  name: "share",
  yTitle: "share of tokens",
  isLog: false,
  write: (share) => (Number.isFinite(share) ? percent(share) : "–"),
  tick: (share) => `${tickNumber(100 * share)} %`,
  steps: "evaluated",
  numbers: "shares",
});
makeHeadsChart(charts);
heads.card.classList.add("wide");
const modelChoice = makeSelect(heads.options, "Model", (chosen) => { state.model = Number(chosen); });
const scoreChoice = makeSelect(heads.options, "Score", (chosen) => { state.score = chosen; });

function makeSelect(parent, name, choose) {
  const select = make(make(parent, "label", "", `${name} `), "select");
  select.addEventListener("change", () => {
    choose(select.value);
    askForHeads();
  });
  return select;
}

// Options stay in place while they are the same: a list that is open under a finger would close.
function fillSelect(select, options, chosen) {
  const says = JSON.stringify(options);
  if (select.dataset.says !== says) {
    select.dataset.says = says;
    select.replaceChildren(...options.map(([value, words]) => new Option(words, value)));
  }
  select.value = chosen;
}

// ---- asking ----

function isInSight() {
  return fold.open && root.checkVisibility() && document.visibilityState === "visible";
}

function askWhenItIsTime() {
  if (!state.run || !state.isBehind || state.isAsking || state.timer || !isInSight()) return;
  state.timer = setTimeout(ask, state.rest);
}

async function ask() {
  const { run, told } = state;
  Object.assign(state, { timer: null, isAsking: true, isBehind: false });
  let answer = null;
  try {
    answer = await server.news_of_run({ run, told });
  } catch {
    state.isBehind = true; // the server is busy or gone, so it is asked later
  }
  Object.assign(state, { isAsking: false, rest: 1000 * (answer?.rest ?? 10) });
  if (answer?.run && answer.run === state.run) take(answer);
  askWhenItIsTime();
}

const GROWING = ["steps", "norms", "evaluated", "shares"];

function take(answer) {
  const before = answer.since < 0 ? null : state.answer;
  const series = answer.series.map((curve, i) => {
    const grown = GROWING.map((key) => [key, [...(before?.series[i][key] ?? []), ...curve[key]]]);
    return { ...curve, ...Object.fromEntries(grown) };
  });
  Object.assign(state, { told: answer.told, answer: { ...answer, series } });
  draw();
  askForHeads();
}

// Asks where the question is another one, or weights of another step are kept; a late answer to another is not shown.
async function askForHeads() {
  const { run, model, score, answer } = state;
  const kept = answer?.models[model]?.kept ?? [];
  const question = JSON.stringify([run, model, score, kept]);
  if (!run || !answer || question === state.askedHeads || !isInSight()) return;
  if (!kept.length) return showHeads(null, "Scores will be drawn here from the first step on.", answer.max_steps);
  state.askedHeads = question;
  let found = null;
  try {
    found = await server.head_scores({ run, model, score });
  } catch {
    state.askedHeads = ""; // asked again with the next news
  }
  if (question !== state.askedHeads || !found) return;
  const name = answer.scores.find(({ key }) => key === score)?.name ?? score;
  showHeads(found.error ? null : { ...found, name }, found.error ?? "", answer.max_steps);
}

// ---- drawing ----

function draw() {
  const { answer } = state;
  page.hidden = !answer;
  invitation.hidden = Boolean(answer);
  setText(invitation, state.run ? "Asking for the run's figures…" : props.value?.empty ?? "Nothing is being trained.");
  if (!answer) return;
  drawLegend(answer.series);
  for (const chart of [norms, shares]) {
    Object.assign(chart, { curves: answer.series, end: answer.max_steps, limit: answer.clip });
    drawLines(chart);
  }
  fillSelect(modelChoice, answer.models.map(({ label }, number) => [String(number), label]), String(state.model));
  fillSelect(scoreChoice, answer.scores.map(({ key, name }) => [key, name]), state.score);
  element.dataset.told = answer.told; // tests wait on this
}

function drawLegend(series) {
  const entries = series.map((curve) => {
    const entry = node("span", "entry");
    entry.append(swatchOf(curve), curve.label);
    return entry;
  });
  legend.replaceChildren(...entries);
}

// ---- which run, and whether anybody looks ----

function hear({ detail }) {
  if (detail.run !== state.run) {
    Object.assign(state, { run: detail.run, told: -1, answer: null, model: 0, askedHeads: "", rest: 0 });
    clearTimeout(state.timer);
    state.timer = null;
    showHeads(null, "", 1);
    draw();
  }
  state.isBehind = true;
  askWhenItIsTime();
}

function lookAgain() {
  askWhenItIsTime();
  askForHeads();
}

document.addEventListener("gpt-lab:run", hear);
document.addEventListener("visibilitychange", lookAgain);
new ResizeObserver(lookAgain).observe(root); // unfolded, or on a tab that was opened again
draw();
document.dispatchEvent(new Event("gpt-lab:which-run"));
