// The precision argument of operators with bfloat16 products: a kind, and behind a colon the unit where it is not to be
// the fastest, "bf16x3:emulated tiles".
#pragma once

#include <c10/util/string_view.h>

#include <string>

#include "../cpu/bf16_units.h"

struct Bf16Precision {
  std::string kind;
  nerf_ssim::Bf16Unit unit;
};

inline Bf16Precision bf16_precision(c10::string_view precision) {
  const std::string text(precision), kind = text.substr(0, text.find(':'));
  return {kind, nerf_ssim::bf16_unit(kind == text ? "" : text.substr(kind.size() + 1))};
}
