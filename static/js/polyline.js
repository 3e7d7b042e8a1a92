// Encoded polylines (https://developers.google.com/maps/documentation/utilities/polylinealgorithm).

/** @typedef {[lng: number, lat: number]} LngLat */

/**
 * Decode a line of precision 5.
 *
 * @param {string} text
 */
export function decodePolyline(text) {
  /** @type {LngLat[]} */
  const line = [];
  const place = [0, 0]; // lat, lng in 1e-5 degrees
  let at = 0;
  while (at < text.length) {
    for (const axis of [0, 1]) {
      let bits = 0;
      let shift = 0;
      let part;
      do {
        part = text.charCodeAt(at++) - 63;
        bits |= (part & 31) << shift;
        shift += 5;
      } while (part >= 32);
      place[axis] += bits & 1 ? ~(bits >> 1) : bits >> 1;
    }
    line.push([place[1] / 1e5, place[0] / 1e5]);
  }
  return line;
}
