// The live page: puts the connection, the store, the list and the map together.

import { ServerClock } from "./clock.js";
import { Connection } from "./connection.js";
import { AccountFollows, BrowserFollows } from "./follows.js";
import { Header } from "./header.js";
import { RunnerList } from "./list.js";
import { createMap } from "./map/map.js";
import { followMessage } from "./protocol.js";
import { Sheet } from "./sheet.js";
import { Store } from "./store.js";

// Ages are told to the second; the map is redrawn at most this often. ms.
const REFRESH_EVERY = 1000;
const DRAW_EVERY = 250;
// When to ask again after the server could not reach its database. ms.
const STORE_RETRY = 2000;

const page = JSON.parse(document.querySelector("#page").textContent);
const clock = new ServerClock(page.time);
const store = new Store(page.courses);
const header = new Header({ race: page.race, icons: page.icons });
const follows = page.account
  ? new AccountFollows(page.account, followsChanged)
  : new BrowserFollows(followsChanged);
const list = new RunnerList({
  icons: page.icons,
  onPick: pick,
  onStar: star,
  onSearch: () => draw(),
});

let map = null;
let selected = null;
let paused = null; // the server's time at which the picture was stopped
let lastFrame = null; // `time` of the newest frame: where to go on from after a gap
let connected = false;
let askedRunners = new Set();
let drawTimer = 0;

const sheet = new Sheet((visible) => map?.setCovered(visible));
sheet.go(page.oneRunner ? "half" : "peek");

const connection = new Connection(socketUrl(page.socket), {
  onOpen: () => {
    store.begin();
    follow();
  },
  onMessage: receive,
  onStatus: (status) => {
    connected = status.state === "open";
    header.showConnection(status, lastFrame);
    draw();
  },
});
connection.open();
setInterval(() => draw(), REFRESH_EVERY);

document.querySelector("#pause").addEventListener("click", togglePause);
document.querySelector("#fold").addEventListener("click", toggleFold);
document.addEventListener("keydown", shortcut);

openMap();

function socketUrl(path) {
  return `${location.protocol === "https:" ? "wss:" : "ws:"}//${location.host}${path}`;
}

function follow() {
  const codes = page.ownFollows ? follows.codes() : [];
  askedRunners = new Set(codes);
  connection.send(followMessage(page.follow, codes, lastFrame));
}

function receive(message) {
  if (message.time) {
    clock.saw(message.time);
    if (message.type !== "welcome") lastFrame = message.time;
  }
  switch (message.type) {
    case "snapshot":
      store.applySnapshot(message);
      if (!message.more) map?.ready();
      break;
    case "positions":
      store.applyPositions(message.fixes);
      break;
    case "late":
      store.applyLate(message.runner, message.fixes);
      break;
    case "event":
      receiveEvent(message);
      break;
    case "error":
      receiveError(message);
      break;
  }
  drawSoon();
}

function receiveEvent(event) {
  const gone = store.applyEvent(event);
  if (event.kind === "race") {
    // Its course may be another: have it told anew.
    connection.send({ type: "unfollow", races: [event.race.slug] });
    follow();
  }
  if (gone && event.kind === "access" && (follows.has(gone.code) || page.oneRunner)) {
    header.notice(`${gone.name} is no longer shared with you.`);
  }
}

function receiveError({ code, runner, detail, after }) {
  if (code === "store.unavailable") setTimeout(follow, after ?? STORE_RETRY);
  // A star on someone who is not shared (any more) is no news on the page of all.
  if (runner && !page.oneRunner) return;
  if (code === "runner.unknown") header.notice("This runner is no longer shared with you.");
  else header.notice(detail);
}

function followsChanged() {
  // Someone just starred who is not public: the socket has to ask for them as well.
  if (page.ownFollows && connected) {
    const codes = follows.codes().filter((code) => !askedRunners.has(code));
    const unseen = codes.filter((code) => !store.runners.has(code));
    for (const code of codes) askedRunners.add(code);
    if (unseen.length) follow();
  }
  draw();
}

async function star(code) {
  try {
    await follows.toggle(code);
  } catch (error) {
    header.notice(error.message);
  }
}

function pick(code) {
  selected = selected === code ? null : code;
  if (selected) {
    sheet.raise("half");
    map?.follow(selected);
  } else {
    map?.follow(null);
  }
  draw();
  if (selected) list.reveal(selected);
}

function togglePause() {
  paused = paused === null ? clock.now() : null;
  header.showPaused(paused);
  map?.setPaused(paused !== null);
  draw();
}

function toggleFold() {
  const folded = document.body.classList.toggle("folded");
  document.querySelector("#fold").setAttribute("aria-expanded", String(!folded));
}

function shortcut(event) {
  if (event.target.matches("input, textarea") || event.ctrlKey || event.metaKey) return;
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector("#search").focus();
  } else if (event.key === "Escape" && selected) {
    pick(selected);
  }
}

function drawSoon() {
  drawTimer ||= setTimeout(draw, DRAW_EVERY);
}

function draw() {
  clearTimeout(drawTimer);
  drawTimer = 0;
  const now = clock.now();
  header.tick(now);
  if (paused !== null) return;
  const runners = shownRunners();
  const emptySentence = sentenceForNobody();
  list.render(runners, { follows, selected, now, emptySentence });
  header.showRunners(runners, { follows, now, emptySentence });
  map?.show(runners, { races: store.races, follows, selected, now });
}

// A runner without a fix is on a start list, or nowhere.
function shownRunners() {
  return [...store.runners.values()].filter(
    (runner) => runner.fix || page.race || page.oneRunner || follows.has(runner.code),
  );
}

function sentenceForNobody() {
  if (!connected && lastFrame === null) return "Waiting for the server.";
  if (page.oneRunner) return "Nothing to see here yet. The map starts with the first position.";
  if (page.race) return "Nobody is on the start list yet.";
  return "Nobody is sharing right now. Runs appear here as soon as someone starts.";
}

async function openMap() {
  try {
    if (!page.map) throw new Error("The map's files are not installed.");
    const opened = await createMap(page.map, {
      fitCourse: page.race !== null,
      oneRunner: page.oneRunner,
      onPick: (code) => code === selected || pick(code),
    });
    map = opened;
    sheet.go(document.querySelector("#panel").dataset.stop);
    if (lastFrame !== null) map.ready();
    document.querySelector("#map-controls").hidden = false;
    draw();
  } catch (error) {
    // The list goes on without it, so this is no error of the page.
    console.info(error.message);
    document.querySelector("#map-missing").hidden = false;
  }
}

// For the browser's console, and for the tests that look at the map.
globalThis.spectate = {
  store,
  get map() {
    return map;
  },
};
