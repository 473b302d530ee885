// What the page is about, which runs are shown and selected, and who is told when that changes.
const data = JSON.parse(document.getElementById("data").textContent);
const columnNumber = new Map(data.columns.map((column, number) => [column.name, number]));
const detailNumber = new Map(data.details.names.map((name, number) => [name, number]));
const all = data.rows.map((_, index) => index);
const selected = new Set();
const state = { shown: all, filter: "", only: false, listeners: [] };

/** Whether a is better than b: "higher" or "lower", or closer to the number that is wanted. */
function isBetter(wanted, a, b) {
  if (typeof wanted === "number") return Math.abs(a - wanted) < Math.abs(b - wanted);
  return wanted === "higher" ? a > b : a < b;
}

function value(index, name) {
  if (detailNumber.has(name)) return data.details.rows[index][detailNumber.get(name)];
  return columnNumber.has(name) ? data.rows[index][columnNumber.get(name)] : null;
}

function text(value) {
  if (value === null) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(2);
}

const isNumeric = new Map();
/** Whether a column holds numbers alone, missing ones apart. */
function numeric(name) {
  if (!isNumeric.has(name)) {
    const known = all.map((index) => value(index, name)).filter((item) => item !== null);
    isNumeric.set(name, known.length > 0 && known.every((item) => !Number.isNaN(number(item))));
  }
  return isNumeric.get(name);
}

/** The distinct values of a setting among some clips: numbers by size, the rest as they come, missing ones last. */
function levels(name, indices = all) {
  const found = [...new Set(indices.map((index) => value(index, name)))];
  if (found.every((item) => item === null || typeof item === "number")) found.sort((a, b) => a - b);
  return found.sort((a, b) => (a === null) - (b === null));
}

const several = levels("clip").length > 1;
function label(index) {
  return several ? `${value(index, "run")} · ${value(index, "clip")}` : String(value(index, "run"));
}

const settings = data.columns.filter((column) => column.kind === "setting").map((column) => column.name);
const metrics = data.columns.filter((column) => column.kind === "metric").map((column) => column.name);

/** Settings that say which image and recording were used. */
const inputs = new Set(data.columns.filter((column) => column.input).map((column) => column.name));

/** The settings of a clip in one line, without some. */
function described(index, without = []) {
  return settings.filter((name) => name !== "clip" && !without.includes(name)).map((name) => `${name} ${text(value(index, name))}`).join(", ");
}

const COMPARISONS = {
  "=": (a, b) => a === b,
  "!=": (a, b) => a !== b,
  "<": (a, b) => a < b,
  "<=": (a, b) => a <= b,
  ">": (a, b) => a > b,
  ">=": (a, b) => a >= b,
};
const haystacks = new Map();
function haystack(index) {
  if (!haystacks.has(index)) {
    haystacks.set(index, [label(index), ...data.rows[index].map(text)].join("\n").toLowerCase());
  }
  return haystacks.get(index);
}

/** The width in pixels from which plot and table are beside the videos, as in the style sheet. */
const BESIDE = 1180;

/** Some of many names, for a sentence. */
const brief = (names) => (names.length > 8 ? [...names.slice(0, 8), "…"] : names).join(", ");

/** The test of clips that a word of a filter stands for, or a sentence that says what is wrong with it. */
function parseWord(word) {
  const contains = (index) => haystack(index).includes(word.toLowerCase());
  const found = word.match(/^(.+?)(<=|>=|!=|=|<|>)(.*)$/);
  if (!found) return contains;
  const [, name, sign, wanted] = found;
  if (!columnNumber.has(name) && !detailNumber.has(name)) {
    return all.some(contains) ? contains : `${word}: no column is named ${name}; there are ${brief(["run", ...data.columns.map((column) => column.name)])}`;
  }
  const asNumber = wanted === "" ? NaN : Number(wanted);
  const held = levels(name).filter((item) => item !== null);
  if (wanted === "") return `${word}: a value is missing, as in ${name}${sign}${text(held[0] ?? null)}`;
  if (!sign.endsWith("=") || sign.length > 1 && sign !== "!=") {
    if (!numeric(name)) return `${word}: ${name} holds words; use = or !=, as in ${name}=${text(held[0] ?? null)}`;
    if (Number.isNaN(asNumber)) return `${word}: ${wanted} is not a number; ${name} has ${brief(held.map(text))}`;
  }
  const compare = COMPARISONS[sign];
  const test = (index) => {
    const own = value(index, name);
    if (own === null) return sign === "!=";
    if (!Number.isNaN(asNumber) && !Number.isNaN(number(own))) return compare(number(own), asNumber);
    return compare(String(own).toLowerCase(), wanted.toLowerCase());
  };
  if (sign === "=" && !all.some(test)) return `${word}: no run has it; ${name} has ${brief(held.map(text))}`;
  return test;
}

/** A test of clips from the words of a filter: all must hold. Wrong words are said and left out. */
function parseFilter(filter) {
  const parsed = (filter.match(/\S+/g) ?? []).map(parseWord);
  const wrong = parsed.filter((item) => typeof item === "string");
  $("filter-said").textContent = wrong.join(". ");
  $("filter").setAttribute("aria-invalid", wrong.length > 0);
  const tests = parsed.filter((item) => typeof item !== "string");
  return (index) => tests.every((test) => test(index));
}

/** Works out anew what is shown, and tells everyone. */
function refilter() {
  const passes = parseFilter(state.filter);
  state.shown = all.filter((index) => passes(index) && (!state.only || selected.has(index)));
  tell("shown");
}

function tell(what) {
  for (const listener of state.listeners) listener(what);
}

function select(indices, on) {
  for (const index of indices) on ? selected.add(index) : selected.delete(index);
  const narrowed = state.only;
  if (selected.size === 0) state.only = false;
  narrowed ? refilter() : tell("selected");
}

/** Whether all clips of a row of the table, or of a dot, are selected. */
const isChosen = (row) => row.indices.every((index) => selected.has(index));

function toggle(index) {
  select([index], !selected.has(index));
}

const PALETTE = ["#3a86c8", "#d97b29", "#2a9d76", "#c0508f", "#8a6cc4", "#a98a1f", "#4fb0c6", "#8b9199"];
/** A colour for each value of a setting: distinct ones for words, from blue to orange for many numbers. */
function colours(name) {
  const found = levels(name);
  const ramp = numeric(name) && found.length > 4;
  return new Map(
    found.map((item, place) => {
      const share = found.length > 1 ? place / (found.length - 1) : 0;
      return [item, ramp || found.length > PALETTE.length ? `hsl(${220 - 190 * share} 60% 55%)` : PALETTE[place]];
    }),
  );
}

function option(name, value = name) {
  return make("option", { value, textContent: name });
}
