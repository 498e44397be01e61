// Text files, read here; text_files.py describes what is sent. The server checks all of it again.

const root = element.querySelector(".text-files");
const MOST_NAMES = 100; // of files that are not read: the rest of them is counted

const buttons = make(root, "div", "buttons");
const openFiles = makePicker("Open .txt files", { multiple: true, accept: ".txt,text/plain" });
const openFolder = makePicker("Open a folder", { webkitdirectory: true });
const report = make(root, "div", "report");
report.setAttribute("role", "status");

// The input is never seen: a button opens its dialogue.
function makePicker(words, choices) {
  const input = make(root, "input");
  Object.assign(input, { type: "file", hidden: true, ...choices });
  input.addEventListener("change", async () => {
    await read([...input.files]);
    input.value = ""; // so that the same choice is a change again
  });
  return makeSwitch(buttons, words, () => input.click());
}

const nameOf = (file) => file.webkitRelativePath || file.name;
const isHidden = (name) => name.split("/").some((part) => part.startsWith("."));
const isText = (name) => name.toLowerCase().endsWith(".txt") && !isHidden(name);

function say(sentences) {
  report.replaceChildren(...sentences.map((words) => node("p", "", words)));
}

function lengthOf(text) {
  return text.length - (text.match(/[\ud800-\udbff]/g) || []).length; // in characters, as the server counts
}

async function read(chosen) {
  const files = chosen.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const texts = files.filter((file) => isText(nameOf(file)));
  if (files.length === 0) return;
  if (texts.length > props.most_files) {
    say([`These are ${grouped(texts.length)} text files; at most ${grouped(props.most_files)} are read at once.`]);
    return;
  }
  const others = files.filter((file) => !isText(nameOf(file)));
  const named = new Set([...texts, ...others.slice(0, MOST_NAMES)]);
  const sent = [];
  let room = props.most_characters;
  for (const file of files.filter((one) => named.has(one))) {
    const one = { name: nameOf(file), ...(isText(nameOf(file)) ? await contentOf(file, room) : { text: null }) };
    room -= one.text ? lengthOf(one.text) + 1 : 0;
    sent.push(one);
  }
  say(["Reading…"]);
  trigger("open_files", { files: sent, others: others.length - Math.min(others.length, MOST_NAMES) });
}

async function contentOf(file, room) {
  if (file.size > 4 * room) return { text: null, problem: "size" }; // a character has up to 4 bytes
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return lengthOf(text) > room ? { text: null, problem: "size" } : { text };
  } catch {
    return { text: null, problem: "encoding" };
  }
}

function receive() {
  say(valueAsObject(props.value)?.sentences ?? []);
  countAsPainted();
}

watch("value", receive);
receive();
