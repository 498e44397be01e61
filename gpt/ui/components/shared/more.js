// A sign that a text which scrolls goes on, above or below what is seen; a press goes there.

function signMore(paper) {
  const holder = node("div", "more-holder");
  paper.replaceWith(holder);
  holder.append(paper);
  const sign = (words, direction) => {
    const button = makeButton(holder, words, () => paper.scrollBy({ top: 0.8 * direction * paper.clientHeight }), "more");
    button.tabIndex = -1; // the text itself is scrolled with the keyboard
    button.setAttribute("aria-hidden", "true");
    return button;
  };
  const [above, below] = [sign("▴ more above", -1), sign("▾ more below", 1)];
  above.classList.add("above");
  const look = () => {
    above.hidden = paper.scrollTop < 8;
    below.hidden = paper.scrollHeight - paper.scrollTop - paper.clientHeight < 8;
  };
  paper.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(paper);
  new MutationObserver(look).observe(paper, { childList: true, characterData: true, subtree: true });
  look();
  return holder;
}
