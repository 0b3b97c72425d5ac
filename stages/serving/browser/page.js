// Shared by all pages: the network, the pixels of a picture, the answer. A project's browser.js follows.

const element = (name) => document.getElementById(name);
const CLASSES = JSON.parse(element("classes").textContent);
const MOST_PIXELS = 25_000_000; // the network computes in 64 bits, at 24 bytes a pixel

const QUIET = { logSeverityLevel: 4 }; // a refusal is shown, and need not be logged as well

class Refusal extends Error {}

async function unpacked(name) {
  const text = atob(element(name).textContent);
  const bytes = new Uint8Array(text.length);
  for (let place = 0; place < text.length; place++) bytes[place] = text.charCodeAt(place);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const network = (async () => {
  const [script, wasm, model] = await Promise.all(["script", "wasm", "model"].map(unpacked));
  const ort = await import(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  ort.env.wasm.numThreads = 1; // several need headers that a file does not have
  ort.env.wasm.wasmBinary = wasm;
  const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
  element("answer").textContent = "";
  return { ort, session };
})();
network.catch((error) => { element("answer").textContent = `This browser can't run the model: ${error.message}`; });

// Returns the outputs of model.onnx, by name, for images: bytes of the shape `dims`. Rejects with a Refusal if it refuses them.
async function answer({ data, dims }) {
  const { ort, session } = await network;
  try {
    const outputs = await session.run({ images: new ort.Tensor("uint8", data, dims) }, QUIET);
    return Object.fromEntries(Object.entries(outputs).map(([name, { data }]) => [name, Array.from(data)]));
  } catch (error) {
    const reason = /Name:'([^']+): expected/.exec(error.message); // the node that refuses has its reason as its name
    throw reason ? new Refusal(`${reason[1]}.`) : error;
  }
}

// The pixels of a picture, as the server decodes it: upright, without its colour profile, on white. RGBA, row by row.
async function decode(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options).catch(() => {
    throw new Refusal("This is not a picture, or the browser can't read its format.");
  });
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Refusal(`The picture has more than ${MOST_PIXELS / 1e6} million pixels.`);
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, width, height);
}

// Show the answer for the images of the promise, or the reason that `unknown` returns.
async function show(images, unknown) {
  const shown = element("answer");
  shown.textContent = "…";
  try {
    const outputs = await answer(await images);
    const reason = unknown(outputs);
    if (reason) throw new Refusal(reason);
    const order = outputs.probabilities.map((_, label) => label);
    order.sort((one, other) => outputs.probabilities[other] - outputs.probabilities[one]);
    const list = document.createElement("ol");
    for (const label of order.slice(0, 5)) {
      const value = outputs.probabilities[label];
      const line = list.appendChild(document.createElement("li"));
      line.append(CLASSES[label], Object.assign(document.createElement("meter"), { value }), `${(100 * value).toFixed(1)} %`);
    }
    shown.replaceChildren(list);
  } catch (error) {
    shown.textContent = error instanceof Refusal ? error.message : `The model failed: ${error.message}`;
  }
}

// Call `taken` with each file that the user chooses, drops or pastes.
function onFile(taken) {
  element("file").addEventListener("change", (event) => event.target.files[0] && taken(event.target.files[0]));
  document.addEventListener("paste", (event) => event.clipboardData.files[0] && taken(event.clipboardData.files[0]));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) taken(event.dataTransfer.files[0]);
  });
}
