// Names for those who hear the page: Gradio calls what takes a choice from a list "Remove 0", "Remove 1" and so on.
(() => {
  function name() {
    isAsked = false;
    for (const button of document.querySelectorAll(".token > .token-remove")) {
      const words = `Remove ${button.parentElement.textContent.trim()}`;
      if (button.ariaLabel === words) continue;
      button.ariaLabel = words;
      button.title = words;
    }
  }

  let isAsked = false;
  new MutationObserver(() => {
    if (isAsked) return;
    isAsked = true;
    requestAnimationFrame(name);
  }).observe(document, { subtree: true, childList: true, characterData: true });
})();
