// All videos in step. Each plays by itself, muted; the time is that of the middle one, and the others are nudged by
// their speed until they agree. The sound of one clip comes from an element of its own, so that no nudge is heard.
const HALF_FRAME = 0.5;
const SCREEN = { jump: 0.3, off: 0.25, most: 0.25 };
const SOUND = { jump: 0.15, off: 0.75, most: 0.03 };
/** Seconds at which to jump, frames at which to nudge, and by how much of the speed at most. */
const player = { playing: false, rate: 1, loop: true, time: 0, duration: 0, fps: 25, ticked: 0, sound: null, screens: new Map(), audio: null };

function videoOf(index) {
  const name = data.clips[index].video;
  return name === null ? null : `videos/${encodeURIComponent(name)}`;
}

const secondsOf = (index) => (value(index, "frames") ?? 0) / data.clips[index].fps;

/** The middle of the frame that is shown at a time: a seek there cannot land on its neighbour. */
const inFrame = (time, fps) => (Math.floor(time * fps + 1e-6) + HALF_FRAME) / fps;

function setTime(time) {
  player.time = Math.min(Math.max(0, time), Math.max(0, player.duration - HALF_FRAME / player.fps));
  for (const screen of player.screens.values()) seekScreen(screen);
  if (player.audio) player.audio.media.currentTime = player.time;
  showTime();
}

function seekScreen(screen) {
  const place = player.playing ? player.time : inFrame(player.time, screen.fps);
  if (screen.media.readyState >= 1) screen.media.currentTime = Math.min(place, screen.media.duration || place);
}

function step(frames) {
  pause();
  setTime((Math.floor(player.time * player.fps + 1e-6) + frames) / player.fps);
}

const everyone = () => [...player.screens.values(), ...(player.audio ? [player.audio] : [])];

function play() {
  if (player.duration === 0) return;
  if (player.time >= player.duration - 1.5 / player.fps) setTime(0);
  player.playing = true;
  player.ticked = performance.now();
  everyone().forEach(start);
  showPlaying();
  requestAnimationFrame(tick);
}

function togglePlay() {
  player.playing ? pause() : play();
}

function pause() {
  player.playing = false;
  for (const part of everyone()) part.media.pause();
  for (const screen of player.screens.values()) seekScreen(screen);
  showPlaying();
}

/** Plays a part; a browser may refuse, as when the part was taken away meanwhile. */
function start(part) {
  setSpeed(part, 0);
  part.media.play().catch((reason) => {
    if (reason.name === "NotAllowedError") pause();
  });
}

function tick() {
  if (!player.playing) return;
  const now = performance.now();
  const going = [...player.screens.values()].filter(isGoing).map((screen) => screen.media.currentTime).sort((a, b) => a - b);
  player.time = going.length ? going[going.length >> 1] : player.time + ((now - player.ticked) * player.rate) / 1000;
  player.ticked = now;
  if (player.time >= player.duration) {
    if (!player.loop) {
      pause();
      return setTime(player.duration);
    }
    setTime(0);
    everyone().forEach(start);
  } else {
    for (const screen of player.screens.values()) follow(screen, SCREEN);
    if (player.audio) follow(player.audio, SOUND);
    showTime();
  }
  requestAnimationFrame(tick);
}

const hasEnded = ({ media, fps }) => media.ended || player.time > media.duration - 1 / fps;
const isGoing = ({ media }) => media.readyState >= 2 && !media.paused && !media.seeking && !media.ended;

/** Brings a part closer to the others: by a jump where it is far; where it is near by one change of speed, held until
 *  it agrees, for each change makes a browser stumble a little. */
function follow(part, { jump, off, most }) {
  const { media, fps } = part;
  if (media.readyState < 2 || media.seeking || hasEnded(part)) return;
  if (media.paused) return start(part);
  const ahead = media.currentTime - player.time;
  if (Math.abs(ahead) > jump) {
    media.currentTime = player.time + 0.02;
    setSpeed(part, 0);
  } else if (part.nudge === 0) {
    if (Math.abs(ahead) > off / fps) setSpeed(part, -Math.sign(ahead) * Math.min(most, 0.02 + 4 * Math.abs(ahead)));
  } else if (ahead * part.nudge >= 0) setSpeed(part, 0);
}

function setSpeed(part, nudge) {
  part.nudge = nudge;
  part.media.playbackRate = player.rate * (1 + nudge);
}

/** Puts a video on a screen, at the time of the others. */
function addScreen(cell, index) {
  const media = make("video", { muted: true, playsInline: true, preload: "auto", disablePictureInPicture: true });
  media.setAttribute("aria-label", `Video of run ${label(index)}`);
  player.screens.set(cell, joined(media, index));
  return media;
}

/** A part that joins the others as soon as it has loaded. */
function joined(media, index) {
  const part = { media, fps: data.clips[index].fps, nudge: 0 };
  media.addEventListener("loadedmetadata", () => {
    seekScreen(part);
    if (player.playing) start(part);
  });
  media.src = videoOf(index);
  return part;
}

function dropScreen(cell) {
  const screen = player.screens.get(cell);
  if (!screen) return;
  player.screens.delete(cell);
  unload(screen);
  screen.media.remove();
}

function unload({ media }) {
  media.pause();
  media.removeAttribute("src");
  media.load();
}

/** Chooses whose sound is heard; null for nobody's. */
function setSound(index) {
  player.sound = index;
  if (player.audio) unload(player.audio);
  player.audio = index !== null && videoOf(index) !== null ? joined(make("audio", { preload: "auto" }), index) : null;
  $("sound").textContent = index === null ? "Sound off" : `Sound: ${label(index)}`;
  $("sound").setAttribute("aria-pressed", index !== null);
  tell("sound");
}

function toggleSound() {
  const first = state.shown.find((index) => videoOf(index) !== null);
  setSound(player.sound === null ? (first ?? null) : null);
}

function showPlaying() {
  $("play").textContent = player.playing ? "❚❚" : "▶";
  $("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
}

function showTime() {
  const frame = Math.floor(player.time * player.fps + 1e-6);
  $("scrub").value = frame;
  $("scrub").setAttribute("aria-valuetext", `frame ${frame}, ${player.time.toFixed(2)} seconds`);
  $("clock").textContent = `${player.time.toFixed(2)} s · frame ${frame}`;
  tell("time");
}

/** Fits the clock to what is shown. */
function fitPlayer() {
  player.duration = Math.max(0, ...state.shown.filter((index) => videoOf(index) !== null).map(secondsOf));
  player.fps = Math.max(1, ...state.shown.map((index) => data.clips[index].fps));
  $("scrub").max = Math.max(0, Math.round(player.duration * player.fps) - 1);
  $("play").disabled = player.duration === 0;
  if (player.sound !== null && !state.shown.includes(player.sound)) setSound(null);
  if (player.time > player.duration) setTime(0);
}

function startPlayer() {
  $("play").addEventListener("click", togglePlay);
  $("back").addEventListener("click", () => step(-1));
  $("forward").addEventListener("click", () => step(1));
  $("scrub").addEventListener("input", () => setTime(Number($("scrub").value) / player.fps));
  $("loop").addEventListener("change", () => (player.loop = $("loop").checked));
  $("sound").addEventListener("click", toggleSound);
  $("rate").addEventListener("change", () => {
    player.rate = Number($("rate").value);
    for (const part of everyone()) setSpeed(part, 0);
  });
  state.listeners.push((what) => what === "shown" && fitPlayer());
}
