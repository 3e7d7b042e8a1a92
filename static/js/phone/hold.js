// A button that has to be held, for actions that must not happen by accident.

/** How long a button is held. The same as in phone.css. */
const HOLD_MS = 1500;

/**
 * Call `onHeld` when the button was held long enough, and `onTap` when it was released
 * before.
 * @param {HTMLElement} button
 * @param {{onHeld: () => void, onTap: () => void}} handlers
 */
export function holding(button, { onHeld, onTap }) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const begin = () => {
    if (timer !== undefined) return;
    button.classList.add("holding");
    timer = setTimeout(() => {
      end();
      navigator.vibrate?.(200);
      onHeld();
    }, HOLD_MS);
  };
  const end = () => {
    clearTimeout(timer);
    timer = undefined;
    button.classList.remove("holding");
  };
  const letGo = () => {
    if (timer === undefined) return;
    end();
    onTap();
  };
  button.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    // A finger that slips off the edge still holds the button.
    button.setPointerCapture(event.pointerId);
    begin();
  });
  button.addEventListener("pointerup", letGo);
  button.addEventListener("pointercancel", letGo);
  button.addEventListener("contextmenu", (event) => event.preventDefault());
  button.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!event.repeat) begin();
  });
  button.addEventListener("keyup", letGo);
  button.addEventListener("blur", end);
}
