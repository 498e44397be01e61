// A slider over the kept steps of a training; step_slider.py describes the value. It moves at once; while the reader
// drags, only the last place is asked for, and playing waits for each step's answer.

const root = element.querySelector(".step-slider");
const SHORTEST_STEP_MS = 700; // so that each step can be looked at while playing
const MOST_TICKS = 10;

// `index` is where the slider stands; `asked` is the step whose answer is awaited, or null,
// and `movedAt` when it was asked for.
const state = { steps: [], index: 0, label: "", asked: null, playing: false, movedAt: 0 };
const wait = makeWait(stopWaiting);
let playing = null; // the timer of the next step

// ---- the page's parts, made once ----

const all = make(root, "div", "all");
const heading = make(all, "label", "heading");
const label = make(heading, "span", "label");
const step = make(heading, "output", "step");
const waiting = make(heading, "span", "waiting");
const earlier = makeSwitch(all, "◂", () => stepBy(-1));
const track = make(all, "div", "track");
const range = make(track, "input");
const ticks = make(track, "div", "ticks");
const later = makeSwitch(all, "▸", () => stepBy(1));
const play = makeSwitch(all, "▶ play", togglePlay);
Object.assign(range, { type: "range", min: 0, step: 1, id: `step-slider-${Math.random().toString(36).slice(2)}` });
heading.htmlFor = range.id;
earlier.setAttribute("aria-label", "an earlier step");
later.setAttribute("aria-label", "a later step");
play.classList.add("play");
ticks.setAttribute("aria-hidden", "true");

// ---- drawing ----

// A tick stands under the middle of the slider's thumb, which is 16 px wide.
function buildTicks(steps) {
  const last = steps.length - 1;
  range.max = last;
  ticks.replaceChildren();
  steps.forEach((number, index) => {
    if (steps.length > MOST_TICKS && index % Math.ceil(steps.length / MOST_TICKS) && index !== last) return;
    const share = index / last;
    make(ticks, "span", "tick", grouped(number)).style.left = `calc(${100 * share}% + ${8 - 16 * share}px)`;
  });
}

function paint() {
  const { steps, index } = state;
  range.value = index;
  range.setAttribute("aria-valuetext", `step ${grouped(steps[index])}`);
  label.textContent = state.label ? `${state.label}: ` : "";
  step.textContent = `step ${grouped(steps[index])}`;
  waiting.textContent = state.asked === null ? "" : "loading…";
  earlier.disabled = index === 0;
  later.disabled = index === steps.length - 1;
  play.textContent = state.playing ? "■ stop" : "▶ play";
  play.setAttribute("aria-pressed", state.playing);
}

// ---- asking ----

function moveTo(index, rest = 0) {
  state.index = clamp(index, state.steps.length);
  state.asked = state.steps[state.index];
  state.movedAt = Date.now();
  wait.ask(() => trigger("choose_step", { step: state.asked }), rest);
  paint();
}

function stopWaiting() {
  state.asked = null;
  stop();
}

function stepBy(count) {
  stop();
  moveTo(state.index + count);
}

function slide() {
  const index = Number(range.value); // before stopping paints the old one again
  stop();
  moveTo(index, REST_MS);
}

// ---- playing ----

function togglePlay() {
  if (state.playing) return stop();
  state.playing = true;
  if (state.index === state.steps.length - 1) moveTo(0);
  else playNext();
  paint();
}

function playNext() {
  if (state.index === state.steps.length - 1) return stop();
  moveTo(state.index + 1);
}

function stop() {
  state.playing = false;
  clearTimeout(playing);
  if (state.steps.length > 1) paint();
}

// Any press elsewhere stops it, so that nothing moves under a reader who has turned to something else.
function stopForPress(event) {
  if (state.playing && !play.contains(event.target)) stop();
}

function stopForKey(event) {
  if (event.key === "Escape" || !root.contains(event.target)) stopForPress({ target: document.body });
}

// ---- arrival of a value ----

// Hides the block that Gradio wraps around the component, too: an empty one would still keep its gap.
function showOrHide(isShown) {
  root.hidden = !isShown;
  const block = element.closest(".block") ?? element;
  block.style.display = isShown ? "" : "none";
}

function settle() {
  const rest = state.movedAt + SHORTEST_STEP_MS - Date.now();
  wait.isAnswered();
  state.asked = null;
  if (!state.playing) return;
  clearTimeout(playing);
  playing = setTimeout(playNext, Math.max(0, rest));
}

function receive() {
  const value = valueAsObject(props.value);
  const steps = value?.steps ?? [];
  showOrHide(steps.length > 1);
  if (steps.length > 1) show(value);
  else stop();
  countAsPainted();
}

// While a step is awaited, a value with another one answers an earlier press.
function show({ steps, index, label: words }) {
  const hasNewSteps = `${steps}` !== `${state.steps}`;
  if (hasNewSteps) stop();
  Object.assign(state, { steps, label: words ?? "" });
  if (hasNewSteps) buildTicks(steps);
  if (hasNewSteps || state.asked === null || steps[index] === state.asked) {
    state.index = clamp(index, steps.length);
    settle();
  }
  paint();
}

range.addEventListener("input", slide);
document.addEventListener("pointerdown", stopForPress);
document.addEventListener("keydown", stopForKey);
watch("value", receive);
receive();
