// The list of words, the button that opens it, and the marks on the page.

const root = element.querySelector(".glossary");
const opener = makeButton(root, "Words", () => list.showModal(), "opener");
opener.title = "what the words of the field mean";
const list = make(root, "dialog", "list");
const heading = make(list, "div", "heading");
make(heading, "h2", "", "Words").id = "glossary-title";
list.setAttribute("aria-labelledby", "glossary-title");
makeButton(heading, "Close", () => list.close(), "close");
make(list, "p", "", "On the page these words have dots below them: point at one, or press it, to read its meaning.");
const entries = make(list, "div", "entries");
const note = makeNote(root);
const idOf = (word) => `glossary-${word.name.replace(/[^\p{L}\p{N}]+/gu, "-")}`;

function fillList({ groups }) {
  entries.replaceChildren();
  for (const group of groups) {
    const section = make(entries, "section");
    make(section, "h3", "", group.title);
    const words = make(section, "dl");
    for (const word of group.words) {
      make(words, "dt", "", word.name);
      make(words, "dd", "", word.meaning).id = idOf(word);
    }
  }
}

const known = new Map();

function describe(mark, word) {
  mark.dataset.word = word.name;
  mark.setAttribute("role", "term");
  mark.setAttribute("aria-describedby", idOf(word));
}

const markUnder = ({ target }) => (target instanceof Element ? target.closest(".glossary-mark") : null);
const showFor = (mark) => note.show(mark, known.get(mark.dataset.word));

function answerPointerAndKeys() {
  document.addEventListener("pointerover", (event) => {
    const mark = markUnder(event);
    if (mark && event.pointerType !== "touch") showFor(mark);
  });
  document.addEventListener("pointerout", (event) => {
    if (markUnder(event) && event.pointerType !== "touch" && document.activeElement !== markUnder(event)) note.hideSoon();
  });
  document.addEventListener("focusin", (event) => {
    if (markUnder(event)?.matches(":focus-visible")) showFor(markUnder(event));
  });
  document.addEventListener("focusout", (event) => {
    if (markUnder(event)) note.hideSoon();
  });
  // Before others: a word in a label is not a press of the label's control.
  const press = (event) => {
    const mark = markUnder(event);
    if (!mark) {
      if (!root.contains(event.target)) note.hide();
      return;
    }
    event.preventDefault();
    event.stopPropagation();
    showFor(mark);
  };
  document.addEventListener("click", press, { capture: true });
  const letGo = (event) => {
    if (event.key !== "Escape" || !note.isShown()) return;
    event.stopPropagation(); // what is held on a chart stays held
    note.hide();
  };
  document.addEventListener("keydown", letGo, { capture: true });
}

function start() {
  const value = typeof props.value === "string" ? null : props.value;
  if (!value?.groups) return;
  fillList(value);
  for (const word of value.groups.flatMap((group) => group.words)) known.set(word.name, word);
  const forms = formsOf(value);
  let waits = false;
  // Before the page is painted, so that no mark is seen to come and go.
  const look = () => {
    waits = false;
    if (markAll(forms, describe)) placeStops();
    note.follow();
  };
  const lookSoon = () => {
    if (!waits) requestAnimationFrame(look);
    waits = true;
  };
  new MutationObserver(lookSoon).observe(document.body, { childList: true, characterData: true, subtree: true });
  document.addEventListener("click", () => requestAnimationFrame(placeStops)); // of folds and tabs
  document.addEventListener("keyup", ({ key }) => key === "Escape" && requestAnimationFrame(placeStops)); // leaves the projector
  answerPointerAndKeys();
  look();
}

list.addEventListener("click", (event) => {
  if (event.target === list) list.close(); // beside what it holds
});
start();
