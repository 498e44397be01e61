// Stacked bars of what models cost, part by part, and the numbers; cost_bars.py describes the value.

const root = element.querySelector(".cost-bars");
const line = make(root, "p", "line");
const page = make(root, "div", "blocks");
const note = make(root, "p", "note");
const empty = make(root, "p", "empty");
line.setAttribute("role", "status");

const whole = (number) => number.toLocaleString("en-US");
const sum = (numbers) => Object.values(numbers).reduce((total, number) => total + number, 0);
const share = (number, total) => `${((100 * number) / total).toFixed(total && number / total < 0.0995 ? 1 : 0)} %`;
const shortCount = (number) => (number >= 1e6 ? `${(number / 1e6).toPrecision(3)} M` : `${(number / 1e3).toPrecision(3)} k`);

let pointed = null; // "block part" under the pointer or the focus: the same part lights up in every bar

// ---- one block ----

function makeLegend(parent, parts) {
  const legend = make(parent, "div", "legend");
  for (const { name, pattern } of parts) {
    const item = make(legend, "span", "item");
    make(item, "span", `key ${pattern}`);
    make(item, "span", "", name);
  }
}

function makeBar(parent, block, model, most) {
  const total = sum(model.computed);
  const row = make(parent, "div", "row");
  const name = make(row, "div", "name");
  make(name, "span", "chip").style.background = model.colour;
  make(name, "span", "", model.label);
  const track = make(row, "div", "track");
  const bar = make(track, "div", "bar");
  bar.style.width = `${(100 * total) / most}%`;
  for (const { name: part, pattern } of block.parts) {
    if (!model.computed[part]) continue;
    const segment = make(bar, "div", `segment ${pattern}`);
    segment.style.flexGrow = model.computed[part];
    segment.dataset.part = part;
    segment.dataset.words = `${model.label}, ${part}: ${whole(model.computed[part])} computed, ${share(model.computed[part], total)} of ${whole(total)}.`;
  }
  bar.tabIndex = 0;
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", [...bar.children].map((one) => one.dataset.words).join(" "));
  make(row, "div", "total", shortCount(total));
}

function makeCell(row, computed, counted) {
  const cell = make(row, "td");
  make(cell, "div", "", whole(computed));
  if (counted === null) return;
  const isEqual = counted === computed;
  make(cell, "div", isEqual ? "counted" : "counted unequal", `${isEqual ? "=" : "≠"} ${whole(counted)}`);
}

function makeTable(parent, block) {
  const box = make(parent, "div", "box");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", `${block.title} in numbers`);
  const table = make(box, "table");
  const heading = make(make(table, "thead"), "tr");
  make(heading, "th", "", "part").scope = "col";
  for (const { label, counted } of block.models) {
    const cell = make(heading, "th", "", label);
    cell.scope = "col";
    make(cell, "span", "kind", counted ? "computed = counted" : "computed");
  }
  const body = make(table, "tbody");
  for (const { name } of block.parts) {
    const row = make(body, "tr");
    row.dataset.part = name;
    make(row, "th", "", name).scope = "row";
    for (const { computed, counted } of block.models) makeCell(row, computed[name], counted ? counted[name] : null);
  }
  const all = make(body, "tr", "all");
  make(all, "th", "", "all").scope = "row";
  for (const { computed, counted } of block.models) makeCell(all, sum(computed), counted ? sum(counted) : null);
}

function makeBlock(block) {
  const part = make(page, "section", "block");
  make(part, "h3", "", block.title);
  make(part, "p", "about", block.note);
  makeLegend(part, block.parts);
  const bars = make(part, "div", "bars");
  const most = Math.max(...block.models.map(({ computed }) => sum(computed)));
  for (const model of block.models) makeBar(bars, block, model, most);
  makeTable(part, block);
}

// ---- pointing ----

function light(part) {
  if (pointed === part) return;
  pointed = part;
  root.classList.toggle("pointing", part !== null);
  for (const one of root.querySelectorAll("[data-part]")) one.classList.toggle("lit", one.dataset.part === part);
}

function point(event) {
  const segment = event.target.closest("[data-part]");
  light(segment?.dataset.part ?? null);
  if (segment?.dataset.words) line.textContent = segment.dataset.words;
}

function letGo() {
  light(null);
  line.textContent = "Point at a piece of a bar to read it; with the keyboard, arrows go through the bar that has the focus.";
}

function move(event) {
  if (event.key === "Escape") return letGo();
  const direction = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const bar = event.target.closest(".bar");
  if (!direction || !bar) return;
  event.preventDefault();
  const pieces = [...bar.children];
  const at = pieces.findIndex((piece) => piece.dataset.part === pointed);
  const piece = pieces[at < 0 ? 0 : clamp(at + direction, pieces.length)];
  light(piece.dataset.part);
  line.textContent = piece.dataset.words;
}

// ---- arrival of a value ----

function receive() {
  const value = valueAsObject(props.value);
  const blocks = value?.blocks ?? [];
  pointed = null;
  page.replaceChildren();
  empty.hidden = blocks.length > 0;
  line.hidden = !blocks.length;
  empty.textContent = value?.empty || "What each part costs will appear here.";
  note.textContent = value?.note ?? "";
  blocks.forEach(makeBlock);
  letGo();
  countAsPainted();
}

page.addEventListener("pointerover", point);
page.addEventListener("pointerleave", letGo);
page.addEventListener("keydown", move);
watch("value", receive);
receive();
