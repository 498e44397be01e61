// The link to what is set: copied, or as a QR code. link_bar.py describes the value and the events.

const root = element.querySelector(".link-bar");
const QUIET_ZONE = 4; // modules of white that a QR code needs around it
const TABS = { train: "Train", compare: "Compare", attention: "Attention", cost: "Cost", experiments: "Experiments" };

let wanted = null; // "copy" or "code", as long as the page makes the link

const join = make(root, "p", "join");
const joinWords = make(join, "span");
const joinCode = makeSwitch(join, "QR code to join", () => showCode(props.value.join, "Join here"));
const row = make(root, "div", "row");
const copyButton = makeSwitch(row, "Copy link", () => want("copy"));
copyButton.title = "A link to this tab as it is set now.";
const codeButton = makeSwitch(row, "QR code", () => want("code"));
codeButton.title = "The link to this tab as it is set now, for phones to scan.";
codeButton.setAttribute("aria-label", "Show the link as a QR code");

const answer = make(root, "div", "answer");
const said = make(answer, "p", "said");
said.setAttribute("role", "status");
const field = make(answer, "input", "field");
Object.assign(field, { readOnly: true, hidden: true, type: "text" });
field.setAttribute("aria-label", "the link");
const note = make(root, "p", "note");
note.setAttribute("role", "status");
const noteWords = make(note, "span");
makeSwitch(note, "OK", () => (note.hidden = true)).setAttribute("aria-label", "Close this note");

// ---- the link ----

function want(what) {
  wanted = what;
  trigger("link", {});
}

function leftOutInWords(leftOut) {
  const why = ({ length, longest }) => (length ? `, whose ${grouped(length)} characters are more than the ${grouped(longest)} that a link holds` : "");
  return leftOut.map((one) => ` Left out: ${one.name}${why(one)}.`).join("");
}

async function arrive({ detail: { tab, url, leftOut } }) {
  const what = wanted;
  wanted = null;
  if (!what || !element.isConnected) return;
  const words = leftOutInWords(leftOut);
  if (what === "code") {
    await showCode(url, `${TABS[tab]}, as it is set now.${words}`);
    return;
  }
  field.value = url;
  field.hidden = false;
  const isCopied = await copy(url);
  field.hidden = isCopied;
  say(isCopied ? `Copied: a link to ${TABS[tab]} as it is set now.${words}` : `This browser does not let a page copy: the link is selected here, copy it yourself.${words}`);
  if (!isCopied) selectField();
  else copyButton.focus({ preventScroll: true });
}

function selectField() {
  field.focus();
  field.setSelectionRange(0, field.value.length);
}

// A page that is served without https has no clipboard, but most browsers still copy what is selected.
async function copy(words) {
  try {
    await navigator.clipboard.writeText(words);
    return true;
  } catch {
    selectField();
    return document.execCommand?.("copy") ?? false;
  }
}

let saying = 0;
function say(words) {
  said.textContent = ""; // so that the same words are spoken again
  clearTimeout(saying);
  requestAnimationFrame(() => setText(said, words));
  if (field.hidden) saying = setTimeout(() => setText(said, ""), 12000);
}

// ---- the QR code: black on white, also on a dark page ----

const dialog = make(root, "dialog", "code");
dialog.setAttribute("aria-label", "QR code");
const picture = make(dialog, "div", "picture");
const caption = make(dialog, "p", "caption");
const codeAddress = make(dialog, "p", "address");
makeSwitch(dialog, "Close", () => dialog.close());
dialog.addEventListener("click", ({ target }) => target === dialog && dialog.close()); // beside it

async function showCode(words, title) {
  const code = await server.qr_code({ words });
  if (!row.getClientRects().length) return; // left meanwhile, for the projector: a dialog there would hold the page, unseen
  if (!code || code.error) {
    say(code?.error ?? "The server does not answer; try again in a moment.");
    return;
  }
  const size = code.size + 2 * QUIET_ZONE;
  picture.replaceChildren(
    shape(
      "svg",
      { viewBox: `${-QUIET_ZONE} ${-QUIET_ZONE} ${size} ${size}`, role: "img", "aria-label": `QR code of ${words}`, "shape-rendering": "crispEdges" },
      shape("rect", { x: -QUIET_ZONE, y: -QUIET_ZONE, width: size, height: size, class: "paper" }),
      shape("path", { class: "ink", d: code.path }),
    ),
  );
  setText(caption, title);
  setText(codeAddress, words);
  dialog.showModal();
}

// ---- the browser's history ----

window.addEventListener("popstate", () => {
  if (!element.isConnected) return;
  const tab = new URL(window.location.href).searchParams.get("tab") ?? "train";
  if (tab in TABS) window.gptLabAddress.open(tab); // at once; the rest is asked for
  trigger("go", { query: window.location.search });
});
document.addEventListener("gpt-lab:link", arrive);

function receive() {
  const value = props.value ?? {};
  join.hidden = !value.join;
  setText(joinWords, value.join ? `Join at ${value.join}` : "");
  note.hidden = !value.note;
  setText(noteWords, value.note ?? "");
  if (value.opens in TABS) window.gptLabAddress.openForLink(value.opens);
}

watch("value", receive);
receive();
