// Tables: a heading of columns, and rows with heads of their own. Heads and cells are words, parts, or lists of them.

// The body of a new table. A column with a `kind` is { words, kind }, the kind below the words.
function makeTable(parent, columns, className = "", caption = "") {
  const table = make(parent, "table", className);
  if (caption) make(table, "caption", "", caption);
  const heading = make(make(table, "thead"), "tr");
  for (const column of columns) {
    const { words, kind } = typeof column === "string" ? { words: column } : column;
    const cell = make(heading, words === "" ? "td" : "th", "", words); // above the heads of the rows there may be no words
    if (words !== "") cell.scope = "col";
    if (kind) make(cell, "span", "kind", kind);
  }
  return make(table, "tbody");
}

function makeRow(body, head, cells) {
  const row = make(body, "tr");
  const name = make(row, "th");
  name.scope = "row";
  name.append(...[head].flat());
  for (const cell of cells) make(row, "td").append(...[cell].flat());
  return row;
}

// Scrolls a box with a table to one of its rows, below the heading that stays; the page stays where it is.
function bringIntoBox(box, row) {
  const heading = row.closest("table").tHead.offsetHeight;
  const [top, bottom] = [row.offsetTop - heading, row.offsetTop + row.offsetHeight];
  if (top < box.scrollTop) box.scrollTop = top;
  else if (bottom > box.scrollTop + box.clientHeight) box.scrollTop = bottom - box.clientHeight;
}
