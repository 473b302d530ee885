// Two videos of the same clip side by side, without the names of their settings. Votes stay in this browser.
const data = JSON.parse(document.getElementById("data").textContent);
const ROUND = 20;
const KEY = `float-research-votes-${data.page}`;
const COLUMNS = ["page", "rater", "order", "clip", "seed", "left", "right", "choice", "seconds"];
const CHOICES = ["left", "right", "same"];
const UNPLAYABLE = "unplayable";

/** Random numbers in [0, 1) that a text determines: FNV-1a seeds splitmix32. */
function randomOf(text) {
  let seed = 2166136261;
  for (const sign of text) seed = Math.imul(seed ^ sign.codePointAt(0), 16777619);
  return () => {
    seed = (seed + 0x9e3779b9) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Shuffles a list in place (Fisher-Yates). */
function shuffle(list, random) {
  for (let last = list.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [list[last], list[other]] = [list[other], list[last]];
  }
  return list;
}

const files = new Map(data.videos.map(([setting, clip, file]) => [`${setting} ${clip}`, file]));

/** All comparisons of a clip in two settings, in an order that is the same for all raters, so that they judge the same
 *  ones: every pair of settings once, then every pair with another clip, and so on. */
function comparisons() {
  const [ofClip, ofPair, random] = [new Map(), new Map(), randomOf(data.page)];
  for (const [setting, clip] of data.videos) ofClip.set(clip, [...(ofClip.get(clip) ?? []), setting]);
  for (const [clip, held] of ofClip) {
    held.forEach((first, place) => {
      for (const second of held.slice(place + 1)) {
        const name = `${first} ${second}`;
        ofPair.set(name, [...(ofPair.get(name) ?? []), { first, second, clip }]);
      }
    });
  }
  const pairs = shuffle([...ofPair.values()], random);
  for (const pair of pairs) shuffle(pair, random);
  const most = Math.max(...pairs.map((pair) => pair.length));
  return Array.from({ length: most }, (_, turn) => pairs.flatMap((pair) => pair.slice(turn, turn + 1))).flat();
}

const everything = comparisons();

/** The comparisons of a rater: rounds of the common order, each in an order and with sides of the rater's own. */
function planOf(rater) {
  const rounds = Array.from({ length: Math.ceil(everything.length / ROUND) }, (_, round) => {
    const random = randomOf(`${data.page} ${rater} ${round}`);
    return shuffle(everything.slice(round * ROUND, (round + 1) * ROUND), random).map(({ first, second, clip }) =>
      random() < 0.5 ? { clip, left: first, right: second } : { clip, left: second, right: first },
    );
  });
  return rounds.flat();
}

const newRater = () => [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** `entries`: votes of all raters of this browser, as rows of the saved file. `since`: when both videos were first seen. */
const session = { rater: newRater(), entries: [], plan: [], current: null, since: null };

const RATER = /^[0-9a-f]{16}$/;
const isEntry = (entry) =>
  Array.isArray(entry) && entry.length === COLUMNS.length && entry[0] === data.page && RATER.test(entry[1]) && entry[2] >= 1 &&
  entry.slice(3, 7).every((name) => typeof name === "string") && [...CHOICES, UNPLAYABLE].includes(entry[7]) && entry[8] >= 0;

// Votes are kept for the tab, too: Chromium can fail to connect a page from disk to its lasting storage.
const STORES = ["sessionStorage", "localStorage"];

/** Reads what a storage holds; `at`: when it was written. Throws SyntaxError where it is damaged. */
function heldIn(store) {
  const held = JSON.parse(window[store].getItem(KEY) ?? "null");
  if (held !== null && !(RATER.test(held.rater) && Array.isArray(held.entries) && held.entries.every(isEntry))) throw new SyntaxError();
  return held;
}

/** Takes the newest votes that are kept, and says what cannot be read. */
function restore() {
  let newest = -1;
  for (const store of STORES) {
    try {
      const held = heldIn(store);
      if (held === null || (held.at ?? 0) <= newest) continue;
      [newest, session.rater, session.entries] = [held.at ?? 0, held.rater, held.entries];
    } catch (error) {
      say(error instanceof SyntaxError ? "The votes in this browser are damaged and cannot be continued." : UNKEPT);
    }
  }
  session.plan = planOf(session.rater);
}

const UNKEPT = "This browser keeps no votes of pages from disk: save them before you close or reload the page.";

function keep() {
  const text = JSON.stringify({ rater: session.rater, entries: session.entries, at: Date.now() });
  for (const store of STORES) {
    try {
      window[store].setItem(KEY, text);
    } catch {
      say(UNKEPT);
    }
  }
}

function say(text) {
  $("said").textContent = text;
}

const own = () => session.entries.filter(([, rater]) => rater === session.rater);
const isVote = (entry) => CHOICES.includes(entry[7]);
const judged = (clip, seed, ...sides) => JSON.stringify([clip, seed, ...sides.sort()]);

/** What is left of the rater's plan. */
function remaining() {
  const done = new Set(own().map((entry) => judged(...entry.slice(3, 7))));
  return session.plan.filter(({ clip, left, right }) => !done.has(judged(...data.clips[clip], data.settings[left], data.settings[right])));
}

function saveVotes() {
  save(new Blob([csvText([COLUMNS, ...session.entries.filter(isVote)])], { type: "text/csv" }), `votes-${session.rater}.csv`);
}

const screens = () => [...document.querySelectorAll(".screen video")];
const isReady = () => screens().length === 2 && screens().every((video) => video.readyState >= 2);

/** Puts a video on a side; the left one is heard, for both have the same sound. */
function put(side, setting, clip) {
  const video = make("video", { muted: side === "right", loop: false, playsInline: true, preload: "auto", disablePictureInPicture: true, "aria-label": `The ${side} video` });
  video.addEventListener("loadeddata", ready);
  video.addEventListener("ended", again);
  video.addEventListener("error", () => screens().includes(video) && skip());
  video.src = `blind/${encodeURIComponent(files.get(`${setting} ${clip}`))}`;
  for (const old of $(side).querySelectorAll("video")) old.pause();
  $(side).replaceChildren(video);
}

function ready() {
  if (!isReady() || session.since !== null) return;
  session.since = performance.now();
  showChoices();
  play();
}

/** Plays both; where a browser refuses sound before a first key, both stay paused. */
function play() {
  for (const video of screens()) video.play().catch(() => {});
}

const togglePlay = () => (screens().some((video) => !video.paused) ? screens().forEach((video) => video.pause()) : play());

function again() {
  for (const video of screens()) video.currentTime = 0;
  play();
}

/** Keeps the right video in step with the left one. */
function follow() {
  const [left, right] = screens();
  if (right && !left.paused && !right.paused && !left.seeking && !right.seeking) {
    const ahead = right.currentTime - left.currentTime;
    if (Math.abs(ahead) > 0.3) right.currentTime = left.currentTime;
    right.playbackRate = Math.abs(ahead) > 0.02 ? 1 - Math.sign(ahead) * Math.min(0.25, 0.02 + 4 * Math.abs(ahead)) : 1;
  }
  requestAnimationFrame(follow);
}

/** Shows a comparison; `number` of how many have been judged. */
function showTrial(trial, number, left) {
  const within = number % ROUND;
  [session.current, session.since] = [trial, null];
  $("rest").hidden = true;
  $("trial").hidden = false;
  $("bar").max = Math.min(ROUND, within + left);
  $("bar").value = within;
  $("progress").textContent = `${within + 1} of ${$("bar").max}`;
  put("left", trial.left, trial.clip);
  put("right", trial.right, trial.clip);
  showChoices();
}

function showChoices() {
  for (const choice of CHOICES) $(`choose-${choice}`).disabled = session.since === null;
  const [mine, number] = [own().filter(isVote).length, session.entries.filter(isVote).length];
  $("back").disabled = mine === 0;
  $("save").disabled = number === 0;
  $("kept").textContent = number === 0 ? "Votes are kept in this browser only." : `${number} ${number === 1 ? "vote is" : "votes are"} kept in this browser only.`;
  $("next").hidden = mine === 0;
}

/** Shows what comes before, between and after rounds. */
function showRest(done, left) {
  const [round, some] = [Math.min(ROUND - (done % ROUND), left), done > 0];
  [session.current, session.since] = [null, null];
  for (const side of ["left", "right"]) $(side).replaceChildren();
  $("rest").hidden = false;
  $("trial").hidden = true;
  $("progress").textContent = "";
  const asked = `${round} ${round === 1 ? "comparison" : "comparisons"}`;
  if (left === 0) {
    $("rest-title").textContent = "That was all: thank you";
    $("rest-text").textContent = "Save the votes, and send the file to whoever asked you.";
  } else if (some) {
    $("rest-title").textContent = done % ROUND === 0 ? "Thank you" : "Welcome back";
    $("rest-text").textContent = `You have judged ${done}. Save the votes, or go on with ${asked}.`;
  } else {
    $("rest-title").textContent = `${asked}, without names`;
    $("rest-text").textContent =
      "Two videos speak the same words. Choose the better one with ← or →, or ↓ if you see no difference. Both repeat until you choose. Nothing about you is recorded but a random number.";
  }
  $("go").hidden = left === 0;
  $("go").replaceChildren(some ? "Go on " : "Start ", make("kbd", {}, "Enter"));
  showChoices();
}

/** Shows the next comparison, or a rest: before the first, after a round, and when all are judged. */
function show(rests) {
  const [done, todo] = [own().length, remaining()];
  rests || todo.length === 0 ? showRest(done, todo.length) : showTrial(todo[0], done, todo.length);
}

function go() {
  if (session.current === null) show(false);
}

function enter(choice) {
  const { clip, left, right } = session.current;
  const seconds = session.since === null ? 0 : Number(((performance.now() - session.since) / 1000).toFixed(2));
  session.entries.push([data.page, session.rater, own().length + 1, ...data.clips[clip], data.settings[left], data.settings[right], choice, seconds]);
  keep();
  show(own().length % ROUND === 0);
}

function choose(choice) {
  if (session.since !== null) enter(choice);
}

function skip() {
  say("A video cannot be played here; its comparison is left out.");
  enter(UNPLAYABLE);
}

/** Takes back the rater's last vote, and unplayable comparisons after it. */
function undo() {
  const last = session.entries.findLast((entry) => entry[1] === session.rater && isVote(entry));
  if (!last) return;
  session.entries = session.entries.filter((entry) => entry[1] !== session.rater || entry[2] < last[2]);
  keep();
  show(false);
}

function nextPerson() {
  if (session.current !== null || own().length === 0) return;
  session.rater = newRater();
  session.plan = planOf(session.rater);
  keep();
  show(true);
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const always = { s: () => !$("save").disabled && saveVotes() };
  const resting = { Enter: go, n: nextPerson };
  const judging = { ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"), ArrowDown: () => choose("same"), "=": () => choose("same"), " ": togglePlay, Home: again, Backspace: undo };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = { ...always, ...(session.current === null ? resting : judging) }[key];
  if (!act || ((key === " " || key === "Enter") && event.target.closest("button"))) return;
  act();
  event.preventDefault();
}

for (const [id, act] of Object.entries({ go, next: nextPerson, play: togglePlay, home: again, back: undo, save: saveVotes })) $(id).addEventListener("click", act);
for (const choice of CHOICES) $(`choose-${choice}`).addEventListener("click", () => choose(choice));
for (const text of data.notices) $("notices").append(make("p", { className: "notice", role: "note" }, text));
document.addEventListener("keydown", pressed);
addEventListener("storage", ({ key }) => key === KEY && location.reload());
restore();
show(true);
requestAnimationFrame(follow);
