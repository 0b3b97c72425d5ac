// Classify a picture with an exported model.pt, without Python: classify MODEL PICTURE
// The picture is a binary PPM (colours) or PGM (grey) file. Prints the five most probable classes, one a line.
#include <torch/script.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <stdexcept>

// The pixels as models take them: uint8 (1, 3, H, W) of colours, (1, H, W) of grey, (1, H, W, 3) if the channels come last.
at::Tensor read(const std::string& path, bool channels_last) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int64_t width = 0, height = 0, most = 0;
  file >> kind >> width >> height >> most;
  const int64_t channels = kind == "P6" ? 3 : 1;
  if (!file || (kind != "P6" && kind != "P5") || most != 255 || width < 1 || height < 1 || width > 100000 || height > 100000)
    throw std::runtime_error(path + " is no binary PPM or PGM file of 8 bits without comments");
  file.get();  // the line's end
  at::Tensor pixels = torch::empty({1, height, width, channels}, torch::kUInt8);
  if (!file.read(reinterpret_cast<char*>(pixels.data_ptr<uint8_t>()), pixels.numel()))
    throw std::runtime_error(path + " is cut off");
  if (channels == 1) return pixels.squeeze(3);
  return channels_last ? pixels : pixels.permute({0, 3, 1, 2}).contiguous();
}

int main(int count, const char* arguments[]) try {
  if (count != 3) throw std::runtime_error("expected two arguments: classify MODEL PICTURE");
  torch::jit::script::Module model = torch::jit::load(arguments[1]);
  const bool channels_last = model.attr("expected").toStringRef().find(", 3), red") != std::string::npos;
  torch::NoGradGuard no_gradients;
  const at::Tensor probabilities = model.forward({read(arguments[2], channels_last)}).toTensor()[0];
  const auto names = model.attr("class_names").toListRef();
  const auto [values, labels] = probabilities.topk(std::min<int64_t>(5, probabilities.size(0)));
  for (int64_t place = 0; place < labels.size(0); ++place)
    std::cout << names[labels[place].item<int64_t>()].toStringRef() << " " << values[place].item<float>() << "\n";
} catch (const std::exception& error) {
  const std::string words = error.what();  // of a model's refusal: a traceback, then the sentence
  const size_t end = words.find_last_not_of('\n') + 1, begin = words.rfind('\n', end - 1) + 1;
  std::cerr << "error: " << words.substr(begin, end - begin) << "\n";
  return 1;
}
