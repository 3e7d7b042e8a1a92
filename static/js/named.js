// Requests about named runners, or about a whole field.

const PATIENCE_MS = 10_000;
// Runners that one request may name, as on the server (arrival_reads.py, listing.py).
const RUNNER_LIMIT = 100;
// Rows of one request, the limit of the server.
const ROW_LIMIT = 2000;

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
    yield { named, answer: await readJson(request, `${url}?${search}`, headers) };
  }
}

/**
 * Request the ranks and times of a field from the standings. Yields one answer for each
 * part of it; throws at the first request that fails.
 * @param {typeof fetch} request
 * @param {string} url
 * @param {{headers: Record<string, string>, query?: Record<string, string>}} options
 */
export async function* requestField(request, url, { headers, query = {} }) {
  for (let from = 1; ; from += ROW_LIMIT) {
    const search = new URLSearchParams({
      rows: String(ROW_LIMIT), brief: "1", ...query, from: String(from),
    });
    const answer = await readJson(request, `${url}?${search}`, headers);
    yield answer;
    if (answer.standings.length < ROW_LIMIT) return;
  }
}

/** @param {typeof fetch} request @param {string} url @param {Record<string, string>} headers */
async function readJson(request, url, headers) {
  const response = await request(url, { headers, signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  return response.json();
}
