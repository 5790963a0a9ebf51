// The colour decoder around its products of matrices, which cuBLAS computes.
#include "../include/decoder_layers.h"

#include "bfloat16.cuh"
#include "launch.h"

namespace nerf_ssim {
namespace {

constexpr int kThreads = 256;
constexpr int kSamples = 32;  // whose rows a block encodes
constexpr int kColours = 3;
constexpr int kBlocksAtOnce = 3;  // of the last layer's kernel on a multiprocessor: at most 80 registers a thread
constexpr float kLargestAngle = 8192.0f;  // up to here the reduced angle is exact to rounding

// Sine of an angle and of so many quarter turns more. As the CPU's: reduction of Cody and Waite, polynomials of
// Cephes. The unit's own sine, which serves beyond, stays between -1 and 1 where digits are lost anyway.
__device__ __forceinline__ float sine(float angle, int quarters) {
  if (!(fabsf(angle) <= kLargestAngle)) return quarters ? __cosf(angle) : __sinf(angle);
  constexpr float kRound = 12582912.0f;
  const float shifted = fmaf(angle, 0.636619772367581343f, kRound), turns = shifted - kRound;
  const int quarter = __float_as_int(shifted) + quarters;
  float rest = fmaf(turns, -1.57079637050628662109375f, angle);
  rest = fmaf(turns, 4.37113900018624283e-8f, rest);
  rest = fmaf(turns, 1.71512449e-15f, rest);
  const float square = rest * rest;
  float odd = fmaf(-1.9515295891e-4f, square, 8.3321608736e-3f);
  odd = fmaf(odd, square, -1.6666654611e-1f);
  odd = fmaf(odd * square, rest, rest);
  float even = fmaf(2.443315711809948e-5f, square, -1.388731625493765e-3f);
  even = fmaf(even, square, 4.166664568298827e-2f);
  even = fmaf(even, square * square, fmaf(-0.5f, square, 1.0f));
  const float size = quarter & 1 ? even : odd;
  return quarter & 2 ? -size : size;
}

__device__ __forceinline__ float power_of_two(int exponent) { return __int_as_float((127 + exponent) << 23); }

// Of [sines, cosines] of `values` times 1, 2, 4 …, frequency fastest, the one in that column.
__device__ __forceinline__ float encoded(const float* values, int angles, int frequencies, int column) {
  const int is_cosine = column >= angles ? 1 : 0, angle = column - is_cosine * angles;
  return sine(values[angle / frequencies] * power_of_two(angle % frequencies), is_cosine);
}

// One thread owns four neighbouring numbers of a row; a block the rows of kSamples samples.
template <class Number>
__global__ void __launch_bounds__(kThreads) decoder_inputs(DecoderEncoding encoding, const float* features,
                                                           const float* directions, int64_t samples, Number* rows) {
  const int width = static_cast<int>(encoding.width), chunks = width / 4;
  const int count = static_cast<int>(encoding.features);
  const int octaves = static_cast<int>(encoding.feature_frequencies), of_features = count * octaves;
  const int view_octaves = static_cast<int>(encoding.view_frequencies), of_views = 3 * view_octaves;
  const int64_t first = int64_t{blockIdx.x} * kSamples;
  const int here = static_cast<int>(min(int64_t{kSamples}, samples - first));
  for (int i = threadIdx.x; i < here * chunks; i += kThreads) {
    const int64_t sample = first + i / chunks;
    const float *own = features + sample * count, *direction = directions + sample * 3;
    Chunk<4> chunk;
    for (int k = 0; k < 4; ++k) {
      int column = i % chunks * 4 + k;
      float& value = chunk.at[k];
      // 1. the numbers themselves
      if (column < count)
        value = own[column];
      else if ((column -= count) < 3)
        value = direction[column];
      // 2. their encodings
      else if ((column -= 3) < 2 * of_features)
        value = encoded(own, of_features, octaves, column);
      else if ((column -= 2 * of_features) < 2 * of_views)
        value = encoded(direction, of_views, view_octaves, column);
      // 3. zeros
      else
        value = 0.0f;
    }
    store(rows + sample * width + i % chunks * 4, chunk);
  }
}

// One thread owns a feature of a sample: d sin(2^k x) = 2^k cos(2^k x) dx.
template <class Number>
__global__ void __launch_bounds__(kThreads)
    decoder_inputs_backward(DecoderEncoding encoding, const float* features, const Number* grad, int64_t samples,
                            float* grad_features) {
  const int count = static_cast<int>(encoding.features), width = static_cast<int>(encoding.width);
  const int octaves = static_cast<int>(encoding.feature_frequencies), angles = count * octaves;
  const int64_t first = int64_t{blockIdx.x} * kSamples;
  const int here = static_cast<int>(min(int64_t{kSamples}, samples - first));
  for (int i = threadIdx.x; i < here * count; i += kThreads) {
    const int64_t sample = first + i / count;
    const int feature = i % count;
    const Number* row = grad + sample * width;
    const float value = features[sample * count + feature];
    float sum = load<1>(row + feature).at[0];
    for (int k = 0; k < octaves; ++k) {
      const Number* of_sine = row + count + 3 + feature * octaves + k;
      const float factor = power_of_two(k), angle = value * factor;
      const float along = load<1>(of_sine).at[0] * sine(angle, 1) - load<1>(of_sine + angles).at[0] * sine(angle, 0);
      sum = fmaf(factor, along, sum);
    }
    grad_features[sample * count + feature] = sum;
  }
}

// How the threads of a block share rows of chunks: thread t has chunk t % columns of every rows_at_once-th row. Row y
// of the grid of blocks takes the columns from y * kThreads on.
struct Share {
  int chunk, row, columns, rows_at_once;
  bool has_work;
};

template <int kWidth>
__device__ __forceinline__ Share share_of(int64_t width) {
  const int first = static_cast<int>(blockIdx.y) * kThreads;
  const int columns = min(static_cast<int>(width) / kWidth - first, kThreads), rows_at_once = kThreads / columns;
  const int column = static_cast<int>(threadIdx.x) % columns, row = static_cast<int>(threadIdx.x) / columns;
  return {first + column, row, columns, rows_at_once, row < rows_at_once};
}

// Adds the chunks of a column over a block's rows in a fixed order and writes them to `to`. All threads call it.
template <int kWidth>
__device__ __forceinline__ void write_column_sum(const Chunk<kWidth>& mine, Chunk<kWidth>* of_threads,
                                                 const Share& share, float* to) {
  __syncthreads();  // `of_threads` may still be read
  of_threads[threadIdx.x] = mine;
  __syncthreads();
  if (share.row > 0) return;
  Chunk<kWidth> sum = mine;
  for (int row = 1; row < share.rows_at_once; ++row)
    for (int k = 0; k < kWidth; ++k) sum.at[k] += of_threads[row * share.columns + threadIdx.x].at[k];
  for (int k = 0; k < kWidth; ++k) to[share.chunk * kWidth + k] = sum.at[k];
}

// A block owns kDecoderSamples samples.
template <class Number, int kWidth>
__global__ void __launch_bounds__(kThreads)
    decoder_relu_backward(int64_t samples, int64_t width, const Number* hidden, Number* grad, float* sums) {
  __shared__ Chunk<kWidth> of_threads[kThreads];
  const Share share = share_of<kWidth>(width);
  const int64_t first = int64_t{blockIdx.x} * kDecoderSamples, end = min(first + kDecoderSamples, samples);
  Chunk<kWidth> sum{};
  // 1. the gradient of what passed
  if (share.has_work)
#pragma unroll 2
    for (int64_t sample = first + share.row; sample < end; sample += share.rows_at_once) {
      const int64_t place = sample * width + share.chunk * kWidth;
      const Chunk<kWidth> passed = load<kWidth>(hidden + place);
      Chunk<kWidth> g = load<kWidth>(grad + place);
      for (int k = 0; k < kWidth; ++k) {
        if (!(passed.at[k] > 0.0f)) g.at[k] = 0.0f;
        sum.at[k] += g.at[k];
      }
      store(grad + place, g);
    }
  // 2. its sums
  write_column_sum(sum, of_threads, share, sums + blockIdx.x * width);
}

// The same where the gradient comes from three outputs, whose sigmoids and products with w3 are undone on the way.
template <class Number, int kWidth>
__global__ void __launch_bounds__(kThreads, kBlocksAtOnce)
    decoder_last_layer_backward(DecoderLastLayer layer, int64_t samples, int64_t width, const Number* hidden,
                                Number* grad, float* sums) {
  __shared__ Chunk<kWidth> of_threads[kThreads];
  const Share share = share_of<kWidth>(width);
  const int64_t first = int64_t{blockIdx.x} * kDecoderSamples, end = min(first + kDecoderSamples, samples);
  Chunk<kWidth> weight[kColours], of_weight[kColours]{}, of_bias{};
  for (int c = 0; c < kColours; ++c)
    for (int k = 0; k < kWidth; ++k)
      weight[c].at[k] = share.has_work ? layer.w3[c * width + share.chunk * kWidth + k] : 0.0f;
  float of_output[kColours] = {};
  if (share.has_work)
    for (int64_t sample = first + share.row; sample < end; sample += share.rows_at_once) {
      // 1. the sigmoids; products take rounded numbers, the bias's sum whole ones
      float output[kColours];
      for (int c = 0; c < kColours; ++c) {
        const float colour = layer.rgb[sample * kColours + c];
        const float whole = layer.grad_rgb[sample * kColours + c] * colour * (1.0f - colour);
        of_output[c] += whole;
        output[c] = rounded_to<Number>(whole);
      }
      // 2. w3's gradient, and the gradient of what passed the ReLU
      const int64_t place = sample * width + share.chunk * kWidth;
      const Chunk<kWidth> passed = load<kWidth>(hidden + place);
      Chunk<kWidth> g{};
      for (int k = 0; k < kWidth; ++k) {
        for (int c = 0; c < kColours; ++c) {
          of_weight[c].at[k] = fmaf(output[c], passed.at[k], of_weight[c].at[k]);
          g.at[k] = fmaf(output[c], weight[c].at[k], g.at[k]);
        }
        if (!(passed.at[k] > 0.0f)) g.at[k] = 0.0f;
        of_bias.at[k] += g.at[k];
      }
      store(grad + place, g);
    }
  // 3. the sums
  float* mine = sums + blockIdx.x * ((kColours + 1) * width + kColours);
  for (int c = 0; c < kColours; ++c) write_column_sum(of_weight[c], of_threads, share, mine + c * width);
  write_column_sum(of_bias, of_threads, share, mine + kColours * width);
  for (int c = 0; c < kColours; ++c) {
    Chunk<kWidth> output{};
    output.at[0] = of_output[c];
    __syncthreads();
    of_threads[threadIdx.x] = output;
    __syncthreads();
    if (blockIdx.y > 0 || threadIdx.x > 0) continue;  // one column has them all
    float sum = 0.0f;
    for (int row = 0; row < share.rows_at_once; ++row) sum += of_threads[row * share.columns].at[0];
    mine[(kColours + 1) * width + c] = sum;
  }
}

// Blocks that add up, a row of them for as many columns as a block has threads.
dim3 adding_blocks(const DecoderHidden& rows, int kWidth) {
  return {blocks_for(rows.samples, kDecoderSamples), static_cast<unsigned>(ceil_divide(rows.width / kWidth, kThreads))};
}

// Whether the rows come in fours.
bool hidden_in_fours(const DecoderHidden& rows) {
  const auto aligned = [&](const void* pointer) {
    return reinterpret_cast<uintptr_t>(pointer) % (rows.is_bfloat16 ? alignof(uint2) : alignof(float4)) == 0;
  };
  return rows.width % 4 == 0 && aligned(rows.hidden) && aligned(rows.grad);
}

template <class Number>
int last_layer_backward(const DecoderLastLayer& layer, const DecoderHidden& rows, cudaStream_t stream) {
  const bool in_fours = hidden_in_fours(rows);
  const auto kernel = in_fours ? decoder_last_layer_backward<Number, 4> : decoder_last_layer_backward<Number, 1>;
  return NERF_SSIM_LAUNCH(kernel, adding_blocks(rows, in_fours ? 4 : 1), kThreads, stream, layer, rows.samples,
                          rows.width, static_cast<const Number*>(rows.hidden), static_cast<Number*>(rows.grad),
                          rows.sums);
}

template <class Number>
int relu_backward(const DecoderHidden& rows, cudaStream_t stream) {
  const bool in_fours = hidden_in_fours(rows);
  const auto kernel = in_fours ? decoder_relu_backward<Number, 4> : decoder_relu_backward<Number, 1>;
  return NERF_SSIM_LAUNCH(kernel, adding_blocks(rows, in_fours ? 4 : 1), kThreads, stream, rows.samples, rows.width,
                          static_cast<const Number*>(rows.hidden), static_cast<Number*>(rows.grad), rows.sums);
}

}  // namespace

int launch_decoder_inputs(const DecoderEncoding& encoding, const float* features, const float* directions,
                          int64_t samples, bool is_bfloat16, void* inputs, cudaStream_t stream) {
  if (samples == 0) return cudaSuccess;
  const unsigned blocks = blocks_for(samples, kSamples);
  if (is_bfloat16)
    return NERF_SSIM_LAUNCH(decoder_inputs<Bfloat16>, blocks, kThreads, stream, encoding, features, directions, samples,
                            static_cast<Bfloat16*>(inputs));
  return NERF_SSIM_LAUNCH(decoder_inputs<float>, blocks, kThreads, stream, encoding, features, directions, samples,
                          static_cast<float*>(inputs));
}

int launch_decoder_inputs_backward(const DecoderEncoding& encoding, const float* features, const void* grad,
                                   int64_t samples, bool is_bfloat16, float* grad_features, cudaStream_t stream) {
  if (samples == 0 || encoding.features == 0) return cudaSuccess;
  const unsigned blocks = blocks_for(samples, kSamples);
  if (is_bfloat16)
    return NERF_SSIM_LAUNCH(decoder_inputs_backward<Bfloat16>, blocks, kThreads, stream, encoding, features,
                            static_cast<const Bfloat16*>(grad), samples, grad_features);
  return NERF_SSIM_LAUNCH(decoder_inputs_backward<float>, blocks, kThreads, stream, encoding, features,
                          static_cast<const float*>(grad), samples, grad_features);
}

int launch_decoder_last_layer_backward(const DecoderLastLayer& layer, const DecoderHidden& rows, cudaStream_t stream) {
  if (rows.samples == 0) return cudaSuccess;
  return rows.is_bfloat16 ? last_layer_backward<Bfloat16>(layer, rows, stream)
                          : last_layer_backward<float>(layer, rows, stream);
}

int launch_decoder_relu_backward(const DecoderHidden& rows, cudaStream_t stream) {
  if (rows.samples == 0) return cudaSuccess;
  return rows.is_bfloat16 ? relu_backward<Bfloat16>(rows, stream) : relu_backward<float>(rows, stream);
}

}  // namespace nerf_ssim
