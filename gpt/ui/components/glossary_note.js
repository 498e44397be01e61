// A small note beside a marked word, while it is pointed at, has the focus, or was pressed.

const LINGER = 250; // ms in which the pointer may go from a word to its note

function makeNote(parent) {
  const note = make(parent, "div", "note");
  note.setAttribute("popover", "manual"); // above everything, and cut off by nothing
  note.setAttribute("aria-hidden", "true"); // the word is described by its entry in the list
  const name = make(note, "b");
  const meaning = make(note, "span");
  let of = null;
  let leaving = 0;

  function place() {
    if (!of) return;
    const word = of.getClientRects()[0];
    if (!of.isConnected || !word || word.bottom < 0 || word.top > innerHeight) return hide();
    const { width, height } = note.getBoundingClientRect();
    const left = Math.max(8, Math.min(word.left, document.documentElement.clientWidth - width - 8));
    const below = word.bottom + 6 + height <= innerHeight || word.top < height + 6;
    note.style.left = `${left}px`;
    note.style.top = `${below ? word.bottom + 6 : word.top - height - 6}px`;
  }

  function show(one, word) {
    clearTimeout(leaving);
    setText(name, `${word.name}: `);
    setText(meaning, word.meaning);
    of = one;
    if (!note.matches(":popover-open")) note.showPopover();
    place();
  }

  function hide() {
    clearTimeout(leaving);
    of = null;
    if (note.matches(":popover-open")) note.hidePopover();
  }

  function hideSoon() {
    clearTimeout(leaving);
    leaving = setTimeout(hide, LINGER);
  }

  note.addEventListener("pointerenter", () => clearTimeout(leaving));
  note.addEventListener("pointerleave", hideSoon);
  document.addEventListener("scroll", place, { capture: true, passive: true });
  window.addEventListener("resize", place);
  return { show, hide, hideSoon, shows: (one) => of === one, isShown: () => of !== null, follow: place };
}
