// The page /share/, which makes this browser the runner's phone. Connects the parts.

import { ServerClock } from "../clock.js";
import { find, setAttribute, setText } from "../dom.js";
import { age, clockTime } from "../format.js";
import { gettext, ngettext, number } from "../language.js";
import { makeToken, ownerOfToken, readAccount, readTokenFromAddress } from "./account.js";
import { Backlog } from "./backlog.js";
import { watchBattery } from "./battery.js";
import { Cheers } from "./cheers.js";
import { correction, inWords } from "./deviceclock.js";
import { fixOf, Locator, obstacle } from "./geolocation.js";
import { openQueue } from "./queue.js";
import { Sender } from "./sender.js";
import { Sos } from "./sos.js";
import { WakeLock } from "./wakelock.js";
import { positions, describeState, troubleWith } from "./words.js";

// An older interrupted run is not resumed automatically.
const RESUME_WITHIN_MS = 15 * 60_000;
// A longer time in the background is mentioned.
const WORTH_A_WORD_MS = 10_000;
const ONE_TAB = "spectate-phone";
const startWords = find("#start").textContent ?? "";

/**
 * @typedef {import("./words.js").Doing} Doing
 * @typedef {import("./account.js").Identity} Identity
 */

const queue = await openQueue();
/** @type {Identity | null} */
let identity = (await queue.recall("identity")) ?? null;
/** @type {import("./account.js").Account | null} */
let account = null;
/** @type {Identity | null} what a link offers */
let offer = null;
/** @type {Sender | null} */
let sender = null;
let backlog = new Backlog();
/** @type {Doing} */
let doing = "ready";
/** @type {import("./geolocation.js").Trouble | null} */
let trouble = obstacle();
/** @type {import("../connection.js").Status} */
let status = { state: "connecting" };
/** @type {string | null} */
let refused = null;
/** @type {number | null} */
let reached = (await queue.recall("reached")) ?? null;
let located = false;
/** @type {number | null} */
let accuracy = null;
/** @type {number | null} */
let battery = null;
let screenHeld = false;
/** @type {number | null} */
let hiddenAt = null;
let lastPositionAt = 0;
// The server's time minus this device's, in ms.
let offset = (await queue.recall("offset")) ?? 0;
let clockChecked = false;
/** @type {import("./queue.js").Row[]} recorded before the clock was checked */
let unsure = [];
const clock = new ServerClock(Date.now() + offset);

const locator = new Locator({
  onPosition: record,
  onTrouble: (found) => {
    // "denied" may not be the runner's choice: a page that is being closed gets it too.
    if (found === "denied") change("ready");
    trouble = found;
    draw();
  },
});
const wakeLock = new WakeLock((held) => {
  screenHeld = held;
  draw();
});
const cheers = new Cheers({
  aloud: (await queue.recall("aloud")) ?? true,
  onSwitch: (aloud) => queue.remember("aloud", aloud),
});

const sos = new Sos({
  queue,
  device: () => ({ now: clock.now(), offset, battery }),
  send: (message) => sender?.sendMessage(message),
  onChange: () => {
    holdScreen();
    draw();
  },
});

// Two tabs would record everything twice.
navigator.locks?.request(ONE_TAB, { ifAvailable: true }, async (lock) => {
  if (!lock) return waitForOtherTab();
  return new Promise((_, reject) => open().catch(reject));
}) ?? open();

function waitForOtherTab() {
  find("#elsewhere").hidden = false;
  find("#phone").hidden = true;
  navigator.locks.request(ONE_TAB, () => location.reload());
}

async function open() {
  find("#start").addEventListener("click", () => start());
  find("#pause").addEventListener("click", () => go("paused"));
  find("#stop").addEventListener("click", () => go("stopped"));
  find("#forget").addEventListener("click", forget);
  find("#offer-yes").addEventListener("click", acceptOffer);
  find("#offer-no").addEventListener("click", () => {
    offer = null;
    draw();
  });
  document.addEventListener("visibilitychange", reportGap);
  watchBattery((percent) => {
    battery = percent;
    draw();
  });
  offerInstallation();
  setInterval(draw, 1000);

  const token = readTokenFromAddress();
  if (identity) await begin(identity);
  if (token && token !== identity?.token) await considerOffer(token);
  draw();
  account = await readAccount();
  draw();
}

// -- the owner of the phone

/** @param {Identity} who */
async function begin(who) {
  identity = who;
  await queue.remember("identity", who);
  backlog = new Backlog();
  const rows = await queue.rows(who.runner);
  unsure = rows.filter((row) => row.unsure);
  for (const row of rows) backlog.add(plain(row));
  sender = new Sender(who.token, backlog, {
    onStatus: (now) => {
      status = now;
      if (status.state === "ended") go("stopped");
      draw();
    },
    onWelcome: ({ time }) => settleClock(time),
    onTime: (time) => clock.saw(time),
    onDone: settle,
    onTrouble: (code, detail) => showNotice("trouble", troubleWith(code, detail)),
    onCheer: (text) => cheers.receive(text),
    first: () => sos.first(),
    onAnswer: (answer) => sos.answer(answer),
  });
  await sos.begin(who.runner);
  const run = await queue.recall("run");
  const last = Math.max(run?.at ?? 0, reached ?? 0, rows.at(-1)?.t ?? 0);
  if (run?.doing === "recording" && clock.now() - last < RESUME_WITHIN_MS) go("recording");
}

/** @param {string} token */
async function considerOffer(token) {
  try {
    offer = await ownerOfToken(token);
    if (offer.runner === identity?.runner) await acceptOffer();
  } catch (error) {
    showNotice("trouble", sentence(error));
  }
}

async function acceptOffer() {
  if (offer) await startAnew(offer);
}

/** @param {Identity | undefined} who */
async function startAnew(who) {
  const same = who && who.runner === identity?.runner;
  await queue.remember("identity", who);
  // Use a new connection, without the data of the previous runner.
  for (const name of same ? [] : ["run", "reached"]) await queue.remember(name, undefined);
  location.reload();
}

async function forget() {
  const waiting = backlog.size;
  const warning = gettext("Forget {name}? {positions} stored here would wait for this runner’s next token.", {
    name: identity?.name ?? "", positions: positions(waiting),
  });
  if (waiting && !confirm(warning)) return;
  await startAnew(undefined);
}

// -- the runner's actions

async function start() {
  cheers.allow();
  try {
    if (account?.runner && (!identity || status.state === "ended")) {
      find("#start").setAttribute("disabled", "");
      const made = await makeToken(account);
      if (identity) return startAnew(made);
      await begin(made);
    }
    showNotice("trouble", "");
    go("recording");
    navigator.storage?.persist?.();
  } catch (error) {
    showNotice("trouble", sentence(error));
  }
  find("#start").removeAttribute("disabled");
}

/** @param {Doing} wanted */
function go(wanted) {
  if (wanted === "recording" && (!identity || status.state === "ended")) return;
  change(wanted);
  queue.remember("run", { doing, at: clock.now() });
}

/** @param {Doing} wanted */
function change(wanted) {
  doing = wanted;
  trouble = obstacle();
  located = false;
  if (doing === "recording") locator.start();
  else locator.stop();
  holdScreen();
  draw();
}

function holdScreen() {
  wakeLock.want(doing === "recording" || sos.isOpen);
}

/** @param {GeolocationPosition} position */
async function record(position) {
  if (doing !== "recording" || !identity) return;
  trouble = null;
  located = true;
  accuracy = position.coords.accuracy;
  lastPositionAt = Date.now();
  const { runner } = identity;
  const fix = fixOf(position, { offset, battery });
  /** @type {import("./queue.js").Row} */
  const row = { ...fix, runner, ...(clockChecked ? {} : { unsure: true }) };
  if (row.unsure) unsure.push(row);
  try {
    // Stored first and then sent, so that the fix survives any end of this page.
    await queue.add([row]);
  } catch {
    showNotice("storage", gettext("This browser’s storage is full: a reload would lose the unsent positions."));
  }
  backlog.add(fix);
  sender?.send();
  draw();
}

/**
 * Correct the times of fixes that were recorded before the server's clock was known.
 * @param {number} serverTime
 */
async function settleClock(serverTime) {
  const known = correction(serverTime, Date.now());
  const rows = unsure;
  unsure = [];
  const change = known - offset;
  offset = known;
  clockChecked = true;
  await queue.remember("offset", offset);
  showNotice("clock", inWords(offset));
  if (!rows.length || !identity) return;
  const times = rows.map(({ t }) => t);
  const righted = rows.map((row) => ({ ...plain(row), t: row.t + change, runner: row.runner }));
  backlog.remove(times);
  if (change) await queue.remove(identity.runner, times);
  await queue.add(righted);
  for (const row of righted) backlog.add(plain(row));
}

/**
 * @param {import("./backlog.js").Fix[]} fixes
 * @param {[index: number, code: string, detail: string][]} rejected
 */
async function settle(fixes, rejected) {
  if (!identity || !fixes.length) return;
  refused = rejected.at(-1)?.[1] ?? null;
  if (fixes.length > rejected.length) {
    reached = clock.now();
    showNotice("trouble", "");
    queue.remember("reached", reached);
  }
  await queue.remove(identity.runner, fixes.map(({ t }) => t));
  draw();
}

/** @param {import("./queue.js").Row} row @returns {import("./backlog.js").Fix} */
function plain({ runner: _, unsure: __, ...fix }) {
  return fix;
}

// In the background browsers find no position, so report the loss.
function reportGap() {
  if (document.visibilityState === "hidden") {
    hiddenAt = Date.now();
  } else if (hiddenAt !== null) {
    const away = Date.now() - Math.max(hiddenAt, lastPositionAt);
    if (doing === "recording" && away > WORTH_A_WORD_MS) {
      showNotice("gap", gettext("This page was in the background and recorded nothing for {age}.", { age: age(away) }));
    }
    hiddenAt = null;
  }
}

// -- the page's texts

/** @param {string} name @param {string} text */
function showNotice(name, text) {
  const line = find(`#note-${name}`);
  setText(line, text);
  line.hidden = !text;
}

/** @param {unknown} error */
function sentence(error) {
  return error instanceof Error ? error.message : String(error);
}

function draw() {
  const now = clock.now();
  const waiting = backlog.size;
  const isSetUp = identity !== null;
  const shown = describeState({ doing, trouble, located, status, waiting, refused, reached, now });
  const recording = doing === "recording";

  find("#phone").dataset.doing = doing;
  find("#said").dataset.tone = shown.tone;
  setAttribute(find("#said use"), "href", `${find("#said").dataset.icons}#${shape(shown.tone)}`);
  setText(find("#headline"), isSetUp ? shown.headline : gettext("Not set up yet"));
  setText(find("#detail"), isSetUp ? shown.detail : invitation());

  find("#facts").hidden = !isSetUp;
  figure("reached", reached === null ? null : age(now - reached), gettext("ago"));
  setText(
    find("#reached-at"),
    reached === null ? gettext("nothing yet") : gettext("at {time}", { time: clockTime(reached) }),
  );
  figure("waiting", number(waiting), ngettext("position", "positions", waiting));
  figure("accuracy", accuracy === null ? null : `±${Math.round(accuracy)}`, "m");
  figure("battery", battery === null ? null : String(battery), "%");

  const ended = status.state === "ended";
  const canStart = !obstacle() && ((isSetUp && !ended) || Boolean(account?.runner));
  find("#start").hidden = recording || !canStart;
  setText(find("#start"), ended ? gettext("Set up again") : doing === "paused" ? gettext("Continue") : startWords);
  find("#pause").hidden = !recording;
  find("#stop").hidden = !recording && doing !== "paused";
  find("#sign-in").hidden = (isSetUp && !ended) || account?.signedIn !== false;
  find("#become").hidden = isSetUp || !account?.signedIn || account.runner !== null;

  find("#screen").hidden = !recording;
  setText(
    find("#screen"),
    screenHeld
      ? gettext("The screen stays on automatically.")
      : gettext("This browser cannot keep the screen on: set the device not to lock, and leave it on."),
  );
  find("#cheers").hidden = !isSetUp;
  sos.draw(isSetUp);
  find("#memory").hidden = queue.durable;
  find("#who").hidden = !isSetUp;
  if (identity) {
    setText(find("#name"), identity.name);
    setAttribute(find("#apps"), "href", `/runners/${identity.runner}/phones/`);
  }
  find("#forget").hidden = recording || !isSetUp;
  const other = account?.runner && identity && account.runner.code !== identity.runner;
  showNotice(
    "other",
    other
      ? gettext("You are signed in as {account}; this browser sends as {name}.", {
          account: account?.runner?.name ?? "", name: identity?.name ?? "",
        })
      : "",
  );
  find("#offer").hidden = offer === null;
  if (offer) for (const name of document.querySelectorAll(".offered")) setText(name, offer.name);
}

/** @param {string} name @param {string | null} value @param {string} unit */
function figure(name, value, unit) {
  setText(find(`#${name}`), value ?? "–");
  setText(find(`#${name} + span`), value === null ? "" : unit);
}

function invitation() {
  if (account === null) return gettext("The server cannot be reached. Try again when there is a connection.");
  if (!account.signedIn) return gettext("Sign in, or open the link that you were given for this browser.");
  if (!account.runner) return gettext("You are signed in, but you are not a runner yet.");
  return gettext(
    "Start makes this browser the phone of {name}. You can revoke it on your page at any time.",
    { name: account.runner.name },
  );
}

/** @param {import("./words.js").Tone} tone */
function shape(tone) {
  return tone === "alarm" ? "off_course" : tone;
}

// -- installing

function offerInstallation() {
  const button = find("#install");
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    button.hidden = false;
    button.onclick = () => {
      button.hidden = true;
      /** @type {Event & {prompt: () => void}} */ (event).prompt();
    };
  });
  const { worker } = find("#phone").dataset;
  if (worker) navigator.serviceWorker?.register(worker, { scope: "/share/" });
}
