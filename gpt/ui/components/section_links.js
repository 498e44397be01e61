// Links to the parts of a long tab; section_links.py describes the value. The part that is being read is marked.

const root = element.querySelector(".section-links");
const bar = make(root, "nav");
bar.setAttribute("aria-label", "Parts of this page");

const partOf = (id) => document.getElementById(id);

// Where a part begins: its heading, if one stands right above it.
function beginningOf(part) {
  const row = part.closest(".halves") ?? part;
  const before = row.previousElementSibling;
  return before?.classList.contains("section") ? before : row;
}

function goTo(id) {
  const part = partOf(id);
  if (!part) return;
  const fold = part.querySelector(":scope > button.label-wrap:not(.open)");
  fold?.click();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  beginningOf(part).scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
  const first = part.querySelector("button:not([disabled]), input, textarea, [tabindex='0']");
  first?.focus({ preventScroll: true }); // the next Tab goes on from here
}

const links = (props.value?.parts ?? []).map(([words, id]) => {
  const link = make(bar, "a", "", words);
  link.href = `#${id}`;
  link.addEventListener("click", (event) => {
    event.preventDefault(); // the address is not a part's
    goTo(id);
  });
  return { link, id };
});

// The last part whose beginning has come up to the bar; at the end of the page, the last one.
function mark() {
  if (!root.offsetParent) return; // another tab is open
  const edge = bar.getBoundingClientRect().bottom + 48;
  const there = links.filter(({ id }) => partOf(id)?.offsetParent);
  const begun = there.filter(({ id }) => beginningOf(partOf(id)).getBoundingClientRect().top <= edge);
  const isAtEnd = scrollY > 0 && scrollY + innerHeight >= document.documentElement.scrollHeight - 4;
  const at = (isAtEnd ? there : begun).at(-1);
  for (const one of links) {
    if (one === at) one.link.setAttribute("aria-current", "true");
    else one.link.removeAttribute("aria-current");
  }
}

let asked = 0;
function markSoon() {
  cancelAnimationFrame(asked);
  asked = requestAnimationFrame(mark);
}

addEventListener("scroll", markSoon, { passive: true });
new ResizeObserver(markSoon).observe(root);
