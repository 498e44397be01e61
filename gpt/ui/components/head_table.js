// A table of every head's numbers; head_table.py describes the value. The order and the marked head are the page's
// own: they outlive new values. The head is shared with the attention map through two events of the document.

const root = element.querySelector(".head-table");
const MARKS = { ascending: "▴", descending: "▾", none: "" };

// `sortedBy` is a column's key, or null for the model's own order; `marked` is a head as "layer,head".
const state = { value: null, sortedBy: null, direction: "ascending", marked: null };
let heading = ""; // the columns that the heading was built for
let headings = []; // one { key, cell, arrow } for each column, the heads' first

// ---- words ----

function headInWords({ layer, head, kv }) {
  return `Layer ${layer + 1}, head ${head + 1}${kv === null ? "" : `, reads KV ${kv}`}`;
}

function cellInWords(row, { key, name, unit }) {
  const number = row.values[key];
  if (number === null) return `${headInWords(row)}: ${name} cannot be measured on this text.`;
  const [error, even] = [row.errors[key], row.even[key]];
  const measured = `${withError(number, error)}${unit ? ` ${unit}` : ""}`;
  const sentence = `${headInWords(row)}: ${name} ${measured}`;
  if (!Number.isFinite(even)) return `${sentence}.`;
  return `${sentence}; evenly spread attention would get ${plainNumber(even, decimalsAllowedBy(error))}.`;
}

// ---- the page's parts, made once ----

const page = make(root, "div", "page");
const empty = make(root, "p", "empty");
const title = make(page, "div", "variant-name");
const note = make(page, "p", "note");
const box = make(page, "div", "box");
const table = make(box, "table");
const tableHead = make(table, "thead");
const tableBody = make(table, "tbody");
const line = make(page, "p", "line");
const legend = make(page, "div", "legend");
box.setAttribute("role", "region");
box.setAttribute("aria-label", "All heads; arrow keys move from head to head");
line.setAttribute("role", "status");

function makeLegend() {
  const bar = makeLegendItem(legend, "track", "from 0 to the largest number of the column");
  make(bar, "span", "amount").style.width = "70%";
  const tick = makeLegendItem(legend, "track", "what attention spread evenly over all allowed keys would get");
  make(tick, "span", "even").style.left = "50%";
}

// ---- the heading: a button and a definition for each column ----

function makeHeading(row, { key, name, unit, definition }) {
  const cell = make(row, "th", key === null ? "head-cell" : "");
  cell.scope = "col";
  const button = makeButton(cell, "", () => sortBy(key), "sort");
  button.dataset.key = key ?? "";
  const words = make(button, "span", "", name);
  if (unit) make(words, "span", "unit", `, ${unit}`);
  const arrow = make(button, "span", "arrow");
  arrow.setAttribute("aria-hidden", "true");
  make(cell, "div", "definition", definition);
  return { key, cell, arrow };
}

function buildHeading(columns) {
  if (heading === JSON.stringify(columns)) return;
  heading = JSON.stringify(columns);
  tableHead.replaceChildren();
  const row = make(tableHead, "tr");
  const heads = { key: null, name: "head", definition: "in the model’s order" };
  headings = [heads, ...columns].map((column) => makeHeading(row, column));
  const isStillThere = columns.some(({ key }) => key === state.sortedBy);
  if (!isStillThere) Object.assign(state, { sortedBy: null, direction: "ascending" });
}

// ---- the rows ----

function scaleOf(rows, key) {
  const numbers = rows.flatMap((row) => [row.values[key], row.even[key]]).filter(Number.isFinite);
  const [least, most] = [Math.min(0, ...numbers), Math.max(0, ...numbers)];
  return (number) => (most > least ? (100 * (number - least)) / (most - least) : 0);
}

function digitsBeforePoint({ values, errors }, key) {
  return plainNumber(values[key], decimalsAllowedBy(errors[key])).split(".")[0].length;
}

function barOf(number, even, percentOf) {
  const track = node("div", "track");
  const [from, to] = [percentOf(0), percentOf(number)].sort((a, b) => a - b);
  Object.assign(make(track, "span", "amount").style, { left: `${from}%`, width: `${to - from}%` });
  if (Number.isFinite(even)) make(track, "span", "even").style.left = `${percentOf(even)}%`;
  return track;
}

// `digits` is the most that any number of the column has before its point; others are moved, so that points align.
function cellOf(row, { key }, { percentOf, digits }) {
  const [number, error] = [row.values[key], row.errors[key]];
  if (number === null) return node("div", "missing", "–");
  const words = node("div", "number", withError(number, error));
  words.style.paddingLeft = `${digits - digitsBeforePoint(row, key)}ch`;
  return [words, barOf(number, row.even[key], percentOf)];
}

function addHead(row, columns, scales) {
  const button = node("button", "choose");
  button.type = "button";
  make(button, "span", "", `layer ${row.layer + 1}, `);
  const head = make(button, "span", "", `head ${row.head + 1}`);
  if (row.kv !== null) make(head, "span", "kv", `, KV ${row.kv}`);
  const tableRow = makeRow(tableBody, button, columns.map((column) => cellOf(row, column, scales[column.key])));
  const [name, ...cells] = tableRow.children;
  tableRow.dataset.head = `${row.layer},${row.head}`;
  name.className = "head-cell";
  cells.forEach((cell, index) => (cell.dataset.key = columns[index].key));
}

function buildRows({ rows, columns }) {
  const focused = tableBody.contains(document.activeElement) ? document.activeElement.closest("tr").dataset.head : null;
  const scales = {};
  for (const { key } of columns) {
    const measured = rows.filter((row) => row.values[key] !== null);
    const digits = Math.max(0, ...measured.map((row) => digitsBeforePoint(row, key)));
    scales[key] = { percentOf: scaleOf(rows, key), digits };
  }
  tableBody.replaceChildren();
  sortedRows().forEach((row) => addHead(row, columns, scales));
  paintMark();
  if (focused) buttonOf(rowOf(focused))?.focus({ preventScroll: true });
}

// ---- the order ----

// Numbers that are missing come last in both directions.
function sortedRows() {
  const { sortedBy: key, direction } = state;
  const sign = direction === "ascending" ? 1 : -1;
  const inOrder = (a, b) => a.layer - b.layer || a.head - b.head;
  return [...state.value.rows].sort((a, b) => {
    if (key === null) return sign * inOrder(a, b);
    const [left, right] = [a.values[key], b.values[key]];
    if (left === null || right === null) return (left === null) - (right === null) || inOrder(a, b);
    return sign * (left - right) || inOrder(a, b);
  });
}

// The first press puts what is most interesting on top: the largest numbers, but the first heads.
function sortBy(key) {
  const first = key === null ? "ascending" : "descending";
  const other = key === null ? "descending" : "ascending";
  state.direction = state.sortedBy === key && state.direction === first ? other : first;
  state.sortedBy = key;
  paintOrder();
  tableBody.append(...sortedRows().map((row) => rowOf(`${row.layer},${row.head}`)));
  box.scrollTop = 0;
  paintMark();
}

function paintOrder() {
  for (const { key, cell, arrow } of headings) {
    const direction = key === state.sortedBy ? state.direction : "none";
    cell.setAttribute("aria-sort", direction);
    arrow.textContent = MARKS[direction];
  }
}

// ---- the marked head ----

function rowOf(head) {
  return tableBody.querySelector(`tr[data-head="${head}"]`);
}

function buttonOf(tableRow) {
  return tableRow?.querySelector("button");
}

// One row is a stop of the Tab key: the marked one, or the first.
function paintMark() {
  const stop = rowOf(state.marked) ?? tableBody.firstElementChild;
  for (const tableRow of tableBody.children) {
    const isMarked = tableRow.dataset.head === state.marked;
    if (isMarked) tableRow.setAttribute("aria-current", "true");
    else tableRow.removeAttribute("aria-current");
  }
  stopTabAt([...tableBody.children].map(buttonOf), buttonOf(stop));
}

function mark(layer, head) {
  state.marked = `${layer},${head}`;
  if (!state.value) return;
  paintMark();
  const tableRow = rowOf(state.marked);
  if (tableRow) bringIntoBox(box, tableRow);
}

function choose(tableRow) {
  const [layer, head] = tableRow.dataset.head.split(",").map(Number);
  mark(layer, head);
  document.dispatchEvent(new CustomEvent("gpt-lab:choose-head", { detail: { layer, head } }));
}

// ---- pointing and moving ----

function point(event) {
  const cell = event.target.closest("td, th");
  const row = state.value.rows.find(({ layer, head }) => `${layer},${head}` === cell?.parentNode.dataset.head);
  if (!row) return;
  const column = state.value.columns.find(({ key }) => key === cell.dataset.key);
  line.textContent = column ? cellInWords(row, column) : `${headInWords(row)}.`;
}

function letGo() {
  line.textContent = "Point at a number to read it in full; press a row to see that head in the map.";
}

function moveFocus(event) {
  const down = arrowOf(event)?.[0];
  const from = event.target.closest("tr");
  if (!down || !from) return;
  event.preventDefault();
  const next = down > 0 ? from.nextElementSibling : from.previousElementSibling;
  if (!next) return;
  bringIntoBox(box, next);
  buttonOf(next).focus({ preventScroll: true });
}

// ---- arrival of a value ----

function show(value) {
  state.value = value;
  root.style.setProperty("--variant", value.colour);
  title.textContent = value.label;
  note.textContent = value.note ?? "";
  buildHeading(value.columns);
  paintOrder();
  buildRows(value);
  letGo();
}

makeLegend();
tableBody.addEventListener("click", (event) => choose(event.target.closest("tr")));
tableBody.addEventListener("pointerover", point);
tableBody.addEventListener("pointerleave", letGo);
tableBody.addEventListener("focusin", point);
tableBody.addEventListener("keydown", moveFocus);
document.addEventListener("gpt-lab:head", ({ detail }) => mark(detail.layer, detail.head));
showValues({
  page,
  empty,
  invitation: "The numbers of every head will appear here.",
  holdsSomething: ({ rows }) => rows?.length,
  show,
  forget: () => (state.value = null),
});
