// Elements of the desk.

const SURE_MS = 4000; // for the second tap, which confirms

/** @param {string} tag @param {string} [name] its class */
export function element(tag, name) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  return made;
}

/**
 * Return a button of the class `act`, which acts at the second of two taps.
 *
 * @param {string} name a further class
 * @param {string} words
 * @param {() => void} onAct
 * @param {boolean} [isHarmless] one tap is enough
 */
export function actButton(name, words, onAct, isHarmless = false) {
  const button = /** @type {HTMLButtonElement} */ (element("button", `act ${name}`));
  button.type = "button";
  button.textContent = words;
  let sure = 0;
  button.addEventListener("click", () => {
    if (isHarmless || performance.now() <= sure) {
      sure = 0;
      onAct();
      return;
    }
    sure = performance.now() + SURE_MS;
    button.textContent = `${words}?`;
    button.classList.add("sure");
    setTimeout(() => {
      button.textContent = words;
      button.classList.remove("sure");
    }, SURE_MS);
  });
  return button;
}
