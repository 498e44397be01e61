// What one to three states of a model expect after a text, as bars side by side, and what each writes next;
// outcomes.py describes the value. A state is told apart by colour, by its bar's pattern, and by its name.

const root = element.querySelector(".outcomes");
const PATTERNS = ["solid", "striped", "outlined"]; // of the bars, state by state
const SCALES = [0.1, 0.25, 0.5, 1]; // the longest bar is at most this probability

const page = make(root, "div", "page");
const empty = make(root, "p", "empty");
const title = make(page, "h3");
const bars = make(page, "div", "bars");
const legend = make(bars, "div", "legend");
const groups = make(bars, "div", "groups");
const cards = make(page, "div", "cards");

// ---- bars ----

function scaleOf(states) {
  const largest = Math.max(...states.flatMap(({ probabilities }) => probabilities));
  return SCALES.find((scale) => largest <= scale);
}

function makeBar(group, state, place, rank, scale) {
  const probability = state.probabilities[rank];
  const bar = make(group, "div", `bar ${PATTERNS[place]}`);
  bar.style.setProperty("--variant", state.colour);
  bar.title = `${state.label}${state.note ? `, ${state.note}` : ""}: ${percent(probability)}`;
  make(make(bar, "span", "track"), "span", "amount").style.width = `${(100 * probability) / scale}%`;
  make(bar, "span", "percent", percent(probability));
}

function drawBars({ tokens, states }) {
  const scale = scaleOf(states);
  legend.replaceChildren();
  states.forEach((state, place) => makeName(legend, state, place));
  groups.replaceChildren();
  const heading = make(groups, "div", "heading");
  make(heading, "span", "", "next");
  make(heading, "span", "", `probability, bars up to ${100 * scale} %`);
  tokens.forEach((token, rank) => {
    const group = make(groups, "div", "group");
    make(group, "span", "character", shownToken(token));
    const own = make(group, "div", "own-bars");
    states.forEach((state, place) => makeBar(own, state, place, rank, scale));
  });
}

// ---- the name of a state, with its pattern and dash ----

function makeSwatches(parent, place, dash) {
  make(make(parent, "span", `sample ${PATTERNS[place]}`), "span", "amount");
  parent.append(dashSwatch(dash));
}

function makeName(parent, state, place) {
  const name = make(parent, "div", "name");
  name.style.setProperty("--variant", state.colour);
  makeSwatches(name, place, state.dash);
  make(name, "span", "label", state.label);
  if (state.note) make(name, "span", "quiet", state.note);
}

// ---- one card a state: its name, its loss, what it writes ----

function makeCard(state, place, promptEnd) {
  const card = make(cards, "section", "card");
  card.style.setProperty("--variant", state.colour);
  makeName(card, state, place);
  if (state.loss) {
    const loss = make(card, "p", "loss", `loss ${state.loss} nats per token`);
    if (state.change) make(loss, "span", "change", `, a change of ${state.change}`);
  }
  const text = make(card, "div", "text");
  text.tabIndex = 0; // so that a long text can be scrolled with the keyboard
  text.setAttribute("role", "group");
  text.setAttribute("aria-label", `what ${state.label} writes`);
  make(text, "span", "quiet", shownText(promptEnd));
  make(text, "span", "written", shownText(state.text));
  signMore(text);
}

// ---- arrival of a value ----

function show(value) {
  title.textContent = value.title ?? "";
  title.hidden = !value.title;
  drawBars(value);
  cards.replaceChildren();
  value.states.forEach((state, place) => makeCard(state, place, value.prompt_end));
}

showValues({
  page,
  empty,
  invitation: "What comes next will appear here.",
  holdsSomething: ({ states }) => states?.length,
  show,
});
