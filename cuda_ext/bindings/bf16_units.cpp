// torch operators that tell which bfloat16 units work here, and on whose processor.
#include "../cpu/bf16_units.h"
#include "../cpu/processor.h"

#include <torch/library.h>

#include <string>
#include <vector>

namespace {

// Their names, the fastest first; emulations last.
std::vector<std::string> bf16_units() {
  std::vector<std::string> names;
  for (const nerf_ssim::Bf16Unit unit : nerf_ssim::bf16_units()) names.push_back(nerf_ssim::name_of(unit));
  return names;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(nerf_ssim, m) {
  m.def("bf16_units() -> str[]");
  m.def("processor_vendor() -> str");
}

// Without a tensor there is no device to choose a kernel by.
TORCH_LIBRARY_IMPL(nerf_ssim, CompositeExplicitAutograd, m) {
  m.impl("bf16_units", &bf16_units);
  m.impl("processor_vendor", &nerf_ssim::processor_vendor);
}
