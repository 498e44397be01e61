// The text under the attention map, as each query that is held or pointed at reads it: a strip for each model.

const MANY_TOKENS = 100; // several strips of longer texts are set smaller

function makeStrip(view) {
  const panel = make(readingList, "div", "reading");
  const strip = { view, panel, query: null, edition: 0, looks: [], pointed: null };
  strip.heading = make(panel, "div", "reading-name");
  strip.box = make(panel, "div", "text");
  strip.letters = view.picture.tokens.map((token) => makeLetter(strip.box, token));
  const letterUnder = (event) => strip.letters.indexOf(event.target.closest(".letter"));
  strip.box.addEventListener("pointermove", (event) => pointAtLetter(strip, letterUnder(event)));
  strip.box.addEventListener("pointerleave", leave);
  strip.box.addEventListener("click", (event) => clickLetter(letterUnder(event)));
  strip.box.addEventListener("keydown", (event) => moveLetter(strip, event));
  return strip;
}

function makeLetter(box, token) {
  if (token.startsWith(" ")) make(box, "wbr");
  const letter = make(box, "span", "letter", shownToken(token));
  if (token.endsWith(" ")) make(box, "wbr");
  if (token.includes("\n")) make(box, "br");
  return letter;
}

function paintStrip(strip, query) {
  if (strip.query !== query || strip.edition !== edition) paintLetters(strip, query);
  const pointed = state.pointed?.key ?? null;
  if (pointed === strip.pointed) return;
  strip.letters[strip.pointed]?.classList.remove("pointed");
  strip.letters[pointed]?.classList.add("pointed");
  strip.pointed = pointed;
}

function paintLetters(strip, query) {
  const { view, panel, box, heading, letters } = strip;
  const { picture, chosen } = view;
  const bytes = bytesOf(picture, chosen);
  const who = views.length > 1 ? `${nameOf(view)}: the` : "the";
  panel.style.setProperty("--variant", picture.colour);
  heading.textContent = `${who} text as token ${tokenInWords(query)} reads it`;
  nameKeyboardPlace(box, heading.textContent);
  if (strip.edition !== edition) strip.looks = [];
  letters.forEach((letter, key) => {
    const kind = verdict(picture, query, key);
    const byte = kind === "allowed" && !state.maskOnly ? byteAt(picture, bytes, query, key) : 0;
    const look = `${kind} ${key === query} ${byte}`;
    if (strip.looks[key] === look) return;
    strip.looks[key] = look;
    letter.className = `letter ${kind}${key === query ? " query" : ""}`;
    letter.style.backgroundColor = byte ? colours.ramp[byte] : "";
    letter.style.color = byte ? colours.onRamp[byte] : "";
  });
  strip.letters[strip.pointed]?.classList.remove("pointed");
  if (strip.query !== query && box.scrollHeight > box.clientHeight) {
    box.scrollTop = letters[query].offsetTop - box.clientHeight / 2;
  }
  Object.assign(strip, { query, edition, pointed: null });
}

function paintReadings() {
  const queries = shownQueries();
  while (readings.length > queries.length) readings.pop().forEach(({ panel }) => panel.remove());
  readingList.classList.toggle("small", queries.length > 1 && views[0].picture.length > MANY_TOKENS);
  queries.forEach((query, index) => {
    readings[index] ??= views.map(makeStrip);
    readings[index].forEach((strip) => paintStrip(strip, query));
  });
}

function forgetReadings() {
  readings = [];
  readingList.replaceChildren();
}

// ---- pointing at its letters ----

function pointAtLetter(strip, position) {
  if (position < 0) return;
  if (state.held.length) point({ query: strip.query, key: position, letter: strip.letters[position] });
  else point({ query: position, key: null });
}

function clickLetter(position) {
  if (position < 0) return;
  toggleHeld(position);
  state.pointed = { query: position, key: null };
  paintChoice();
}

function moveLetter(strip, event) {
  const step = rest(event) ? null : stepOf(event);
  if (!step) return;
  const from = mainQuery();
  moveHeld(step[0] ? nearestOnNextLine(strip.letters, from, step[0]) : from + step[1], step[0] || step[1]);
  state.pointed = null;
  paintChoice();
}
