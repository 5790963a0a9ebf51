// Which unit of this machine multiplies bfloat16 numbers.
#pragma once

#include <string>
#include <vector>

#include "x86_levels.h"

namespace nerf_ssim {

// Emulations are correct on every machine and slow; tests run them where the unit itself is missing.
enum class Bf16Unit { emulated, emulated_tiles, avx512_bf16, amx };

const char* name_of(Bf16Unit unit);

// The units that work here, the fastest first.
const std::vector<Bf16Unit>& bf16_units();

// A unit by its name; the fastest for "".
// Throws std::invalid_argument: none of that name works here.
Bf16Unit bf16_unit(const std::string& name);

}  // namespace nerf_ssim
