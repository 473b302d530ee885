// The trade-off: any number against any other. Points, boxes and arrow keys select runs.
const plot = { x: null, y: null, colour: null, points: [], current: -1, drag: null };
const MARGIN = { left: 62, right: 14, top: 10, bottom: 38 };
const HEIGHT = 340;

/** A scale from values to pixels, by powers of ten where positive values span much, with its ticks. */
function scaleOf(values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const log = low > 0 && high / low > 3;
  const map = log ? Math.log10 : (x) => x;
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
  const [a, b] = [map(low), map(high)];
  const edge = (b - a) * 0.06;
  const place = (value) => from + ((map(value) - a + edge) / (b - a + 2 * edge)) * (to - from);
  const few = [...new Set(values)];
  return { place, ticks: few.length <= 6 && log ? few : log ? logTicks(low, high) : linearTicks(low, high) };
}

function linearTicks(low, high) {
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const ticks = [];
  for (let count = Math.ceil(low / step); count * step <= high + step * 1e-9; count++) ticks.push(Number((count * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const decades = Math.log10(high / low);
  const factors = decades > 3 ? [1] : decades > 1.5 ? [1, 3] : [1, 2, 5];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const factor of factors) {
      const tick = Number((factor * 10 ** power).toPrecision(12));
      if (tick >= low * 0.999 && tick <= high * 1.001) ticks.push(tick);
    }
  }
  return ticks;
}

/** Points that no other beats in both: least x, best y; none where no direction of y is better. */
function front(points) {
  const wanted = data.columns[columnNumber.get(plot.y)].better;
  if (wanted === null) return [];
  const kept = [];
  for (const point of [...points].sort((a, b) => a.x - b.x || (isBetter(wanted, a.y, b.y) ? -1 : 1))) {
    if (kept.length === 0 || isBetter(wanted, point.y, kept.at(-1).y)) kept.push(point);
  }
  return kept;
}

function drawPlot() {
  const box = $("plot");
  const width = Math.max(260, box.clientWidth);
  plot.points = state.shown
    .map((index) => ({ index, x: number(value(index, plot.x)), y: number(value(index, plot.y)) }))
    .filter((point) => Number.isFinite(point.x) && Number.isFinite(point.y));
  const left = state.shown.length - plot.points.length;
  if (plot.points.length === 0) {
    box.replaceChildren(make("p", { className: "quiet" }, `No shown run has both ${plot.x} and ${plot.y}.`));
    return sayPlot("");
  }
  const x = scaleOf(plot.points.map((point) => point.x), MARGIN.left, width - MARGIN.right);
  const y = scaleOf(plot.points.map((point) => point.y), HEIGHT - MARGIN.bottom, MARGIN.top);
  const colour = colours(plot.colour);
  const svg = make("svg:svg", { viewBox: `0 0 ${width} ${HEIGHT}`, tabindex: 0, role: "application", "aria-label": `${plot.y} against ${plot.x}. Arrow keys move between runs, Enter selects.` });
  for (const tick of x.ticks) {
    svg.append(
      make("svg:line", { class: "axis", x1: x.place(tick), x2: x.place(tick), y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
      make("svg:text", { x: x.place(tick), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, text(tick)),
    );
  }
  for (const tick of y.ticks) {
    svg.append(
      make("svg:line", { class: "axis", x1: MARGIN.left, x2: width - MARGIN.right, y1: y.place(tick), y2: y.place(tick) }),
      make("svg:text", { x: MARGIN.left - 8, y: y.place(tick) + 4, "text-anchor": "end" }, text(tick)),
    );
  }
  svg.append(
    make("svg:text", { x: width - MARGIN.right, y: HEIGHT - 4, "text-anchor": "end" }, `${plot.x} →`),
    make("svg:text", { x: 4, y: HEIGHT - 4 }, left > 0 ? `${left} without a value` : ""),
  );
  const line = (points) => points.map((point) => `${x.place(point.x)},${y.place(point.y)}`).join(" ");
  const best = front(plot.points);
  svg.append(make("svg:polyline", { class: "front", points: line(best) }));
  for (const [level, paint] of colour) {
    const group = plot.points.filter((point) => value(point.index, plot.colour) === level).sort((a, b) => a.x - b.x);
    const chain = group.length > 1 && new Set(group.map((point) => point.x)).size === group.length;
    if (chain && plot.colour !== plot.x) svg.append(make("svg:polyline", { class: "link", stroke: paint, points: line(group) }));
  }
  for (const point of plot.points) {
    [point.left, point.top] = [x.place(point.x), y.place(point.y)];
    const paint = colour.get(value(point.index, plot.colour));
    point.mark = make("svg:circle", { cx: point.left, cy: point.top, r: plot.points.length > 200 ? 4 : 6, fill: paint, "data-index": point.index });
    svg.append(point.mark);
  }
  plot.current = -1;
  listenToPlot(svg);
  const keys = [...colour].slice(0, 12).map(([level, paint]) => make("span", { className: "key" }, swatch(paint), `${plot.colour} ${text(level)}`));
  if (colour.size > 12) keys.push(make("span", {}, `and ${colour.size - 12} more`));
  if (best.length > 1) keys.push(make("span", { className: "key" }, `┄ best ${plot.y} for its ${plot.x}`));
  box.replaceChildren(svg, make("div", { className: "legend" }, ...keys));
  markPlot();
  sayPlot("");
}

function swatch(paint) {
  const key = make("i");
  key.style.background = paint;
  return key;
}

function markPlot() {
  plot.points.forEach((point, place) => {
    const on = selected.has(point.index);
    const classes = ["point", on && "chosen", !on && selected.size > 0 && "faded", place === plot.current && "current"];
    point.mark?.setAttribute("class", classes.filter(Boolean).join(" "));
  });
}

function sayPlot(said) {
  $("plot-said").textContent = said || "Point at a run; click, drag a box, or use arrow keys and Enter to select.";
}

function sayPoint(point) {
  sayPlot(`Run ${label(point.index)}: ${plot.y} ${text(point.y)} at ${plot.x} ${text(point.x)}. ${described(point.index)}`);
}

function listenToPlot(svg) {
  const at = (event) => {
    const frame = svg.getBoundingClientRect();
    return { left: event.clientX - frame.left, top: event.clientY - frame.top };
  };
  const nearest = (place) => {
    let [best, distance] = [null, 22];
    for (const point of plot.points) {
      const away = Math.hypot(point.left - place.left, point.top - place.top);
      if (away < distance) [best, distance] = [point, away];
    }
    return best;
  };
  const frame = make("svg:rect", { class: "box", width: 0, height: 0 });
  svg.append(frame);
  const corners = (a, b) => ({ left: Math.min(a.left, b.left), right: Math.max(a.left, b.left), top: Math.min(a.top, b.top), bottom: Math.max(a.top, b.top) });
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    plot.drag = at(event);
    if (event.pointerType === "mouse") svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const place = at(event);
    if (plot.drag && event.pointerType === "mouse") {
      const box = corners(plot.drag, place);
      const shape = { x: box.left, y: box.top, width: box.right - box.left, height: box.bottom - box.top };
      for (const [name, size] of Object.entries(shape)) frame.setAttribute(name, size);
    }
    const point = nearest(place);
    plot.current = plot.points.indexOf(point);
    markPlot();
    point ? sayPoint(point) : sayPlot("");
  });
  svg.addEventListener("pointerup", (event) => {
    if (!plot.drag) return;
    const [place, start] = [at(event), plot.drag];
    plot.drag = null;
    frame.setAttribute("width", 0);
    if (Math.hypot(place.left - start.left, place.top - start.top) < 6) {
      const point = nearest(place);
      if (point) toggle(point.index);
    } else if (event.pointerType === "mouse") {
      const box = corners(start, place);
      const inside = plot.points.filter((point) => point.left >= box.left && point.left <= box.right && point.top >= box.top && point.top <= box.bottom);
      select(inside.map((point) => point.index), true);
    }
  });
  svg.addEventListener("pointercancel", () => (plot.drag = null));
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
    const order = [...plot.points].sort((a, b) => a.x - b.x || a.y - b.y);
    const held = order.indexOf(plot.points[plot.current]);
    if (event.key in steps) {
      const point = order[Math.min(order.length - 1, Math.max(0, held + steps[event.key]))];
      plot.current = plot.points.indexOf(point);
      markPlot();
      sayPoint(point);
    } else if ((event.key === "Enter" || event.key === " ") && held >= 0) toggle(order[held].index);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}

function drawSlopes() {
  const known = data.slopes.filter((row) => row.slope !== null);
  if (known.length === 0) return;
  $("slopes").hidden = false;
  const settings = Object.keys(known[0]).filter((name) => !["order", "slope", "from", "to"].includes(name));
  const head = [...settings, "order", "measured slope", "over evaluations"];
  const body = known.map((row) => [...settings.map((name) => text(row[name])), text(row.order), row.slope.toFixed(2), `${row.from} to ${row.to}`]);
  $("slopes").replaceChildren(
    make("table", {}, make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...body.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, cell)))))),
  );
}

function startPlot() {
  const numbers = data.columns.map((column) => column.name).filter((name) => numeric(name));
  const words = settings.length ? settings : ["run"];
  const prefer = (wanted, names) => wanted.find((name) => names.includes(name)) ?? names[0] ?? null;
  plot.y = prefer(["sampling_error", ...metrics, "sample_s", "wall_s"], numbers);
  plot.x = prefer(["measured_evaluations", "wall_s"], numbers.filter((name) => name !== plot.y));
  plot.colour = prefer(["solver"], [...words].sort((a, b) => levels(a).length - levels(b).length));
  for (const [id, key, names] of [["plot-y", "y", numbers], ["plot-x", "x", numbers], ["plot-colour", "colour", words]]) {
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
  new ResizeObserver(() => drawPlot()).observe($("plot"));
  drawSlopes();
}
