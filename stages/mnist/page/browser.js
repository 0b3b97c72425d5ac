// Digits: drawn on the page, or a picture in MNIST's form. Only the server finds digits in other pictures.

const SIDE = 28, BOX = 20, MIDDLE = 14, SHADE = 0.2, SATURATED = 90; // as in drawing.py

const even = (value) => { // the nearest whole number, of two the even one, as Python and numpy round
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
};

// Pillow's bilinear resizing of one line of numbers, whose ends are `begin` and every `step`-th place, to `length` numbers.
function resized(source, begin, step, size, length) {
  const scale = size / length, reach = Math.max(scale, 1), inverse = 1 / reach;
  return Array.from({ length }, (_, place) => {
    const centre = (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5)), end = Math.min(size, Math.trunc(centre + reach + 0.5));
    const weights = [];
    for (let x = first; x < end; x++) weights.push(Math.max(0, 1 - Math.abs((x - centre + 0.5) * inverse)));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return Math.fround(weights.reduce((sum, weight, x) => sum + source[begin + (first + x) * step] * (weight / total), 0));
  });
}

function percentile(values, percent) { // numpy's, in 32 bits
  const sorted = Float32Array.from(values).sort();
  const place = Math.fround((sorted.length - 1) * Math.fround(percent / 100));
  const low = sorted[Math.floor(place)], high = sorted[Math.min(sorted.length - 1, Math.floor(place) + 1)];
  const part = Math.fround(place - Math.floor(place)), difference = Math.fround(high - low);
  return part < 0.5 ? Math.fround(low + difference * part) : Math.fround(high - difference * (1 - part));
}

function start(mass) { // where a digit with this mass a line begins, so that its centre is closest to the middle
  const total = mass.reduce((sum, one) => sum + one, 0);
  const centre = mass.reduce((sum, one, place) => sum + one * place, 0) / total;
  return Math.min(Math.max(even(MIDDLE - centre), 0), SIDE - mass.length);
}

// The ink of a drawing, 0 to 1, in MNIST's form: drawing.centred in JavaScript, byte for byte. Null if there is none.
function centred(given, width, height) {
  const strongest = given.reduce((most, value) => Math.max(most, value), 0);
  if (!strongest) return null;
  const ink = given.map((value) => (value > Math.fround(SHADE * strongest) ? value : 0));
  let [top, left, bottom, right] = [height, width, 0, 0];
  ink.forEach((value, place) => {
    if (!value) return;
    const row = Math.floor(place / width), column = place % width;
    [top, left, bottom, right] = [Math.min(top, row), Math.min(left, column), Math.max(bottom, row + 1), Math.max(right, column + 1)];
  });
  const scale = BOX / Math.max(bottom - top, right - left);
  const high = Math.max(1, even((bottom - top) * scale)), wide = Math.max(1, even((right - left) * scale));
  const rows = [];
  for (let row = top; row < bottom; row++) rows.push(...resized(ink, row * width + left, 1, right - left, wide));
  const columns = Array.from({ length: wide }, (_, column) => resized(rows, column, wide, bottom - top, high));
  const full = Math.fround(255 / percentile(columns.flat().filter((value) => value > 0), SATURATED));
  const strength = columns.map((column) => column.map((value) => even(Math.min(Math.max(Math.fround(value * full), 0), 255))));
  const x = start(strength.map((column) => column.reduce((sum, value) => sum + value, 0)));
  const y = start(Array.from({ length: high }, (_, row) => strength.reduce((sum, column) => sum + column[row], 0)));
  const digit = new Uint8Array(SIDE * SIDE);
  strength.forEach((column, right) => column.forEach((value, down) => { digit[(y + down) * SIDE + x + right] = value; }));
  return digit;
}

const images = (digit) => ({ data: digit, dims: [1, SIDE, SIDE] });

async function fromFile(file) {
  const { width, height, data } = await decode(file);
  if (width !== SIDE || height !== SIDE) {
    throw new Refusal(`The picture has ${width} x ${height} pixels: expected 28 x 28, light ink on black. The server finds digits in other pictures.`);
  }
  const digit = new Uint8Array(SIDE * SIDE).map((_, place) => data[4 * place]);
  if (digit.some((value, place) => value !== data[4 * place + 1] || value !== data[4 * place + 2])) {
    throw new Refusal("The picture has colours: expected light ink on black.");
  }
  return images(digit);
}

// As in `inference.py`, converted pictures need more: both networks have to agree.
const UNLIKE = "The drawing looks like none of the digits that the model has learnt: expected one handwritten digit from 0 to 9.";
const unknown = ({ familiarity }) => familiarity[0] < 0 && UNLIKE;
const unsure = (outputs) => unknown(outputs) || (outputs.certainty[0] < 0 && "The drawing is not clearly one of the digits.");

const canvas = Object.assign(document.createElement("canvas"), { id: "canvas", width: 280, height: 280 });
const context = canvas.getContext("2d", { willReadFrequently: true });
const clear = Object.assign(document.createElement("button"), { textContent: "Clear" });
element("input").append("Draw a digit:", canvas, clear);

function wipe() {
  Object.assign(context, { fillStyle: "black", strokeStyle: "white", lineWidth: 20, lineCap: "round", lineJoin: "round" });
  context.fillRect(0, 0, canvas.width, canvas.height);
}

function drawn() {
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  const ink = new Float32Array(canvas.width * canvas.height).map((_, place) => data[4 * place] / 255);
  const digit = centred(ink, canvas.width, canvas.height);
  if (digit) show(Promise.resolve(images(digit)), unsure);
}

let last = null;
const point = (event) => {
  const box = canvas.getBoundingClientRect(); // its content, without the border
  const factor = canvas.width / canvas.clientWidth;
  return [(event.clientX - box.left - canvas.clientLeft) * factor, (event.clientY - box.top - canvas.clientTop) * factor];
};
canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = point(event); });
canvas.addEventListener("pointermove", (event) => {
  if (!last) return;
  context.beginPath();
  context.moveTo(...last);
  context.lineTo(...(last = point(event)));
  context.stroke();
});
for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => { if (last) drawn(); last = null; });
clear.addEventListener("click", () => { wipe(); element("answer").textContent = ""; });
wipe();
onFile((file) => show(fromFile(file), unknown));

globalThis.page = { answer, centred, images, network };
