// The factors of one Adam step, worked out once in double precision.
#pragma once

#include <cmath>
#include <cstdint>

namespace nerf_ssim {

struct AdamStep {
  float beta1;  // used by the masked form only
  float beta2;
  float first_weight;     // 1 - beta1
  float second_weight;    // 1 - beta2
  float root_correction;  // sqrt(1 - beta2^step), by which the second moment's root is divided; 1 in the masked form
  float eps;
  float step_size;  // what multiplies moment / denominator
};

// The published Adam; `step` counts from 1.
inline AdamStep plain_adam_factors(double lr, double beta1, double beta2, double eps, int64_t step) {
  const double power = static_cast<double>(step);
  return {static_cast<float>(beta1),
          static_cast<float>(beta2),
          static_cast<float>(1.0 - beta1),
          static_cast<float>(1.0 - beta2),
          static_cast<float>(std::sqrt(1.0 - std::pow(beta2, power))),
          static_cast<float>(eps),
          static_cast<float>(lr / (1.0 - std::pow(beta1, power)))};
}

// DVGO's masked form: both corrections are in the step size, so that eps joins the uncorrected root.
inline AdamStep masked_adam_factors(double lr, double beta1, double beta2, double eps, int64_t step) {
  const double power = static_cast<double>(step);
  const double correction = std::sqrt(1.0 - std::pow(beta2, power)) / (1.0 - std::pow(beta1, power));
  return {static_cast<float>(beta1),
          static_cast<float>(beta2),
          static_cast<float>(1.0 - beta1),
          static_cast<float>(1.0 - beta2),
          1.0f,
          static_cast<float>(eps),
          static_cast<float>(lr * correction)};
}

}  // namespace nerf_ssim
