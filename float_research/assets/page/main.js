// The frame around it all: what the sweep is, filter, keys, light and dark.
const KEYS = [
  ["Space", "play or pause"],
  ["← →", "one frame back or forward"],
  ["Home", "to the beginning"],
  ["M", "sound on or off"],
  ["/", "to the filter"],
  ["Esc", "clear the selection"],
  ["?", "these keys"],
];

function showKeys() {
  $("dialog-title").textContent = "Keys";
  $("dialog-list").replaceChildren(...KEYS.flatMap(([key, said]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, said)]));
  $("dialog").showModal();
}

function describePage() {
  const runs = new Set(all.map((index) => value(index, "run"))).size;
  const clips = several ? ` · ${all.length} clips` : "";
  const swept = settings.filter((name) => name !== "clip").map((name) => `${name} (${levels(name).length})`);
  const devices = levels("device").filter(Boolean);
  $("title").textContent = data.title;
  $("facts").textContent = [`${runs} ${runs === 1 ? "run" : "runs"}${clips}`, swept.join(" × "), devices.join(", "), `page of ${data.made.slice(0, 10)}`].filter(Boolean).join(" · ");
  $("blind").hidden = data.comparisons === 0;
  for (const { text: said, clips } of data.notices) {
    const share = clips < all.length ? ` (${clips} of ${all.length} clips)` : "";
    $("notices").append(make("p", { className: "notice", role: "note" }, said + share));
  }
  if (data.notes.length) {
    const items = data.notes.map((note) => make("li", {}, note));
    $("notices").append(make("details", { className: "notes", open: data.notes.length < 4 }, make("summary", {}, `${data.notes.length} ${data.notes.length === 1 ? "note" : "notes"} on what is not shown`), make("ul", {}, ...items)));
  }
}

function showCount() {
  const shown = state.shown.length === all.length ? `${all.length}` : `${state.shown.length} of ${all.length}`;
  $("count").textContent = `${shown} shown${selected.size ? `, ${selected.size} selected` : ""}`;
  $("clear").hidden = selected.size === 0;
  $("only").parentElement.hidden = selected.size === 0;
  $("only").checked = state.only;
}

const THEMES = ["auto", "light", "dark"];
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = `Theme: ${theme}`;
  try {
    localStorage.setItem("theme", theme);
  } catch {
    // No storage for pages from disk: the choice lasts as long as the page.
  }
  tell("theme");
}

function savedTheme() {
  try {
    return THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  } catch {
    return "auto";
  }
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("dialog").open) return;
  const typing = event.target.closest("input, select, textarea");
  if (event.key === "Escape") {
    if (event.target === $("filter")) $("filter").blur();
    return select([...selected], false);
  }
  if (typing && !(event.target.type === "checkbox" && event.key !== " ")) return;
  if (event.key === " " && event.target.closest("button, summary, a")) return;
  const scrolls = event.target.closest(".scroll");
  const acts = {
    " ": togglePlay,
    ArrowLeft: scrolls ? null : () => step(-1),
    ArrowRight: scrolls ? null : () => step(1),
    Home: scrolls ? null : () => setTime(0),
    m: toggleSound,
    M: toggleSound,
    "/": () => $("filter").focus(),
    "?": showKeys,
  };
  if (!acts[event.key]) return;
  acts[event.key]();
  event.preventDefault();
}

let filterTimer = 0;
$("filter").addEventListener("input", () => {
  clearTimeout(filterTimer);
  filterTimer = setTimeout(() => {
    state.filter = $("filter").value;
    refilter();
  }, 120);
});
$("only").addEventListener("change", () => {
  state.only = $("only").checked;
  refilter();
});
$("clear").addEventListener("click", () => select([...selected], false));
$("help").addEventListener("click", showKeys);
$("theme").addEventListener("click", () => setTheme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length]));
document.addEventListener("keydown", pressed);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => tell("theme"));

/** Fits plot and table beside the videos to what is left of the window, where they are beside them. */
function fitSide() {
  const side = $("side");
  const beside = innerWidth >= BESIDE;
  const top = Math.max(side.getBoundingClientRect().top, $("tools").offsetHeight);
  side.style.height = beside ? `${Math.max(420, innerHeight - top - $("player").offsetHeight - 12)}px` : "";
}
addEventListener("scroll", fitSide, { passive: true });
addEventListener("resize", fitSide);

describePage();
fitSide();
startSettings();
startTable();
startPlot();
startTraces();
startPlayer();
startGrid();
state.listeners.push((what) => (what === "shown" || what === "selected") && showCount());
setTheme(savedTheme());
refilter();
showTime();
startExport();
