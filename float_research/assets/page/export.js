// What can be taken along: the table as CSV, the plot as PNG, and a link that restores the page's state.
const SCALE = 2;

/** The shown rows in the table's order, with its columns. */
function csv() {
  const names = shownColumns();
  const parts = (name) => (view.bySetting && counted.has(name) ? [view.baseline === null ? name : `${name}_difference`, `${name}_low`, `${name}_high`] : [name]);
  const held = (row, name) => {
    const { value, interval, low, high } = cellOf(row, name);
    if (parts(name).length === 1) return [value];
    return isBaseline(row) ? [null, null, null] : interval ? [value, low, high] : [value, null, null];
  };
  return csvText([names.flatMap(parts), ...sortedRows().map((row) => names.flatMap((name) => held(row, name)))]);
}

const fileName = (ending) => `${data.title.replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 60) || "runs"}${ending}`;

const DRAWN = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "opacity", "font-family", "font-size", "text-anchor"];

/** The plot with its axes' names and legend, on a canvas. */
async function picture() {
  const svg = $("plot").querySelector("svg");
  const copy = svg.cloneNode(true);
  const originals = svg.querySelectorAll("*");
  copy.querySelectorAll("*").forEach((element, place) => {
    const style = getComputedStyle(originals[place]);
    for (const name of DRAWN) element.style.setProperty(name, style.getPropertyValue(name));
  });
  const { width, height } = svg.getBoundingClientRect();
  const drawn = new Image();
  drawn.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await drawn.decode();
  const keys = plotKeys(colours(plot.colour), front(plot.dots));
  const canvas = make("canvas", { width: width * SCALE, height: (height + 34 + 18 * Math.ceil(keys.length / 2)) * SCALE });
  const pen = canvas.getContext("2d");
  const style = getComputedStyle($("plot").closest(".panel"));
  pen.scale(SCALE, SCALE);
  pen.fillStyle = style.backgroundColor;
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(drawn, 0, 20, width, height);
  pen.font = `12px ${style.fontFamily}`;
  pen.fillStyle = style.color;
  pen.fillText(`↑ ${upName()}`, 4, 14);
  pen.textAlign = "right";
  pen.fillText(`${plot.x} →`, width - 14, 14);
  pen.textAlign = "left";
  keys.forEach(({ paint, said }, place) => {
    const [left, top] = [14 + (place % 2) * (width / 2), height + 38 + 18 * Math.floor(place / 2)];
    if (paint) {
      pen.fillStyle = paint;
      pen.fillRect(left, top - 10, 10, 10);
      pen.fillStyle = style.color;
    }
    pen.fillText(said, left + (paint ? 16 : 0), top, width / 2 - 34);
  });
  return canvas;
}

const LISTS = ["plot-y", "plot-x", "plot-colour", "rows", "baseline", "grid-rows", "grid-columns", "trace", "scale"];

/** The state in words, as pairs of a name and a value. */
function written() {
  const pairs = LISTS.map((id) => [id, $(id).value]);
  pairs.push(["filter", state.filter], ["only", state.only ? "yes" : ""]);
  pairs.push(["sort", table.sort === null ? "" : `${table.down ? "-" : ""}${table.sort}`]);
  pairs.push(["columns", JSON.stringify([...table.columns])], ["size", $("size").value]);
  pairs.push(["frame", String(Math.floor(player.time * player.fps + 1e-6))]);
  pairs.push(["selected", JSON.stringify([...selected].map(identity))]);
  return pairs;
}

const identity = (index) => [String(value(index, "run")), String(value(index, "clip"))];
const link = { start: new Map(), timer: 0 };

/** Writes what differs from the page as first opened behind the # of its address. */
function writeLink() {
  const changed = new URLSearchParams(written().filter(([name, held]) => link.start.get(name) !== held)).toString();
  if (location.hash.slice(1) !== changed) history.replaceState(null, "", `#${changed}`);
}

function listIn(text) {
  try {
    const held = JSON.parse(text);
    return Array.isArray(held) ? held : [];
  } catch {
    return [];
  }
}

/** Restores the state that an address holds; what does not fit these runs stays as the page was first opened. */
function readLink() {
  const told = new Map([...link.start, ...new URLSearchParams(location.hash.slice(1))]);
  for (const id of LISTS) {
    const [list, held] = [$(id), told.get(id)];
    if (list.value === held || ![...list.options].some((choice) => choice.value === held)) continue;
    list.value = held;
    list.dispatchEvent(new Event("change"));
  }
  const sort = told.get("sort");
  table.down = sort.startsWith("-");
  const name = table.down ? sort.slice(1) : sort;
  table.sort = name === "run" || columnNumber.has(name) ? name : null;
  setColumns(listIn(told.get("columns")));
  const size = Number(told.get("size"));
  if (size >= $("size").min && size <= $("size").max) setSize(size);
  const byName = new Map(all.map((index) => [JSON.stringify(identity(index)), index]));
  selected.clear();
  for (const one of listIn(told.get("selected"))) if (byName.has(JSON.stringify(one))) selected.add(byName.get(JSON.stringify(one)));
  state.only = told.get("only") === "yes" && selected.size > 0;
  $("filter").value = state.filter = told.get("filter");
  refilter();
  tell("selected");
  const frame = Number(told.get("frame"));
  if (Number.isFinite(frame)) setTime(frame / player.fps);
}

function startExport() {
  $("csv").addEventListener("click", () => save(new Blob([csv()], { type: "text/csv" }), fileName(".csv")));
  $("png").addEventListener("click", async () => (await picture()).toBlob((content) => save(content, fileName(".png"))));
  $("link").addEventListener("click", async () => {
    writeLink();
    try {
      await navigator.clipboard.writeText(location.href);
      $("link").textContent = "Link copied";
    } catch {
      $("link").textContent = "Link is in the address";
    }
    setTimeout(() => ($("link").textContent = "Copy link"), 2000);
  });
  link.start = new Map(written());
  const later = () => {
    clearTimeout(link.timer);
    link.timer = setTimeout(writeLink, 250);
  };
  if (location.hash.length > 1) readLink();
  for (const id of [...LISTS, "size"]) $(id).addEventListener("change", later);
  state.listeners.push((what) => (what === "time" ? !player.playing && later() : later()));
  addEventListener("hashchange", readLink);
}
