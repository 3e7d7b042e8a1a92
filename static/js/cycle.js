// The big screen, which shows the whole field and single runners in turn.

const EACH_MS = 12_000;
// Limit of runners of the field, besides those followed.
const LEADERS = 3;

/**
 * Return the runners to show after the whole field: followed runners, and the leaders.
 * @param {import("./store.js").Runner[]} runners
 * @param {(code: string) => boolean} isFollowed
 * @param {(runner: import("./store.js").Runner) => boolean} isLive
 * @returns {string[]}
 */
export function starring(runners, isFollowed, isLive) {
  const seen = runners.filter(isLive);
  const mine = seen.filter(({ code }) => isFollowed(code));
  const far = seen
    .filter(({ fix }) => (fix?.progress ?? null) !== null)
    .sort((a, b) => (b.fix?.progress ?? 0) - (a.fix?.progress ?? 0));
  return [...new Set([...mine, ...far.slice(0, LEADERS)].map(({ code }) => code))];
}

/**
 * Show null (the whole field) and each of some runners in turn, repeatedly.
 * @param {() => string[]} codes
 * @param {(code: string | null) => void} show
 * @param {() => boolean} mayMove not while the visitor has taken over, or it is paused
 */
export function cycle(codes, show, mayMove) {
  /** @type {string | null} */
  let current = null;
  setInterval(() => {
    if (!mayMove()) return;
    const order = [null, ...codes()];
    current = order[(order.indexOf(current) + 1) % order.length];
    show(current);
  }, EACH_MS);
}
