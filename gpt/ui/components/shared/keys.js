// Moving with the keyboard.

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

// Where an arrow key leads, [down, right]; null for any other key. Who follows it prevents the page from scrolling.
function arrowOf(event) {
  return ARROWS[event.key] ?? null;
}

// A drawing that takes arrow keys itself.
function makeKeyboardPlace(part, label) {
  part.tabIndex = 0;
  part.setAttribute("role", "application");
  part.setAttribute("aria-label", label);
}

// Of these parts only one is a stop of the Tab key; arrows move on from it.
function stopTabAt(parts, stop) {
  for (const part of parts) part.tabIndex = part === stop ? 0 : -1;
}

// The place of the part on the line above (direction -1) or below (1) that stands nearest, in parts that flow as text.
function nearestOnNextLine(parts, from, direction) {
  const start = parts[from].getClientRects()[0];
  let [best, smallest, line] = [from, Infinity, null];
  for (let at = from + direction; at >= 0 && at < parts.length; at += direction) {
    const box = parts[at].getClientRects()[0];
    if (Math.abs(box.top - start.top) < 2) continue;
    line ??= box.top;
    if (Math.abs(box.top - line) > 2) break;
    const distance = Math.abs(box.left - start.left);
    if (distance < smallest) [best, smallest] = [at, distance];
  }
  return best;
}
