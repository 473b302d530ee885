// Traces under the videos: loaded a clip at a time, and drawn on canvases.
const traces = { shown: null, own: false, extent: data.extent };
const FAMILIES = ["direction", "emotion"];
const NOT_TRACES = new Set(["frame", "time_s", "window"]);
const BACKGROUND = "audio_level";
/** Bands behind the traces: the trace that tells them, where it holds, its label and colour. */
const BANDS = [
  { name: "speech", label: "silence", holds: (held) => held < 0.5, paint: "--hush" },
  { name: "bilabial", label: "m, b, p", holds: (held) => held >= 0.5, paint: "--closure" },
];

const members = (family) => Object.keys(traces.extent).filter((name) => name.startsWith(`${family}_`));

/** What can be chosen: single traces, and families of them drawn together. */
function traceChoices() {
  const bands = new Set(BANDS.map((band) => band.name));
  const names = Object.keys(traces.extent).filter((name) => !NOT_TRACES.has(name) && !bands.has(name));
  const families = FAMILIES.filter((family) => members(family).length > 1);
  const single = names.filter((name) => !families.some((family) => name.startsWith(`${family}_`)));
  return [...single.filter((name) => name !== BACKGROUND), ...families, ...single.filter((name) => name === BACKGROUND)];
}

const shownTraces = () => (FAMILIES.includes(traces.shown) ? members(traces.shown) : [traces.shown]);
const hue = (place, count) => (count <= PALETTE.length ? PALETTE[place] : `hsl(${(360 * place) / count} 55% 55%)`);

function drawLegend() {
  const keys = [];
  if (traces.shown !== null) {
    const names = shownTraces();
    const brief = names.length > 12 ? [0, names.length - 1] : names.keys();
    for (const place of brief) {
      const paint = names.length > 1 ? hue(place, names.length) : "var(--accent)";
      keys.push(make("span", { className: "key" }, swatch(paint), names[place]));
    }
    if (names.length > 12) keys.splice(1, 0, make("span", {}, "to"));
    if (traces.shown !== BACKGROUND && BACKGROUND in traces.extent && traces.shown !== "emotion") {
      keys.push(make("span", { className: "key" }, swatch("var(--shade)"), BACKGROUND));
    }
    for (const band of traces.shown === "emotion" ? [] : BANDS.filter(({ name }) => name in traces.extent)) {
      keys.push(make("span", { className: "key" }, swatch(`var(${band.paint})`), band.label));
    }
    if ("window" in traces.extent) keys.push(make("span", { className: "key" }, "┆ window begins"));
    const [low, high] = span(names);
    if (traces.shown !== "emotion") keys.push(make("span", {}, `${traces.own ? "in all" : "all"} from ${text(low)} to ${text(high)}`));
  }
  $("legend").replaceChildren(...keys);
}

/** Least and greatest value of some traces: in all clips, or in one whose columns are given. */
function span(names, columns = null) {
  const ends = names.map((name) => (columns ? extentOf(columns[name]) : traces.extent[name]));
  return [Math.min(...ends.map(([low]) => low)), Math.max(...ends.map(([, high]) => high))];
}

function extentOf(values) {
  const known = values.filter((held) => held !== null);
  return known.length ? [known.reduce((a, b) => Math.min(a, b)), known.reduce((a, b) => Math.max(a, b))] : [0, 1];
}

/** Draws the chosen traces of a clip over the common duration. */
function drawTrace(canvas, index, duration) {
  const columns = loaded("traces", index);
  if (!columns || traces.shown === null || canvas.clientWidth === 0) return;
  const [width, height, ratio] = [canvas.clientWidth, canvas.clientHeight, window.devicePixelRatio || 1];
  [canvas.width, canvas.height] = [width * ratio, height * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const style = getComputedStyle(canvas);
  const colour = (name) => style.getPropertyValue(name);
  const times = columns.time_s ?? columns.frame?.map((frame) => frame / data.clips[index].fps);
  if (!times) return;
  const left = (place) => ((times[place] ?? duration) / duration) * width;
  const levelOf = (name) => {
    const together = name === BACKGROUND ? [name] : shownTraces().filter((one) => one in columns);
    const [low, high] = span(together, traces.own ? columns : null);
    return (held) => height - 2 - ((held - low) / (high - low || 1)) * (height - 4);
  };
  if (traces.shown === "emotion") drawEmotions(pen, columns, left, height);
  else drawBands(pen, columns, left, height, colour);
  if (traces.shown !== "emotion" && BACKGROUND in columns && traces.shown !== BACKGROUND) {
    const level = levelOf(BACKGROUND);
    pen.fillStyle = colour("--shade");
    pen.beginPath();
    pen.moveTo(0, height);
    columns[BACKGROUND].forEach((held, place) => pen.lineTo(left(place), held === null ? height : level(held)));
    pen.lineTo(left(times.length - 1), height);
    pen.fill();
  }
  if (columns.window) {
    pen.strokeStyle = colour("--quiet");
    pen.setLineDash([2, 3]);
    columns.window.forEach((number, place) => {
      if (place > 0 && number !== columns.window[place - 1]) stroke(pen, [[left(place), 0], [left(place), height]]);
    });
    pen.setLineDash([]);
  }
  if (traces.shown === "emotion") return;
  const names = shownTraces().filter((name) => name in columns);
  pen.lineWidth = names.length > 1 ? 1 : 1.5;
  names.forEach((name, place) => {
    pen.strokeStyle = names.length > 1 ? hue(place, names.length) : colour("--accent");
    const level = levelOf(name);
    stroke(pen, columns[name].map((held, place) => (held === null ? null : [left(place), level(held)])));
  });
}

/** A line through points, broken where one is missing. */
function stroke(pen, points) {
  let open = false;
  pen.beginPath();
  for (const point of points) {
    if (point !== null) open ? pen.lineTo(...point) : pen.moveTo(...point);
    open = point !== null;
  }
  pen.stroke();
}

/** Where there is silence, and where a phone closes the lips: bands of the whole height, a frame each. */
function drawBands(pen, columns, left, height, colour) {
  const step = Math.ceil(left(1) - left(0));
  for (const { name, holds, paint } of BANDS) {
    pen.fillStyle = colour(paint);
    columns[name]?.forEach((held, place) => {
      if (held !== null && holds(held)) pen.fillRect(Math.floor(left(place)), 0, step, height);
    });
  }
}

/** The emotions as layers that fill the height. */
function drawEmotions(pen, columns, left, height) {
  const names = members("emotion").filter((name) => name in columns);
  const count = columns[names[0]]?.length ?? 0;
  const totals = Array.from({ length: count }, (_, place) => names.reduce((sum, name) => sum + Math.max(0, columns[name][place] ?? 0), 0) || 1);
  const below = new Array(count).fill(0);
  names.forEach((name, number) => {
    const above = below.map((base, place) => base + Math.max(0, columns[name][place] ?? 0) / totals[place]);
    pen.fillStyle = hue(number, names.length);
    pen.beginPath();
    above.forEach((share, place) => pen.lineTo(left(place), height * (1 - share)));
    for (let place = count - 1; place >= 0; place--) pen.lineTo(left(place), height * (1 - below[place]));
    pen.fill();
    above.forEach((share, place) => (below[place] = share));
  });
}

function startTraces() {
  const names = traceChoices();
  const wanted = ["mouth_opening", "motion_velocity"];
  traces.shown = wanted.find((name) => names.includes(name)) ?? names[0] ?? null;
  $("trace").append(...(names.length ? names.map((name) => option(name)) : [option("none recorded", "")]));
  $("trace").disabled = names.length === 0;
  if (traces.shown !== null) $("trace").value = traces.shown;
  $("trace").addEventListener("change", () => {
    traces.shown = $("trace").value;
    drawLegend();
    tell("trace");
  });
  $("scale").disabled = names.length === 0;
  $("scale").addEventListener("change", () => {
    traces.own = $("scale").value === "own";
    drawLegend();
    tell("trace");
  });
  drawLegend();
}
