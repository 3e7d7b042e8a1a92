// How full the battery is, where a browser tells.

/** @typedef {EventTarget & {level: number}} BatteryManager */

/**
 * Tell the charge in per cent, now and at each change; never, where it is not known.
 *
 * @param {(percent: number) => void} onChange
 */
export async function watchBattery(onChange) {
  const { getBattery } = /** @type {{getBattery?: () => Promise<BatteryManager>}} */ (
    /** @type {unknown} */ (navigator)
  );
  if (!getBattery) return;
  try {
    const battery = await getBattery.call(navigator);
    const tell = () => onChange(Math.round(battery.level * 100));
    battery.addEventListener("levelchange", tell);
    tell();
  } catch {
    // Forbidden by the browser's settings: the same as not known.
  }
}
