// Images for the map: the disc with a bib, the wedge that shows the heading, the square of
// a heap of runners, and the tick of a distance.

import { textOn } from "../format.js";

const DISC_PX = 30; // across
const HALO_PX = 2;
const RING_PX = 2; // around the selected one
const WEDGE_PX = 64; // across: the disc and the tip beyond it
const HEAP_PX = 22;
const HEAP_CORNER_PX = 6;
// Across the course, with a casing all around.
const TICK_PX = [14, 2];
const TICK_CASING_PX = 1;
// The pixel ratio of images, for sharp text on any screen.
const RATIO = 2;
const FONT = "system-ui, sans-serif";

/**
 * @typedef {{
 *   colour: string, label: string, isStale: boolean, isSelected: boolean,
 *   isDashed?: boolean,
 * }} Disc `isDashed`: only probable
 * @typedef {import("./style.js").Tokens} Tokens
 */

/**
 * Return the name of a runner's disc image, the same for equal discs.
 * @param {Disc} disc
 */
function discName({ colour, label, isStale, isSelected, isDashed }) {
  return `disc ${isDashed ? "dashed" : isStale ? "stale" : colour} ${isSelected ? "selected" : ""} ${label}`;
}

/**
 * Add a disc and its wedge to the map if they are missing, and return the disc's name.
 * @param {import("maplibre-gl").Map} map
 * @param {Disc} disc
 * @param {Tokens} tokens
 */
export function addDisc(map, disc, tokens) {
  const name = discName(disc);
  if (!map.hasImage(name)) {
    map.addImage(name, drawDisc(disc, tokens), { pixelRatio: RATIO });
  }
  const wedge = `wedge ${disc.colour}`;
  if (!map.hasImage(wedge)) {
    map.addImage(wedge, drawWedge(disc.colour, tokens), { pixelRatio: RATIO });
  }
  return name;
}

/**
 * Discard the images, because their colours changed with the theme.
 * @param {import("maplibre-gl").Map} map
 */
export function removeDiscs(map) {
  for (const name of map.listImages()) {
    if (/^(disc|wedge) /.test(name)) map.removeImage(name);
  }
}

/**
 * Add or replace the images that are the same for all runners.
 * @param {import("maplibre-gl").Map} map
 * @param {Tokens} tokens
 */
export function showImages(map, tokens) {
  for (const [name, image] of Object.entries({ heap: drawHeap(tokens), tick: drawTick(tokens) })) {
    if (map.hasImage(name)) map.updateImage(name, image);
    else map.addImage(name, image, { pixelRatio: RATIO });
  }
}

/**
 * Return a square, which is not read as a bib or a distance.
 * @param {Tokens} tokens
 */
function drawHeap(tokens) {
  const context = canvas(HEAP_PX + 2 * RING_PX);
  context.beginPath();
  context.roundRect(RING_PX, RING_PX, HEAP_PX, HEAP_PX, HEAP_CORNER_PX);
  context.fillStyle = tokens.surface;
  context.fill();
  context.lineWidth = RING_PX;
  context.strokeStyle = tokens.muted;
  context.stroke();
  return pixels(context);
}

/** @param {Tokens} tokens */
function drawTick(tokens) {
  const [width, height] = TICK_PX;
  const context = canvas(width + 2 * TICK_CASING_PX);
  context.fillStyle = tokens["map-casing"];
  context.fillRect(0, width / 2 - height / 2, width + 2 * TICK_CASING_PX, height + 2 * TICK_CASING_PX);
  context.fillStyle = tokens["map-course"];
  context.fillRect(TICK_CASING_PX, width / 2 - height / 2 + TICK_CASING_PX, width, height);
  return pixels(context);
}

/** @param {Disc} disc @param {Tokens} tokens */
function drawDisc({ colour, label, isStale, isSelected, isDashed }, tokens) {
  const size = DISC_PX + 2 * (HALO_PX + RING_PX) + 2;
  const context = canvas(size);
  const centre = size / 2;
  if (isSelected) fillCircle(context, centre, DISC_PX / 2 + HALO_PX + RING_PX, tokens.text);
  fillCircle(context, centre, DISC_PX / 2 + HALO_PX, tokens["map-halo"]);
  fillCircle(context, centre, DISC_PX / 2, isStale ? tokens.surface : colour);
  if (isStale) {
    context.strokeStyle = tokens.stale;
    context.lineWidth = 3;
    if (isDashed) context.setLineDash([5, 3.5]);
    context.beginPath();
    context.arc(centre, centre, DISC_PX / 2 - 1.5, 0, 2 * Math.PI);
    context.stroke();
  }
  context.fillStyle = isStale ? tokens.text : textOn(colour);
  context.font = `600 ${textSize(label)}px ${FONT}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(label, centre, centre + 0.5, DISC_PX - 4);
  return pixels(context);
}

/** @param {string} colour @param {Tokens} tokens */
function drawWedge(colour, tokens) {
  const context = canvas(WEDGE_PX);
  const centre = WEDGE_PX / 2;
  context.beginPath();
  context.moveTo(centre, 3);
  context.lineTo(centre + 9, 16);
  context.lineTo(centre - 9, 16);
  context.closePath();
  context.lineJoin = "round";
  context.lineWidth = 2 * HALO_PX;
  context.strokeStyle = tokens["map-halo"];
  context.stroke();
  context.fillStyle = colour;
  context.fill();
  return pixels(context);
}

/** @param {string} label */
function textSize(label) {
  return [15, 15, 14, 12, 10][label.length] ?? 10;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} centre
 * @param {number} radius
 * @param {string} colour
 */
function fillCircle(context, centre, radius, colour) {
  context.fillStyle = colour;
  context.beginPath();
  context.arc(centre, centre, radius, 0, 2 * Math.PI);
  context.fill();
}

/** @param {number} size px */
function canvas(size) {
  const element = document.createElement("canvas");
  element.width = element.height = size * RATIO;
  const context = element.getContext("2d");
  if (!context) throw new Error("This browser cannot draw the runners' discs.");
  context.scale(RATIO, RATIO);
  return context;
}

/** @param {CanvasRenderingContext2D} context */
function pixels(context) {
  return context.getImageData(0, 0, context.canvas.width, context.canvas.height);
}
