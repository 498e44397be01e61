// Writes the page's address: address.py declares its fields. To a script a field is { name, words, first, isText,
// longest }: the words of values that are not written as they are, and the value that is left out.

window.gptLabAddress = (() => {
  const OTHER_TEXTS = { write: ["stepped", "reading"], step: ["prompt", "reading"], read: ["prompt", "stepped"] };
  const here = () => new URL(window.location.href).searchParams;
  const isOfPage = (name) => name.startsWith("__") || ["run", "name", "hands", "hide", "projector"].includes(name);
  const replace = (address) => window.history.replaceState(window.history.state, "", address);
  const push = (address) => window.history.pushState(window.history.state, "", address);

  // The first list of tabs is the page's; Compare has one of its own.
  const lists = () => [...document.querySelectorAll("[role=tablist]")];
  const pressedIn = (list) => list?.querySelector("[role=tab][aria-selected=true]")?.dataset.tabId;
  const openTab = () => pressedIn(lists()[0]) ?? "train";

  // The address of a tab with these fields and no others, but those of the page: `page` replaces some, null removes one.
  function addressOf(tab, entries, page = {}) {
    const address = new URL(window.location.href);
    const kept = [...address.searchParams].filter(([name]) => isOfPage(name));
    const ofPage = Object.entries({ ...Object.fromEntries(kept), ...page }).filter(([, words]) => words);
    const query = new URLSearchParams([["tab", tab], ...entries, ...ofPage]).toString();
    address.search = query.replaceAll("%2C", ",").replaceAll("%2F", "/").replaceAll("%3A", ":"); // which mean nothing here
    address.hash = "";
    return address;
  }

  function inWords({ words }, value) {
    return (Array.isArray(value) ? value : [value]).map((one) => words[String(one)] ?? String(one)).join(",");
  }

  // [name, words] of all fields that do not hold their first value; of texts, only those that `takes` takes.
  function entriesOf(fields, values, takes) {
    const set = fields.map((field, index) => [field, values[index] ?? null]).filter(([{ first }, value]) => value !== null && JSON.stringify(value) !== JSON.stringify(first));
    return set.map(([field, value]) => [field, inWords(field, value)]).filter(([field, words]) => !field.isText || takes(field, words)).map(([{ name }, words]) => [name, words]);
  }

  // A person's words stay only as they are in the address already, from a link that they opened.
  const isHere = ({ name }, words) => here().get(name) === words;

  // The settings of a tab that were used; `constant` are fields that no control holds, "" for none.
  function keep(tab, fields, constant, values) {
    const before = [...here()].filter(([name]) => here().get("tab") === tab && name !== "tab" && !isOfPage(name));
    const others = before.filter(([name]) => !(name in constant) && !fields.some((field) => field.name === name));
    const given = Object.entries(constant).filter(([, words]) => words);
    replace(addressOf(tab, [...given, ...entriesOf(fields, values, isHere), ...others]));
  }

  // Another run than the address's is a new entry of the history, so that Back returns to the run before. Its settings
  // are the server's to tell; a link that is asked for says them, too.
  function keepRun(watched) {
    const [run] = String(watched ?? "").split(" ");
    const before = here().get("run") ?? "";
    if (run === before) return;
    const tab = here().get("tab") ?? openTab();
    const settings = tab === "train" ? [] : [...here()].filter(([name]) => name !== "tab" && !isOfPage(name));
    const hands = String(watched).endsWith(" hands off") ? "off" : null;
    (before && run ? push : replace)(addressOf(tab, settings, { run, hands, name: null }));
  }

  // Another tab is a new entry, too; its settings come into it when they are used.
  function opens(tab) {
    if (tab !== (here().get("tab") ?? "train")) push(addressOf(tab, []));
  }

  // What the page alone knows of a tab: Compare's view, the head of the large map.
  function shownOn(tab) {
    if (tab === "compare") {
      const view = pressedIn(lists().find((list, index) => index && list.offsetParent));
      return view && view !== "write" ? [["view", view]] : [];
    }
    if (tab === "attention") {
      const { layer = "0", head = "0" } = document.querySelector("#attention-map [data-layer], #attention-map[data-layer]")?.dataset ?? {};
      return layer === "0" && head === "0" ? [] : [["head", `${Number(layer) + 1}.${Number(head) + 1}`]];
    }
    return [];
  }

  // The value of a slider over steps is what it shows; the last step is where a model is looked at anyway.
  function settingOf(value) {
    const shown = typeof value === "string" && value.startsWith('{"steps"') ? JSON.parse(value) : value;
    return Array.isArray(shown?.steps) ? (shown.steps.slice(0, -1)[shown.index] ?? null) : value;
  }

  // The link to the tab that is open: { tab, url, leftOut }, the last with what is too long, { name, length, longest }.
  function link(tabs, names, values) {
    const tab = openTab();
    const start = tabs.slice(0, tabs.findIndex(([name]) => name === tab)).reduce((count, [, fields]) => count + fields.length, 0);
    const fields = tabs.find(([name]) => name === tab)?.[1] ?? [];
    const ofTab = values.slice(start, start + fields.length).map(settingOf);
    if (tab === "experiments") {
      const { tab: _, ...setup } = JSON.parse(ofTab[0]).link; // the board's
      return { tab, url: String(addressOf(tab, Object.entries(setup).filter(([, words]) => words))), leftOut: [] };
    }
    const shown = shownOn(tab);
    const others = tab === "compare" ? OTHER_TEXTS[Object.fromEntries(shown).view ?? "write"] : [];
    const leftOut = [];
    const entries = entriesOf(fields, ofTab, ({ name, longest }, words) => {
      if (others.includes(name)) return false;
      if (words.length > longest) leftOut.push({ name, longest, length: words.length });
      return words.length <= longest;
    });
    if (tab === "train" && entries.some(([name, words]) => name === "text" && words === "own")) leftOut.push({ name: "your own text" });
    return { tab, url: String(addressOf(tab, [...shown, ...entries], { name: names?.[here().get("run")] ?? null })), leftOut };
  }

  function tellLink(tabs, names, values) {
    document.dispatchEvent(new CustomEvent("gpt-lab:link", { detail: link(tabs, names, values) }));
  }

  // The head of the large map that the address asks for, { layer, head } from 0.
  function head() {
    const said = /^(\d{1,3})\.(\d{1,3})$/.exec(here().get("head") ?? "");
    return said && { layer: Number(said[1]) - 1, head: Number(said[2]) - 1 };
  }

  // A tab that the page itself opens is where the address has led to, and no new entry.
  let isLed = false;
  function open(tab) {
    isLed = true;
    document.querySelector(`[role=tab][data-tab-id="${tab}"]`)?.click();
    isLed = false;
  }

  // Once, and not over the head of a visitor who has pressed a tab by then.
  let isChosen = false;
  function openForLink(tab) {
    if (!isChosen) open(tab);
    isChosen = true;
  }

  function pressed(tab) {
    if (isLed) return;
    isChosen = true;
    opens(tab);
  }

  return { keep, keepRun, pressed, open, openForLink, link, tellLink, head };
})();

document.documentElement.dataset.hide = (new URL(window.location.href).searchParams.get("hide") ?? "").replaceAll(",", " ");
// Before the page itself hears of the press: what opens may write its settings into the address.
window.addEventListener("click", ({ target }) => {
  const tab = target.closest("[role=tab]")?.dataset.tabId;
  if (["train", "compare", "attention", "cost", "experiments"].includes(tab)) window.gptLabAddress.pressed(tab);
}, true);
