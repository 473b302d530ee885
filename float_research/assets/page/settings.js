// Rows of table and plot: single clips, or settings, whose clips and seeds are one mean with its interval, or one paired
// difference to a baseline. All of that is computed when the page is written.
const compared = data.compared;
const settingOf = new Map(compared.groups.flatMap((indices, place) => indices.map((index) => [index, place])));
const grouped = compared.groups.length < all.length;
const view = { bySetting: grouped, baseline: null, rows: null };
const SIGNS = { best: "★", alike: "☆", better: "▲", worse: "▼", differs: "◆" };

/** What the clips of a setting may differ in: clip, seed and inputs. */
const within = new Set(settings.filter((name) => !compared.names.includes(name)));
const counted = new Set(data.columns.filter((column) => column.kind !== "setting").map((column) => column.name));

/** Whether what has changed are the rows. */
const isOfRows = (what) => what === "shown" || what === "rows";

const singly = (indices) => indices.map((index) => ({ indices: [index], setting: null }));

/** The shown rows: clips, or settings with those of their clips that are shown. */
function rowsShown() {
  view.rows ??= view.bySetting ? rowsOfSettings() : singly(state.shown);
  return view.rows;
}

function rowsOfSettings() {
  const found = new Map();
  for (const index of state.shown) {
    const setting = settingOf.get(index);
    if (!found.has(setting)) found.set(setting, { indices: [], setting });
    found.get(setting).indices.push(index);
  }
  return [...found.values()];
}

const isWhole = (row) => row.indices.length === compared.groups[row.setting].length;
const isBaseline = (row) => view.baseline !== null && row.setting === view.baseline;
const runsOf = (indices) => [...new Set(indices.map((index) => value(index, "run")))];
const rowName = (row) => (row.setting === null ? `run ${label(row.indices[0])}` : compared.short[row.setting]);

/** What a row has in a column: the `value` to sort and draw by, words for it and its interval, and what is to be said. */
function cellOf(row, name, baseline = view.baseline) {
  const [first] = row.indices;
  if (name === "run" && row.setting !== null) {
    const runs = runsOf(row.indices);
    return plainCell(runs.length === 1 ? runs[0] : runs.length > 3 ? `${runs[0]} … ${runs.at(-1)}` : runs.join(", "));
  }
  if (row.setting === null || !counted.has(name)) return plainCell(value(first, name), absentReason(first, name));
  if (baseline !== null && row.setting !== baseline) return differenceCell(row, name, baseline);
  if (!isWhole(row)) return partCell(row, name);
  const held = compared.means[name]?.[row.setting] ?? null;
  if (held === null) return plainCell(null, absentReason(first, name));
  if (held.length === 2) return plainCell(held[0], `${compared.why[held[1]]}: no interval`);
  return { ...intervalCell(held), said: `mean of ${row.indices.length} clips`, mark: baseline === null ? rankOf(row.setting, name) : null };
}

const plainCell = (held, said = null) => ({ value: held, shown: text(held), interval: null, said, mark: null });

/** A value with its interval, unless it is the same in all clips or pairs. */
function intervalCell([middle, low, high]) {
  return { value: Number(middle), shown: middle, interval: low === high ? null : `[${low}, ${high}]`, low: Number(low), high: Number(high) };
}

/** The mean of a setting of which the filter leaves some clips. */
function partCell(row, name) {
  const known = row.indices.map((index) => number(value(index, name))).filter((held) => !Number.isNaN(held));
  const mean = known.length ? d3.mean(known) : null;
  const shown = `${row.indices.length} of ${compared.groups[row.setting].length} clips pass the filter: no interval`;
  return plainCell(mean, mean === null ? absentReason(row.indices[0], name) : shown);
}

function differenceCell(row, name, baseline) {
  if (!isWhole(row)) return plainCell(null, "the filter hides some clips; differences are of all");
  const held = loaded("differences", baseline)?.[name]?.[row.setting];
  if (!held) return plainCell(null, compared.untold[name] ?? "not loaded");
  const [, , , p, separable] = held;
  const cell = intervalCell(held);
  const { better } = data.columns[columnNumber.get(name)];
  const mark = !separable ? null : better === null ? "differs" : (better === "higher") === cell.value > 0 ? "better" : "worse";
  const tested = p === undefined ? "not a headline metric, so not tested" : `${mark ?? "not separable"}, p = ${p} (Holm)`;
  return { ...cell, said: `${tested}; ${cell.interval ? "" : "the same in all pairs; "}mean ${compared.means[name][row.setting][0]}`, mark };
}

/** Whether the shown settings are ranked by a number: told where all their clips are shown. */
const isRanked = (name) => view.bySetting && compared.ranked?.[name]?.length > 0 && rowsShown().length > 1 && rowsShown().every(isWhole);

/** Whether a setting is the best of those shown, or not separable from it. */
function rankOf(setting, name) {
  if (!isRanked(name)) return null;
  const shown = new Set(rowsShown().map((row) => row.setting));
  const best = compared.ranked[name].find((place) => shown.has(place));
  if (setting === best) return "best";
  return compared.apart[name][Math.max(best, setting)][Math.min(best, setting)] === "0" ? "alike" : null;
}

/** A number's name; with a baseline, what its differences are of. */
function measuredName(name) {
  const { better } = data.columns[columnNumber.get(name)];
  if (view.baseline === null || !counted.has(name)) return name;
  return `${name}${typeof better === "number" ? ` (distance to ${better})` : ""}, difference to ${compared.short[view.baseline]}`;
}

/** One line on what the rows are. */
function tellRows() {
  const refused = compared.refused && `No baseline: ${compared.refused}.`;
  const hides = view.bySetting && !rowsShown().every(isWhole) && "Settings of which the filter hides clips have no interval.";
  const said = [];
  if (view.baseline !== null) {
    said.push(`Differences to ${compared.short[view.baseline]} with 95 % intervals, paired over ${compared.design}.`);
    said.push(compared.tested.length ? "▲ better, ▼ worse (p < 0.05, Holm)." : "Nothing is tested, for no headline metric has pairs.");
  } else if (view.bySetting) {
    said.push("Means over clips and seeds with 95 % intervals.");
    if (compared.tested?.length) said.push("★ best, ☆ not separable from it.");
  }
  $("told").textContent = [...said, hides, refused].filter(Boolean).join(" ");
  $("how").hidden = !view.bySetting;
  $("table-title").textContent = view.bySetting ? "Settings" : several ? "Clips" : "Runs";
}

function showHow() {
  const entries = [
    ["Mean", "Over all clips and seeds of a setting. Recordings, portraits and seeds are taken as drawn at random, so that the interval holds for others too."],
    ["Interval", "95 %, of Student's t with Satterthwaite's degrees of freedom, from the variances between recordings, portraits, seeds and single clips. It is not corrected. A single clip has none."],
    ["Difference", "Setting minus baseline, paired by clip and seed. Where a number is best at a value, it is the difference of the distances to it."],
    ["▲ ▼ ◆", `Better, worse, or different without a better direction: p < 0.05 after Holm's correction over the ${compared.tested?.length ?? 0} headline metrics of ${compared.groups.length - 1} settings. The rest is not separable from the baseline. Other numbers have intervals, but no tests.`],
    ["★ ☆", "Best mean of a headline metric, and those not separable from it, by Holm's correction over all pairs of settings and metrics."],
    ["Same numbers", `compare.py FOLDER --baseline ${compared.labels[view.baseline ?? 0]}`],
    ...(compared.notes ?? []).map((note) => ["Note", note]),
  ];
  $("dialog-title").textContent = "Means, intervals and tests";
  fillList($("dialog-list"), entries);
  $("dialog").showModal();
}

/** Shows settings or clips. Single clips have no baseline. */
function showRows(bySetting) {
  view.bySetting = bySetting && grouped;
  $("rows").value = view.bySetting ? "settings" : "clips";
  if (!view.bySetting) view.baseline = null;
  $("baseline").value = view.baseline === null ? "" : compared.labels[view.baseline];
  table.page = 0;
  tell("rows");
}

function chooseBaseline(place) {
  const done = () => {
    view.baseline = place;
    showRows(view.bySetting || place !== null);
  };
  if (place === null) return done();
  load("differences", place, done, () => {
    showRows(view.bySetting);
    $("told").textContent = "The differences cannot be loaded: the folder differences is missing beside the page.";
  });
}

function startSettings() {
  $("rows-box").hidden = !grouped;
  $("rows").options[1].textContent = several ? "clips" : "runs";
  $("rows").value = view.bySetting ? "settings" : "clips";
  $("rows").addEventListener("change", () => showRows($("rows").value === "settings"));
  const names = compared.refused ? [] : compared.labels;
  $("baseline").append(option(compared.refused ? "not possible" : "none", ""), ...names.map((name, place) => option(compared.short[place], name)));
  $("baseline").disabled = compared.refused !== null;
  $("baseline").title = compared.refused ?? "Show differences to a setting";
  $("baseline").addEventListener("change", () => chooseBaseline($("baseline").value === "" ? null : compared.labels.indexOf($("baseline").value)));
  $("how").addEventListener("click", showHow);
  state.listeners.push((what) => {
    if (!isOfRows(what)) return;
    view.rows = null;
    tellRows();
  });
}
