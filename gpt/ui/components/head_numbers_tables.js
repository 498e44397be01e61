// The tables of one head in numbers: the query and a key number by number, all keys, and what is read of them.

const NO_UNIT = "no unit";

function threeDigits(number) {
  return number === null ? "−∞" : significant(number, 3);
}

function figures(numbers) {
  return numbers.map(threeDigits);
}

// ---- number by number: a column for each number of the head ----

function buildVectors(box, rows, kindOf = () => "") {
  const columns = state.value.query.map((_, index) => ({ words: `${index}`, kind: kindOf(index) }));
  const scrolled = box.scrollLeft;
  box.replaceChildren();
  const made = makeTable(box, ["number", ...columns], "vectors");
  for (const { name, kind, numbers, look = "" } of rows) {
    const row = makeRow(made, [name, node("span", "kind", kind)], figures(numbers));
    row.className = look;
  }
  box.scrollLeft = scrolled;
}

function buildQuery(value, key) {
  const { before, query, speeds, angles, keys, products, position } = value;
  const turned = angles !== null;
  const twice = (numbers) => [...numbers, ...numbers];
  const mine = [
    { name: "before", kind: `the query as projected; ${NO_UNIT}`, numbers: before },
    { name: "θ", kind: "speed; radians a token", numbers: twice(speeds ?? []) },
    { name: "angle", kind: `${position} × θ; radians`, numbers: twice(angles ?? []) },
  ];
  const after = `the query ${turned ? "after turning" : "as projected"}; ${NO_UNIT}`;
  const named = `key ${key} ${tokenInWords(key)}`;
  const rows = [
    ...(turned ? mine : []),
    { name: "q", kind: after, numbers: query, look: "main" },
    { name: "k", kind: `${named}${turned ? `, turned by ${key} × θ` : ""}; ${NO_UNIT}`, numbers: keys[key] },
    { name: "q × k", kind: `their products; ${NO_UNIT}`, numbers: query.map((one, i) => one * keys[key][i]) },
  ];
  buildVectors(queryBox, rows, (index) => (turned ? `pair ${index % angles.length}` : ""));
  setText(
    queryPart.note,
    "The token’s vector, normalised and multiplied by the head’s query weights. Beside it a key, made with the key " +
      `weights: the products with ${named} add up to q · k = ${threeDigits(products[key])}. Press a key below to ` +
      "see another.",
  );
}

function buildOutput(value, key) {
  const { weights, values, output } = value;
  const weight = weights[key];
  const weighted = values[key].map((one) => weight * one);
  buildVectors(outputBox, [
    { name: "v", kind: `value of key ${key} ${tokenInWords(key)}; ${NO_UNIT}`, numbers: values[key] },
    { name: "w × v", kind: `times its weight, ${threeDigits(weight)}; ${NO_UNIT}`, numbers: weighted },
    { name: "output", kind: `w × v of all keys, added up; ${NO_UNIT}`, numbers: output, look: "main" },
  ]);
  setText(
    outputPart.note,
    "Each key has a value, made with the value weights. Every value times its key’s weight, added up, are the " +
      `${output.length} numbers that this head gives on. The output projection mixes them with those of other heads.`,
  );
}

// ---- every key ----

function keyColumns({ bias, query }) {
  const width = query.length;
  const added = { words: "+ ALiBi", kind: `minus the head’s slope × distance; ${NO_UNIT}` };
  return [
    { words: "key", kind: "position and token" },
    { words: "q · k", kind: `products, added up; ${NO_UNIT}` },
    { words: `÷ √${width}`, kind: `divided by ${threeDigits(Math.sqrt(width))}; ${NO_UNIT}` },
    ...(bias ? [added] : []),
    { words: "masked", kind: `the score; −∞ where it may not look; ${NO_UNIT}` },
    { words: "softmax", kind: "e^score ÷ the sum of all: the weight w; share of 1" },
  ];
}

function buildKeys(value) {
  const { tokens, products, scaled, bias, weights, forbidden } = value;
  const hadFocus = keysBox.contains(document.activeElement);
  const scrolled = keysBox.scrollLeft;
  keysBox.replaceChildren();
  const made = makeTable(keysBox, keyColumns(value));
  const largest = Math.max(...weights);
  tokens.forEach((token, position) => {
    const cells = [products, scaled, ...(bias ? [bias] : [])].map((numbers) => threeDigits(numbers[position]));
    cells.push(scoreCell(value, position), weightCell(weights[position], largest));
    const row = makeRow(made, keyName(value, position), cells);
    row.dataset.position = position;
    if (forbidden[position]) row.classList.add("forbidden");
    if (position === value.position) row.classList.add("itself");
  });
  keysBox.scrollLeft = scrolled;
  if (hadFocus) keysBox.focus({ preventScroll: true });
  setText(keysPart.note, keysInWords(value));
  buildLegend(value);
}

function keyName({ tokens, position: query }, position) {
  const button = node("button", "choose");
  button.type = "button";
  make(button, "span", "position", `${position}`);
  make(button, "span", "character", shortToken(tokens[position]));
  if (position === query) make(button, "span", "kind", "itself");
  return button;
}

function scoreCell({ forbidden, scores }, position) {
  const words = node("span", "score", threeDigits(scores[position]));
  if (!forbidden[position]) return words;
  const why = forbidden[position] === "future" ? "the future" : "outside the window";
  const cell = node("span", `hatched swatch-${forbidden[position]}`);
  words.textContent += `, ${why}`;
  cell.append(words);
  return cell;
}

function weightCell(weight, largest) {
  const track = node("div", "track");
  make(track, "span", "amount").style.width = `${(100 * weight) / largest}%`;
  return [node("span", "", threeDigits(weight)), track];
}

function keysInWords({ forbidden, weights, position }) {
  const allowed = forbidden.filter((cause) => !cause).length;
  const count = `Token ${position} may look at ${allowed} of ${forbidden.length} keys`;
  const total = threeDigits(sum(weights));
  return `${count}; their weights add up to ${total}. Press a key to see its numbers above and below.`;
}

function buildLegend({ forbidden }) {
  legend.replaceChildren();
  const item = (cause, words) => forbidden.includes(cause) && makeLegendItem(legend, `swatch swatch-${cause}`, words);
  item("future", "forbidden: the future");
  item("window", "forbidden: outside the window");
}

// ---- choosing a key ----

function keyRows() {
  return [...keysBox.querySelectorAll("tbody tr")];
}

function markKey(position) {
  const rows = keyRows();
  rows.forEach((row, at) => {
    if (at === position) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  });
  stopTabAt(rows.map(chooserOf), chooserOf(rows[position]));
  bringIntoBox(keysBox, rows[position]);
}

// So that what is forbidden around it can be seen.
function centreKey(position) {
  keysBox.scrollTop = keyRows()[position].offsetTop - keysBox.clientHeight / 2;
}

function chooserOf(row) {
  return row.querySelector("button");
}

function moveKey(event) {
  const down = arrowOf(event)?.[0];
  const from = event.target.closest("tr");
  if (!down || !from) return;
  event.preventDefault();
  const next = clamp(Number(from.dataset.position) + down, state.value.tokens.length);
  chooseKey(next);
  chooserOf(keyRows()[next]).focus({ preventScroll: true });
}

function pressKeyRow(event) {
  const row = event.target.closest("tbody tr");
  if (row) chooseKey(Number(row.dataset.position));
}
