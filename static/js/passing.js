// Finds when a runner, or the leader, passed a checkpoint.

// The server's distances are rounded to metres.
const SAME_M = 60;
const PATIENCE_MS = 10_000;

/**
 * @typedef {{
 *   eta: string, headers: Record<string, string>,
 *   point: import("./store.js").Checkpoint, code: string | null, fetch?: typeof fetch,
 * }} Question `eta`: the address of the race's `eta.json`
 */

/**
 * Return when a runner or the leader passed a checkpoint (ms), or null if unknown.
 * @param {Question} question
 * @returns {Promise<{code: string, at: number} | null>}
 */
export async function passedAt({ eta, headers, point, code, fetch: request = fetch }) {
  /** @param {string} url */
  const get = async (url) => {
    const response = await request(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    return response.json();
  };
  try {
    if (code === null) {
      const { standings } = await get(eta.replace("eta.json", "standings.json?rows=1&splits=1"));
      return found(standings[0]?.runner, standings[0]?.splits ?? [], point);
    }
    const at = Math.floor(point.distance);
    const { runners } = await get(`${eta}?${new URLSearchParams({ at: String(at), runners: code })}`);
    const passes = runners[0]?.passes ?? [];
    return found(code, passes.filter((/** @type {any} */ { status }) => status === "passed"), point);
  } catch {
    return null;
  }
}

/**
 * @param {string} code
 * @param {{distance: number, at: number | null}[]} passes
 * @param {{distance: number}} point
 */
function found(code, passes, { distance }) {
  const at = passes.find((pass) => Math.abs(pass.distance - distance) < SAME_M)?.at;
  return at ? { code, at } : null;
}
