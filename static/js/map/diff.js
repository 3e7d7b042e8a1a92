// Sends only the changes of a map source.

/**
 * `properties` have plain values and a `code`.
 * @typedef {{lng: number, lat: number, properties: Record<string, any>}} MapPoint
 */

/** Remembers the points of one GeoJSON source and computes `updateData` diffs. */
export class PointDiff {
  /** @type {Map<string, MapPoint>} by code */
  #sent = new Map();

  /**
   * Return a point as last sent to the source.
   * @param {string} code
   */
  sent(code) {
    return this.#sent.get(code);
  }

  /**
   * Return the difference to the last points, or null if there is none.
   * @param {MapPoint[]} points
   * @param {(from: MapPoint, to: MapPoint) => boolean} [hasMoved] a point that has not
   *   stays where it was
   */
  to(points, hasMoved = isElsewhere) {
    /** @type {Required<Omit<import("maplibre-gl").GeoJSONSourceDiff, "removeAll">>} */
    const diff = { add: [], update: [], remove: [] };
    const next = new Map();
    for (const point of points) {
      const { lng, lat, properties } = point;
      const { code } = properties;
      const before = this.#sent.get(code);
      next.set(code, point);
      if (!before) {
        diff.add.push(feature(lng, lat, properties));
        continue;
      }
      /** @type {import("maplibre-gl").GeoJSONFeatureDiff} */
      const change = { id: code };
      if (hasMoved(before, point)) {
        change.newGeometry = { type: "Point", coordinates: [lng, lat] };
      } else {
        point.lng = before.lng;
        point.lat = before.lat;
      }
      for (const key in properties) {
        if (before.properties[key] === properties[key]) continue;
        (change.addOrUpdateProperties ??= []).push({ key, value: properties[key] });
      }
      if (change.newGeometry || change.addOrUpdateProperties) diff.update.push(change);
    }
    for (const code of this.#sent.keys()) if (!next.has(code)) diff.remove.push(code);
    this.#sent = next;
    return diff.add.length || diff.update.length || diff.remove.length ? diff : null;
  }
}

/** @param {MapPoint} from @param {MapPoint} to */
export function isElsewhere(from, to) {
  return from.lng !== to.lng || from.lat !== to.lat;
}

/**
 * @param {number} lng
 * @param {number} lat
 * @param {Record<string, any>} properties
 * @returns {import("geojson").Feature}
 */
function feature(lng, lat, properties) {
  return {
    type: "Feature",
    properties,
    geometry: { type: "Point", coordinates: [lng, lat] },
  };
}
