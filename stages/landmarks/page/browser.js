// Photographs of landmarks: all that follows decoding is in the network.

// The network's images of a photograph: one, channels first.
async function images(file) {
  const { width, height, data } = await decode(file);
  const planes = new Uint8Array(3 * width * height);
  for (let channel = 0; channel < 3; channel++) {
    const plane = planes.subarray(channel * width * height);
    for (let place = 0; place < width * height; place++) plane[place] = data[4 * place + channel];
  }
  return { data: planes, dims: [1, 3, height, width] };
}

const unknown = ({ familiarity }) => familiarity[0] < 0 && "It resembles none of the photographs that the model has learnt from.";

onFile((file) => {
  const picture = new Image();
  picture.alt = file.name;
  picture.src = URL.createObjectURL(file);
  element("input").replaceChildren(picture);
  show(images(file), unknown);
});

globalThis.page = { answer, images, network };
