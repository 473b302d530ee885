// The table of settings or clips: sort by any column, select by row, a hundred rows a page.
const PER_PAGE = 100;
const table = { sort: null, down: false, page: 0, columns: null };

function sortedRows() {
  const rows = rowsShown();
  if (table.sort === null) return rows;
  const sign = table.down ? -1 : 1;
  const asNumbers = numeric(table.sort);
  const compare = new Intl.Collator(undefined, { numeric: true }).compare;
  const held = new Map(rows.map((row) => [row, isBaseline(row) && counted.has(table.sort) ? 0 : cellOf(row, table.sort).value]));
  return [...rows].sort((a, b) => {
    const [x, y] = [held.get(a), held.get(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (asNumbers ? number(x) - number(y) : compare(String(x), String(y))) || a.indices[0] - b.indices[0];
  });
}

function sortBy(name) {
  if (table.sort !== name) [table.sort, table.down] = [name, false];
  else if (!table.down) table.down = true;
  else table.sort = null;
  table.page = 0;
  drawTable();
  tell("sort");
  $("table").querySelector(`th[data-name="${CSS.escape(name)}"] button`)?.focus();
}

/** The best value of each shown metric that has a better direction, for what is shown. */
function bests(names) {
  const found = new Map();
  if (view.baseline !== null) return found;
  for (const name of names.filter((name) => metrics.includes(name))) {
    const { better } = data.columns[columnNumber.get(name)];
    if (better === null) continue;
    const values = rowsShown().map((row) => number(cellOf(row, name).value)).filter((item) => !Number.isNaN(item));
    if (new Set(values).size > 1) found.set(name, values.reduce((a, b) => (isBetter(better, b, a) ? b : a)));
  }
  return found;
}

function absentReason(index, name) {
  const reason = data.clips[index].absent[name];
  return reason === undefined ? null : data.reasons[reason];
}

function tableCell(row, name, best) {
  const cell = cellOf(row, name);
  const classes = numeric(name) ? ["number"] : [];
  const isBest = isRanked(name) ? cell.mark === "best" : best.has(name) && number(cell.value) === best.get(name);
  if (isBest) classes.push("best");
  const said = [cell.said ?? cell.shown, cell.mark].filter(Boolean).join("; ");
  if (cell.value === null && cell.said) return make("td", { className: classes.join(" ") }, make("span", { className: "missing", title: cell.said }, "absent"));
  const sign = cell.mark ? make("span", { className: `sign ${cell.mark}`, role: "img", "aria-label": cell.mark === "alike" ? "not separable from the best" : cell.mark }, SIGNS[cell.mark]) : null;
  const interval = cell.interval ? make("small", {}, cell.interval) : null;
  return make("td", { className: classes.join(" "), title: said }, sign, cell.shown, interval);
}

const shownColumns = () => ["run", ...data.columns.map((column) => column.name).filter((name) => table.columns.has(name) && !(view.bySetting && within.has(name)))];

function drawTable() {
  const names = shownColumns();
  const rows = sortedRows();
  const last = Math.max(0, Math.ceil(rows.length / PER_PAGE) - 1);
  table.page = Math.min(table.page, last);
  const onPage = rows.slice(table.page * PER_PAGE, (table.page + 1) * PER_PAGE);
  const best = bests(names);
  const every = make("input", {
    type: "checkbox",
    checked: rows.length > 0 && rows.every(isChosen),
    "aria-label": "Select all that are shown",
    onchange: (event) => select(state.shown, event.target.checked),
  });
  const head = names.map((name) => {
    const sorted = table.sort === name;
    const arrow = sorted ? (table.down ? " ↓" : " ↑") : "";
    const button = make("button", { type: "button", className: "plain", onclick: () => sortBy(name) }, name + arrow);
    const cell = make("th", { scope: "col", className: numeric(name) && name !== "run" ? "number" : "", "data-name": name }, button);
    if (sorted) cell.setAttribute("aria-sort", table.down ? "descending" : "ascending");
    return cell;
  });
  const body = onPage.map((row) => {
    const box = make("input", {
      type: "checkbox",
      checked: isChosen(row),
      "aria-label": `Select ${rowName(row)}`,
      onchange: () => select(row.indices, !isChosen(row)),
    });
    const name = make("button", { type: "button", className: "plain", onclick: () => showRow(row) }, text(cellOf(row, "run").value));
    const cells = names.slice(1).map((column) => tableCell(row, column, best));
    const tag = isBaseline(row) ? make("small", {}, "baseline") : null;
    const properties = { "data-index": row.indices.join(" "), "aria-selected": isChosen(row), className: tag ? "baseline" : "" };
    return make("tr", properties, make("td", {}, box), make("td", {}, name, tag), ...cells);
  });
  const held = $("table");
  const [top, left, focused] = [held.scrollTop, held.scrollLeft, document.activeElement?.closest?.("#table tr")?.dataset.index];
  held.replaceChildren(
    make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, every), ...head)), make("tbody", {}, ...body)),
  );
  if (rows.length === 0) held.append(make("p", { className: "quiet" }, "No run passes the filter."));
  [held.scrollTop, held.scrollLeft] = [top, left];
  if (focused !== undefined) held.querySelector(`tr[data-index="${focused}"] input`)?.focus({ preventScroll: true });
  drawPages(rows.length, last);
  tellMore();
}

/** Says in which directions the table goes on. */
function tellMore() {
  const held = $("table");
  const right = held.scrollWidth - held.clientWidth - held.scrollLeft > 2;
  const down = held.scrollHeight - held.clientHeight - held.scrollTop > 2;
  const heads = [...held.querySelectorAll("thead th")];
  const edge = held.getBoundingClientRect().right;
  const hidden = heads.filter((head) => head.getBoundingClientRect().right > edge + 1).length;
  held.classList.toggle("more-right", right);
  held.classList.toggle("more-down", down);
  const said = [right && `${hidden} more ${hidden === 1 ? "column" : "columns"} →`, down && "more rows ↓"].filter(Boolean);
  $("more").textContent = said.join(", ");
}

/** Chooses the columns of the table. */
function setColumns(names) {
  const wanted = new Set(names);
  for (const box of $("columns").querySelectorAll("input")) {
    box.checked = wanted.has(box.value);
    box.checked ? table.columns.add(box.value) : table.columns.delete(box.value);
  }
}

function drawPages(count, last) {
  const go = (step) => () => {
    table.page += step;
    drawTable();
    $("table").scrollTop = 0;
  };
  $("pages").replaceChildren(
    ...(last === 0
      ? []
      : [
          make("button", { type: "button", disabled: table.page === 0, onclick: go(-1), "aria-label": "Previous page" }, "‹"),
          `${table.page * PER_PAGE + 1}–${Math.min(count, (table.page + 1) * PER_PAGE)} of ${count}`,
          make("button", { type: "button", disabled: table.page === last, onclick: go(1), "aria-label": "Next page" }, "›"),
        ]),
  );
}

/** Marks selected rows, without building the table anew. */
function markTable() {
  for (const row of $("table").querySelectorAll("tbody tr")) {
    const on = row.dataset.index.split(" ").every((index) => selected.has(Number(index)));
    row.setAttribute("aria-selected", on);
    row.querySelector("input").checked = on;
  }
  const every = $("table").querySelector("thead input");
  if (every) every.checked = state.shown.length > 0 && state.shown.every((index) => selected.has(index));
}

function startTable() {
  const known = data.columns.filter((column) => all.some((index) => value(index, column.name) !== null || absentReason(index, column.name)));
  table.columns = new Set(known.filter((column) => column.shown).map((column) => column.name));
  $("columns").append(
    ...known.map((column) =>
      make(
        "label",
        { className: "check" },
        make("input", {
          type: "checkbox",
          value: column.name,
          checked: table.columns.has(column.name),
          onchange: (event) => {
            event.target.checked ? table.columns.add(column.name) : table.columns.delete(column.name);
            drawTable();
            tell("columns");
          },
        }),
        ` ${column.name}`,
      ),
    ),
  );
  fillList($("same"), Object.entries(data.same));
  $("same-box").hidden = Object.keys(data.same).length === 0;
  const counted = new Map();
  data.clips.forEach((clip) => {
    for (const [name, reason] of Object.entries(clip.absent)) {
      const said = `${name}: ${data.reasons[reason]}`;
      counted.set(said, (counted.get(said) ?? 0) + 1);
    }
  });
  $("absent-box").hidden = counted.size === 0;
  $("absent").append(...[...counted].map(([said, count]) => make("li", {}, `${said} (${count} of ${all.length} clips)`)));
  $("table").addEventListener("scroll", tellMore, { passive: true });
  new ResizeObserver(tellMore).observe($("table"));
  state.listeners.push((what) => (what === "selected" ? markTable() : isOfRows(what) && drawTable()));
}

function fillList(list, entries) {
  list.replaceChildren(
    ...entries.flatMap(([name, held]) => [make("dt", {}, name), make("dd", {}, held instanceof Node ? held : text(held))]),
  );
}

/** All that is known of a row, in a dialog. */
function showRow(row) {
  if (row.setting === null) return showDetails(row.indices[0]);
  const cells = data.columns.filter(({ name }) => !within.has(name)).map(({ name }) => [name, cellOf(row, name)]);
  const numbers = cells.filter(([, cell]) => cell.value !== null).map(([name, cell]) => [name, [cell.shown, cell.interval, counted.has(name) && cell.said && `(${cell.said})`].filter(Boolean).join(" ")]);
  $("dialog-title").textContent = `Setting ${rowName(row)}`;
  fillList($("dialog-list"), [["runs", runsOf(row.indices).join(", ")], ["clips", row.indices.length], ...numbers]);
  $("dialog").showModal();
}

function showDetails(index) {
  $("dialog-title").textContent = `Run ${label(index)}`;
  const own = data.columns.map((column) => [column.name, value(index, column.name) ?? absentReason(index, column.name)]);
  const details = data.details.names.map((name) => [name, value(index, name)]);
  const seen = new Set(details.map(([name]) => name));
  fillList($("dialog-list"), [...own.filter(([name, held]) => held !== null && !seen.has(name)), ...details, ...Object.entries(data.same)]);
  $("dialog").showModal();
}
