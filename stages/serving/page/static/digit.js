// The drawing area for digits. A drawing goes to the model while it is drawn, one request at a time. Strokes that were
// drawn meanwhile go in the next request, so the last state is always answered.

import { percent, post } from "./post.js";

const INTERVAL = 60; // shortest time between two requests, in milliseconds
const PEN = 20; // pixels; the drawing area has 280
const STEP = 8; // pixels that an arrow key moves the pen

class Digit {
  constructor(root) {
    this.canvas = root.querySelector("canvas");
    this.answer = document.querySelector("[data-answer]");
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.pens = new Map(); // by pointer: two fingers draw two lines
    this.key = { x: 140, y: 60 };
    this.clear();
    const on = (target, kinds, act) => kinds.split(" ").forEach((kind) => target.addEventListener(kind, act));
    on(this.canvas, "pointerdown", (event) => this.down(event));
    on(this.canvas, "pointermove", (event) => this.move(event));
    on(this.canvas, "pointerup pointercancel lostpointercapture", (event) => this.pens.delete(event.pointerId));
    on(this.canvas, "keydown", (event) => this.arrow(event));
    on(root.querySelector("[data-clear]"), "click", () => this.clear());
    this.several = root.querySelector("[data-several]");
    on(this.several, "change", () => this.last && this.ask(this.last));
    on(root.querySelector("input[type=file]"), "change", (event) => this.open(event.target));
  }

  clear() {
    this.context.fillStyle = "black";
    this.context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.key = { x: 140, y: 60 };
    this.next = this.last = null;
    this.state = (this.state ?? 0) + 1; // requests that are still on their way belong to an older state
    this.show(null);
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const scale = this.canvas.width / box.width;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  down(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    event.preventDefault();
    this.canvas.focus({ preventScroll: true });
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      // the pointer is already gone
    }
    const point = this.at(event);
    this.pens.set(event.pointerId, point);
    this.line(point, point);
  }

  move(event) {
    if (!this.pens.has(event.pointerId)) return;
    event.preventDefault();
    // Draw all positions since the last event, so that a quick stroke is round.
    for (const one of event.getCoalescedEvents?.().length ? event.getCoalescedEvents() : [event]) {
      const point = this.at(one);
      this.line(this.pens.get(event.pointerId), point);
      this.pens.set(event.pointerId, point);
    }
  }

  arrow(event) {
    const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    if (x === undefined) return;
    event.preventDefault();
    const inside = (value) => Math.min(Math.max(value, 0), this.canvas.width);
    const point = { x: inside(this.key.x + x * STEP), y: inside(this.key.y + y * STEP) };
    if (!event.shiftKey) this.line(this.key, point);
    this.key = point;
  }

  line(from, to) {
    Object.assign(this.context, { strokeStyle: "white", lineWidth: PEN, lineCap: "round", lineJoin: "round" });
    this.context.beginPath();
    this.context.moveTo(from.x, from.y);
    this.context.lineTo(to.x, to.y);
    this.context.stroke();
    // A line without length draws nothing, but a tap should draw a dot.
    this.context.fillStyle = "white";
    this.context.beginPath();
    this.context.arc(to.x, to.y, PEN / 2, 0, 2 * Math.PI);
    this.context.fill();
    this.ask(() => new Promise((done) => this.canvas.toBlob(done, "image/png")));
  }

  async open(input) {
    const [file] = input.files;
    input.value = ""; // the same file may be chosen again
    if (file) await this.put(file);
  }

  // Show a picture of a digit if the browser can, and send the file unchanged.
  async put(file) {
    this.clear();
    const state = this.state;
    this.ask(async () => file);
    try {
      const picture = await createImageBitmap(file);
      if (state !== this.state) return;
      const scale = Math.min(this.canvas.width / picture.width, this.canvas.height / picture.height);
      const [width, height] = [picture.width * scale, picture.height * scale];
      this.context.drawImage(picture, (this.canvas.width - width) / 2, (this.canvas.height - height) / 2, width, height);
    } catch {
      // The browser can't read it. The model's error message says what is wrong.
    }
  }

  ask(picture) {
    this.next = this.last = picture;
    if (!this.asking) this.asking = this.answerAll().finally(() => (this.asking = null));
  }

  async answerAll() {
    while (this.next) {
      const begin = performance.now();
      const [picture, state] = [this.next, this.state];
      this.next = null;
      const [answer, wait] = await post("mnist", `top=10&several=${this.several.checked}`, await picture());
      const found = answer.predictions ?? [answer];
      if (state === this.state) this.show(found.length > 1 ? joined(found) : found[0]);
      // Busy or loading: send this state again, unless there is a newer one.
      if (wait && state === this.state) this.next ??= picture;
      await new Promise((done) => setTimeout(done, wait || Math.max(0, INTERVAL - (performance.now() - begin))));
    }
  }

  // `answer`: {top: [{class, probability}], known}, {number, probability} of several digits, {error: sentence}, or null for an
  // empty drawing.
  show(answer) {
    const words = this.answer.querySelector(".verdict");
    const top = answer?.top ?? [];
    const of = new Map(top.map((one) => [one.class, one.probability]));
    for (const row of this.answer.querySelectorAll("[data-class]")) {
      const share = of.get(row.dataset.class);
      row.querySelector(".fill").style.width = `${100 * (share ?? 0)}%`;
      row.querySelector(".share").textContent = share === undefined ? "–" : percent(share);
      row.classList.toggle("best", row.dataset.class === top[0]?.class);
    }
    words.classList.toggle("note", Boolean(answer?.error));
    const number = answer?.number && `${answer.number} (least certain digit: ${percent(answer.probability)})`;
    const best = top.length && `${top[0].class} (${percent(top[0].probability)})`;
    const read = answer?.known === false ? `looks like none of the digits; if it were one: ${best}` : best;
    words.textContent = answer?.error ?? number ?? (read || "Draw a digit.");
  }
}

function joined(predictions) {
  const best = predictions.map((one) => one.top[0]);
  return { number: best.map((one) => one.class).join(" "), probability: Math.min(...best.map((one) => one.probability)) };
}

// Gradio puts a tab's content into the page when the tab is opened, and may do so again later.
const begun = new WeakMap();
function begin() {
  const root = document.querySelector("[data-digit]");
  if (!root || !document.querySelector("[data-answer] .verdict")) return;
  if (!begun.has(root)) begun.set(root, new Digit(root));
  for (const one of document.querySelectorAll("[data-digit][inert], .digits[inert]")) one.inert = false;
}
new MutationObserver(begin).observe(document.documentElement, { childList: true, subtree: true });
begin();

document.addEventListener("click", async (event) => {
  const picture = event.target.closest?.("[data-example]")?.querySelector("img");
  const digit = picture && begun.get(document.querySelector("[data-digit]"));
  // This decodes the picture's data: address by hand. Fetching it would need a looser Content-Security-Policy.
  if (digit) digit.put(new Blob([Uint8Array.from(atob(picture.src.split(",")[1]), (one) => one.charCodeAt(0))]));
});
