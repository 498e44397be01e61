// The attention mask: which keys a query may read. It mirrors attention_mask in gpt/model/masks.py, which the models
// use: a query at position i may read the key at position j if 0 <= i - j < W, where W is the window; without a
// window any j <= i, and without a causal mask any |i - j| < W.
//
// A rule is { window (or null), causal, length }. The keys allowed are always one unbroken run around the query.

function firstKey({ window }, query) {
  return window === null ? 0 : Math.max(0, query - window + 1);
}

function lastKey({ window, causal, length }, query) {
  if (causal) return query;
  return window === null ? length - 1 : Math.min(length - 1, query + window - 1);
}

// "allowed", or why not: "future" or "window".
function verdict(rule, query, key) {
  if (rule.causal && key > query) return "future";
  return key < firstKey(rule, query) || key > lastKey(rule, query) ? "window" : "allowed";
}

function isNarrow({ window, length }) {
  return window !== null && window < length;
}

// Visits every allowed cell, row by row.
function eachCell(rule, visit) {
  for (let query = 0, at = 0; query < rule.length; query++) {
    const last = lastKey(rule, query);
    for (let key = firstKey(rule, query); key <= last; key++) visit(query, key, at++);
  }
}

// The run of keys that at least one of the rules allows; all runs hold the query, so there is no gap in it.
function runOf(rules, query) {
  const first = Math.min(...rules.map((rule) => firstKey(rule, query)));
  return { first, last: Math.max(...rules.map((rule) => lastKey(rule, query))) };
}

// What no rule allows lies in two corners of the map: keys before the run (side -1) and keys after it (side 1).
// A corner is a triangle with legs of so many cells.
function corners(rules) {
  const { length } = rules[0];
  const windows = [...new Set(rules.map((rule) => rule.window))];
  const outside = windows.length === 1 ? `outside the window of ${windows[0]}` : "outside both windows";
  const found = [];
  if (rules.every(isNarrow)) {
    found.push({ side: -1, kind: "window", name: outside, legs: length - Math.max(...windows) });
  }
  if (rules.every((rule) => rule.causal || isNarrow(rule))) {
    const causal = rules.filter((rule) => rule.causal).length;
    const legs = length - Math.max(...rules.map((rule) => (rule.causal ? 1 : rule.window)));
    const name = causal === rules.length ? "the future" : causal ? "forbidden in both" : outside;
    found.push({ side: 1, kind: causal ? "future" : "window", name, legs });
  }
  return found;
}
