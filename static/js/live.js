// The live page: connects feed, store, list and map.

import { linkEndedSentence, lostSentence, nobodySentence } from "./access.js";
import { onChoice, useRaceZone } from "./choices.js";
import { ServerClock } from "./clock.js";
import { distinguish } from "./colours.js";
import { find, setAttribute } from "./dom.js";
import { atEstimate } from "./estimate.js";
import { categoryWords } from "./facts.js";
import { Feed } from "./feed.js";
import { AccountFollows, BrowserFollows } from "./follows.js";
import { Header } from "./header.js";
import { gettext } from "./language.js";
import { RunnerList } from "./list.js";
import { dataState, describe } from "./liveness.js";
import { LOST_CLOSE_CODES, shareHeaders } from "./protocol.js";
import { addressOf, share, viewOf } from "./share.js";
import { Results } from "./results.js";
import { Sheet } from "./sheet.js";
import { Store } from "./store.js";

// The least time between two updates of the map. Ages are updated every second.
const REFRESH_EVERY_MS = 1000;
const DRAW_EVERY_MS = 250;
// How long the server-rendered list stays if the server sends nothing.
const SERVED_FOR_MS = 20_000;
// A place in an address has five decimals.
const SHARED_PLACE_REACH_M = 5;

/**
 * The data that the server puts into the page (runners/views/live.py). Times are in ms.
 * @typedef {{
 *   socket: string, poll: string, first: string | null, track: string, eta: string,
 *   standings: string, palette: string[], replay: string | null,
 *   follow: import("./protocol.js").Follow, ownFollows: boolean,
 *   oneRunner: string | null, race: {slug: string, start: number, ends: number} | null,
 *   zone: {name: string, at: number} | null, courses: Record<string, any>[],
 *   link: {expires: number} | null, time: number,
 *   account: import("./follows.js").Account | null, mode: "" | "screen" | "embed",
 *   map: import("./map/open.js").Config | null, icons: string, card: string | null,
 *   heights: {race: string, values: number[]} | null,
 * }} Page
 */

/** @type {Page} */
const page = JSON.parse(find("#page").textContent ?? "");
if (page.zone) useRaceZone(page.zone.name, page.zone.at);
const clock = new ServerClock(page.time);
const store = new Store(page.courses, (code) => isBig(code));
const header = new Header({ race: page.race, icons: page.icons });
const follows = page.account
  ? new AccountFollows(page.account, followsChanged)
  : new BrowserFollows(followsChanged);
const list = new RunnerList({
  icons: page.icons,
  onPick: pick,
  onStar: star,
  onSearch: showChosen,
});

const results = new Results({
  url: page.standings, headers: shareHeaders(page.follow), onChange: drawSoon,
});

/** @type {import("./tools.js").Tools | null} */
let tools = null;
/** @type {import("./groups.js").Groups | null} */
let groups = null;
/** @type {Promise<void> | null} */
let toolsOpening = null;
/** @type {Promise<void> | null} */
let tickerOpening = null;
/** @type {import("./player.js").Player | null} */
let player = null;
/** @type {import("./profile.js").Profile | null} */
let profile = null;
/** @type {import("./offline/picture.js").Picture | null} */
let picture = null;
/** @type {import("./map/map.js").LiveMap | null} */
let map = null;
/** @type {Promise<unknown>} the first complete picture of the map */
let drawn = Promise.resolve();
let covered = 0; // px of the map's lower edge
let areStreetsAhead = false;
const asked = viewOf(location.search);
// Links to a replay, such as that of a past race, have this fragment.
let isReplayAsked = location.hash === "#replay";
/** @type {string | null} */
let selected = asked.runner ?? page.oneRunner;
/** @type {number | null} the server's time at which the picture was stopped */
let paused = null;
let connected = false;
/** @type {string | null} why there is nobody to see any more */
let lost = null;
/** @type {Set<string>} */
let requestedRunners = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let drawTimer;
let drawnAt = 0; // by the page's running time
/** @type {import("./store.js").Runner[]} those of the last draw */
let drawnRunners = [];
// Estimated places, kept until the next second: thousands of them would delay a tap.
/**
 * @typedef {import("./store.js").Runner} Estimable
 * @type {WeakMap<Estimable, Pick<Estimable, "estimate" | "fix"> & {now: number, shown: Estimable}>}
 */
const places = new WeakMap();

const sheet = new Sheet((visible) => {
  covered = visible;
  map?.setCovered(visible);
});
sheet.go(selected ? "half" : "peek");

const feed = new Feed(page, store, clock, {
  codes: () => {
    const codes = page.ownFollows ? follows.codes() : [];
    requestedRunners = new Set(codes);
    return codes;
  },
  trailed: () => [...store.runners.keys()].filter(isBig),
  onChange: (isComplete) => {
    if (isComplete) map?.ready();
    if (isComplete && page.race && map === null) openStreets(page.race.slug);
    if (isComplete) showAsked();
    if (isComplete && page.mode === "screen" && page.race) openTicker(page.race.slug);
    drawSoon();
  },
  onEvent: receiveEvent,
  onError: receiveError,
  onAnswer: (answer) => tools?.cheers.answer(answer),
  onStatus: (status) => {
    connected = status.state === "open" || status.state === "polling";
    header.showConnection(status, feed.lastFrame);
    if (LOST_CLOSE_CODES.has(status.code ?? 0)) loseAll(status.code, status.detail ?? "");
    draw();
  },
});
feed.open(mapArrived());
setInterval(() => performance.now() - drawnAt > REFRESH_EVERY_MS / 2 && draw(), REFRESH_EVERY_MS);

find("#pause").addEventListener("click", togglePause);
find("#fold").addEventListener("click", toggleFold);
document.querySelector("#share")?.addEventListener("click", shareView);
document.addEventListener("keydown", shortcut);
document.addEventListener("visibilitychange", () => draw());

// Modules that the list does not need are loaded after it, because each request counts on
// a slow connection.
if (selected || follows.codes().length) openTools();
openMap().finally(() => {
  openTools();
  openChoices();
  openProfile();
  openRaces();
  openHint();
  keepPicture();
  openGroups();
  feed.prepare();
});
offerReplay();

// The socket's snapshot repeats the one that the page has fetched. Uncompressed, it would
// delay the map's library by a third.
async function mapArrived() {
  if (page.map) await import(page.map.library).catch(() => {});
}

/** @param {string} code */
function isBig(code) {
  return follows.has(code) || code === selected;
}

/** @param {string} code */
function isMine(code) {
  return follows.has(code) || code === page.oneRunner;
}

/** @param {Record<string, any>} event */
function receiveEvent(event) {
  const gone = store.applyEvent(event);
  const runner = store.runners.get(event.runner);
  picture?.receive(event);
  if (event.kind === "split" && runner && isMine(runner.code)) {
    tools?.mine.announce(runner, /** @type {any} */ (event));
  }
  if (event.kind === "cheer") tools?.cheers.showCheer(/** @type {any} */ (event));
  if (event.kind === "race") {
    // Its course may have changed, so request the race again.
    feed.renew(event.race.slug);
  }
  if (event.kind === "access" && event.race) {
    endView(gettext("This race is no longer shared with you."));
  } else if (gone && (follows.has(gone.code) || page.oneRunner)) {
    endView(lostSentence(gone.name, event.reason));
  } else if (gone) {
    goOn();
  }
}

/** @param {string} sentence */
function endView(sentence) {
  // Shown in place of the runner of this page.
  if (page.oneRunner) lost = sentence;
  else header.notice(sentence, { stays: page.link !== null });
  goOn();
}

// The page's access has ended, so remove everything from the screen.
/** @param {number | undefined} code @param {string} detail */
function loseAll(code, detail) {
  store.runners.clear();
  picture?.forget();
  lost = code === 4403 && page.link ? linkEndedSentence(page.link, clock.now()) : detail;
  header.showConnection({ state: "ended", detail: lost }, feed.lastFrame);
  goOn();
}

// A frozen picture would still show runners who may no longer be seen.
function goOn() {
  if (paused !== null) togglePause();
}

/** @param {Record<string, any>} error */
function receiveError({ code, runner, detail }) {
  // On the page of all public runners, a star on a runner who does not share needs no
  // notice.
  if (runner && !page.oneRunner) return;
  // The close that follows has a better explanation.
  if (code === "share.ended" || code === "session.ended") return;
  if (code === "runner.unknown") header.notice(gettext("This runner is no longer shared with you."));
  else header.notice(detail);
}

function followsChanged() {
  // The socket has to follow newly starred runners who are not public.
  if (page.ownFollows && connected) {
    const codes = follows.codes().filter((code) => !requestedRunners.has(code));
    const unseen = codes.filter((code) => !store.runners.has(code));
    for (const code of codes) requestedRunners.add(code);
    if (unseen.length) feed.follow();
  }
  draw();
}

/** @param {string} code */
async function star(code) {
  openTools();
  try {
    await follows.toggle(code);
  } catch (error) {
    header.notice(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} code */
function pick(code) {
  selected = selected === code ? page.oneRunner : code;
  openTools();
  if (selected) {
    sheet.showMap();
    map?.follow(selected);
  } else {
    map?.follow(null);
  }
  draw();
  if (selected) list.reveal(selected);
}

async function shareView() {
  const runner = selected === page.oneRunner ? null : selected;
  const place = tools?.mine.pinned.place ?? null;
  const url = addressOf(location.href, { runner, place, time: player?.time ?? null });
  const shown = store.runners.get(selected ?? "");
  // After the finish, the result as a picture.
  const card = shown?.state === "finished" && shown.bib && page.card
    ? page.card.replace("BIB", encodeURIComponent(shown.bib))
    : null;
  const sentence = await share(document.title, url, card);
  if (sentence) header.notice(sentence);
}

// Show the place and the replay of the page's address, once the courses have arrived.
function showAsked() {
  const { place, time } = asked;
  asked.place = asked.time = null;
  if (time !== null && page.replay) openPlayer(time);
  else if (isReplayAsked) openPlayer();
  isReplayAsked = false;
  if (place) openTools().then(() => tools?.mine.pinned.point(place, SHARED_PLACE_REACH_M));
}

function togglePause() {
  paused = paused === null ? clock.now() : null;
  header.showPaused(paused);
  map?.setPaused(paused !== null);
  draw();
}

function toggleFold() {
  const folded = document.body.classList.toggle("folded");
  find("#fold").setAttribute("aria-expanded", String(!folded));
}

/** @param {KeyboardEvent} event */
function shortcut(event) {
  if (event.target instanceof HTMLInputElement || event.ctrlKey || event.metaKey) return;
  if (event.key === "/") {
    event.preventDefault();
    find("#search").focus();
  } else if (event.key === "Escape" && selected !== page.oneRunner && selected) {
    pick(selected);
  }
}

function drawSoon() {
  drawTimer ??= setTimeout(draw, DRAW_EVERY_MS);
}

function draw() {
  clearTimeout(drawTimer);
  drawTimer = undefined;
  drawnAt = performance.now();
  const now = shownTime();
  header.tick(now, Boolean(player?.time));
  player?.show();
  if (paused !== null) return;
  const isWaiting = feed.lastFrame === null && lost === null;
  if (isWaiting && list.isServed && performance.now() < SERVED_FOR_MS) return;
  const mine = [...store.runners.values()].filter(({ code }) => isMine(code));
  distinguish(mine, page.palette);
  const runners = drawnRunners = shownRunners();
  // Predicted arrivals are always later than now, also in a replay.
  const present = mine.filter((runner) => !ended(runner).isOver);
  tools?.mine.render(present.map((runner) => estimated(runner, clock.now())), clock.now());
  if (document.hidden) return;
  const emptySentence = sentenceForNobody();
  const group = groups?.chosen ?? null;
  results.refresh([...store.runners.values()], performance.now());
  showList(runners, now);
  const next = player?.time ? "" : (tools?.mine.next(now) ?? "");
  header.showRunners(runners, {
    follows, now, next, emptySentence,
    ended: (runner) => ({ ...ended(runner), rank: results.of(runner)?.rank }),
  });
  profile?.render(runners.filter(({ code }) => isBig(code)), tools?.mine.pinned.distance ?? null);
  tools?.cheers.show(selected ? store.runners.get(selected) : null);
  tools?.bell?.show(selected ? store.runners.get(selected) : null);
  if (!player?.time) feed.fillTrails(runners.filter((runner) => isBig(runner.code) && !runner.estimated));
  const finish = (/** @type {import("./store.js").Runner} */ runner) => {
    if (runner.state === "finished") return describe(runner, now, ended(runner)).words;
    return player?.time || ended(runner).isOver ? "" : (tools?.mine.finish(runner) ?? "");
  };
  // A separate task, because with thousands of runners both together would block input.
  const exactly = Boolean(player?.time);
  const probable = (/** @type {import("./store.js").Runner} */ runner) =>
    exactly || ended(runner).isOver ? null : (tools?.mine.probable(runner, now) ?? null);
  const onMap = runners.filter(({ code }) => !group || group.has(code) || isBig(code));
  setTimeout(() => paused === null && map?.show(onMap, { store, follows, selected, probable, finish, exactly }));
}

// A search or a group chooses among the runners of the last draw.
function showChosen() {
  if (list.isServed || paused !== null) draw();
  else showList(drawnRunners, shownTime());
}

/** @param {import("./store.js").Runner[]} runners @param {number} now */
function showList(runners, now) {
  list.render(runners, {
    follows, oneRunner: page.oneRunner, selected, now, ended,
    emptySentence: sentenceForNobody(), group: groups?.chosen ?? null,
    lines: (runner, at) => {
      if (player?.time) return null;
      if (ended(runner).isOver) return { next: categoryWords(results.of(runner)) };
      return tools?.mine.lines(runner, at) ?? null;
    },
    result: (runner) => results.of(runner),
  });
}

/** @param {import("./store.js").Runner} runner @param {number} [now] */
function ended(runner, now = clock.now()) {
  const time = results.of(runner)?.gun_time ?? null;
  if (player?.time) return { time, isReplay: true };
  // A phone that goes on sending after the end is in no race any more, but on its page.
  const race = page.race ? store.races.get(page.race.slug) : store.courseOf(runner);
  return { time, isOver: now >= (race?.ends ?? Infinity) };
}

// A runner without a fix is on a start list only, or nowhere.
function shownRunners() {
  const runners = [...store.runners.values()];
  if (player?.time) {
    const alongOf = (/** @type {import("./store.js").Runner} */ runner) =>
      store.courseOf(runner)?.along ?? null;
    player.replay.prepare(player.time, player.tail);
    const timeOf = (/** @type {import("./store.js").Runner} */ runner) =>
      results.of(runner)?.gun_time ?? null;
    return player.replay.at(runners, player.time, player.tail, alongOf, timeOf);
  }
  const now = clock.now();
  return runners.map((runner) => estimated(runner, now)).filter(
    (runner) => runner.fix || page.race || page.oneRunner || follows.has(runner.code),
  );
}

/** @param {import("./store.js").Runner} runner @param {number} now */
function estimated(runner, now) {
  const { estimate, fix } = runner;
  if (!estimate) return runner;
  const kept = places.get(runner);
  const isFresh = kept && now - kept.now < REFRESH_EVERY_MS && now >= kept.now;
  if (isFresh && kept.estimate === estimate && kept.fix === fix) return kept.shown;
  const shown = atEstimate(runner, store.courseOf(runner), { now, isOver: ended(runner, now).isOver });
  places.set(runner, { now, estimate, fix, shown });
  return shown;
}

function sentenceForNobody() {
  if (lost !== null) return lost;
  if (!connected && feed.lastFrame === null) return gettext("Waiting for the server.");
  return nobodySentence(page, clock.now());
}

// Needed only by visitors who follow or have selected somebody.
function openTools() {
  toolsOpening ??= import("./tools.js").then(({ Tools }) => {
    tools = new Tools({
      page, store, results, send: (message) => feed.send(message),
      onChange: draw, onAnswer: drawSoon, onPin: (place) => map?.pin(place),
      onAll: () => sheet.go("full"),
      myCodes: () => [...store.runners.keys()].filter(isMine),
    });
    draw();
  });
  // If loading fails, the next star retries it.
  toolsOpening.catch(() => (toolsOpening = null));
  return toolsOpening;
}

async function openChoices() {
  const { offerChoices } = await import("./chooser.js");
  offerChoices();
  onChoice(draw);
}

async function openGroups() {
  if (!page.race || !document.querySelector("#groups")) return;
  const { Groups } = await import("./groups.js");
  groups = new Groups({
    url: page.standings.replace("SLUG", page.race.slug), headers: shareHeaders(page.follow),
    runners: () => [...store.runners.values()], follows, follow: star,
    onChange: () => {
      showChosen();
      drawSoon(); // the map
    },
  });
}

// Not for accounts and share links: what they see must not outlive their rights here.
async function keepPicture() {
  const { first } = page;
  if (page.oneRunner || !first || page.account || page.link || page.mode) return;
  // It reads all files again, which would delay the map.
  await drawn;
  const { Picture } = await import("./offline/picture.js");
  picture = new Picture({
    first, runners: () => store.runners.values(),
    time: () => (connected ? feed.lastFrame : null),
  });
  await picture.start();
}

async function openHint() {
  const { offerHint } = await import("./hint.js");
  offerHint(follows);
}

async function openRaces() {
  if (!document.querySelector("#races")) return;
  const { searchRaces } = await import("./races.js");
  searchRaces(/** @type {HTMLInputElement} */ (find("#search")));
}

async function openProfile() {
  const race = store.races.get(page.heights?.race ?? "");
  if (!page.heights || !race?.along) return;
  const { Profile } = await import("./profile.js");
  profile = new Profile({
    race, heights: page.heights.values,
    onDrag: ({ along }, distance) => map?.pin(along?.place(distance) ?? null),
    onChoose: async (of, distance) => {
      await openTools();
      tools?.mine.pinned.choose(of, distance);
    },
  });
  draw();
}

function offerReplay() {
  if (!page.race || !page.replay) return;
  const button = find("#replay");
  button.hidden = false;
  button.addEventListener("click", () => player ?? openPlayer());
}

/** @param {number} [time] stop there, ms; otherwise play from the start */
async function openPlayer(time) {
  const { race, replay: url } = page;
  if (!race || !url) return;
  const { Player } = await import("./player.js");
  player = new Player({
    url, race, eta: page.eta, icons: page.icons, headers: shareHeaders(page.follow),
    checkpoints: () => store.races.get(race.slug)?.checkpoints ?? [],
    whose: () => selected ?? [...store.runners.keys()].find(isMine) ?? null,
    now: () => clock.now(), onChange: draw, onNote: (sentence) => header.notice(sentence),
  });
  player.begin(time);
}

// The time that map and list show: now, or the time of the replay.
function shownTime() {
  return player?.time ?? clock.now();
}

async function openMap() {
  try {
    if (!page.map) throw new Error("The map's files are not installed.");
    // After the list, because a page without a map still works.
    const { createMap } = await import("./map/open.js");
    const opened = await createMap(page.map, {
      fitCourse: page.race !== null,
      oneRunner: page.oneRunner,
      onPick: (code) => code === selected || pick(code),
      onPlace: (place, reach) => tools?.mine.pinned.point(place, reach),
      onCamera: (mode) => {
        setAttribute(find("#mine-in-view"), "aria-pressed", String(mode === "mine"));
      },
      now: shownTime,
    }, shareHeaders(page.follow));
    map = opened;
    drawn = opened.library.once("load");
    if (asked.runner) map.follow(asked.runner);
    sheet.show();
    if (feed.lastFrame !== null) map.ready();
    find("#map-controls").hidden = false;
    draw();
    if (page.mode === "screen") cycleThrough(opened);
  } catch (error) {
    // The list works without the map, so this is not an error of the page.
    console.info(error instanceof Error ? error.message : error);
    find("#map-missing").hidden = false;
  }
}

// Request the streets around the course while the map's library is loading.
/** @param {string} slug */
async function openStreets(slug) {
  const line = store.races.get(slug)?.line ?? [];
  if (areStreetsAhead || !page.map || page.map.style || asked.runner || !line.length) return;
  areStreetsAhead = true;
  const { fetchAhead } = await import("./map/streets.js");
  const { clientWidth: width, clientHeight: height } = find("#map");
  fetchAhead(page.map.streets, shareHeaders(page.follow), line, { width, height }, covered);
}

/** @param {string} slug */
function openTicker(slug) {
  tickerOpening ??= import("./ticker.js").then(({ runTicker }) => runTicker({
    url: page.standings.replace("SLUG", slug), headers: shareHeaders(page.follow),
    finished: () => [...store.runners.values()]
      .filter(({ race, state }) => race === slug && state === "finished").map(({ code }) => code),
  }));
  tickerOpening.catch(() => (tickerOpening = null));
}

/** @param {import("./map/map.js").LiveMap} opened */
async function cycleThrough(opened) {
  const { cycle, starring } = await import("./cycle.js");
  const isLive = (/** @type {import("./store.js").Runner} */ runner) =>
    dataState(runner, clock.now()) === "live";
  cycle(
    () => starring(shownRunners(), (code) => follows.has(code), isLive),
    selectRunner,
    () => paused === null && !opened.isFree,
  );
}

/** @param {string | null} code null: all of them */
function selectRunner(code) {
  selected = code ?? page.oneRunner;
  draw();
  if (code === null) map?.fit();
  else map?.follow(code);
  if (selected) list.reveal(selected);
}

// For the browser's console, and for tests that inspect the map.
Object.assign(globalThis, { spectate: { store, map: () => map?.library } });
