// Stacked bars of what models cost, part by part, and the numbers; cost_bars.py describes the value.

const root = element.querySelector(".cost-bars");
const line = make(root, "p", "line");
const page = make(root, "div", "blocks");
const note = make(root, "p", "note");
const empty = make(root, "p", "empty");
line.setAttribute("role", "status");

const total = (parts) => sum(Object.values(parts));
const share = (number, all) => `${((100 * number) / all).toFixed(all && number / all < 0.0995 ? 1 : 0)} %`;
const shortCount = (number) => (number >= 1e6 ? `${(number / 1e6).toPrecision(3)} M` : `${(number / 1e3).toPrecision(3)} k`);

let pointed = null; // "block part" under the pointer or the focus: the same part lights up in every bar

// ---- one block ----

function makeLegend(parent, parts) {
  const legend = make(parent, "div", "legend");
  for (const { name, pattern } of parts) makeLegendItem(legend, `key ${pattern}`, name);
}

function makeBar(parent, block, model, most) {
  const all = total(model.computed);
  const row = make(parent, "div", "row");
  const name = make(row, "div", "name");
  make(name, "span", "chip").style.background = model.colour;
  make(name, "span", "", model.label);
  const track = make(row, "div", "track");
  const bar = make(track, "div", "bar");
  bar.style.width = `${(100 * all) / most}%`;
  for (const { name: part, pattern } of block.parts) {
    if (!model.computed[part]) continue;
    const segment = make(bar, "div", `segment ${pattern}`);
    segment.style.flexGrow = model.computed[part];
    segment.dataset.part = part;
    segment.dataset.words = `${model.label}, ${part}: ${grouped(model.computed[part])} computed, ${share(model.computed[part], all)} of ${grouped(all)}.`;
  }
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", [...bar.children].map((one) => one.dataset.words).join(" "));
  make(row, "div", "total", shortCount(all));
}

function cellOf(computed, counted) {
  const lines = [node("div", "", grouped(computed))];
  if (counted === null) return lines;
  const isEqual = counted === computed;
  return [...lines, node("div", isEqual ? "counted" : "counted unequal", `${isEqual ? "=" : "≠"} ${grouped(counted)}`)];
}

function makeNumbers(parent, block) {
  const box = makeScrollBox(parent, `${block.title} in numbers`);
  const kindOf = ({ counted }) => (counted ? "computed = counted" : "computed");
  const columns = block.models.map((model) => ({ words: model.label, kind: kindOf(model) }));
  const body = makeTable(box, ["part", ...columns]);
  for (const { name } of block.parts) {
    const cells = block.models.map(({ computed, counted }) => cellOf(computed[name], counted ? counted[name] : null));
    makeRow(body, name, cells).dataset.part = name;
  }
  const sums = block.models.map(({ computed, counted }) => cellOf(total(computed), counted ? total(counted) : null));
  makeRow(body, "all", sums).className = "all";
}

function makeBlock(block) {
  const part = make(page, "section", "block");
  make(part, "h3", "", block.title);
  make(part, "p", "about", block.note);
  makeLegend(part, block.parts);
  const bars = make(part, "div", "bars");
  const most = Math.max(...block.models.map(({ computed }) => total(computed)));
  for (const model of block.models) makeBar(bars, block, model, most);
  stopAt(bars, bars.querySelector(".bar"));
  makeNumbers(part, block);
}

// ---- pointing ----

// The bars of a block are one stop of the Tab key.
function stopAt(bars, bar) {
  stopTabAt([...bars.querySelectorAll(".bar")], bar);
}

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
  line.textContent = "Point at a piece of a bar to read it; with the keyboard, arrows go from piece to piece and from bar to bar.";
}

function move(event) {
  if (event.key === "Escape") return letGo();
  const arrow = arrowOf(event);
  const bar = event.target.closest(".bar");
  if (!arrow || !bar) return;
  event.preventDefault();
  const [down, right] = arrow;
  const bars = bar.closest(".bars");
  const all = [...bars.querySelectorAll(".bar")];
  const next = all[clamp(all.indexOf(bar) + down, all.length)];
  stopAt(bars, next);
  next.focus();
  const pieces = [...next.children];
  const at = pieces.findIndex((piece) => piece.dataset.part === pointed);
  const piece = pieces[at < 0 ? 0 : clamp(at + right, pieces.length)];
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
