// Sends a map source only what changed since last time.

/** Remembers the points of one GeoJSON source and works out `updateData` diffs. */
export class PointDiff {
  #sent = new Map(); // code → {lng, lat, properties, key}

  /**
   * The change from what was last asked to `points` ([{lng, lat, properties}],
   * known by `properties.code`), or null when there is none.
   */
  to(points) {
    const diff = { add: [], update: [], remove: [] };
    const next = new Map();
    for (const { lng, lat, properties } of points) {
      const { code } = properties;
      const key = JSON.stringify(properties);
      const before = this.#sent.get(code);
      next.set(code, { lng, lat, properties, key });
      if (!before) {
        diff.add.push(feature(lng, lat, properties));
        continue;
      }
      const change = { id: code };
      if (before.lng !== lng || before.lat !== lat) {
        change.newGeometry = { type: "Point", coordinates: [lng, lat] };
      }
      if (before.key !== key) {
        change.addOrUpdateProperties = Object.entries(properties)
          .filter(([name, value]) => before.properties[name] !== value)
          .map(([name, value]) => ({ key: name, value }));
      }
      if (change.newGeometry || change.addOrUpdateProperties) diff.update.push(change);
    }
    for (const code of this.#sent.keys()) if (!next.has(code)) diff.remove.push(code);
    this.#sent = next;
    return diff.add.length || diff.update.length || diff.remove.length ? diff : null;
  }
}

function feature(lng, lat, properties) {
  return {
    type: "Feature",
    properties,
    geometry: { type: "Point", coordinates: [lng, lat] },
  };
}
