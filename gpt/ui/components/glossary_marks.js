// Marks words of the glossary in what the page says, wherever and whenever it is drawn.

// What explains things. Nothing in here is written by models or users.
const EXPLANATIONS = [
  ".info-text, [data-testid=block-info], .checkbox-container .label-text, .section p",
  ".drawn :is(.explanation, .method, .definition, .rule, .loss, .about)",
  ".costs thead th, .totals thead th, .facts dt",
].join();
const UNTOUCHED = "button, a, input, textarea, select, pre, code, svg, [role=application], .glossary-mark";

// From any form of a word, in small letters, to the word; and an expression that finds the longest form at a place.
function formsOf({ groups, others }) {
  const words = new Map(others.map((phrase) => [phrase.toLowerCase(), null]));
  for (const word of groups.flatMap((group) => group.words)) {
    for (const form of word.forms) words.set(form.toLowerCase(), word);
  }
  const longestFirst = [...words.keys()].sort((one, other) => other.length - one.length);
  const escaped = longestFirst.map((form) => form.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const border = "[\\p{L}\\p{N}_\\-]";
  return { words, pattern: new RegExp(`(?<!${border})(?:${escaped.join("|")})(?!${border})`, "giu") };
}

// Explanations that were marked: what they said, and for each text that was cut, {text, whole, head, added}.
const marked = new Map();

// The texts stay where they are, cut to what stands before the first mark: they belong to whoever wrote them.
function unmark(part) {
  for (const { text, whole, head, added } of marked.get(part)?.cuts ?? []) {
    if (text.data === head) text.data = whole;
    for (const piece of added) piece.remove();
  }
  marked.delete(part);
}

function mark(part, { words, pattern }, taken, describe) {
  const cuts = [];
  const texts = [];
  const walker = document.createTreeWalker(part, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    const parent = text.parentElement;
    if (parent.closest(UNTOUCHED) || /flex|grid/.test(getComputedStyle(parent).display)) continue;
    const whole = text.data;
    const found = [...whole.matchAll(pattern)].filter(({ 0: form }) => {
      const word = words.get(form.toLowerCase());
      return word && !taken.has(word.name) && taken.add(word.name);
    });
    if (!found.length) continue;
    const added = found.flatMap(({ 0: form, index }, place) => {
      const made = node("span", "glossary-mark", form);
      describe(made, words.get(form.toLowerCase()));
      const rest = whole.slice(index + form.length, found[place + 1]?.index);
      return rest ? [made, document.createTextNode(rest)] : [made];
    });
    text.data = whole.slice(0, found[0].index);
    text.after(...added);
    cuts.push({ text, whole, head: text.data, added });
  }
  marked.set(part, { said: part.textContent, cuts });
}

// Marks what is new or says something else now, and tells whether anything was. A block is a control or a component:
// each word once in it.
function markAll(forms, describe) {
  for (const part of marked.keys()) if (!part.isConnected) marked.delete(part);
  const parts = [...document.querySelectorAll(EXPLANATIONS)];
  const changed = parts.filter((part) => marked.get(part)?.said !== part.textContent);
  changed.forEach(unmark);
  for (const part of changed) {
    const block = part.closest(".block") ?? part;
    const named = [...block.querySelectorAll(".glossary-mark")].map((one) => one.dataset.word);
    mark(part, forms, new Set(named), describe);
  }
  return changed.length > 0;
}

// Few stops for the Tab key: in each tab the first mark of each word that can be seen.
function placeStops() {
  const taken = new Map();
  for (const one of document.querySelectorAll(".glossary-mark")) {
    const tab = one.closest("[role=tabpanel]");
    const words = taken.get(tab) ?? new Set();
    taken.set(tab, words);
    const stops = !words.has(one.dataset.word) && one.checkVisibility();
    if (stops) words.add(one.dataset.word);
    if (stops !== one.hasAttribute("tabindex")) one.toggleAttribute("tabindex", stops);
    if (stops) one.tabIndex = 0;
  }
}
