// A head's map in words and as a table: what each query reads most.

const MOST_READ = 3; // keys in a row of the table

function describeView(view) {
  view.describe = makeDescription(view.mapPanel, view.map.frame);
  view.table = makeTableFold(view.mapPanel, "What each token reads most", (box) => fillReadingTable(view, box));
}

// The keys that a query may read, [position, weight], those that it reads most first.
function keysOf({ picture, chosen }, query) {
  const bytes = bytesOf(picture, chosen);
  const allowed = Array.from({ length: lastKey(picture, query) - firstKey(picture, query) + 1 }, (_, i) => firstKey(picture, query) + i);
  return allowed.map((key) => [key, weightOf(byteAt(picture, bytes, query, key))]).sort((a, b) => b[1] - a[1]);
}

// The key that each query reads most.
function mostRead({ picture, chosen }) {
  const bytes = bytesOf(picture, chosen);
  const found = Array.from({ length: picture.length }, (_, query) => ({ key: query, byte: -1 }));
  eachCell(picture, (query, key, at) => {
    if (bytes[at] > found[query].byte) found[query] = { key, byte: bytes[at] };
  });
  return found.map(({ key }) => key);
}

function headInWords(view) {
  const { picture, chosen } = view;
  const most = mostRead(view);
  const share = (count) => `${Math.round((100 * count) / picture.length)} %`;
  const count = (isSo) => share(most.filter(isSo).length);
  const itself = count((key, query) => key === query);
  const before = count((key, query) => key === query - 1);
  const first = count((key, query) => key === 0 && query > 1);
  return `${titleInWords(picture, chosen)}, over ${picture.length} tokens. ${itself} of them read themselves most, ` +
    `${before} the token before, and ${first} the first token.`;
}

function fillReadingTable(view, box) {
  const { picture } = view;
  const named = (position) => `${position} “${shownToken(picture.tokens[position])}”`;
  box.replaceChildren();
  const columns = ["token", ...["reads most", "then", "then"].slice(0, MOST_READ)];
  const body = makeTable(box, columns, "", titleInWords(picture, view.chosen));
  for (let query = 0; query < picture.length; query++) {
    const cells = keysOf(view, query).slice(0, MOST_READ).map(([key, weight]) => `${named(key)}, ${weight.toFixed(2)}`);
    makeRow(body, named(query), [...cells, ...Array(MOST_READ - cells.length).fill("–")]);
  }
}
