// DVGO's losses of a render: on a GPU one pass forward and one back each, where PyTorch's operators take a launch for
// every arithmetic operation.
#pragma once

#include <cstdint>

#include "launcher.h"

namespace nerf_ssim {

constexpr int64_t kRayLossPartialSums = 1024;
constexpr float kSureLight = 1e-6f;  // probabilities are kept this far from 0 and 1

// Samples that have a colour of their own: colours [samples, 3], the ray's true colour in target [rays, 3].
struct ColouredPoints {
  const float* rgb;
  const float* weights;
  const int64_t* ray_index;
  const float* target;
  int64_t samples, rays;
};

extern "C" {

// The mean entropy of `count` probabilities, added in a fixed order. `partial_sums` is scratch of kRayLossPartialSums.
int launch_light_entropy(const float* light, int64_t count, float* partial_sums, float* out, cudaStream_t);

// `scale` [] is device memory.
int launch_light_entropy_backward(const float* light, int64_t count, const float* scale, float* gradient, cudaStream_t);

// Squared error of each point's colour, by weight, over the number of rays; a ray that does not exist counts as none.
int launch_point_error(const ColouredPoints&, float* partial_sums, float* out, cudaStream_t);

// gradient [samples, 3].
int launch_point_error_backward(const ColouredPoints&, const float* scale, float* gradient, cudaStream_t);
}

}  // namespace nerf_ssim
