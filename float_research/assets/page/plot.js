// The trade-off: any number against any other or against a setting, drawn by Observable Plot. Points, boxes and arrow
// keys select runs. A dot is a clip, or a setting with its interval, as in the table.
const plot = { x: null, y: null, colour: null, dots: [], current: -1, drag: null };
const REACH = 22;
/** Pixels from a dot within which a pointer reaches it. */

/** Whether dots are settings: not if an axis or the colours are of something in which their clips differ. */
const dotsAreSettings = () => view.bySetting && ![plot.x, plot.y, plot.colour].some((name) => within.has(name));
const showsDifferences = () => dotsAreSettings() && view.baseline !== null && counted.has(plot.y);

/** The dots of all shown rows that have both numbers. Differences are up, not across. */
function dotsOf() {
  const rows = dotsAreSettings() ? rowsShown() : singly(state.shown);
  const dots = rows.map((row) => {
    const [across, up] = [cellOf(row, plot.x, null), cellOf(row, plot.y, showsDifferences() ? view.baseline : null)];
    const zero = showsDifferences() && isBaseline(row);
    const x = numeric(plot.x) ? number(across.value) : across.value === null ? null : across.shown;
    return { ...row, across, up: zero ? { ...up, interval: null } : up, x, y: zero ? 0 : number(up.value), paint: value(row.indices[0], plot.colour) };
  });
  return dots.filter(({ x, y }) => Number.isFinite(y) && x !== null && (!numeric(plot.x) || Number.isFinite(x)));
}

/** Dots that no other beats in both: least x, best y; none where no direction of y is better. */
function front(dots) {
  const wanted = data.columns[columnNumber.get(plot.y)].better;
  if (wanted === null || !numeric(plot.x) || settings.includes(plot.x) || showsDifferences()) return [];
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

/** The dots of each colour, and by how many pixels they are moved aside where their intervals would hide each other. */
function apart(levels) {
  const groups = levels.map((level) => plot.dots.filter((dot) => dot.paint === level)).filter((dots) => dots.length);
  const shared = new Set(plot.dots.map((dot) => dot.x)).size < plot.dots.length && plot.dots.some((dot) => dot.up.interval);
  const step = shared ? Math.min(8, 28 / groups.length) : 0;
  return groups.map((dots, place) => {
    const aside = step * (place - (groups.length - 1) / 2);
    for (const dot of dots) dot.aside = aside;
    return [dots, aside];
  });
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
  const ends = (name, side) => plot.dots.flatMap((dot) => (dot[side].interval ? [dot[side].low, dot[side].high] : [dot[name]]));
  const [x, y] = [axisOf(plot.x, ends("x", "across"), width), axisOf(plot.y, ends("y", "up"), height * 2)];
  const chains = [...colour.keys()].map((level) => plot.dots.filter((dot) => dot.paint === level)).filter((group) => group.length > 1 && new Set(group.map((dot) => dot.x)).size === group.length);
  const linked = new Set(numeric(plot.x) && plot.colour !== plot.x ? chains.flat() : []);
  const paint = (dot) => colour.get(dot.paint);
  const byColour = apart([...colour.keys()]);
  plot.dots = byColour.flatMap(([dots]) => dots);
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
      showsDifferences() ? Plot.ruleY([0], { stroke: "var(--ink)", strokeOpacity: 0.6 }) : null,
      ...byColour.map(([dots, dx]) => [
        Plot.line(dots.filter((dot) => linked.has(dot)), { x: "x", y: "y", stroke: paint, strokeOpacity: 0.55, sort: "x", dx }),
        Plot.ruleX(dots.filter((dot) => dot.up.interval), { x: "x", y1: (dot) => dot.up.low, y2: (dot) => dot.up.high, stroke: paint, strokeOpacity: 0.7, marker: "tick", dx }),
        Plot.ruleY(dots.filter((dot) => dot.across.interval), { y: "y", x1: (dot) => dot.across.low, x2: (dot) => dot.across.high, stroke: paint, strokeOpacity: 0.7, marker: "tick", dx }),
        Plot.dot(dots, { x: "x", y: "y", r: plot.dots.length > 200 ? 4 : 6, fill: paint, sort: null, dx }),
        Plot.text(dots.filter((dot) => dot.up.mark), { x: "x", y: "y", text: (dot) => SIGNS[dot.up.mark], dx: dx < 0 ? dx - 11 : dx + 11, dy: -9, fill: "var(--ink)" }),
      ]),
    ],
  });
  svg.setAttribute("tabindex", 0);
  svg.setAttribute("role", "application");
  svg.setAttribute("aria-label", `${plot.y} against ${plot.x}. Arrow keys move between runs, Enter selects.`);
  const marks = svg.querySelectorAll("g[aria-label='dot'] circle");
  plot.dots.forEach((dot, place) => {
    [dot.left, dot.top] = [svg.scale("x").apply(dot.x) + dot.aside, svg.scale("y").apply(dot.y)];
    dot.mark = marks[place];
    dot.mark.dataset.index = dot.indices.join(" ");
  });
  plot.current = -1;
  listenToPlot(svg);
  box.replaceChildren(
    make("div", { className: "axes" }, make("span", {}, `↑ ${upName()}`), make("span", {}, left > 0 ? `${left} without a value` : ""), make("span", {}, `${plot.x} →`)),
    svg,
    make("div", { className: "legend" }, ...plotKeys(colour, best).map(({ paint, said }) => make("span", { className: "key" }, paint ? swatch(paint) : null, said))),
  );
  markPlot();
  sayPlot("");
}

const SAID = { best: "best", alike: "not separable from it", better: "better", worse: "worse", differs: "different" };
const upName = () => (showsDifferences() ? measuredName(plot.y) : plot.y);

/** The legend's entries, for the page and for the picture. */
function plotKeys(colour, best) {
  const keys = plot.colour === plot.x ? [] : [...colour].slice(0, 12).map(([level, paint]) => ({ paint, said: `${plot.colour} ${text(level)}` }));
  if (keys.length && colour.size > 12) keys.push({ paint: null, said: `and ${colour.size - 12} more` });
  if (best.length > 1) keys.push({ paint: null, said: `┄ best ${plot.y} for its ${plot.x}` });
  if (dotsAreSettings() && grouped) keys.push({ paint: null, said: showsDifferences() ? "┃ 95 % interval of the difference" : "┃ mean and 95 % interval" });
  const marks = new Set(plot.dots.map((dot) => dot.up.mark).filter(Boolean));
  if (marks.size) keys.push({ paint: null, said: Object.keys(SAID).filter((mark) => marks.has(mark)).map((mark) => `${SIGNS[mark]} ${SAID[mark]}`).join(", ") });
  return keys;
}

function swatch(paint) {
  const key = make("i");
  key.style.background = paint;
  return key;
}

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
  const runs = runsOf(dot.indices);
  const who = dot.setting === null ? `Run ${label(dot.indices[0])}` : `${dot.indices.length} clips (${runs.length === 1 ? "run" : "runs"} ${brief(runs)})`;
  const words = ({ shown, interval }) => (interval ? `${shown} ${interval}` : shown);
  const up = showsDifferences() && isBaseline(dot) ? "0 (the baseline)" : words(dot.up);
  const mark = dot.up.mark ? ` (${SAID[dot.up.mark].replace(" it", " the best")})` : "";
  sayPlot(`${who}: ${upName()} ${up}${mark} at ${plot.x} ${words(dot.across)}. ${described(dot.indices[0], dot.setting === null ? [] : [...within])}`);
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

function startPlot() {
  const numbers = data.columns.map((column) => column.name).filter((name) => numeric(name));
  const words = settings.length ? settings : ["run"];
  const across = [...numbers, ...settings.filter((name) => !numeric(name))];
  const prefer = (wanted, names) => wanted.find((name) => names.includes(name)) ?? names[0] ?? null;
  plot.y = prefer(["sampling_error", ...metrics, "sample_s", "wall_s"], numbers);
  plot.colour = prefer(["solver"], [...(compared.names.length ? compared.names : words)].sort((a, b) => levels(a).length - levels(b).length));
  const swept = compared.names.filter((name) => name !== plot.colour);
  const wanted = ["measured_evaluations", ...swept, "wall_s", ...compared.names].filter((name) => levels(name).length > 1);
  plot.x = prefer(wanted, across.filter((name) => name !== plot.y));
  for (const [id, key, names] of [["plot-y", "y", numbers], ["plot-x", "x", across], ["plot-colour", "colour", words]]) {
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
  state.listeners.push((what) => (what === "selected" ? markPlot() : isOfRows(what) && drawPlot()));
  new ResizeObserver(() => drawPlot()).observe($("plot-box"));
  drawSlopes();
}
