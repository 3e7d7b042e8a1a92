// The battery level, where browsers report it.

/** @typedef {EventTarget & {level: number}} BatteryManager */

/**
 * Report the charge in per cent, now and at each change. Never called if it is unknown.
 * @param {(percent: number) => void} onChange
 */
export async function watchBattery(onChange) {
  const { getBattery } = /** @type {{getBattery?: () => Promise<BatteryManager>}} */ (
    /** @type {unknown} */ (navigator)
  );
  if (!getBattery) return;
  try {
    const battery = await getBattery.call(navigator);
    const report = () => onChange(Math.round(battery.level * 100));
    battery.addEventListener("levelchange", report);
    report();
  } catch {
    // The browser's settings forbid it, so the level stays unknown.
  }
}
