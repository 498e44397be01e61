// Parts of the page. All words go through textContent, so none can become markup.

function node(tag, className = "", words = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (words !== "") made.textContent = words;
  return made;
}

function make(parent, tag, className, words) {
  const made = node(tag, className, words);
  parent.append(made);
  return made;
}

// A part of a drawing in SVG.
function shape(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, content] of Object.entries(attributes)) made.setAttribute(key, content);
  made.append(...children);
  return made;
}

// Writes only what has changed: setting equal words would drop a reader's selection.
function setText(part, words) {
  if (part.textContent !== words) part.textContent = words;
}

function makeButton(parent, words, press, className = "") {
  const button = make(parent, "button", className, words);
  button.type = "button";
  button.addEventListener("click", press);
  return button;
}

function makeSwitch(parent, words, press) {
  return makeButton(parent, words, press, "switch");
}

// A box that scrolls on its own, with the keyboard too.
function makeScrollBox(parent, label) {
  const box = make(parent, "div", "box");
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  return box;
}
