// Where runners without a phone, or with a silent one, are estimated to be: between the
// timing mat that has seen them last, or the phone's last position after it, and the next
// mat.

// For how long after the latest expected time runners are drawn at a mat that has not seen
// them. They may be anywhere then.
const GIVEN_UP_AFTER_MS = 30 * 60_000;
// Phones that have sent a fix more recently are believed.
const SILENT_AFTER_MS = 120_000;

/**
 * `nodes`: seconds since the last mat at `t` (ms), progress and the range in m.
 * `checkpoint`: that of the next mat.
 * @typedef {{
 *   t: number, checkpoint: number,
 *   nodes: [seconds: number, progress: number, from: number, to: number][],
 * }} Estimate
 * @typedef {{progress: number, from: number, to: number}} Range m
 * @typedef {[progress: number, from: number, to: number]} Seconds since the last mat, when
 *   the estimate and the ends of its range pass a place
 * @typedef {Range & {missed: string | null, isGivenUp: boolean}} Estimated `missed`: the
 *   name of the mat that has not seen the runner up to the latest expected time
 * @typedef {import("./store.js").Runner} Runner
 * @typedef {import("./store.js").Race} Race
 */

/**
 * Return a runner at their estimated place, or unchanged if they are not estimated.
 * @param {Runner} runner
 * @param {Race | null} race theirs
 * @param {{now: number, isOver?: boolean}} when `isOver`: the race has ended
 * @returns {Runner}
 */
export function atEstimate(runner, race, { now, isOver = false }) {
  const { estimate, fix } = runner;
  if (!estimate || !race?.along) return runner;
  if (fix && now - fix.t < SILENT_AFTER_MS) return runner;
  const { nodes } = estimate;
  const last = nodes[nodes.length - 1];
  let { t } = estimate;
  /** @type {Seconds} */
  let passed = [0, 0, 0];
  if (fix && fix.t > t) {
    const { progress } = fix;
    if (progress === null || runner.state === "off_course") return runner;
    if (progress < nodes[0][1] || progress >= last[1]) return runner;
    t = fix.t;
    passed = passedAt(nodes, progress);
  }
  const late = now - t - (last[0] - passed[1]) * 1000;
  const isGivenUp = isOver || late > GIVEN_UP_AFTER_MS;
  const range = rangeAt(nodes, isGivenUp ? 0 : (now - t) / 1000, passed);
  const missed = late > 0 ? matName(estimate, race) : null;
  const [lng, lat] = race.along.place(range.progress);
  return {
    ...runner,
    fix: { t, lng, lat, speed: null, heading: null, progress: range.progress },
    estimated: { ...range, missed, isGivenUp },
  };
}

/**
 * Return the place and the range some seconds after the place was passed.
 * @param {Estimate["nodes"]} nodes
 * @param {number} seconds
 * @param {Seconds} [passed] by default the last mat
 * @returns {Range}
 */
export function rangeAt(nodes, seconds, passed = [0, 0, 0]) {
  const [progress, from, to] = passed.map((since, axis) => metresAt(nodes, since + seconds, axis + 1));
  return { progress, from, to };
}

/**
 * Interpolate between two nodes.
 * @param {Estimate["nodes"]} nodes
 * @param {number} seconds
 * @param {number} axis
 */
function metresAt(nodes, seconds, axis) {
  let n = 0;
  while (n < nodes.length - 1 && nodes[n + 1][0] <= seconds) n += 1;
  const [before, next] = [nodes[n], nodes[Math.min(n + 1, nodes.length - 1)]];
  const span = next[0] - before[0];
  const share = span > 0 ? Math.max(0, seconds - before[0]) / span : 0;
  return before[axis] + share * (next[axis] - before[axis]);
}

/**
 * Return when the estimate and the ends of its range pass a place before the mat.
 * @param {Estimate["nodes"]} nodes
 * @param {number} metres
 * @returns {Seconds}
 */
function passedAt(nodes, metres) {
  const [progress, from, to] = [1, 2, 3].map((axis) => {
    const n = nodes.findIndex((node) => node[axis] > metres);
    // The far end is past the place from the start on, or the near end stops before it.
    if (n < 1) return nodes[n < 0 ? nodes.length - 1 : 0][0];
    const [before, next] = [nodes[n - 1], nodes[n]];
    return before[0] + ((metres - before[axis]) / (next[axis] - before[axis])) * (next[0] - before[0]);
  });
  return [progress, from, to];
}

/** @param {Estimate} estimate @param {Race} race */
function matName({ checkpoint }, { checkpoints }) {
  return checkpoints.find(({ id }) => id === checkpoint)?.name ?? null;
}
