// Distances on a sphere.

const EARTH_RADIUS_M = 6_371_008.8; // mean
const RADIANS = Math.PI / 180;

/**
 * Return the distance of two positions in metres, exact to 0.1 % over a race.
 * @param {number[]} from [lng, lat]
 * @param {number[]} to [lng, lat]
 */
export function metresBetween([lng1, lat1], [lng2, lat2]) {
  const x = (lng2 - lng1) * RADIANS * Math.cos(((lat1 + lat2) / 2) * RADIANS);
  const y = (lat2 - lat1) * RADIANS;
  return EARTH_RADIUS_M * Math.hypot(x, y);
}

/**
 * Return the position at a distance in metres and a direction from a position.
 * @param {[number, number]} from [lng, lat]
 * @param {number} heading degrees from north, clockwise
 * @param {number} metres
 * @returns {[lng: number, lat: number]}
 */
export function placeFrom([lng, lat], heading, metres) {
  const north = metres * Math.cos(heading * RADIANS);
  const east = metres * Math.sin(heading * RADIANS);
  return [
    lng + east / (EARTH_RADIUS_M * RADIANS * Math.cos(lat * RADIANS)),
    lat + north / (EARTH_RADIUS_M * RADIANS),
  ];
}
