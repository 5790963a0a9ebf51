// The colour decoder over all samples: which kernels, which thread takes which tiles, in which order sums are added.
#include "decoder.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <new>
#include <vector>

namespace nerf_ssim {
namespace {

// Zeroed floats, 64-byte aligned.
class Buffer {
 public:
  explicit Buffer(size_t floats)
      : data_(static_cast<float*>(::operator new(floats * sizeof(float), std::align_val_t(64)))) {
    std::memset(data_, 0, floats * sizeof(float));
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { ::operator delete(data_, std::align_val_t(64)); }
  float* get() { return data_; }

 private:
  float* data_;
};

// Calls work(share, begin, count) for every tile; each of `shares` owns a contiguous run of tiles.
template <class Work>
void for_each_tile(int64_t samples, int tile, int shares, const Work& work) {
  const int64_t tiles = (samples + tile - 1) / tile;
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t t = tiles * share / shares; t < tiles * (share + 1) / shares; ++t)
      work(share, t * tile, static_cast<int>(std::min<int64_t>(tile, samples - t * tile)));
}

int shares_for(int64_t samples, int tile, int threads) {
  return static_cast<int>(std::max<int64_t>(1, std::min<int64_t>(threads, (samples + tile - 1) / tile)));
}

std::vector<std::unique_ptr<Buffer>> buffers(int count, size_t floats) {
  std::vector<std::unique_ptr<Buffer>> all;
  for (int i = 0; i < count; ++i) all.push_back(std::make_unique<Buffer>(floats));
  return all;
}

}  // namespace

const DecoderKernels& decoder_kernels() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (x86_level() == X86Level::avx512) return decoder_kernels_avx512();
  if (x86_level() == X86Level::avx2) return decoder_kernels_avx2();
#endif
  return decoder_kernels_baseline();
}

void decoder_forward(
    const DecoderShape& shape, const DecoderWeights& weights, const DecoderForward& arrays, int64_t samples,
    int threads) {
  const DecoderKernels& kernels = decoder_kernels();
  const int shares = shares_for(samples, kernels.tile, threads);
  Buffer packed(kernels.packed_floats(shape));
  kernels.pack(shape, weights, packed.get());
  const auto scratch = buffers(shares, kernels.scratch_floats(shape));
  for_each_tile(samples, kernels.tile, shares, [&](int share, int64_t begin, int count) {
    kernels.forward(shape, packed.get(), arrays, begin, count, scratch[share]->get());
  });
}

void decoder_backward(
    const DecoderShape& shape, const DecoderWeights& weights, const DecoderBackward& arrays,
    const DecoderWeightGradients& gradients, int64_t samples, int threads) {
  const DecoderKernels& kernels = decoder_kernels();
  const int shares = shares_for(samples, kernels.tile, threads);
  Buffer packed(kernels.packed_floats(shape));
  kernels.pack(shape, weights, packed.get());
  const auto scratch = buffers(shares, kernels.scratch_floats(shape));
  const size_t gradient_floats = kernels.gradient_floats(shape);
  const auto sums = buffers(shares, gradient_floats);
  for_each_tile(samples, kernels.tile, shares, [&](int share, int64_t begin, int count) {
    kernels.backward(shape, packed.get(), arrays, begin, count, scratch[share]->get(), sums[share]->get());
  });
  float* total = sums[0]->get();
  for (int share = 1; share < shares; ++share)
    for (size_t i = 0; i < gradient_floats; ++i) total[i] += sums[share]->get()[i];
  kernels.unpack(shape, total, gradients);
}

}  // namespace nerf_ssim
