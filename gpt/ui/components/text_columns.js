// Texts side by side. `props.value` is what text_columns.py documents.
// Columns are kept between updates, so that a reader's selection and scroll position survive the next character.

const root = element.querySelector(".text-columns");
let columns = []; // the parts of each column on the page

function makeColumn() {
  const column = node("section", "card column");
  const heading = make(column, "h3");
  const swatch = dashSwatch();
  heading.append(swatch);
  const label = make(heading, "span", "label");
  make(heading, "span", "pen", "writing…").setAttribute("aria-hidden", "true"); // the status says it
  const note = make(column, "p", "note");
  const paper = make(column, "div", "paper");
  paper.tabIndex = 0; // so that a long text can be scrolled with the keyboard
  paper.setAttribute("role", "group");
  const prompt = make(paper, "span", "prompt");
  const text = make(paper, "span", "text");
  signMore(paper);
  const facts = make(column, "dl", "facts");
  return { column, swatch, label, note, paper, prompt, text, facts };
}

function fillColumn(parts, data) {
  parts.column.classList.toggle("done", Boolean(data.is_done));
  parts.column.style.setProperty("--variant", data.colour);
  parts.swatch.firstChild.setAttribute("stroke-dasharray", data.dash || "none");
  setText(parts.label, data.label);
  setText(parts.note, data.note);
  setText(parts.prompt, data.prompt);
  const wasAtEnd = parts.paper.scrollHeight - parts.paper.scrollTop - parts.paper.clientHeight < 40;
  if (data.text.startsWith(parts.text.textContent)) {
    const more = data.text.slice(parts.text.textContent.length);
    if (more) parts.text.append(more);
  } else {
    parts.text.textContent = data.text;
  }
  if (wasAtEnd) parts.paper.scrollTop = parts.paper.scrollHeight;
  parts.paper.setAttribute("aria-label", `what ${data.label} writes`);
  fillFacts(parts.facts, data.facts);
}

function fillFacts(list, facts) {
  while (list.children.length > 2 * facts.length) list.lastChild.remove();
  while (list.children.length < 2 * facts.length) list.append(node("dt"), node("dd"));
  facts.forEach(([name, value], index) => {
    setText(list.children[2 * index], name);
    setText(list.children[2 * index + 1], value);
  });
}

// ---- to take away: the texts as they stand, as words, data or a picture ----

function asText(value) {
  const part = ({ label, note, prompt, text, facts }) => {
    const lines = facts.map(([name, fact]) => `${name}: ${fact}`);
    return [`${label} (${note})`, "", prompt + text, "", ...lines].join("\n");
  };
  return value.columns.map(part).join("\n\n----\n\n");
}

function asJson(value) {
  const plain = ({ label, note, prompt, text, facts }) => ({ label, note, prompt, text, facts: Object.fromEntries(facts) });
  return JSON.stringify(value.columns.map(plain), null, 2);
}

// Words broken into lines of at most so many characters, as the page breaks them: anywhere, if need be.
function wrapped(text, most) {
  return text.split("\n").flatMap((line) => line.match(new RegExp(`.{1,${most}}`, "gsu")) || [""]);
}

function asPicture(value) {
  const [width, padding, lineHeight, characters] = [440, 24, 20, 48];
  const bodies = value.columns.map(({ prompt, text }) => wrapped(prompt + text, characters));
  const picture = document.createElement("canvas");
  const scale = 2; // sharp on a slide
  const height = 2 * padding + (4 + Math.max(...bodies.map((lines) => lines.length))) * lineHeight;
  picture.width = scale * (width * bodies.length + padding);
  picture.height = scale * height;
  const pen = picture.getContext("2d");
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  pen.scale(scale, scale);
  pen.fillStyle = colour("--panel");
  pen.fillRect(0, 0, picture.width, picture.height);
  value.columns.forEach(({ label, note }, index) => {
    const left = padding + index * width;
    const swatch = getComputedStyle(columns[index].column).borderTopColor;
    const write = (words, row, font, fill) => {
      pen.font = font;
      pen.fillStyle = fill;
      pen.fillText(words, left, padding + (row + 1) * lineHeight, width - padding);
    };
    pen.fillStyle = swatch;
    pen.fillRect(left, padding - 8, width - padding, 3);
    write(label, 0, "600 15px sans-serif", colour("--ink"));
    write(note, 1, "13px sans-serif", colour("--quiet"));
    bodies[index].forEach((line, row) => write(line, row + 3, "14px monospace", colour("--ink")));
  });
  return picture;
}

// ---- whether they are being written ----

make(element, "h2", "unseen", "What they write");
const progress = make(element, "p", "progress");
progress.setAttribute("role", "status");
root.before(...element.querySelectorAll("h2, .progress"));
let stopped = 0; // the writing that the reader has stopped: what came of it last still says that it goes on

function drawProgress({ status = "", writing = 0 }) {
  const isStopped = writing !== 0 && writing === stopped;
  setText(progress, isStopped ? "Stopped." : status);
  root.setAttribute("aria-busy", writing !== 0 && !isStopped);
}

document.addEventListener("gpt-lab:stop-writing", () => {
  stopped = props.value?.writing ?? 0;
  draw();
});

const takeAway = make(element, "div", "take-away");
for (const [words, act] of [
  ["Copy text", (button) => copyWords(button, asText(props.value))],
  ["Save as JSON", () => saveFile("compare.json", new Blob([asJson(props.value)], { type: "application/json" }))],
  ["Save as picture", () => asPicture(props.value).toBlob((blob) => saveFile("compare.png", blob))],
]) {
  const button = makeSwitch(takeAway, words, () => act(button));
}

// ---- drawing ----

function draw() {
  const value = props.value || { columns: [], empty: "" };
  takeAway.hidden = value.columns.length === 0;
  drawProgress(value);
  root.classList.toggle("many", value.columns.length > 3);
  if (value.columns.length === 0) {
    columns = [];
    root.replaceChildren(node("p", "empty", value.empty));
    return;
  }
  if (columns.length !== value.columns.length) {
    columns = value.columns.map(makeColumn);
    root.replaceChildren(...columns.map((parts) => parts.column));
  }
  value.columns.forEach((data, index) => fillColumn(columns[index], data));
}

draw();
watch("value", draw);
