// The live page: connects feed, store, list and map.

import { linkEndedSentence, lostSentence, nobodySentence } from "./access.js";
import { useRaceZone } from "./choices.js";
import { ServerClock } from "./clock.js";
import { distinguish } from "./colours.js";
import { find } from "./dom.js";
import { categoryWords } from "./facts.js";
import { Feed } from "./feed.js";
import { AccountFollows, BrowserFollows } from "./follows.js";
import { Header } from "./header.js";
import { gettext } from "./language.js";
import { RunnerList } from "./list.js";
import { Extras } from "./live/extras.js";
import { readPage } from "./live/page.js";
import { Shown } from "./live/shown.js";
import { describe } from "./liveness.js";
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

const page = readPage();
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

const shown = new Shown({ page, store, clock, results, follows });
const asked = viewOf(location.search);
// Links to a replay, such as that of a past race, have this fragment.
let isReplayAsked = location.hash === "#replay";
const state = {
  /** @type {string | null} */
  selected: asked.runner ?? page.oneRunner,
  /** @type {number | null} the server's time at which the picture was stopped */
  paused: null,
  connected: false,
};
/** @type {string | null} why there is nobody to see any more */
let lost = null;
/** @type {Set<string>} */
let requestedRunners = new Set();
/** @type {ReturnType<typeof setTimeout> | undefined} */
let drawTimer;
let drawnAt = 0; // by the page's running time
/** @type {import("./store.js").Runner[]} those of the last draw */
let drawnRunners = [];

const sheet = new Sheet((visible) => extras.cover(visible));

const feed = new Feed(page, store, clock, {
  codes: () => {
    const codes = page.ownFollows ? follows.codes() : [];
    requestedRunners = new Set(codes);
    return codes;
  },
  trailed: () => [...store.runners.keys()].filter(isBig),
  onChange: (isComplete) => {
    if (isComplete) showComplete();
    drawSoon();
  },
  onEvent: receiveEvent,
  onError: receiveError,
  onAnswer: (answer) => extras.tools?.cheers.answer(answer),
  onStatus: (status) => {
    state.connected = status.state === "open" || status.state === "polling";
    header.showConnection(status, feed.lastFrame);
    if (LOST_CLOSE_CODES.has(status.code ?? 0)) loseAll(status.code, status.detail ?? "");
    draw();
  },
});

const extras = new Extras({
  page, store, clock, feed, header, results, follows, sheet, shown, state,
  isMine, draw, drawSoon, showChosen, pick, star, select,
});
sheet.go(state.selected ? "half" : "peek");

feed.open(mapArrived());
setInterval(() => performance.now() - drawnAt > REFRESH_EVERY_MS / 2 && draw(), REFRESH_EVERY_MS);

find("#pause").addEventListener("click", togglePause);
find("#fold").addEventListener("click", toggleFold);
document.querySelector("#share")?.addEventListener("click", shareView);
document.addEventListener("keydown", shortcut);
document.addEventListener("visibilitychange", () => draw());

if (state.selected || follows.codes().length) extras.openTools();
extras.open(asked.runner);
extras.offerReplay();

// The socket's snapshot repeats the one that the page has fetched. Uncompressed, it would
// delay the map's library by a third.
async function mapArrived() {
  if (page.map) await import(page.map.library).catch(() => {});
}

/** @param {string} code */
function isBig(code) {
  return follows.has(code) || code === state.selected;
}

/** @param {string} code */
function isMine(code) {
  return follows.has(code) || code === page.oneRunner;
}

/** @param {Record<string, any>} event */
function receiveEvent(event) {
  const gone = store.applyEvent(event);
  const runner = store.runners.get(event.runner);
  extras.picture?.receive(event);
  if (event.kind === "split" && !event.withdrawn && runner && isMine(runner.code)) {
    extras.tools?.mine.announce(runner, /** @type {any} */ (event));
  }
  if (event.kind === "cheer") extras.tools?.cheers.showCheer(/** @type {any} */ (event));
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
  extras.picture?.forget();
  lost = code === 4403 && page.link ? linkEndedSentence(page.link, clock.now()) : detail;
  header.showConnection({ state: "ended", detail: lost }, feed.lastFrame);
  goOn();
}

// A frozen picture would still show runners who may no longer be seen.
function goOn() {
  if (state.paused !== null) togglePause();
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
  if (page.ownFollows && state.connected) {
    const codes = follows.codes().filter((code) => !requestedRunners.has(code));
    const unseen = codes.filter((code) => !store.runners.has(code));
    for (const code of codes) requestedRunners.add(code);
    if (unseen.length) feed.follow();
  }
  draw();
}

/** @param {string} code */
async function star(code) {
  extras.openTools();
  try {
    await follows.toggle(code);
  } catch (error) {
    header.notice(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} code */
function pick(code) {
  state.selected = state.selected === code ? page.oneRunner : code;
  extras.openTools();
  if (state.selected) {
    sheet.showMap();
    extras.map?.follow(state.selected);
  } else {
    extras.map?.follow(null);
  }
  draw();
  if (state.selected) list.reveal(state.selected);
}

async function shareView() {
  const runner = state.selected === page.oneRunner ? null : state.selected;
  const place = extras.tools?.mine.pinned.place ?? null;
  const url = addressOf(location.href, { runner, place, time: shown.player?.time ?? null });
  const finisher = store.runners.get(state.selected ?? "");
  // After the finish, the result as a picture.
  const card = finisher?.state === "finished" && finisher.bib && page.card
    ? page.card.replace("BIB", encodeURIComponent(finisher.bib))
    : null;
  const sentence = await share(document.title, url, card);
  if (sentence) header.notice(sentence);
}

function showComplete() {
  extras.map?.ready();
  if (page.race && extras.map === null && !asked.runner) extras.openStreets(page.race.slug);
  showAsked();
  if (page.mode === "screen" && page.race) extras.openTicker(page.race.slug);
}

// Show the place and the replay of the page's address, once the courses have arrived.
function showAsked() {
  const { place, time } = asked;
  asked.place = asked.time = null;
  if (time !== null && page.replay) extras.openPlayer(time);
  else if (isReplayAsked) extras.openPlayer();
  isReplayAsked = false;
  if (place) extras.openTools().then(() => extras.tools?.mine.pinned.point(place, SHARED_PLACE_REACH_M));
}

function togglePause() {
  state.paused = state.paused === null ? clock.now() : null;
  header.showPaused(state.paused);
  extras.map?.setPaused(state.paused !== null);
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
  } else if (event.key === "Escape" && state.selected !== page.oneRunner && state.selected) {
    pick(state.selected);
  }
}

function drawSoon() {
  drawTimer ??= setTimeout(draw, DRAW_EVERY_MS);
}

function draw() {
  clearTimeout(drawTimer);
  drawTimer = undefined;
  drawnAt = performance.now();
  const now = shown.time;
  header.tick(now, shown.isReplay);
  shown.player?.show();
  if (state.paused !== null) return;
  const isWaiting = feed.lastFrame === null && lost === null;
  if (isWaiting && list.isServed && performance.now() < SERVED_FOR_MS) return;
  const mine = [...store.runners.values()].filter(({ code }) => isMine(code));
  distinguish(mine, page.palette);
  const runners = drawnRunners = shown.runners();
  // Predicted arrivals are always later than now, also in a replay.
  const present = mine.filter((runner) => !shown.ended(runner).isOver);
  extras.tools?.mine.render(present.map((runner) => shown.estimated(runner, clock.now())), clock.now());
  if (document.hidden) return;
  const emptySentence = sentenceForNobody();
  const { selected } = state;
  const group = extras.groups?.chosen ?? null;
  results.refresh([...store.runners.values()], performance.now());
  showList(runners, now);
  const next = shown.isReplay ? "" : (extras.tools?.mine.next(now) ?? "");
  header.showRunners(runners, {
    follows, now, next, emptySentence,
    ended: (runner) => ({ ...shown.ended(runner), rank: results.of(runner)?.rank }),
  });
  extras.profile?.render(runners.filter(({ code }) => isBig(code)), extras.tools?.mine.pinned.distance ?? null);
  extras.tools?.cheers.show(selected ? store.runners.get(selected) : null);
  extras.tools?.bell?.show(selected ? store.runners.get(selected) : null);
  if (!shown.isReplay) feed.fillTrails(runners.filter((runner) => isBig(runner.code) && !runner.estimated));
  const finish = (/** @type {import("./store.js").Runner} */ runner) => {
    if (runner.state === "finished") return describe(runner, now, shown.ended(runner)).words;
    return shown.isReplay || shown.ended(runner).isOver ? "" : (extras.tools?.mine.finish(runner) ?? "");
  };
  // A separate task, because with thousands of runners both together would block input.
  const exactly = shown.isReplay;
  const probable = (/** @type {import("./store.js").Runner} */ runner) =>
    exactly || shown.ended(runner).isOver ? null : (extras.tools?.mine.probable(runner, now) ?? null);
  const onMap = runners.filter(({ code }) => !group || group.has(code) || isBig(code));
  setTimeout(() => state.paused === null && extras.map?.show(onMap, { store, follows, selected, probable, finish, exactly }));
}

// A search or a group chooses among the runners of the last draw.
function showChosen() {
  if (list.isServed || state.paused !== null) draw();
  else showList(drawnRunners, shown.time);
}

/** @param {import("./store.js").Runner[]} runners @param {number} now */
function showList(runners, now) {
  list.render(runners, {
    follows, oneRunner: page.oneRunner, selected: state.selected, now,
    ended: (runner) => shown.ended(runner),
    emptySentence: sentenceForNobody(), group: extras.groups?.chosen ?? null,
    lines: (runner, at) => {
      if (shown.isReplay) return null;
      if (shown.ended(runner).isOver) return { next: categoryWords(results.of(runner)) };
      return extras.tools?.mine.lines(runner, at) ?? null;
    },
    result: (runner) => results.of(runner),
  });
}

function sentenceForNobody() {
  if (lost !== null) return lost;
  if (!state.connected && feed.lastFrame === null) return gettext("Waiting for the server.");
  return nobodySentence(page, clock.now());
}

/** @param {string | null} code null: all of them */
function select(code) {
  state.selected = code ?? page.oneRunner;
  draw();
  if (code === null) extras.map?.fit();
  else extras.map?.follow(code);
  if (state.selected) list.reveal(state.selected);
}

// For the browser's console, and for tests that inspect the map.
Object.assign(globalThis, { spectate: { store, map: () => extras.map?.library } });
