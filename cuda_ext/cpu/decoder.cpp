// The colour decoder over all samples: which kernels, which thread takes which tiles, in which order sums are added.
#include "decoder.h"

#include "shares.h"

namespace nerf_ssim {

const DecoderKernels& decoder_kernels() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (x86_level() == X86Level::avx512) return decoder_kernels_avx512();
  if (x86_level() == X86Level::avx2) return decoder_kernels_avx2();
#endif
  return decoder_kernels_baseline();
}

const DecoderKernels& decoder_kernels(Bf16Unit unit) {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (unit == Bf16Unit::amx || unit == Bf16Unit::avx512_bf16) return decoder_bf16_kernels(unit == Bf16Unit::amx);
#endif
  return decoder_bf16_kernels_emulated(unit == Bf16Unit::emulated_tiles);
}

void decoder_forward(const DecoderKernels& kernels, const DecoderShape& shape, const DecoderWeights& weights,
                     const DecoderForward& arrays, int64_t samples, int threads) {
  const int shares = shares_for(samples, kernels.tile, threads);
  Buffer packed(kernels.packed_floats(shape));
  kernels.pack(shape, weights, packed.get());
  const auto scratch = buffers(shares, kernels.scratch_floats(shape));
  for_each_tile(samples, kernels.tile, shares, [&](int share, int64_t begin, int count) {
    kernels.forward(shape, packed.get(), arrays, begin, count, scratch[share]->get());
  });
}

void decoder_backward(const DecoderKernels& kernels, const DecoderShape& shape, const DecoderWeights& weights,
                      const DecoderBackward& arrays, const DecoderWeightGradients& gradients, int64_t samples,
                      int threads) {
  const int shares = shares_for(samples, kernels.tile, threads);
  Buffer packed(kernels.packed_floats(shape));
  kernels.pack(shape, weights, packed.get());
  const auto scratch = buffers(shares, kernels.scratch_floats(shape));
  const size_t gradient_floats = kernels.gradient_floats(shape);
  const auto sums = buffers(shares, gradient_floats);
  for_each_tile(samples, kernels.tile, shares, [&](int share, int64_t begin, int count) {
    kernels.backward(shape, packed.get(), arrays, begin, count, scratch[share]->get(), sums[share]->get());
  });
  kernels.unpack(shape, add_shares(sums, gradient_floats), gradients);
}

}  // namespace nerf_ssim
