// A text cut into its tokens; token_text.py describes the value.

const root = element.querySelector(".token-text");
const page = make(root, "div");
const empty = make(root, "p", "empty");
const sentence = make(page, "p", "sentence");
const paper = makeScrollBox(page, "the text's first tokens");
paper.classList.add("paper");

// Part of a character leaves no mark of its own, and is still a token.
function tokenSpan(token, index) {
  return node("span", index % 2 ? "token odd" : "token", token === "" ? shownToken(token) : shownPiece(token));
}

showValues({
  page,
  empty,
  invitation: "The beginning of the text will be shown here, cut into its tokens.",
  holdsSomething: (value) => value.sentence,
  show: (value) => {
    setText(sentence, value.sentence);
    sentence.classList.toggle("error", Boolean(value.is_error));
    paper.hidden = value.tokens.length === 0;
    paper.replaceChildren(...value.tokens.map(tokenSpan));
    paper.scrollTop = 0;
  },
});
