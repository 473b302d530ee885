// Tables as CSV, and files to save.

/** Beginnings of texts that a spreadsheet would take for a formula. */
const FORMULA = /^[=+\-@\t\r]/;

function csvCell(held) {
  if (held === null) return "";
  if (typeof held === "number") return String(held);
  const safe = FORMULA.test(held) && Number.isNaN(Number(held)) && Number.isNaN(number(held)) ? `'${held}` : String(held);
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Lines of cells as CSV. */
const csvText = (lines) => lines.map((line) => line.map(csvCell).join(",")).join("\r\n") + "\r\n";

function save(content, name) {
  const place = URL.createObjectURL(content);
  make("a", { href: place, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(place), 10_000);
}
