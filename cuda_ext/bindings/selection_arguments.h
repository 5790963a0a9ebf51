// Arguments and results of the operator that chooses samples by weight, whatever the device.
#pragma once

#include <ATen/ops/empty.h>

#include <optional>
#include <tuple>

#include "../include/selection.h"
#include "arguments.h"

namespace nerf_ssim {

using SixTensors = std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor>;

// Contiguous tensors beside the pointers into them.
struct SelectionArguments {
  at::Tensor weights, ray_index, coords, directions, t;
  WeighedSamples samples;

  SelectionArguments(const at::Tensor& weights_, const at::Tensor& ray_index_, const at::Tensor& coords_,
                     const at::Tensor& directions_, const std::optional<at::Tensor>& t_, double threshold)
      : weights(checked(weights_, {weights_.numel()}, "weights", weights_)),
        ray_index(checked_integers(ray_index_, weights_.numel(), "ray_index", weights_)),
        coords(checked(coords_, {weights_.numel(), 3}, "coords", weights_)),
        t(t_ ? checked(*t_, {weights_.numel()}, "t", weights_) : at::Tensor()) {
    TORCH_CHECK(directions_.dim() == 2, "directions: expected float32 [rays, 3], not ", directions_.sizes());
    directions = checked(directions_, {directions_.size(0), 3}, "directions", weights_);
    samples = {weights.const_data_ptr<float>(),
               ray_index.const_data_ptr<int64_t>(),
               coords.const_data_ptr<float>(),
               directions.const_data_ptr<float>(),
               pointer_or_null(t),
               weights.numel(),
               directions.size(0),
               static_cast<float>(threshold)};
  }
};

// What is written.
struct SelectionResults {
  at::Tensor weights, index, ray_index, coords, directions, t;
  ChosenSamples chosen;

  SelectionResults(const SelectionArguments& of, int64_t count) {
    const auto floats = of.weights.options(), integers = of.ray_index.options();
    weights = at::empty({count}, floats);
    index = at::empty({count}, integers);
    ray_index = at::empty({count}, integers);
    coords = at::empty({count, 3}, floats);
    directions = at::empty({count, 3}, floats);
    t = at::empty({of.t.defined() ? count : 0}, floats);
    chosen = {weights.mutable_data_ptr<float>(),     index.mutable_data_ptr<int64_t>(),
              ray_index.mutable_data_ptr<int64_t>(), coords.mutable_data_ptr<float>(),
              directions.mutable_data_ptr<float>(),  of.t.defined() ? t.mutable_data_ptr<float>() : nullptr};
  }

  SixTensors tensors() const { return {weights, index, ray_index, coords, directions, t}; }
};

}  // namespace nerf_ssim
