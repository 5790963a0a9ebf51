// Compares the decoder's kernels for registers of 16 floats with those for registers of 4, tile by tile, for shapes and
// counts around every boundary. The caller's arrays have no byte to spare, so an address sanitizer sees each access
// beyond.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "../../../cuda_ext/cpu/buffer.h"
#include "../../../cuda_ext/cpu/decoder.h"

const nerf_ssim::DecoderKernels* tables_4();
const nerf_ssim::DecoderKernels* tables_16();

namespace {

using nerf_ssim::Buffer;
using nerf_ssim::DecoderKernels;
using nerf_ssim::DecoderShape;
using Floats = std::vector<float>;

struct Case {
  DecoderShape shape;
  int64_t samples;
  std::array<Floats, 6> weights;
  Floats features, directions, grad_rgb;
};

Case random_case(const DecoderShape& shape, int64_t samples) {
  std::mt19937 generator(static_cast<unsigned>(samples * 31 + shape.features));
  std::normal_distribution<float> normal;
  const auto drawn = [&](int64_t count, float scale) {
    Floats values(count);
    for (float& value : values) value = scale * normal(generator);
    return values;
  };
  const auto matrix = [&](int out, int in) {
    return drawn(int64_t{out} * in, 1.0f / std::sqrt(static_cast<float>(in)));
  };
  const int h1 = shape.hidden1, h2 = shape.hidden2;
  return {shape,
          samples,
          {matrix(h1, shape.inputs()), drawn(h1, 0.1f), matrix(h2, h1), drawn(h2, 0.1f), matrix(3, h2), drawn(3, 0.1f)},
          drawn(samples * shape.features, 1.0f),
          drawn(samples * 3, 1.0f),
          drawn(samples * 3, 1.0f)};
}

template <class Work>
void for_each_tile(const DecoderKernels& kernels, int64_t samples, const Work& work) {
  for (int64_t begin = 0; begin < samples; begin += kernels.tile)
    work(begin, static_cast<int>(std::min<int64_t>(kernels.tile, samples - begin)));
}

// The features' gradient and those of the six weights; `rgb` is written where it is empty.
std::vector<Floats> gradients(const DecoderKernels& kernels, const Case& at, Floats& rgb) {
  const DecoderShape& shape = at.shape;
  Buffer packed(kernels.packed_floats(shape)), scratch(kernels.scratch_floats(shape));
  Buffer sums(kernels.gradient_floats(shape));
  const auto& w = at.weights;
  kernels.pack(shape, {w[0].data(), w[1].data(), w[2].data(), w[3].data(), w[4].data(), w[5].data()}, packed.get());
  if (rgb.empty()) {
    rgb.resize(at.samples * 3);
    for_each_tile(kernels, at.samples, [&](int64_t begin, int count) {
      kernels.forward(shape, packed.get(), {at.features.data(), at.directions.data(), rgb.data()}, begin, count,
                      scratch.get());
    });
  }
  std::vector<Floats> to{Floats(at.features.size())};
  for (const Floats& weight : w) to.emplace_back(weight.size());
  for_each_tile(kernels, at.samples, [&](int64_t begin, int count) {
    kernels.backward(shape, packed.get(),
                     {at.features.data(), at.directions.data(), rgb.data(), at.grad_rgb.data(), to[0].data()}, begin,
                     count, scratch.get(), sums.get());
  });
  kernels.unpack(shape, sums.get(),
                 {to[1].data(), to[2].data(), to[3].data(), to[4].data(), to[5].data(), to[6].data()});
  return to;
}

// The largest difference, of the largest value.
double difference(const Floats& a, const Floats& b) {
  double largest = 0.0, apart = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(a[i])));
    const double here = std::abs(static_cast<double>(a[i]) - b[i]);
    if (!(here <= apart)) apart = here;  // a NaN stays
  }
  return apart / (largest + 1e-30);
}

}  // namespace

int main() {
  const DecoderShape shapes[] = {{1, 2, 2, 16, 16}, {16, 0, 4, 24, 40}, {17, 1, 0, 33, 20}, {27, 2, 2, 128, 128},
                                 {5, 6, 6, 8, 8},   {3, 3, 1, 5, 3},    {1, 0, 0, 1, 1}};
  int failures = 0;
  for (int kind = 0; kind < 3; ++kind)
    for (const DecoderShape& shape : shapes)
      for (const int64_t samples : {1, 2, 15, 16, 17, 33, 144, 145, 192, 193}) {
        const Case at = random_case(shape, samples);
        Floats narrow_rgb, wide_rgb;
        const auto narrow = gradients(tables_4()[kind], at, narrow_rgb);
        gradients(tables_16()[kind], at, wide_rgb);
        const auto wide = gradients(tables_16()[kind], at, narrow_rgb);
        double worst = difference(narrow_rgb, wide_rgb);
        for (size_t i = 0; i < narrow.size(); ++i) {
          const double apart = difference(narrow[i], wide[i]);
          if (!(apart <= worst)) worst = apart;
        }
        if (worst <= 2e-5) continue;
        ++failures;
        std::printf("%s: features %d, hidden %d and %d, %d samples: %g apart\n", tables_16()[kind].name, shape.features,
                    shape.hidden1, shape.hidden2, static_cast<int>(samples), worst);
      }
  return failures > 0;
}
