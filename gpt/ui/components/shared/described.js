// A drawing in words and as a table: for those who do not see it, and for those who want its numbers.

// Words that belong to a drawing and go with its name. Returns the function that writes them.
function makeDescription(parent, drawing) {
  const words = make(parent, "p", "unseen");
  words.id = `in-words-${Math.random().toString(36).slice(2)}`;
  drawing.setAttribute("aria-describedby", words.id);
  return (sentences) => setText(words, sentences);
}

// A fold with a table, which `fill(box)` writes when the fold opens, and at each `refresh()` while it is open.
function makeTableFold(parent, name, fill) {
  const fold = make(parent, "details", "as-table");
  make(fold, "summary", "", "Show as table");
  const box = makeScrollBox(fold, `${name} as a table`);
  const refresh = () => fold.open && fill(box);
  fold.addEventListener("toggle", refresh);
  return { fold, box, refresh };
}

// "gpt2: validation loss falls from 4.21 to 1.88 in 300 steps." Points are [x, y], in order; those without a height are
// left out. `along` says how far it is from one x to another.
function courseInWords(label, what, points, write, along) {
  const known = points.filter(([, y]) => y !== null && Number.isFinite(y));
  if (!known.length) return "";
  const [[from, first], [to, end]] = [known[0], known.at(-1)];
  if (known.length === 1) return `${label}: ${what} ${write(end)}.`;
  if (write(first) === write(end)) return `${label}: ${what} begins and ends at ${write(end)}, ${along(from, to)}.`;
  const verb = end < first ? "falls" : "rises";
  return `${label}: ${what} ${verb} from ${write(first)} to ${write(end)} ${along(from, to)}.`;
}

// "rotary ends lowest, at 1.86.": of curves { label, points }, where all have come equally far.
function lowestInWords(curves, write) {
  const ends = curves.map(({ label, points }) => {
    const [x, y] = points.findLast(([, height]) => height !== null && Number.isFinite(height)) ?? [];
    return { label, x, y };
  });
  if (ends.length < 2 || ends.some(({ x }) => x === undefined || x !== ends[0].x)) return "";
  const least = write(Math.min(...ends.map(({ y }) => y)));
  const those = ends.filter(({ y }) => write(y) === least).map(({ label }) => label);
  return those.length === ends.length ? `All end at ${least}.` : `${listInWords(those)} ${those.length > 1 ? "end" : "ends"} lowest, at ${least}.`;
}
