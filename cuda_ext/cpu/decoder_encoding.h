// The colour decoder's input rows of a tile, and the gradient of the features from that of the rows.
//
// Rows are written in whole registers from left to right: what a register writes beyond its part, the next part
// replaces.
#pragma once

#include "decoder_layout.h"

namespace nerf_ssim::NERF_SSIM_ISA {

// Calls `work` with the number of frequencies. The usual ones are constants: loops over them then become registers.
template <class Work>
NERF_SSIM_INLINE void with_frequencies(int frequencies, const Work& work) {
  switch (frequencies) {
    case 0:
      return work(std::integral_constant<int, 0>());
    case 1:
      return work(std::integral_constant<int, 1>());
    case 2:
      return work(std::integral_constant<int, 2>());
    case 4:
      return work(std::integral_constant<int, 4>());
    case 6:
      return work(std::integral_constant<int, 6>());
    default:
      return work(frequencies);
  }
}

NERF_SSIM_INLINE void write_octaves(const float* __restrict values, int64_t count, int frequencies,
                                    float* __restrict angles) {
  for (int64_t i = 0; i < count; ++i) {
    float angle = values[i];
    for (int k = 0; k < frequencies; ++k, angle *= 2.0f) angles[i * frequencies + k] = angle;
  }
}

// Angles of `count` values (value * 1, 2, 4 …), written one after the other; returns how many.
inline int octaves(const float* values, int64_t count, int frequencies, float* angles) {
  with_frequencies(frequencies, [=](auto each) { write_octaves(values, count, each, angles); });
  return static_cast<int>(count * frequencies);
}

// Copies `width` floats and up to kLanes - 1 that follow them.
template <class Number>
NERF_SSIM_INLINE void copy_vectors(const float* from, int width, Number* to) {
  for (int i = 0; i < width; i += kLanes) store(to + i, load(from + i));
}

template <class Number>
NERF_SSIM_INLINE void copy_numbers(const float* from, int width, Number* to) {
  for (int i = 0; i < width; ++i) store_one(to + i, from[i]);
}

// Columns [sines, cosines] of `width` angles each, from right to left: each register of sines then stands before the
// cosines that it overlaps. `keep(first, sine, cosine)` takes every register too.
template <bool AreSmall, class Number, class Keep>
NERF_SSIM_INLINE void encode_angles(const float* angles, int width, Number* columns, const Keep& keep) {
  for (int i = (width - 1) / kLanes * kLanes; i >= 0 && width > 0; i -= kLanes) {
    Vec sine, cosine;
    sine_cosine_of<AreSmall>(load(angles + i), sine, cosine);
    store(columns + i, sine);
    store(columns + width + i, cosine);
    keep(i, sine, cosine);
  }
}

template <bool AreSmall, class Products>
inline void write_rows(const DecoderShape& shape, const Layout<Products>& at, const float* features,
                       const float* directions, int count, float* scratch) {
  const int width = shape.features, feature_angles = shape.feature_angles(), view_angles = shape.view_angles();
  const float* angles = scratch + at.angles;
  const float* angles_of_views = angles + count * feature_angles;
  float* sines = scratch + at.sines;
  float* cosines = scratch + at.cosines;
  const auto keep = [&](int i, Vec sine, Vec cosine) {
    if constexpr (!Layout<Products>::kIsFloat) {
      store(sines + i, sine);
      store(cosines + i, cosine);
    }
  };
  // Rows whose features may be read in whole registers: the caller's array ends with the others.
  const int in_registers = width == 0 ? count : count - (round_up(width, kLanes) - 1) / width;
  const int padded = Products::padded(at.inputs), stride = at.input_stride, kept = at.encoding_stride;
  auto* row = Products::rows(scratch + at.input);
  for (int s = 0; s < count; ++s, row += stride, sines += kept, cosines += kept) {
    if (s < in_registers)
      copy_vectors(features + s * width, width, row);
    else
      copy_numbers(features + s * width, width, row);
    auto* column = row + width;
    encode_angles<AreSmall>(angles + s * feature_angles, feature_angles, column, keep);
    column += 2 * feature_angles;
    copy_numbers(directions + 3 * s, 3, column);
    encode_angles<AreSmall>(angles_of_views + s * view_angles, view_angles, column + 3, [](int, Vec, Vec) {});
    for (int i = at.inputs; i < padded; i += kLanes) store(row + i, Vec{});
  }
}

// The MLP's input rows of a tile; where they are not float32, sines and cosines of the features as floats too.
template <class Products>
NERF_SSIM_INLINE void encode(const DecoderShape& shape, const Layout<Products>& at, const float* features,
                             const float* directions, int count, float* scratch) {
  float* angles = scratch + at.angles;
  const int of_features = octaves(features, int64_t{count} * shape.features, shape.feature_frequencies, angles);
  const int all = of_features + octaves(directions, int64_t{3} * count, shape.view_frequencies, angles + of_features);
  for (int i = all; i % kLanes; ++i) angles[i] = 0.0f;
  if (are_small(angles, all))
    write_rows<true>(shape, at, features, directions, count, scratch);
  else
    write_rows<false>(shape, at, features, directions, count, scratch);
  prefetch<false>(features + count * shape.features, count * shape.features);  // the thread's next tile
}

// totals[i] = own[i] + the sum over k of 2^k products[i][k]. Indices have 64 bits: of narrower ones, which may wrap
// around, GCC makes slow gathers.
NERF_SSIM_INLINE void add_octaves(const float* __restrict own, const float* __restrict products, int64_t count,
                                  int frequencies, float* __restrict totals) {
  for (int64_t i = 0; i < count; ++i) {
    float sum = own[i];
    float factor = 1.0f;
    for (int k = 0; k < frequencies; ++k, factor *= 2.0f) sum += factor * products[i * frequencies + k];
    totals[i] = sum;
  }
}

// Gradient of a tile's features from the gradient of the input's first columns: d sin(2^k x) = 2^k cos(2^k x) dx.
template <class Products>
NERF_SSIM_INLINE void feature_gradient(const DecoderShape& shape, const Layout<Products>& at, int count, float* scratch,
                                       float* grad_features) {
  const int angles = shape.feature_angles();
  float* products = scratch + at.products;
  float* plain = scratch + at.plain;

  // 1. The gradients of the angles and the features' own, each without gaps.
  for (int s = 0; s < count; ++s) {
    const float* grad = scratch + at.grad_input + s * at.grad_input_stride;
    const float* sines = scratch + at.sines + s * at.encoding_stride;
    const float* cosines = scratch + at.cosines + s * at.encoding_stride;
    const float* grad_sines = grad + shape.features;
    const float* grad_cosines = grad_sines + angles;
    for (int i = 0; i < angles; i += kLanes)
      store(products + s * angles + i,
            load(grad_sines + i) * load(cosines + i) - load(grad_cosines + i) * load(sines + i));
    copy_vectors(grad, shape.features, plain + s * shape.features);
  }

  // 2. The sum of each feature's.
  const int64_t values = int64_t{count} * shape.features;
  with_frequencies(shape.feature_frequencies,
                   [=](auto each) { add_octaves(plain, products, values, each, grad_features); });
}

}  // namespace nerf_ssim::NERF_SSIM_ISA
