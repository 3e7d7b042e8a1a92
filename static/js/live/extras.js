// The parts of the live page that its list does not need. Their modules are loaded after
// the list, because each request counts on a slow connection; until then they are null.

import { onChoice } from "../choices.js";
import { find, setAttribute } from "../dom.js";
import { dataState } from "../liveness.js";
import { shareHeaders } from "../protocol.js";

/** @typedef {import("../store.js").Runner} Runner */

/**
 * The page that has the extras. `selected` is a runner's code, `select(null)` selects all.
 * @typedef {{
 *   page: import("./page.js").Page, store: import("../store.js").Store,
 *   clock: import("../clock.js").ServerClock, feed: import("../feed.js").Feed,
 *   header: import("../header.js").Header, results: import("../results.js").Results,
 *   follows: import("../follows.js").AccountFollows | import("../follows.js").BrowserFollows,
 *   sheet: import("../sheet.js").Sheet, shown: import("./shown.js").Shown,
 *   state: {selected: string | null, paused: number | null, connected: boolean},
 *   isMine: (code: string) => boolean, draw: () => void, drawSoon: () => void,
 *   showChosen: () => void, pick: (code: string) => void, star: (code: string) => Promise<void>,
 *   select: (code: string | null) => void,
 * }} Live
 */

export class Extras {
  /** @type {import("../tools.js").Tools | null} */
  tools = null;
  /** @type {import("../groups.js").Groups | null} */
  groups = null;
  /** @type {import("../profile.js").Profile | null} */
  profile = null;
  /** @type {import("../offline/picture.js").Picture | null} */
  picture = null;
  /** @type {import("../map/map.js").LiveMap | null} */
  map = null;
  #live;
  #headers;
  /** @type {Promise<void> | null} */
  #toolsOpening = null;
  /** @type {Promise<void> | null} */
  #tickerOpening = null;
  /** @type {Promise<unknown>} the first complete picture of the map */
  #drawn = Promise.resolve();
  #covered = 0; // px of the map's lower edge
  #areStreetsAhead = false;

  /** @param {Live} live */
  constructor(live) {
    this.#live = live;
    this.#headers = shareHeaders(live.page.follow);
  }

  /** @param {string | null} runner the code in the page's address, shown by the map first */
  async open(runner) {
    await this.#openMap(runner);
    this.openTools();
    this.#openChoices();
    this.#openProfile();
    this.#openRaces();
    this.#openHint();
    this.#keepPicture();
    this.#openGroups();
    this.#live.feed.prepare();
  }

  /** @param {number} visible px of the sheet over the map */
  cover(visible) {
    this.#covered = visible;
    this.map?.setCovered(visible);
  }

  // Needed only by visitors who follow or have selected somebody.
  openTools() {
    const { page, store, results, feed, sheet, draw, drawSoon, isMine } = this.#live;
    this.#toolsOpening ??= import("../tools.js").then(({ Tools }) => {
      this.tools = new Tools({
        page, store, results, send: (message) => feed.send(message),
        onChange: draw, onAnswer: drawSoon, onPin: (place) => this.map?.pin(place),
        onAll: () => sheet.go("full"),
        myCodes: () => [...store.runners.keys()].filter(isMine),
      });
      draw();
    });
    // If loading fails, the next star retries it.
    this.#toolsOpening.catch(() => (this.#toolsOpening = null));
    return this.#toolsOpening;
  }

  async #openChoices() {
    const { offerChoices } = await import("../chooser.js");
    offerChoices();
    onChoice(this.#live.draw);
  }

  async #openGroups() {
    const { page, store, follows, star, showChosen, drawSoon } = this.#live;
    if (!page.race || !document.querySelector("#groups")) return;
    const { Groups } = await import("../groups.js");
    this.groups = new Groups({
      url: page.standings.replace("SLUG", page.race.slug), headers: this.#headers,
      runners: () => [...store.runners.values()], follows, follow: star,
      onChange: () => {
        showChosen();
        drawSoon(); // the map
      },
    });
  }

  // Not for accounts and share links: what they see must not outlive their rights here.
  async #keepPicture() {
    const { page, store, feed, state } = this.#live;
    const { first } = page;
    if (page.oneRunner || !first || page.account || page.link || page.mode) return;
    // It reads all files again, which would delay the map.
    await this.#drawn;
    const { Picture } = await import("../offline/picture.js");
    this.picture = new Picture({
      first, runners: () => store.runners.values(),
      time: () => (state.connected ? feed.lastFrame : null),
    });
    await this.picture.start();
  }

  async #openHint() {
    const { offerHint } = await import("../hint.js");
    offerHint(this.#live.follows);
  }

  async #openRaces() {
    if (!document.querySelector("#races")) return;
    const { searchRaces } = await import("../races.js");
    searchRaces(/** @type {HTMLInputElement} */ (find("#search")));
  }

  async #openProfile() {
    const { page, store, draw } = this.#live;
    const race = store.races.get(page.heights?.race ?? "");
    if (!page.heights || !race?.along) return;
    const { Profile } = await import("../profile.js");
    this.profile = new Profile({
      race, heights: page.heights.values,
      onDrag: ({ along }, distance) => this.map?.pin(along?.place(distance) ?? null),
      onChoose: async (of, distance) => {
        await this.openTools();
        this.tools?.mine.pinned.choose(of, distance);
      },
    });
    draw();
  }

  offerReplay() {
    const { page, shown } = this.#live;
    if (!page.race || !page.replay) return;
    const button = find("#replay");
    button.hidden = false;
    button.addEventListener("click", () => shown.player ?? this.openPlayer());
  }

  /** @param {number} [time] stop there, ms; otherwise play from the start */
  async openPlayer(time) {
    const { page, store, clock, header, shown, state, isMine, draw } = this.#live;
    const { race, replay: url } = page;
    if (!race || !url) return;
    const { Player } = await import("../player.js");
    shown.player = new Player({
      url, race, eta: page.eta, icons: page.icons, headers: this.#headers,
      checkpoints: () => store.races.get(race.slug)?.checkpoints ?? [],
      whose: () => state.selected ?? [...store.runners.keys()].find(isMine) ?? null,
      now: () => clock.now(), onChange: draw, onNote: (sentence) => header.notice(sentence),
    });
    shown.player.begin(time);
  }

  /** @param {string | null} runner */
  async #openMap(runner) {
    const { page, feed, sheet, shown, state, pick, draw } = this.#live;
    try {
      if (!page.map) throw new Error("The map's files are not installed.");
      // After the list, because a page without a map still works.
      const { createMap } = await import("../map/open.js");
      const opened = await createMap(page.map, {
        fitCourse: page.race !== null,
        oneRunner: page.oneRunner,
        onPick: (code) => code === state.selected || pick(code),
        onPlace: (place, reach) => this.tools?.mine.pinned.point(place, reach),
        onCamera: (mode) => {
          setAttribute(find("#mine-in-view"), "aria-pressed", String(mode === "mine"));
        },
        now: () => shown.time,
      }, this.#headers);
      this.map = opened;
      this.#drawn = opened.library.once("load");
      if (runner) opened.follow(runner);
      sheet.show();
      if (feed.lastFrame !== null) opened.ready();
      find("#map-controls").hidden = false;
      draw();
      if (page.mode === "screen") this.#cycleThrough(opened);
    } catch (error) {
      // The list works without the map, so this is not an error of the page.
      console.info(error instanceof Error ? error.message : error);
      find("#map-missing").hidden = false;
    }
  }

  // Request the streets around the course while the map's library is loading.
  /** @param {string} slug */
  async openStreets(slug) {
    const { page, store } = this.#live;
    const line = store.races.get(slug)?.line ?? [];
    if (this.#areStreetsAhead || !page.map || page.map.style || !line.length) return;
    this.#areStreetsAhead = true;
    const { fetchAhead } = await import("../map/streets.js");
    const { clientWidth: width, clientHeight: height } = find("#map");
    fetchAhead(page.map.streets, this.#headers, line, { width, height }, this.#covered);
  }

  /** @param {string} slug */
  openTicker(slug) {
    const { page, store } = this.#live;
    this.#tickerOpening ??= import("../ticker.js").then(({ runTicker }) => runTicker({
      url: page.standings.replace("SLUG", slug), headers: this.#headers,
      finished: () => [...store.runners.values()]
        .filter(({ race, state }) => race === slug && state === "finished").map(({ code }) => code),
    }));
    this.#tickerOpening.catch(() => (this.#tickerOpening = null));
  }

  /** @param {import("../map/map.js").LiveMap} opened */
  async #cycleThrough(opened) {
    const { clock, follows, shown, state, select } = this.#live;
    const { cycle, starring } = await import("../cycle.js");
    const isLive = (/** @type {Runner} */ runner) => dataState(runner, clock.now()) === "live";
    cycle(
      () => starring(shown.runners(), (code) => follows.has(code), isLive),
      select,
      () => state.paused === null && !opened.isFree,
    );
  }
}
