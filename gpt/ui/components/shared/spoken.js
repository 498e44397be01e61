// What a screen reader says by itself. It speaks whenever such words change, so they change seldom.

// A place for what only those hear who move the crosshair with the keys.
function makeSpoken(parent) {
  const spoken = make(parent, "div", "unseen");
  spoken.setAttribute("aria-live", "polite");
  return spoken;
}

// A tooltip's table as one sentence.
function tableInWords(part) {
  const cells = (one) => [...one.children].map((cell) => cell.textContent).filter(Boolean);
  const lines = [...part.querySelectorAll("caption, tr")];
  return lines.map((one) => (one.children.length ? cells(one).join(", ") : one.textContent)).join("; ");
}

// For work under way, whose line on the page changes several times a second. Returns say(words, kind): it speaks only
// where the kind is another one than before.
function makeAnnouncer(parent) {
  const place = make(parent, "div", "unseen");
  place.setAttribute("role", "status");
  let before = null;
  return (words, kind) => {
    if (kind === before) return;
    before = kind;
    setText(place, words);
  };
}

// How much is done, as something that changes four times on the way; null where that is not known.
function quarterOf(share) {
  return share === null || share === undefined ? null : Math.floor(4 * share);
}
