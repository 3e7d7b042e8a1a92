// Requests about named runners.

const PATIENCE_MS = 10_000;
// Runners that one request may name, as on the server (views/races/eta.py, listing.py).
const RUNNER_LIMIT = 100;

/**
 * Request JSON about runners, in as many requests as needed. Yields the runners and the
 * answer of each. Throws at the first request that fails.
 * @param {typeof fetch} request
 * @param {string} url
 * @param {{headers: Record<string, string>, query?: Record<string, string>, codes: string[]}} options
 */
export async function* requestNamed(request, url, { headers, query = {}, codes }) {
  for (let from = 0; from < codes.length; from += RUNNER_LIMIT) {
    const named = codes.slice(from, from + RUNNER_LIMIT);
    const search = new URLSearchParams({ ...query, runners: named.join() });
    const response = await request(`${url}?${search}`, {
      headers,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    if (!response.ok) throw new Error(`HTTP ${response.status}`);
    yield { named, answer: await response.json() };
  }
}
