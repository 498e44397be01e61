// An experiment: the question, what a visitor predicts, and what was measured; experiment_board.py describes the value.
// What is predicted stays here and in the address. Run is there to be pressed once something is predicted.

const root = element.querySelector(".experiment-board");
const HEARTBEAT_MS = 10000;
const UNDER_WAY = ["waiting", "running", "paused"];

const predictions = new Map(); // of each experiment and setup: { option, curve, isShown }
const opened = addressFields(); // what the page was opened with; used up by the first value of that experiment
const state = { value: null, drawing: null, shownResult: null, shownQuestion: null };

// ---- the page's parts, made once ----

const asks = make(root, "h2", "asks");
const method = make(root, "p", "method");
const prediction = make(root, "fieldset", "prediction");
make(prediction, "legend", "", "What do you expect?");
const options = make(prediction, "div", "options");
options.setAttribute("role", "radiogroup");
options.setAttribute("aria-label", "What do you expect?");
const actions = make(root, "div", "actions");
const runButton = makeButton(actions, "Run", () => ask(false), "run");
const showButton = makeButton(actions, "Just show me", () => ask(true));
const stopButton = makeButton(actions, "Stop", () => trigger("stop", {}));
const status = make(root, "p", "status");
const announce = makeAnnouncer(root);
const track = make(root, "div", "progress");
track.setAttribute("role", "progressbar");
track.setAttribute("aria-label", "share of the experiment that is done");
const filled = make(track, "div", "filled");
const verdict = make(root, "div", "verdict");
const sentences = make(root, "div", "sentences");
const charts = make(root, "div", "charts");
const numbers = make(root, "details", "all-numbers");
make(numbers, "summary", "", "All measured numbers");
const numbersBox = makeScrollBox(numbers, "All measured numbers");
const link = make(root, "p", "links");

// ---- the prediction ----

const isUnderWay = () => UNDER_WAY.includes(state.value.state);

// A prediction belongs to a question and a setup: where one thing is changed, there is something new to predict.
function placeOf({ question, setup }) {
  return `${question.name} ${setup}`;
}

function predicted() {
  const place = placeOf(state.value);
  if (!predictions.has(place)) {
    const isOfAddress = opened.get("experiment") === state.value.question.name;
    predictions.set(place, {
      option: isOfAddress ? opened.get("predicted") ?? "" : "",
      curve: curveFromWords(isOfAddress ? opened.get("drawn") : ""),
      isShown: false,
    });
    if (isOfAddress) opened.delete("experiment");
  }
  return predictions.get(place);
}

function isPredicted() {
  const { option, curve } = predicted();
  const names = state.value.question.options.map(([name]) => name);
  return names.includes(option) || curve.filter((height) => height !== null).length >= FEWEST;
}

function keepPrediction() {
  const { option, curve } = predicted();
  writeAddress({ predicted: option, drawn: curveInWords(curve) });
  drawActions();
  drawStatus();
}

function choose(name) {
  if (isLocked()) return;
  predicted().option = predicted().option === name ? "" : name;
  drawOptions();
  keepPrediction();
}

// Once it runs, or its answer is there, a prediction stays what it was.
function isLocked() {
  return isUnderWay() || Boolean(state.value.result);
}

function drawOptions() {
  const { option } = predicted();
  const answer = state.value.result?.answer;
  const buttons = state.value.question.options.map(([name, words]) => {
    const button = node("button", "option", words);
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", String(option === name));
    button.setAttribute("aria-disabled", String(isLocked()));
    button.classList.toggle("measured", answer === name);
    if (answer === name) make(button, "span", "tag", "measured");
    if (option === name) make(button, "span", "tag", "your prediction");
    button.addEventListener("click", () => choose(name));
    return button;
  });
  const chosen = Math.max(0, state.value.question.options.findIndex(([name]) => name === option));
  stopTabAt(buttons, buttons[chosen]);
  const hadFocus = options.contains(document.activeElement);
  options.replaceChildren(...buttons);
  if (hadFocus) buttons[chosen].focus();
}

options.addEventListener("keydown", (event) => {
  const arrow = arrowOf(event);
  const buttons = [...options.children];
  const at = buttons.indexOf(document.activeElement);
  if (!arrow || at < 0) return;
  event.preventDefault();
  const next = buttons[(at + arrow[0] + arrow[1] + buttons.length) % buttons.length];
  stopTabAt(buttons, next);
  next.focus();
});

// ---- running it ----

function ask(isShown) {
  predicted().isShown = isShown && !isPredicted();
  trigger("ask", {});
}

function drawActions() {
  const { value } = state;
  const isOver = Boolean(value.result);
  actions.hidden = track.hidden = isOver;
  runButton.hidden = showButton.hidden = isUnderWay() || isOver;
  stopButton.hidden = !isUnderWay();
  runButton.disabled = !isPredicted();
  runButton.title = isPredicted() ? "" : "Make a prediction first.";
  showButton.hidden ||= isPredicted();
  runButton.textContent = ["stopped", "failed"].includes(value.state) ? "Run again" : "Run";
}

function drawStatus() {
  const { value } = state;
  status.hidden = Boolean(value.result);
  setText(status, value.status || (isPredicted() || value.result ? "" : "Run can be pressed once you have made a prediction."));
  status.classList.toggle("error", value.is_error);
  const said = value.result ? "The result is there." : value.status;
  announce(said, JSON.stringify([value.run, value.state, quarterOf(value.share), Boolean(value.result), value.is_error && said]));
  track.classList.toggle("unused", value.share === null);
  filled.style.width = `${100 * (value.share ?? 0)}%`;
  track.setAttribute("aria-valuenow", String(Math.round(100 * (value.share ?? 0))));
}

// ---- the result ----

function wordsOf(name) {
  return state.value.question.options.find(([option]) => option === name)?.[1] ?? "";
}

function drawVerdict() {
  const { result } = state.value;
  verdict.replaceChildren();
  verdict.hidden = !result;
  if (!result) return;
  const { option } = predicted();
  const found = result.answer ? wordsOf(result.answer) : "The numbers do not settle which of these is right.";
  const rows = [["Measured", found]];
  if (wordsOf(option)) rows.unshift(["You expected", wordsOf(option)]);
  for (const [head, words] of rows) {
    const line = make(verdict, "p");
    make(line, "b", "", head);
    line.append(` ${words}`);
  }
  const hasDrawn = predicted().curve.some((height) => height !== null);
  const said = wordsOf(option)
    ? (result.answer === option ? "As you expected." : "Not what you expected.")
    : hasDrawn ? "Your curve is drawn beside the measured one." : "Shown without a prediction.";
  make(verdict, "p", "said", said);
}

function predictionOn(chart, question) {
  const { curve } = predicted();
  const isThere = question.drawing && !chart.rows.length && curve.some((height) => height !== null);
  return isThere ? curvePoints(question.drawing, curve) : null;
}

function drawCharts() {
  const { result, question } = state.value;
  const shown = JSON.stringify([question.name, state.value.setup, Boolean(result), state.value.run]);
  if (state.shownResult === shown) return; // a chart keeps where its reader looks
  state.shownResult = shown;
  charts.replaceChildren();
  state.drawing = null;
  if (result) {
    result.charts.forEach((chart, i) => makeChart(charts, chart, i === 0 ? predictionOn(chart, question) : null));
  } else if (question.drawing) {
    state.drawing = makeDrawing(charts, question.drawing, predicted().curve, keepPrediction);
  } else {
    make(charts, "p", "empty", "The figure will be drawn here from what is measured.");
  }
}

function drawNumbers() {
  const { result } = state.value;
  numbers.hidden = !result;
  numbersBox.replaceChildren();
  sentences.replaceChildren();
  link.replaceChildren();
  if (!result) return;
  for (const words of result.sentences) make(sentences, "p", "", words);
  const body = makeTable(numbersBox, ["", "measured", "unit", "error from"], "numbers");
  for (const { name, value, error, unit, of } of result.measures) {
    const number = value === null ? "not measured" : measured(value, error);
    makeRow(body, name, [number, unit, error === null ? "" : of]);
  }
  const took = `${Math.round(result.seconds)} s on ${result.machine}; ${state.value.setup}. `;
  link.append(took);
  const anchor = make(link, "a", "", "Link to this result");
  anchor.href = window.location.href;
}

// ---- arrival of a value ----

function receive() {
  const value = valueAsObject(props.value);
  root.hidden = !value?.question;
  if (value?.question) show(value);
  countAsPainted();
}

function show(value) {
  if (state.value !== null && opened.get("experiment") !== value.question.name) opened.delete("experiment");
  const isAnother = state.value !== null && placeOf(state.value) !== placeOf(value) && !opened.has("experiment");
  state.value = value;
  const { option, curve } = predicted();
  if (isAnother) writeAddress({ predicted: option, drawn: curveInWords(curve) });
  const isOnItsWay = opened.has("experiment"); // the value that the address asks for
  if (root.offsetParent !== null && !isOnItsWay) writeAddress(value.link); // not of a tab that is not open
  setText(asks, value.question.asks);
  setText(method, value.question.method);
  drawOptions();
  drawActions();
  drawStatus();
  drawVerdict();
  drawCharts();
  drawNumbers();
}

// A page that shows an experiment says so, and asks again where it was not told of what is new.
setInterval(async () => {
  if (!state.value?.run || !isUnderWay() || root.offsetParent === null) return;
  const { run, version } = state.value;
  const now = await server.still_watching({ run });
  if (state.value.run === run && now !== null && now > version + 200) trigger("watch_again", {});
}, HEARTBEAT_MS);

watch("value", receive);
receive();
