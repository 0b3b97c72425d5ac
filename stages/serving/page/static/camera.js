// A live camera: it sends pictures to the model continuously, one request at a time, and shows the newest answer.
// Gradio's streaming input would send each frame as text through its queue, past the limits of the page's uploads.

import { percent, post } from "./post.js";

const INTERVAL = 100; // shortest time between two requests, in milliseconds
const SIDE = 320; // pixels of the longer side that is sent: more than most networks see

class Camera {
  constructor(root) {
    [this.root, this.video, this.button] = [root, root.querySelector("video"), root.querySelector("[data-toggle]")];
    this.canvas = document.createElement("canvas");
    this.button.addEventListener("click", () => (this.stream ? this.stop() : this.start()));
  }

  async start() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    } catch (error) {
      return this.say(`No camera: ${error.message}`);
    }
    this.video.srcObject = this.stream;
    this.button.textContent = "Stop the camera";
    await this.video.play();
    while (this.stream && this.root.isConnected) {
      const begin = performance.now();
      const wait = this.root.offsetParent ? await this.look() : INTERVAL; // a hidden part of the page sends nothing
      await new Promise((done) => setTimeout(done, wait || Math.max(0, INTERVAL - (performance.now() - begin))));
    }
    this.stop();
  }

  stop() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = this.video.srcObject = null;
    this.button.textContent = "Start the camera";
  }

  async look() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, SIDE / Math.max(width, height));
    Object.assign(this.canvas, { width: Math.round(width * scale), height: Math.round(height * scale) });
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    const frame = await new Promise((done) => this.canvas.toBlob(done, "image/jpeg", 0.9));
    const [answer, wait] = await post("landmarks", "top=5", frame);
    if (this.stream) this.show(answer);
    return wait;
  }

  show({ error, predictions }) {
    if (error) return this.say(error);
    const [{ top, known }] = predictions;
    const name = top[0].class.replaceAll("_", " ");
    this.say(known === false ? "looks like none of the landmarks" : `${name} ${percent(top[0].probability)}`);
    this.root.dataset.answers = Number(this.root.dataset.answers ?? 0) + 1;
    this.root.querySelector(".bars").replaceChildren(...(known === false ? [] : top.map(row)));
  }

  say(words) {
    this.root.querySelector(".verdict").textContent = words;
  }
}

function row(one) {
  const [item, name, track, fill, share] = ["li", "span", "span", "i", "span"].map((kind) => document.createElement(kind));
  [name.className, track.className, fill.className, share.className] = ["name", "track", "fill", "share"];
  name.textContent = one.class.replaceAll("_", " ");
  fill.style.width = `${100 * one.probability}%`;
  share.textContent = percent(one.probability);
  track.append(fill);
  item.append(name, track, share);
  return item;
}

const begun = new WeakSet();
function begin() {
  for (const root of document.querySelectorAll("[data-camera]")) {
    if (begun.has(root)) continue;
    begun.add(root);
    new Camera(root);
    root.inert = false; // its button does nothing before this script is loaded
  }
}
new MutationObserver(begin).observe(document.documentElement, { childList: true, subtree: true });
begin();
