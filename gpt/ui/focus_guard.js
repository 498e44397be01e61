// Keeps the focus of the keyboard on the page. A browser drops it where the control that has it is switched off, hidden or
// taken away, as Stop is once a run has ended: whoever works without a mouse would begin again at the top. Here it goes
// to the nearest control that can be pressed, which is mostly the one that was pressed before.
(() => {
  const CONTROLS = "button, input, select, textarea, a[href], summary, [tabindex='0']";
  let focused = null; // the control that has the focus, or had it until the browser dropped it
  let around = []; // the parts it stands in, from the inside out: one that is taken away no longer knows them

  document.addEventListener("focusin", ({ target }) => {
    focused = target;
    around = [];
    for (let part = target.parentElement; part && part !== document.body; part = part.parentElement) around.push(part);
  });
  document.addEventListener("focusout", ({ target, relatedTarget }) => {
    if (!relatedTarget && canTakeFocus(target)) focused = null; // its owner has left it, for another window, say
  });
  document.addEventListener("pointerdown", ({ target }) => {
    if (!target.closest(CONTROLS)) focused = null; // let go by a press beside it
  });

  function canTakeFocus(part) {
    return part.isConnected && !part.disabled && part.tabIndex >= 0 && part.checkVisibility({ visibilityProperty: true });
  }

  function bringBack() {
    if (!focused || document.activeElement !== document.body || canTakeFocus(focused)) return;
    for (const part of around) {
      if (!part.isConnected || !part.checkVisibility()) continue;
      const next = [...part.querySelectorAll(CONTROLS)].find(canTakeFocus);
      if (next) return next.focus({ preventScroll: true });
    }
  }

  const changes = { subtree: true, childList: true, attributeFilter: ["disabled", "hidden", "style", "class"] };
  let isAsked = false;
  new MutationObserver(() => {
    if (isAsked || !focused || document.activeElement === focused && canTakeFocus(focused)) return;
    isAsked = true;
    requestAnimationFrame(() => {
      isAsked = false;
      bringBack();
    });
  }).observe(document, changes);
})();
