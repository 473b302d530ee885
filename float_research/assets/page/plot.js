// The trade-off: any number against any other or against a setting, drawn by Observable Plot. Points, boxes and arrow
// keys select runs. A dot may stand for several runs: the mean over seeds or clips, with its standard deviation.
const plot = { x: null, y: null, colour: null, over: "", dots: [], current: -1, drag: null };
const REACH = 22;
/** Pixels from a dot within which a pointer reaches it. */

/** The settings that are averaged over, unless they are shown themselves. */
function averaged() {
  return plot.over.split(" ").filter((name) => name && ![plot.x, plot.colour].includes(name));
}

/** The dots: one for each shown clip, or for those alike in all settings but the averaged ones. */
function dotsOf() {
  const over = averaged();
  const [x, y] = [numeric(plot.x) ? number : (held) => held, number];
  const stacked = new Map();
  for (const index of state.shown) {
    const [across, up] = [x(value(index, plot.x)), y(value(index, plot.y))];
    if (!Number.isFinite(up) || across === null || (numeric(plot.x) && !Number.isFinite(across))) continue;
    const kept = settings.filter((name) => !over.includes(name) && !(over.includes("clip") && inputs.has(name)));
    const key = over.length ? JSON.stringify(kept.map((name) => value(index, name))) : index;
    if (!stacked.has(key)) stacked.set(key, { indices: [], xs: [], ys: [] });
    const held = stacked.get(key);
    held.indices.push(index);
    held.xs.push(across);
    held.ys.push(up);
  }
  return [...stacked.values()].map(({ indices, xs, ys }) => ({
    indices,
    x: numeric(plot.x) ? d3.mean(xs) : text(xs[0]),
    y: d3.mean(ys),
    dx: numeric(plot.x) ? (d3.deviation(xs) ?? 0) : 0,
    dy: d3.deviation(ys) ?? 0,
    paint: value(indices[0], plot.colour),
  }));
}

/** Dots that no other beats in both: least x, best y; none where no direction of y is better. */
function front(dots) {
  const wanted = data.columns[columnNumber.get(plot.y)].better;
  if (wanted === null || !numeric(plot.x) || settings.includes(plot.x)) return [];
  const kept = [];
  for (const dot of [...dots].sort((a, b) => a.x - b.x || (isBetter(wanted, a.y, b.y) ? -1 : 1))) {
    if (kept.length === 0 || isBetter(wanted, dot.y, kept.at(-1).y)) kept.push(dot);
  }
  return kept;
}

/** An axis by powers of ten where positive values span much; the values themselves as ticks where they are few. */
function axisOf(name, values, width) {
  if (!numeric(name)) return { type: "point", domain: levels(name).map(text), label: null };
  const [low, high] = d3.extent(values);
  const type = low > 0 && high / low > 3 ? "log" : "linear";
  const few = [...new Set(plot.dots.map((dot) => (name === plot.x ? dot.x : dot.y)))];
  const even = low === high ? { domain: low === 0 ? [-1, 1] : d3.sort([low * 0.5, low * 2]), ticks: few } : {};
  const ticks = few.length <= 6 && settings.concat("measured_evaluations").includes(name) ? few : Math.max(3, Math.round(width / 80));
  // Of many ticks on a logarithmic axis, D3 leaves out the labels that would be too close.
  return { type, ticks, labels: ticks === few || type === "linear" ? { text: (tick) => text(tick) } : { tickFormat: (tick) => text(tick) }, label: null, ...even };
}

function drawPlot() {
  const box = $("plot");
  const width = Math.max(260, box.clientWidth);
  const height = Math.round(Math.max(200, Math.min(340, innerWidth < BESIDE ? 340 : $("side").clientHeight * 0.32)));
  plot.dots = dotsOf();
  const left = state.shown.length - plot.dots.reduce((sum, dot) => sum + dot.indices.length, 0);
  if (plot.dots.length === 0) {
    box.replaceChildren(make("p", { className: "quiet" }, `No shown run has both ${plot.x} and ${plot.y}.`));
    return sayPlot("");
  }
  const colour = colours(plot.colour);
  const best = front(plot.dots);
  const ends = (name, spread) => plot.dots.flatMap((dot) => (dot[spread] ? [dot[name] - dot[spread], dot[name] + dot[spread]] : [dot[name]]));
  const [x, y] = [axisOf(plot.x, ends("x", "dx"), width), axisOf(plot.y, ends("y", "dy"), height * 2)];
  const low = (name, axis) => (dot) => (axis.type === "log" ? Math.max(dot[name] - dot[`d${name}`], dot[name] / 100) : dot[name] - dot[`d${name}`]);
  if (y.type === "log" && plot.dots.some((dot) => dot.y - dot.dy <= 0)) y.type = "linear";
  const chains = [...colour.keys()].map((level) => plot.dots.filter((dot) => dot.paint === level)).filter((group) => group.length > 1 && new Set(group.map((dot) => dot.x)).size === group.length);
  const linked = numeric(plot.x) && plot.colour !== plot.x ? chains.flat() : [];
  const paint = (dot) => colour.get(dot.paint);
  const svg = Plot.plot({
    width,
    height,
    marginLeft: 58,
    marginRight: 14,
    marginTop: 10,
    marginBottom: 28,
    inset: 14,
    x,
    y,
    color: { type: "identity" },
    style: { background: "none", fontSize: "12px", overflow: "visible" },
    marks: [
      Plot.gridX({ stroke: "var(--line)", strokeOpacity: 1, ticks: x.ticks }),
      Plot.gridY({ stroke: "var(--line)", strokeOpacity: 1, ticks: y.ticks }),
      Plot.axisX({ fill: "var(--quiet)", tickSize: 0, ticks: x.ticks, ...x.labels }),
      Plot.axisY({ fill: "var(--quiet)", tickSize: 0, ticks: y.ticks, ...y.labels }),
      Plot.line(best, { x: "x", y: "y", stroke: "var(--quiet)", strokeDasharray: "2 4", strokeWidth: 1 }),
      Plot.line(linked, { x: "x", y: "y", z: "paint", stroke: paint, strokeOpacity: 0.55, sort: "x" }),
      Plot.ruleX(plot.dots.filter((dot) => dot.dy > 0), { x: "x", y1: low("y", y), y2: (dot) => dot.y + dot.dy, stroke: paint, strokeOpacity: 0.7, marker: "tick" }),
      Plot.ruleY(plot.dots.filter((dot) => dot.dx > 0), { y: "y", x1: low("x", x), x2: (dot) => dot.x + dot.dx, stroke: paint, strokeOpacity: 0.7, marker: "tick" }),
      Plot.dot(plot.dots, { x: "x", y: "y", r: plot.dots.length > 200 ? 4 : 6, fill: paint, sort: null }),
    ],
  });
  svg.setAttribute("tabindex", 0);
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-label", `${plot.y} against ${plot.x}. Arrow keys move between runs, Enter selects.`);
  const marks = svg.querySelectorAll("g[aria-label='dot'] circle");
  plot.dots.forEach((dot, place) => {
    [dot.left, dot.top] = [svg.scale("x").apply(dot.x), svg.scale("y").apply(dot.y)];
    dot.mark = marks[place];
    dot.mark.dataset.index = dot.indices.join(" ");
  });
  plot.current = -1;
  listenToPlot(svg);
  box.replaceChildren(
    make("div", { className: "axes" }, make("span", {}, `↑ ${plot.y}`), make("span", {}, left > 0 ? `${left} without a value` : ""), make("span", {}, `${plot.x} →`)),
    svg,
    make("div", { className: "legend" }, ...plotKeys(colour, best).map(({ paint, said }) => make("span", { className: "key" }, paint ? swatch(paint) : null, said))),
  );
  markPlot();
  sayPlot("");
}

/** The legend's entries, for the page and for the picture. */
function plotKeys(colour, best) {
  const keys = [...colour].slice(0, 12).map(([level, paint]) => ({ paint, said: `${plot.colour} ${text(level)}` }));
  if (colour.size > 12) keys.push({ paint: null, said: `and ${colour.size - 12} more` });
  if (best.length > 1) keys.push({ paint: null, said: `┄ best ${plot.y} for its ${plot.x}` });
  if (averaged().length) keys.push({ paint: null, said: `mean ± standard deviation over ${averaged().join(" and ")}` });
  return keys;
}

function swatch(paint) {
  const key = make("i");
  key.style.background = paint;
  return key;
}

const isChosen = (dot) => dot.indices.every((index) => selected.has(index));

function markPlot() {
  plot.dots.forEach((dot, place) => {
    const on = isChosen(dot);
    const classes = ["point", on && "chosen", selected.size > 0 && !dot.indices.some((index) => selected.has(index)) && "faded", place === plot.current && "current"];
    dot.mark.setAttribute("class", classes.filter(Boolean).join(" "));
  });
}

function sayPlot(said) {
  $("plot-said").textContent = said || "Point at a run; click, drag a box, or use arrow keys and Enter to select.";
}

function sayDot(dot) {
  const spread = (size) => (size ? ` ± ${text(size)}` : "");
  const runs = [...new Set(dot.indices.map((index) => value(index, "run")))];
  const who = dot.indices.length === 1 ? `Run ${label(dot.indices[0])}` : `Mean of ${dot.indices.length} (${runs.length === 1 ? "run" : "runs"} ${runs.join(", ")})`;
  const across = numeric(plot.x) ? text(dot.x) : dot.x;
  sayPlot(`${who}: ${plot.y} ${text(dot.y)}${spread(dot.dy)} at ${plot.x} ${across}${spread(dot.dx)}. ${described(dot.indices[0], averaged())}`);
}

const toggleDot = (dot) => select(dot.indices, !isChosen(dot));

function listenToPlot(svg) {
  const at = (event) => {
    const frame = svg.getBoundingClientRect();
    return { left: event.clientX - frame.left, top: event.clientY - frame.top };
  };
  const nearest = (place) => {
    const away = (dot) => Math.hypot(dot.left - place.left, dot.top - place.top);
    const dot = d3.least(plot.dots, away);
    return away(dot) < REACH ? dot : null;
  };
  const frame = make("svg:rect", { class: "box", width: 0, height: 0 });
  svg.append(frame);
  const corners = (a, b) => ({ left: Math.min(a.left, b.left), right: Math.max(a.left, b.left), top: Math.min(a.top, b.top), bottom: Math.max(a.top, b.top) });
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plot.drag = at(event);
    if (event.pointerType !== "mouse") return;
    event.preventDefault(); // else the drag would select the labels of the axes
    svg.focus({ preventScroll: true });
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const place = at(event);
    if (plot.drag && event.pointerType === "mouse") {
      const box = corners(plot.drag, place);
      const shape = { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
      for (const [name, size] of Object.entries(shape)) frame.setAttribute(name, size);
    }
    const dot = nearest(place);
    plot.current = plot.dots.indexOf(dot);
    markPlot();
    dot ? sayDot(dot) : sayPlot("");
  });
  svg.addEventListener("pointerup", (event) => {
    if (!plot.drag) return;
    const [place, start] = [at(event), plot.drag];
    plot.drag = null;
    frame.setAttribute("width", 0);
    if (Math.hypot(place.left - start.left, place.top - start.top) < 6) {
      const dot = nearest(place);
      if (dot) toggleDot(dot);
    } else if (event.pointerType === "mouse") {
      const box = corners(start, place);
      const inside = plot.dots.filter((dot) => dot.left >= box.left && dot.left <= box.right && dot.top >= box.top && dot.top <= box.bottom);
      select(inside.flatMap((dot) => dot.indices), true);
    }
  });
  svg.addEventListener("pointercancel", () => (plot.drag = null));
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
    const order = [...plot.dots].sort((a, b) => a.left - b.left || b.top - a.top);
    const held = order.indexOf(plot.dots[plot.current]);
    if (event.key in steps) {
      const dot = order[Math.min(order.length - 1, Math.max(0, held + steps[event.key]))];
      plot.current = plot.dots.indexOf(dot);
      markPlot();
      sayDot(dot);
    } else if ((event.key === "Enter" || event.key === " ") && held >= 0) toggleDot(order[held]);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function drawSlopes() {
  const known = data.slopes.filter((row) => row.slope !== null);
  $("slopes-box").hidden = known.length === 0;
  if (known.length === 0) return;
  const names = Object.keys(known[0]).filter((name) => !["order", "slope", "from", "to"].includes(name));
  const head = [...names, "order", "measured slope", "over evaluations"];
  const body = known.map((row) => [...names.map((name) => text(row[name])), text(row.order), row.slope.toFixed(2), `${row.from} to ${row.to}`]);
  $("slopes").replaceChildren(
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...body.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))))),
  );
}

/** Over what dots may be averaged: seeds and clips, where these vary. */
function overs() {
  const vary = ["seed", "clip"].filter((name) => settings.includes(name));
  return ["", ...vary, ...(vary.length > 1 ? [vary.join(" ")] : [])];
}

function startPlot() {
  const numbers = data.columns.map((column) => column.name).filter((name) => numeric(name));
  const words = settings.length ? settings : ["run"];
  const across = [...numbers, ...settings.filter((name) => !numeric(name))];
  const prefer = (wanted, names) => wanted.find((name) => names.includes(name)) ?? names[0] ?? null;
  plot.y = prefer(["sampling_error", ...metrics, "sample_s", "wall_s"], numbers);
  plot.colour = prefer(["solver"], [...words].sort((a, b) => levels(a).length - levels(b).length));
  const swept = settings.filter((name) => name !== plot.colour && name !== "seed");
  const wanted = ["measured_evaluations", ...swept, "wall_s"].filter((name) => levels(name).length > 1);
  plot.x = prefer(wanted, across.filter((name) => name !== plot.y));
  plot.over = settings.includes("seed") ? "seed" : "";
  $("plot-over").append(...overs().map((over) => option(over ? `mean ± sd over ${over.replace(" ", " and ")}` : several ? "each clip" : "each run", over)));
  $("plot-over").parentElement.hidden = overs().length === 1;
  for (const [id, key, names] of [["plot-y", "y", numbers], ["plot-x", "x", across], ["plot-colour", "colour", words], ["plot-over", "over", []]]) {
    $(id).append(...names.map((name) => option(name)));
    $(id).value = plot[key];
    $(id).addEventListener("change", () => {
      plot[key] = $(id).value;
      drawPlot();
      if (key === "y") tell("metric");
    });
  }
  if (plot.x === null) {
    $("plot").append(make("p", { className: "quiet" }, "The runs have no numbers to plot."));
    return;
  }
  state.listeners.push((what) => (what === "selected" ? markPlot() : what === "shown" && drawPlot()));
  new ResizeObserver(() => drawPlot()).observe($("plot-box"));
  drawSlopes();
}
