// Shows what the server refuses where it was asked for, instead of in a corner over something else. Errors, warnings
// and notes arrive on Gradio's stream of answers (stream_guard.js), each with the event it answers; an event knows the
// component that asked. A message stands below that component's row and goes with the next good answer on its tab.
// What finds no place there is left to Gradio, which shows it at the edge of the window.
(() => {
  const asked = new Map(); // event -> { trigger: the id of a component or null, at: when it was asked }
  const overEarly = new Set(); // events whose answer was there before we heard that they were asked
  let shown = []; // { part, panel, at }
  let used = null; // what the visitor pressed or changed last

  for (const kind of ['pointerdown', 'keydown', 'change']) {
    document.addEventListener(kind, ({ target }) => (used = target instanceof Element ? target : null), true);
  }

  const isSeen = (part) => Boolean(part?.isConnected && part.getClientRects().length);
  const panelOf = (part) => part?.closest('[role=tabpanel]') ?? null;

  function componentOf(id) {
    if (id === null || id === undefined) return null;
    const own = window.gradio_config?.components?.find((one) => one.id === id)?.props?.elem_id;
    return document.getElementById(own || `component-${id}`);
  }

  // Where the visitor asked: the component itself, or, for what the page asked in its turn, what was pressed last.
  function askerOf(trigger) {
    const component = componentOf(trigger);
    if (isSeen(component)) return component;
    return isSeen(used) && panelOf(used) ? used.closest('.block') ?? used : null;
  }

  function place(part, asker) {
    const drawn = asker.querySelector('.drawn') ?? asker.closest('.drawn');
    const block = drawn?.closest('.block');
    if (block) {
      const { top, bottom } = block.getBoundingClientRect();
      const at = block.contains(used) ? used.getBoundingClientRect().top : top;
      if (at - top > bottom - at) block.append(part);
      else block.prepend(part);
      return;
    }
    let row = asker;
    while (row.parentElement && !row.parentElement.matches('.column, .tabitem, [role=tabpanel], main')) row = row.parentElement;
    part.style.order = getComputedStyle(row).order; // on a phone rows are put in another order
    row.after(part);
  }

  function show(words, kind, trigger) {
    const asker = askerOf(trigger);
    if (!asker) return false;
    const part = document.createElement('div');
    part.className = `page-message ${kind}`;
    part.setAttribute('role', kind === 'error' ? 'alert' : 'status');
    const close = document.createElement('button');
    close.type = 'button';
    close.textContent = '×';
    close.setAttribute('aria-label', 'Dismiss this message');
    close.addEventListener('click', () => forget((one) => one.part === part));
    const panel = panelOf(asker);
    forget((one) => one.panel === panel);
    place(part, asker);
    const sentence = document.createElement('span');
    part.append(sentence, close);
    sentence.textContent = words; // never markup; and after it is in the page, so that it is read out
    shown.push({ part, panel, at: performance.now() });
    part.scrollIntoView({ block: 'nearest' });
    return true;
  }

  function forget(which) {
    shown.filter(which).forEach(({ part }) => part.remove());
    shown = shown.filter((one) => !which(one));
  }

  // A good answer to what the visitor asked after a message, on the same tab. What the page asks by itself settles
  // nothing: it watches a run as soon as it begins, and what was said of that run is to be read.
  function settle({ trigger, isOfVisitor, at }) {
    if (!shown.length || !isOfVisitor) return;
    const panel = panelOf(askerOf(trigger));
    forget((one) => one.at < at && (one.panel === panel || !one.part.isConnected));
  }

  // A text that is too long is told at once, by the browser: a box of the class "at-most-2000" has such a limit.
  // Nothing is cut, so nothing that was pasted is lost.
  document.addEventListener('input', ({ target }) => {
    const box = target instanceof Element && target.closest('[class*="at-most-"]');
    if (!box) return;
    const most = Number(/at-most-(\d+)/.exec(box.className)[1]);
    const length = target.value.length;
    let part = box.querySelector(':scope > .page-message');
    if (length <= most) return part?.remove();
    if (!part) {
      part = document.createElement('div');
      part.className = 'page-message error';
      part.setAttribute('role', 'alert');
      box.append(part);
      part.append(document.createElement('span'));
    } else {
      part.setAttribute('aria-live', 'off'); // said once, not at every letter
    }
    const [has, allowed, over] = [length, most, length - most].map((number) => number.toLocaleString('en-US'));
    part.firstChild.textContent = `${has} characters; at most ${allowed} are allowed. Remove ${over}.`;
  });

  // A button that waits for an answer; the style says which of them show it.
  function markBusy(trigger, isBusy) {
    const button = trigger === null ? null : componentOf(trigger);
    if (!button?.matches('button')) return;
    if (isBusy) button.setAttribute('aria-busy', 'true');
    else button.removeAttribute('aria-busy');
  }

  const titled = ({ title, log }) => (['Error', 'Warning', 'Info', '', undefined].includes(title) ? log : `${title}. ${log}`);

  window.gptLabMessages = {
    asked(event, body) {
      if (overEarly.delete(event)) return;
      let trigger = null;
      try {
        trigger = JSON.parse(body).trigger_id ?? null;
      } catch {
        // asked in a way that we do not know
      }
      asked.set(event, { trigger, isOfVisitor: isSeen(componentOf(trigger)), at: performance.now() });
      markBusy(trigger, true);
    },

    // Takes a message of the stream and returns what Gradio is to read.
    hear(message) {
      const { msg, event_id: event, output, success } = message;
      const of = asked.get(event) ?? { trigger: null, isOfVisitor: false, at: 0 };
      if (msg === 'process_completed') {
        if (!asked.delete(event)) overEarly.add(event);
        markBusy(of.trigger, [...asked.values()].some(({ trigger }) => trigger === of.trigger));
      }
      if (msg === 'log' && message.visible !== false) {
        return show(titled(message), message.level, of.trigger) ? { ...message, visible: false } : message;
      }
      if (msg !== 'process_completed' && msg !== 'process_generating') return message;
      if (success) settle(of);
      else if (output?.error && output.visible !== false) {
        if (show(output.error, 'error', of.trigger)) return { ...message, output: { ...output, visible: false } };
      }
      return message;
    },
  };
})();
