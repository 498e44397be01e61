// All numbers as a table for other programs, with every digit: a row for each vector, and for each key its way to a
// weight.

const CSV_COLUMNS = ["row", "position", "token", "q.k", "scaled", "ALiBi", "score", "weight"];

// Tokens stand in curved quotes, as on the page: none can be taken for a formula.
function asCsv(value) {
  const { position, before, speeds, angles, query, keys, values, output, tokens } = value;
  const twice = (numbers) => [...numbers, ...numbers];
  const nothing = CSV_COLUMNS.slice(3).map(() => "");
  const row = (name, at, vector, way = nothing) => [name, at, `“${shownToken(tokens[at])}”`, ...way, ...vector];
  const way = (at) =>
    ["products", "scaled", "bias", "scores", "weights"].map((name) => (value[name] ? value[name][at] ?? "-inf" : ""));
  const turning = [
    row("query before turning", position, before),
    row("theta", position, twice(speeds ?? [])),
    row("angle", position, twice(angles ?? [])),
  ];
  const rows = [
    [...CSV_COLUMNS, ...query.map((_, index) => index)],
    ...(angles ? turning : []),
    row("query", position, query),
    ...keys.map((vector, at) => row("key", at, vector.map(nineDigits), way(at))),
    ...values.map((vector, at) => row("value", at, vector.map(nineDigits))),
    row("output", position, output),
  ];
  return `${rows.map((cells) => cells.map(csvCell).join(",")).join("\r\n")}\r\n`;
}

// As many as float32 needs to be read back as it was.
function nineDigits(number) {
  return Number(number.toPrecision(9));
}

function csvCell(content) {
  const words = `${content}`;
  return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
}
