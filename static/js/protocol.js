// The typed dialect `spectate.v1`: what goes over the wire and what it means.

export const SUBPROTOCOL = "spectate.v1";

/** Close codes after which coming back as we were would only end the same way. */
export const FINAL_CLOSE_CODES = new Map([
  [4400, "This page is out of date. Reload it."],
  [4401, "You were signed out. Sign in again to go on."],
  [4403, "This is no longer shared with you."],
]);

/** Close codes of a server with too much to do: come back slowly. */
export const BACK_OFF_CLOSE_CODES = new Set([1013, 4413, 4429]);

/** The first message: what this page shows, since when. */
export function followMessage(follow, codes, since) {
  const runners = [...new Set([...(follow.runners ?? []), ...codes])];
  return {
    type: "follow",
    ...follow,
    ...(runners.length ? { runners } : {}),
    ...(since ? { since } : {}),
  };
}

/** Read a frame; null if it is nothing we know how to read. */
export function parseFrame(data) {
  if (typeof data !== "string") return null;
  try {
    const message = JSON.parse(data);
    return typeof message?.type === "string" ? message : null;
  } catch {
    return null;
  }
}

/** A row [t, lat, lng, speed, heading, progress] as an object; unknown is null. */
export function readFix([t, lat, lng, speed = null, heading = null, progress = null]) {
  return { t, lat, lng, speed, heading, progress };
}
