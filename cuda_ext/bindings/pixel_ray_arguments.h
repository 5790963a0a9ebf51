// Arguments and results of the operator of rays through pixels, whatever the device.
#pragma once

#include <ATen/ops/empty.h>

#include <tuple>

#include "../include/pixel_rays.h"
#include "arguments.h"

namespace nerf_ssim {

// Contiguous tensors beside the pointers into them.
struct PixelArguments {
  at::Tensor pixels, images, c2w, K;
  PixelViews views;

  PixelArguments(const at::Tensor& pixels_, const at::Tensor& images_, const at::Tensor& c2w_, const at::Tensor& K_) {
    TORCH_CHECK(images_.scalar_type() == at::kByte && images_.dim() == 4 && images_.size(3) == 3,
                "images: expected uint8 [views, height, width, 3], not ", images_.scalar_type(), " ", images_.sizes());
    check_device(images_, "images", pixels_);
    pixels = checked_integers(pixels_, pixels_.numel(), "pixels", pixels_);
    images = images_.contiguous();
    c2w = checked(c2w_, {images.size(0), 3, 4}, "c2w", pixels_);
    K = checked(K_, {images.size(0), 3, 3}, "K", pixels_);
    views = {pixels.const_data_ptr<int64_t>(),
             pixels.numel(),
             images.size(0),
             images.size(1),
             images.size(2),
             images.const_data_ptr<uint8_t>(),
             c2w.const_data_ptr<float>(),
             K.const_data_ptr<float>()};
  }
};

// What is written.
struct PixelResults {
  at::Tensor origins, directions, rgb;
  PixelRays rays;

  explicit PixelResults(const PixelArguments& of) {
    for (at::Tensor* each : {&origins, &directions, &rgb}) *each = at::empty({of.views.count, 3}, of.c2w.options());
    rays = {origins.mutable_data_ptr<float>(), directions.mutable_data_ptr<float>(), rgb.mutable_data_ptr<float>()};
  }
};

}  // namespace nerf_ssim
