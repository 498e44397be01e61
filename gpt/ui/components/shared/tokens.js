// Tokens and texts, with what leaves no mark made visible: nothing in them can hide, or turn a line around.

const MARKS = { " ": "␣", "\n": "⏎", "\t": "⇥" };
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}\p{Co}]/gu;

// A control character as its picture, such as ␀; any other by its number, such as ‹200B›.
function markOf(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return MARKS[character] ?? String.fromCharCode(0x2400 + code);
  return `‹${code.toString(16).toUpperCase().padStart(4, "0")}›`;
}

// A token by itself: its spaces and line breaks are marks, too.
function shownToken(token) {
  const marks = token.replace(/\r\n/g, "\n").replaceAll(" ", MARKS[" "]).replace(UNSEEN, markOf);
  return marks.replace(/^\p{Mark}/u, "◌$&") || "∅";
}

function shortToken(token) {
  const glyphs = [...new Intl.Segmenter().segment(shownToken(token))].map((part) => part.segment);
  return glyphs.length > 4 ? `${glyphs.slice(0, 3).join("")}…` : glyphs.join("");
}

// A piece of a text: its spaces stay, its lines break behind a mark.
function shownPiece(piece) {
  return piece.replace(UNSEEN, (one) => (one === "\n" ? `${MARKS[one]}\n` : markOf(one)));
}

// A text whose end matters: what is written next follows its last spaces.
function shownText(text) {
  return shownPiece(text).replace(/ +$/, (spaces) => MARKS[" "].repeat(spaces.length));
}
