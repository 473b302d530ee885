// Data that is loaded when it is needed: as scripts, which browsers allow from disk.
const FOLDERS = ["traces", "differences"];
const later = { known: new Map(), waiting: new Map() };

/** The only scripts that the page loads later. Browsers with trusted types refuse any other, and all HTML from text. */
const scriptOf = {
  createScriptURL: (place) => {
    const [folder, index] = place.split("/");
    return `${FOLDERS[FOLDERS.indexOf(folder)]}/${String(Number(index)).padStart(4, "0")}.js`;
  },
};
const laterScript = window.trustedTypes?.createPolicy("later", scriptOf) ?? scriptOf;

const loaded = (folder, index) => later.known.get(`${folder}/${index}`);

function arrived(folder, index, content) {
  const place = `${folder}/${index}`;
  later.known.set(place, content);
  for (const ready of later.waiting.get(place) ?? []) ready();
  later.waiting.delete(place);
}
window.addTraces = (index, columns) => arrived("traces", index, columns);
window.addDifferences = (index, numbers) => arrived("differences", index, numbers);

/** Calls `ready` once a part is there. A file that is missing leaves it uncalled, and calls `failed`. */
function load(folder, index, ready, failed = () => {}) {
  const place = `${folder}/${index}`;
  if (later.known.has(place)) return ready();
  if (later.waiting.has(place)) return later.waiting.get(place).push(ready);
  later.waiting.set(place, [ready]);
  const onerror = () => {
    later.waiting.delete(place);
    failed();
  };
  document.head.append(make("script", { src: laterScript.createScriptURL(place), async: true, onerror }));
}
