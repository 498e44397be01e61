// What one to three states of a model expect after a text, as bars side by side, and what each writes next;
// outcomes.py describes the value. A state is told apart by colour, by its bar's pattern, and by its name.

const root = element.querySelector(".outcomes");
const PATTERNS = ["solid", "striped", "outlined"]; // of the bars, state by state
const SCALES = [0.1, 0.25, 0.5, 1]; // the longest bar is at most this probability
const SVG = 'http://www.w3.org/2000/svg';

const page = make(root, "div", "page");
const empty = make(root, "p", "empty");
const title = make(page, "h3");
const bars = make(page, "div", "bars");
const legend = make(bars, "div", "legend");
const groups = make(bars, "div", "groups");
const cards = make(page, "div", "cards");

// ---- words ----

function percentInWords(probability) {
  if (probability === 0) return "0 %";
  return probability < 0.0005 ? "< 0.1 %" : `${(100 * probability).toFixed(1)} %`;
}

function shownText(text) {
  return text.replace(/ +$/, (spaces) => "␣".repeat(spaces.length)).replaceAll("\n", "⏎\n");
}

// ---- bars ----

function scaleOf(states) {
  const largest = Math.max(...states.flatMap(({ probabilities }) => probabilities));
  return SCALES.find((scale) => largest <= scale);
}

function makeBar(group, state, place, rank, scale) {
  const probability = state.probabilities[rank];
  const bar = make(group, "div", `bar ${PATTERNS[place]}`);
  bar.style.setProperty("--variant", state.colour);
  bar.title = `${state.label}${state.note ? `, ${state.note}` : ""}: ${percentInWords(probability)}`;
  make(make(bar, "span", "track"), "span", "amount").style.width = `${(100 * probability) / scale}%`;
  make(bar, "span", "percent", percentInWords(probability));
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
    make(group, "span", "token", shownToken(token));
    const own = make(group, "div", "own-bars");
    states.forEach((state, place) => makeBar(own, state, place, rank, scale));
  });
}

// ---- the name of a state, with its pattern and dash ----

function makeSwatch(parent, place, dash) {
  make(make(parent, "span", `sample ${PATTERNS[place]}`), "span", "amount");
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("class", "stroke");
  picture.setAttribute("aria-hidden", "true");
  const stroke = document.createElementNS(SVG, "line");
  const line = { x1: 0, x2: 28, y1: 2, y2: 2, "stroke-dasharray": dash };
  for (const [name, at] of Object.entries(line)) stroke.setAttribute(name, at);
  picture.append(stroke);
  parent.append(picture);
}

function makeName(parent, state, place) {
  const name = make(parent, "div", "name");
  name.style.setProperty("--variant", state.colour);
  makeSwatch(name, place, state.dash);
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
  text.setAttribute("aria-label", `${state.label} writes`);
  make(text, "span", "quiet", shownText(promptEnd));
  make(text, "span", "written", shownText(state.text));
}

// ---- arrival of a value ----

function receive() {
  const value = valueAsObject(props.value);
  const isEmpty = !value?.states?.length;
  empty.hidden = !isEmpty;
  page.hidden = isEmpty;
  empty.textContent = value?.empty || "What comes next will appear here.";
  if (!isEmpty) {
    title.textContent = value.title ?? "";
    title.hidden = !value.title;
    drawBars(value);
    cards.replaceChildren();
    value.states.forEach((state, place) => makeCard(state, place, value.prompt_end));
  }
  countAsPainted();
}

watch("value", receive);
receive();
