// A different colour for each followed runner.

/**
 * Give followed runners different colours as long as there are enough: the first keeps
 * its own.
 * @param {{code: string, colour: string}[]} runners
 * @param {string[]} palette
 */
export function distinguish(runners, palette) {
  const taken = new Set();
  for (const runner of [...runners].sort((a, b) => (a.code < b.code ? -1 : 1))) {
    if (taken.has(runner.colour)) {
      runner.colour = palette.find((colour) => !taken.has(colour)) ?? runner.colour;
    }
    taken.add(runner.colour);
  }
}
