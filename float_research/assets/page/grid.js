// The videos, by any two settings. A cell has a video only while it is in view, and no more than the browser can play.
const MAX_SCREENS = 48;
const MAX_LEVELS = 24;
const NONE = "";
const grid = { rows: NONE, columns: NONE, cells: new Map(), inView: new Set(), watch: null };

function drawGrid() {
  for (const cell of grid.cells.keys()) dropScreen(cell);
  grid.watch?.disconnect();
  grid.cells.clear();
  grid.inView.clear();
  grid.watch = new IntersectionObserver(seen, { rootMargin: "150px" });
  const box = $("grid");
  if (state.shown.length === 0) return box.replaceChildren(make("p", { className: "quiet" }, "No run passes the filter."));
  box.replaceChildren(grid.rows === NONE ? flow() : crossed());
}

/** Stacks by the value of a setting, in order. */
function stacks(name, indices) {
  const found = new Map(levels(name, indices).map((level) => [level, []]));
  for (const index of indices) found.get(value(index, name)).push(index);
  return found;
}

function flow() {
  if (grid.columns === NONE) return make("div", { className: "flow" }, ...state.shown.map((index) => newCell([index], described(index))));
  const found = [...stacks(grid.columns, state.shown)];
  return make("div", { className: "flow" }, ...found.map(([level, indices]) => newCell(indices, `${grid.columns} ${text(level)}`)));
}

function crossed() {
  const across = grid.columns === NONE ? [null] : levels(grid.columns, state.shown);
  const head = across.map((level) => heading("col", grid.columns, level));
  const body = [...stacks(grid.rows, state.shown)].map(([level, indices]) => {
    const cells = across.map((other) => {
      const here = grid.columns === NONE ? indices : indices.filter((index) => value(index, grid.columns) === other);
      return make("td", {}, here.length ? newCell(here, "") : "");
    });
    return make("tr", {}, heading("row", grid.rows, level), ...cells);
  });
  return make("table", {}, make("thead", {}, make("tr", {}, make("td"), ...head)), make("tbody", {}, ...body));
}

/** The name of a setting, which may break at its dots, and its value. */
function heading(scope, name, level) {
  if (name === NONE) return make("th", { scope });
  const parts = name.split(/(?<=[._])/).flatMap((part) => [part, make("wbr")]);
  return make("th", { scope }, ...parts, " ", make("b", {}, text(level)));
}

/** A cell for a stack of clips, of which it shows one; filled when it comes into view. */
function newCell(indices, title) {
  const cell = make("figure", { className: "cell" }, make("div", { className: "screen" }));
  grid.cells.set(cell, { indices, place: 0, title, filled: false });
  grid.watch.observe(cell);
  return cell;
}

function seen(entries) {
  for (const { target, isIntersecting } of entries) {
    isIntersecting ? grid.inView.add(target) : grid.inView.delete(target);
    if (!isIntersecting) dropScreen(target);
  }
  for (const cell of grid.inView) {
    const held = grid.cells.get(cell);
    if (!held.filled) fillCell(cell, held);
    if (!player.screens.has(cell)) putScreen(cell, held);
    moveCursor(cell);
  }
}

function putScreen(cell, held) {
  const index = held.indices[held.place];
  const screen = cell.querySelector(".screen");
  if (videoOf(index) === null) screen.replaceChildren("video missing");
  else if (player.screens.size >= MAX_SCREENS) screen.replaceChildren(`more than ${MAX_SCREENS} in view`);
  else screen.replaceChildren(addScreen(cell, index));
}

function fillCell(cell, held) {
  const index = held.indices[held.place];
  held.filled = true;
  const box = make("input", { type: "checkbox", checked: selected.has(index), "aria-label": `Select run ${label(index)}`, onchange: () => toggle(index) });
  const name = make("button", { type: "button", className: "plain name", title: described(index), onclick: () => showDetails(index) }, held.title || `run ${label(index)}`);
  const sound = make("button", { type: "button", className: "listen", "aria-label": `Hear run ${label(index)}`, onclick: () => setSound(player.sound === index ? null : index) }, "♪");
  sound.disabled = videoOf(index) === null;
  const turn = (step) => () => {
    held.place = (held.place + step + held.indices.length) % held.indices.length;
    dropScreen(cell);
    fillCell(cell, held);
    putScreen(cell, held);
    cell.querySelector(step > 0 ? ".next" : ".before").focus();
  };
  const more =
    held.indices.length > 1
      ? [
          make("button", { type: "button", className: "before", onclick: turn(-1), "aria-label": "Previous run of this cell" }, "‹"),
          `${held.place + 1}/${held.indices.length}`,
          make("button", { type: "button", className: "next", onclick: turn(1), "aria-label": "Next run of this cell" }, "›"),
        ]
      : [];
  const canvas = make("canvas", { role: "img" });
  const trace = make("div", { className: "trace", onpointerdown: scrubTrace, onpointermove: scrubTrace }, canvas, make("i"));
  const playable = videoOf(index) !== null;
  const screen = make("div", { className: playable ? "screen plays" : "screen", title: playable ? "Play or pause, all in step" : "" });
  if (playable) screen.addEventListener("click", togglePlay);
  cell.replaceChildren(
    screen,
    make(
      "figcaption",
      {},
      make("div", { className: "caption" }, box, name, sound),
      make("div", { className: "caption" }, make("span", { className: "value" }), ...more),
    ),
    trace,
  );
  if (data.clips[index].traces) load("traces", index, () => drawCellTrace(cell));
  else if (traces.shown !== null) trace.replaceChildren("no traces");
  else trace.remove();
  showValue(cell, held);
  markCell(cell, held);
  moveCursor(cell);
}

function scrubTrace(event) {
  if (event.buttons !== 1 || player.duration === 0) return;
  const box = event.currentTarget.getBoundingClientRect();
  setTime((player.duration * (event.clientX - box.left)) / box.width);
}

function drawCellTrace(cell) {
  const held = grid.cells.get(cell);
  const canvas = cell.querySelector("canvas");
  if (!held || !canvas) return;
  const index = held.indices[held.place];
  canvas.setAttribute("aria-label", `${traces.shown} of run ${label(index)} over time`);
  drawTrace(canvas, index, player.duration || secondsOf(index));
}

function showValue(cell, held) {
  const index = held.indices[held.place];
  const shown = plot.y === null ? "" : `${text(value(index, plot.y))} ${plot.y}`;
  cell.querySelector(".value").textContent = held.title ? `run ${label(index)} · ${shown}` : shown;
}

function markCell(cell, held) {
  const index = held.indices[held.place];
  cell.classList.toggle("chosen", selected.has(index));
  cell.querySelector("input").checked = selected.has(index);
  cell.querySelector(".listen").setAttribute("aria-pressed", player.sound === index);
}

function moveCursor(cell) {
  const cursor = cell.querySelector(".trace i");
  if (cursor) cursor.style.transform = `translateX(${(100 * player.time) / (player.duration || 1)}%)`;
}

function eachFilled(act) {
  for (const [cell, held] of grid.cells) if (held.filled) act(cell, held);
}

function redrawTraces() {
  eachFilled((cell, held) => data.clips[held.indices[held.place]].traces && load("traces", held.indices[held.place], () => drawCellTrace(cell)));
}

function setSize(size) {
  $("size").value = size;
  document.documentElement.style.setProperty("--cell", `${size}px`);
}

/** Cells as wide as their columns allow, within reason. */
function fitSize() {
  const across = grid.columns === NONE || grid.rows === NONE ? 4 : levels(grid.columns).length;
  const longest = Math.max(...levels(grid.rows).map((level) => text(level).length));
  const heads = Math.max(90, Math.min(innerWidth > 720 ? 150 : 90, 8 * longest));
  const room = $("grid").clientWidth - (grid.rows === NONE ? 0 : heads);
  setSize(Math.round(Math.max(110, Math.min(300, room / across - 10))));
}

/** The two settings that spread the runs over most cells: numbers across, words down. */
function bestPair() {
  const few = settings.filter((name) => levels(name).length <= MAX_LEVELS);
  let [best, count] = [[NONE, few[0] ?? NONE], 0];
  few.forEach((one, place) => {
    for (const other of few.slice(place + 1)) {
      const cells = new Set(all.map((index) => JSON.stringify([value(index, one), value(index, other)]))).size;
      if (cells > count) [best, count] = [[one, other], cells];
    }
  });
  return best.sort((a, b) => (a !== NONE) - (b !== NONE) || numeric(a) - numeric(b) || levels(a).length - levels(b).length);
}

function startGrid() {
  [grid.rows, grid.columns] = bestPair();
  for (const [id, key] of [["grid-rows", "rows"], ["grid-columns", "columns"]]) {
    $(id).append(option("none", NONE), ...settings.map((name) => option(name)));
    $(id).value = grid[key];
    $(id).addEventListener("change", () => {
      grid[key] = $(id).value;
      drawGrid();
    });
  }
  $("size").addEventListener("input", () => {
    setSize($("size").value);
    redrawTraces();
  });
  fitSize();
  state.listeners.push((what) => {
    if (what === "shown") drawGrid();
    else if (what === "selected" || what === "sound") eachFilled(markCell);
    else if (what === "metric") eachFilled(showValue);
    else if (what === "trace" || what === "theme") redrawTraces();
    else if (what === "time") for (const cell of grid.inView) if (grid.cells.get(cell)?.filled) moveCursor(cell);
  });
}
