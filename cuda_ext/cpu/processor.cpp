// Asks the processor.
#include "processor.h"

#include <cstring>

#include "x86_levels.h"

#ifdef NERF_SSIM_HAS_X86_LEVELS
#include <cpuid.h>
#endif

namespace nerf_ssim {

std::string processor_vendor() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  unsigned largest_leaf = 0, name[3] = {};  // the name's parts come in EBX, EDX, ECX
  if (__get_cpuid(0, &largest_leaf, &name[0], &name[2], &name[1])) {
    char text[sizeof(name) + 1] = {};
    std::memcpy(text, name, sizeof(name));
    return text;
  }
#endif
  return "";
}

}  // namespace nerf_ssim
