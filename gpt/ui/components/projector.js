// The projector mode; projector.py says what it is. Tabs are changed by pressing them, as a visitor would.

const root = element.querySelector(".projector");
const NEWS_MS = 4000;
const SHOWN = { Chart: "Train", Map: "Attention" }; // what fills the screen, and the tab that it stands on
// The room in which the picture is drawn before it is enlarged, in px: the smaller, the larger the type.
const ROOM = { width: 700, height: 400 };

const enter = makeSwitch(root, "Projector", () => show(true));
enter.classList.add("enter");
enter.title = "One chart or map in large type, for the back row. Esc leaves it.";
const bar = make(root, "div", "bar");
bar.hidden = true;
const choices = Object.entries(SHOWN).map(([name, tab]) => [makeSwitch(bar, name, () => open(tab)), tab]);
const news = make(bar, "p", "news");
const leave = makeSwitch(bar, "Leave (Esc)", () => show(false));

let asking = null; // the timer of the next question for news
let run = "";

const isOn = () => document.body.classList.contains("projector");
const tabs = () => [...document.querySelectorAll("[role=tab]")];
const isOpen = (tab) => tab.getAttribute("aria-selected") === "true";
const named = (name) => tabs().find((tab) => tab.textContent.trim() === name);

function paint() {
  const current = tabs().filter(isOpen).map((tab) => tab.textContent.trim());
  for (const [button, tab] of choices) button.setAttribute("aria-pressed", current.includes(tab));
}

function open(name) {
  named(name)?.click();
  requestAnimationFrame(paint);
}

function enlarge() {
  const times = between(Math.min(window.innerWidth / ROOM.width, window.innerHeight / ROOM.height), 1, 4);
  document.body.style.setProperty("--enlarged", times);
  document.body.style.setProperty("--projector-height", `${window.innerHeight / times}px`);
}

async function askForNews() {
  clearTimeout(asking);
  if (!isOn() || !element.isConnected) return;
  if (!document.hidden) {
    document.dispatchEvent(new CustomEvent("gpt-lab:which-run"));
    setText(news, (await server.class_news({ run })) ?? "");
  }
  asking = setTimeout(askForNews, NEWS_MS);
}

function keepInAddress(on) {
  const address = new URL(window.location.href);
  if (on) address.searchParams.set("projector", "1");
  else address.searchParams.delete("projector");
  window.history.replaceState(window.history.state, "", address);
}

function show(on) {
  document.body.classList.toggle("projector", on);
  bar.hidden = !on;
  enter.hidden = on;
  keepInAddress(on);
  if (!on) return enter.focus();
  if (!Object.values(SHOWN).some((name) => named(name) && isOpen(named(name)))) open(SHOWN.Chart);
  enlarge();
  paint();
  askForNews();
  leave.focus({ preventScroll: true });
}

document.addEventListener("gpt-lab:run", ({ detail }) => { run = detail.run; });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && isOn() && !event.defaultPrevented) show(false);
});
window.addEventListener("resize", () => isOn() && enlarge());
if (new URL(window.location.href).searchParams.get("projector") === "1") show(true);
