// The panel's tools for visitors who follow or have selected somebody. Loaded on demand,
// after the list and the map.

import { Arrivals } from "./arrivals.js";
import { CheerRow } from "./cheers.js";
import { Mine } from "./mine.js";
import { Bell } from "./notify/bell.js";
import { shareHeaders } from "./protocol.js";

/** Followed runners' lines and points, cheers, and alerts. */
export class Tools {
  mine;
  cheers;
  bell;

  /**
   * @param {{
   *   page: import("./live/page.js").Page, store: import("./store.js").Store,
   *   results: import("./results.js").Results,
   *   send: (message: import("./protocol.js").Message) => boolean,
   *   onChange: () => void, onAnswer: () => void,
   *   onPin: (place: import("./polyline.js").LngLat | null) => void,
   *   onAll: () => void, myCodes: () => string[],
   * }} options `onAnswer`: when somebody passes has been told; `onAll`: show the panel
   */
  constructor({ page, store, results, send, onChange, onAnswer, onPin, onAll, myCodes }) {
    const arrivals = new Arrivals({
      url: page.eta,
      headers: shareHeaders(page.follow),
      onChange: onAnswer,
    });
    this.mine = new Mine({
      store, arrivals, results, onChange, onPin, onAll,
      headers: shareHeaders(page.follow),
      // Not in a frame of a different site.
      canWarn: page.mode !== "embed",
    });
    this.cheers = new CheerRow(send);
    // Not in a frame of a different site, and not on a big screen.
    this.bell = page.mode
      ? null
      : new Bell({ headers: shareHeaders(page.follow), icons: page.icons, mine: myCodes });
  }
}
