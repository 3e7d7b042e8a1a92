// Groups of a race's runners beside the map: a category, a wave or a club for list and
// map, and following a whole group or a list of bibs.

import { find, setText } from "./dom.js";
import { gettext, ngettext } from "./language.js";
import { requestField } from "./named.js";

// How old the ranks in a group may be.
const EVERY_MS = 60_000;
// Limit of runners that are followed at once.
const MOST_FOLLOWED = 50;

/**
 * The members of a group by code, each with the rank in it.
 * @typedef {Map<string, number | null>} Group
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {{
 *   url: string, headers: Record<string, string>, runners: () => Runner[],
 *   follows: import("./follows.js").Follows, follow: (code: string) => Promise<void>,
 *   onChange: () => void, fetch?: typeof fetch,
 * }} Options `url`: of the race's standings; `follow`: press a runner's star
 */

/** The group that the visitor has chosen, and the controls for it. */
export class Groups {
  /** @type {Group | null} null: everyone */
  chosen = null;
  #options;
  #fetch;
  #details = find("#groups");
  #selects = /** @type {HTMLSelectElement[]} */ ([...this.#details.querySelectorAll("select")]);
  #follow = find("#follow-group");
  #bibs = /** @type {HTMLInputElement} */ (find("#follow-bibs input"));
  #says = find("#groups-says");
  #isFilled = false;

  /** @param {Options} options */
  constructor(options) {
    this.#options = options;
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
    this.#details.hidden = false;
    this.#details.addEventListener("toggle", () => this.#fill());
    for (const select of this.#selects) select.addEventListener("change", () => this.#choose());
    this.#follow.addEventListener("click", () => this.#followAll(this.#unfollowed()));
    find("#follow-bibs").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#followBibs();
    });
    setInterval(() => this.chosen && !document.hidden && this.#choose(), EVERY_MS);
  }

  get #query() {
    const chosen = this.#selects.filter(({ value }) => value);
    return Object.fromEntries(chosen.map(({ name, value }) => [name, value]));
  }

  // Offer the groups of this race, when the controls are opened.
  async #fill() {
    if (this.#isFilled) return;
    this.#isFilled = true;
    try {
      for await (const answer of this.#request({ rows: "1" })) {
        const names = { category: answer.categories, wave: answer.waves, club: answer.clubs };
        for (const select of this.#selects) {
          const values = names[/** @type {keyof typeof names} */ (select.name)];
          select.append(...values.map((/** @type {string} */ name) => new Option(name)));
          /** @type {HTMLElement} */ (select.closest("label")).hidden = values.length === 0;
        }
      }
    } catch {
      this.#isFilled = false;
      setText(this.#says, gettext("The groups could not be loaded. Open this again."));
    }
  }

  /** @param {Record<string, string>} query */
  #request(query) {
    return requestField(this.#fetch, this.#options.url, { headers: this.#options.headers, query });
  }

  async #choose() {
    const query = this.#query;
    const names = Object.values(query);
    setText(find("#groups-chosen"), names.join(" · "));
    if (names.length === 0) this.#show(null);
    try {
      /** @type {Group} */
      const members = new Map();
      if (names.length === 0) return;
      for await (const { standings } of this.#request(query)) {
        for (const { runner, rank } of standings) members.set(runner, rank);
      }
      // Another group may have been chosen meanwhile.
      if (names.join() === Object.values(this.#query).join()) this.#show(members);
    } catch {
      setText(this.#says, gettext("This group could not be loaded. Choose it again."));
    }
  }

  /** @param {Group | null} members */
  #show(members) {
    this.chosen = members;
    const count = this.#unfollowed().length;
    this.#follow.hidden = count === 0 || count > MOST_FOLLOWED;
    setText(this.#follow, ngettext("Follow {count} runner", "Follow all {count} runners", count));
    setText(this.#says, members && count > MOST_FOLLOWED
      ? gettext("To follow them all at once, choose a group of at most {most}.", { most: MOST_FOLLOWED })
      : "");
    this.#options.onChange();
  }

  #unfollowed() {
    const { runners, follows } = this.#options;
    const codes = runners().map(({ code }) => code);
    return codes.filter((code) => this.chosen?.has(code) && !follows.has(code));
  }

  async #followBibs() {
    const { codes, missing } = findBibs(this.#bibs.value, this.#options.runners());
    if (codes.length === 0 && missing.length === 0) return;
    const { follows } = this.#options;
    await this.#followAll(codes.filter((code) => !follows.has(code)).slice(0, MOST_FOLLOWED));
    const followed = codes.filter((code) => follows.has(code)).length;
    setText(this.#says, [
      ngettext("{count} runner of your list is followed.", "{count} runners of your list are followed.", followed),
      missing.length ? gettext("Not found: {bibs}.", { bibs: missing.join(", ") }) : "",
    ].join(" ").trim());
    if (!missing.length) this.#bibs.value = "";
  }

  /** @param {string[]} codes */
  async #followAll(codes) {
    for (const code of codes) await this.#options.follow(code);
    this.#show(this.chosen);
  }
}

/**
 * Find the runners of a pasted list of bibs, separated by spaces, commas or semicolons.
 * @param {string} text
 * @param {Pick<Runner, "code" | "bib">[]} runners
 */
export function findBibs(text, runners) {
  const wanted = [...new Set(text.toLocaleLowerCase().split(/[\s,;]+/).filter(Boolean))];
  const known = new Map(runners.map(({ code, bib }) => [bib?.toLocaleLowerCase(), code]));
  return {
    codes: wanted.flatMap((bib) => known.get(bib) ?? []),
    missing: wanted.filter((bib) => !known.has(bib)),
  };
}
