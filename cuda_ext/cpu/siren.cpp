// The sine network over all points: which kernels, which thread takes which tiles, in which order sums are added.
#include "siren.h"

#include "shares.h"

namespace nerf_ssim {
namespace {

// What every pass over the tiles sets up first.
struct Pass {
  const SirenKernels& kernels;
  int shares;
  Buffer packed_buffer;
  const float* packed;
  size_t tile_floats;
  float* activations;  // of all tiles, or null where a share's next tile takes the place of its last
  std::vector<std::unique_ptr<Buffer>> scratch, operands;

  Pass(const SirenKernels& kernels, const SirenShape& shape, const SirenWeights& weights, float* activations,
       int64_t points, int threads)
      : kernels(kernels),
        shares(shares_for(points, kernels.tile, threads)),
        packed_buffer(kernels.packed_floats(shape)),
        packed(packed_buffer.get()),
        tile_floats(kernels.scratch_floats(shape)),
        activations(activations),
        scratch(buffers(activations ? 0 : shares, tile_floats)),
        operands(buffers(shares, kernels.operand_floats(shape))) {
    kernels.pack(shape, weights, packed_buffer.get());
  }

  float* activations_of(int share, int64_t begin) const {
    return activations ? activations + begin / kernels.tile * tile_floats : scratch[share]->get();
  }
};

}  // namespace

const SirenKernels& siren_kernels() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (x86_level() == X86Level::avx512) return siren_kernels_avx512();
  if (x86_level() == X86Level::avx2) return siren_kernels_avx2();
#endif
  return siren_kernels_baseline();
}

const SirenKernels& siren_kernels(int forward_terms, Bf16Unit unit) {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (unit == Bf16Unit::amx || unit == Bf16Unit::avx512_bf16)
    return siren_split_kernels(forward_terms, unit == Bf16Unit::amx);
#endif
  return siren_split_kernels_emulated(forward_terms, unit == Bf16Unit::emulated_tiles);
}

size_t siren_activation_floats(const SirenKernels& kernels, const SirenShape& shape, int64_t points) {
  return static_cast<size_t>((points + kernels.tile - 1) / kernels.tile) * kernels.scratch_floats(shape);
}

void siren_forward(const SirenKernels& kernels, const SirenShape& shape, const SirenWeights& weights,
                   const float* inputs, float* outputs, float* activations, int64_t points, int threads) {
  const Pass pass(kernels, shape, weights, activations, points, threads);
  for_each_tile(points, pass.kernels.tile, pass.shares, [&](int share, int64_t begin, int count) {
    pass.kernels.forward(shape, pass.packed, inputs + begin * shape.inputs(), count, outputs + begin * shape.outputs(),
                         pass.activations_of(share, begin), pass.operands[share]->get());
  });
}

void siren_backward(const SirenKernels& kernels, const SirenShape& shape, const SirenWeights& weights,
                    const float* inputs, const float* grad_outputs, float* activations,
                    const SirenWeightGradients& gradients, int64_t points, int threads) {
  const Pass pass(kernels, shape, weights, activations, points, threads);
  const size_t gradient_floats = pass.kernels.gradient_floats(shape);
  const auto sums = buffers(pass.shares, gradient_floats);
  const auto outputs = buffers(pass.shares, static_cast<size_t>(pass.kernels.tile) * shape.outputs());
  for_each_tile(points, pass.kernels.tile, pass.shares, [&](int share, int64_t begin, int count) {
    float* scratch = pass.activations_of(share, begin);
    if (!activations)
      pass.kernels.forward(shape, pass.packed, inputs + begin * shape.inputs(), count, outputs[share]->get(), scratch,
                           pass.operands[share]->get());
    pass.kernels.backward(shape, pass.packed, grad_outputs + begin * shape.outputs(), count, scratch,
                          sums[share]->get(), pass.operands[share]->get());
  });
  pass.kernels.unpack(shape, add_shares(sums, gradient_floats), gradients);
}

double siren_fit(const SirenKernels& kernels, const SirenShape& shape, const SirenWeights& weights, const float* inputs,
                 const double* target, float* outputs, const SirenWeightGradients& gradients, int64_t points,
                 int threads) {
  const Pass pass(kernels, shape, weights, nullptr, points, threads);
  const size_t gradient_floats = pass.kernels.gradient_floats(shape);
  const auto sums = buffers(pass.shares, gradient_floats);
  const auto grad_outputs = buffers(pass.shares, static_cast<size_t>(pass.kernels.tile) * shape.outputs());
  std::vector<double> squares(pass.shares, 0.0);
  const int channels = shape.outputs();
  const double values = static_cast<double>(points) * channels;
  for_each_tile(points, pass.kernels.tile, pass.shares, [&](int share, int64_t begin, int count) {
    // 1. The tile's outputs; its activations stay in the scratch.
    float* scratch = pass.activations_of(share, begin);
    float* tile_outputs = outputs + begin * channels;
    float* operands = pass.operands[share]->get();
    pass.kernels.forward(shape, pass.packed, inputs + begin * shape.inputs(), count, tile_outputs, scratch, operands);
    // 2. Its squared errors and their gradient.
    float* grad = grad_outputs[share]->get();
    double sum = 0.0;
    for (int64_t i = 0; i < static_cast<int64_t>(count) * channels; ++i) {
      const double error = tile_outputs[i] - target[begin * channels + i];
      sum += error * error;
      grad[i] = static_cast<float>(2.0 * error / values);
    }
    squares[share] += sum;
    // 3. The gradient of the weights.
    pass.kernels.backward(shape, pass.packed, grad, count, scratch, sums[share]->get(), operands);
  });
  pass.kernels.unpack(shape, add_shares(sums, gradient_floats), gradients);
  double total = 0.0;
  for (const double share : squares) total += share;
  return total / values;
}

}  // namespace nerf_ssim
