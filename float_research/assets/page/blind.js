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

/** `entries`: votes of all raters of this browser as [rater, choice, seconds], by which each rater's plan is followed. */
const session = { rater: newRater(), entries: [], plan: [], since: null, started: false };

const isEntry = (entry) => Array.isArray(entry) && /^[0-9a-f]{16}$/.test(entry[0]) && [...CHOICES, UNPLAYABLE].includes(entry[1]) && entry[2] >= 0;

function restore() {
  try {
    const held = JSON.parse(localStorage.getItem(KEY) ?? "null");
    if (held !== null && !(/^[0-9a-f]{16}$/.test(held.rater) && Array.isArray(held.entries) && held.entries.every(isEntry))) throw new SyntaxError();
    if (held !== null) [session.rater, session.entries] = [held.rater, held.entries];
  } catch (error) {
    say(error instanceof SyntaxError ? "The votes in this browser are damaged and cannot be continued." : UNKEPT);
  }
  session.plan = planOf(session.rater);
}

const UNKEPT = "This browser keeps no votes of pages from disk: save them before you close or reload the page.";

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify({ rater: session.rater, entries: session.entries }));
  } catch {
    say(UNKEPT);
  }
}

function say(text) {
  $("said").textContent = text;
}

const own = () => session.entries.filter(([rater]) => rater === session.rater);
const voted = (entries) => entries.filter(([, choice]) => choice !== UNPLAYABLE);

/** A row per vote, in the order of COLUMNS. */
function rows() {
  const [plans, places] = [new Map(), new Map()];
  return session.entries.flatMap(([rater, choice, seconds]) => {
    if (!plans.has(rater)) plans.set(rater, planOf(rater));
    const place = places.get(rater) ?? 0;
    places.set(rater, place + 1);
    const { clip, left, right } = plans.get(rater)[place];
    const [name, seed] = data.clips[clip];
    return choice === UNPLAYABLE ? [] : [[data.page, rater, place + 1, name, seed, data.settings[left], data.settings[right], choice, seconds]];
  });
}

function saveVotes() {
  save(new Blob([csvText([COLUMNS, ...rows()])], { type: "text/csv" }), `votes-${session.rater}.csv`);
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

function showTrial() {
  const place = own().length;
  const within = place % ROUND;
  const { clip, left, right } = session.plan[place];
  session.since = null;
  $("rest").hidden = true;
  $("trial").hidden = false;
  $("bar").max = Math.min(ROUND, session.plan.length - place + within);
  $("bar").value = within;
  $("progress").textContent = `${within + 1} of ${$("bar").max}`;
  put("left", left, clip);
  put("right", right, clip);
  showChoices();
}

function showChoices() {
  for (const choice of CHOICES) $(`choose-${choice}`).disabled = session.since === null;
  const [mine, number] = [voted(own()).length, voted(session.entries).length];
  $("back").disabled = mine === 0;
  $("save").disabled = number === 0;
  $("kept").textContent = number === 0 ? "Votes are kept in this browser only." : `${number} ${number === 1 ? "vote is" : "votes are"} kept in this browser only.`;
  $("next").hidden = mine === 0;
}

/** Shows what comes before, between and after rounds. */
function showRest() {
  const done = own().length;
  const left = session.plan.length - done;
  const round = Math.min(ROUND - (done % ROUND), left);
  session.started = false;
  session.since = null;
  for (const side of ["left", "right"]) $(side).replaceChildren();
  $("rest").hidden = false;
  $("trial").hidden = true;
  $("progress").textContent = "";
  $("rest-title").textContent = done === 0 ? `${round} ${round === 1 ? "comparison" : "comparisons"}, without names` : left === 0 ? "That was all: thank you" : done % ROUND === 0 ? "Thank you" : "Go on";
  $("rest-text").textContent =
    left === 0 ? "Save the votes and send the file to whoever asked you." :
    done === 0 ? "Two videos speak the same words. Choose the better one with ← or →, or ↓ if you see no difference. Both repeat until you choose. No names or addresses are recorded." :
    `You have compared ${done}. Save the votes, or go on with ${round} more.`;
  $("go").hidden = left === 0;
  $("go").replaceChildren(done === 0 ? "Start " : "Go on ", make("kbd", {}, "Enter"));
  showChoices();
}

function show() {
  const done = own().length;
  session.started && done < session.plan.length && (done % ROUND !== 0 || session.fresh) ? showTrial() : showRest();
  session.fresh = false;
}

function go() {
  if (own().length >= session.plan.length || session.started) return;
  session.started = session.fresh = true;
  show();
}

function enter(choice) {
  const seconds = session.since === null ? 0 : Number(((performance.now() - session.since) / 1000).toFixed(2));
  session.entries.push([session.rater, choice, seconds]);
  keep();
  show();
}

function choose(choice) {
  if (session.started && session.since !== null) enter(choice);
}

function skip() {
  say("A video cannot be played here; its comparison is left out.");
  enter(UNPLAYABLE);
}

function undo() {
  if (voted(own()).length === 0) return;
  let taken = null;
  while (taken !== "left" && taken !== "right" && taken !== "same") {
    const last = session.entries.findLastIndex(([rater]) => rater === session.rater);
    [[, taken]] = session.entries.splice(last, 1);
  }
  keep();
  session.started = session.fresh = true;
  show();
}

function nextPerson() {
  if (voted(own()).length === 0 || session.started) return;
  session.rater = newRater();
  session.plan = planOf(session.rater);
  keep();
  showRest();
}

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const acts = {
    ArrowLeft: () => choose("left"),
    ArrowRight: () => choose("right"),
    ArrowDown: () => choose("same"),
    "=": () => choose("same"),
    " ": togglePlay,
    Home: again,
    Backspace: undo,
    Enter: go,
    s: () => !$("save").disabled && saveVotes(),
    n: nextPerson,
  };
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (!acts[key] || ((key === " " || key === "Enter") && event.target.closest("button"))) return;
  acts[key]();
  event.preventDefault();
}

for (const [id, act] of Object.entries({ go, next: nextPerson, play: togglePlay, home: again, back: undo, save: saveVotes })) $(id).addEventListener("click", act);
for (const choice of CHOICES) $(`choose-${choice}`).addEventListener("click", () => choose(choice));
for (const text of data.notices) $("notices").append(make("p", { className: "notice", role: "note" }, text));
document.addEventListener("keydown", pressed);
addEventListener("storage", ({ key }) => key === KEY && location.reload());
restore();
showRest();
requestAnimationFrame(follow);
