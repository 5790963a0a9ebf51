// Asks the processor, and for AMX the system too, whose consent a process needs before it uses the tiles.
#include "bf16_units.h"

#include <stdexcept>

#ifdef NERF_SSIM_HAS_X86_LEVELS
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

namespace nerf_ssim {
namespace {

#ifdef NERF_SSIM_HAS_X86_LEVELS
// CPUID leaf 7: AVX512_BF16 is bit 5 of EAX in subleaf 1; AMX-BF16 and AMX-TILE are bits 22 and 24 of EDX in subleaf 0.
bool has_avx512_bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return x86_level() == X86Level::avx512 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 5 & 1);
}

bool has_amx() {
#if defined(__linux__)
  constexpr unsigned kNeeded = 1u << 22 | 1u << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return has_avx512_bf16() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx & kNeeded) == kNeeded &&
         syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}
#else
bool has_avx512_bf16() { return false; }
bool has_amx() { return false; }
#endif

}  // namespace

const char* name_of(Bf16Unit unit) {
  switch (unit) {
    case Bf16Unit::amx:
      return "AMX";
    case Bf16Unit::avx512_bf16:
      return "AVX512_BF16";
    case Bf16Unit::emulated_tiles:
      return "emulated tiles";
    default:
      return "emulated";
  }
}

const std::vector<Bf16Unit>& bf16_units() {
  static const std::vector<Bf16Unit> units = [] {
    std::vector<Bf16Unit> found;
    if (has_amx()) found.push_back(Bf16Unit::amx);
    if (has_avx512_bf16()) found.push_back(Bf16Unit::avx512_bf16);
    found.push_back(Bf16Unit::emulated);
    found.push_back(Bf16Unit::emulated_tiles);
    return found;
  }();
  return units;
}

Bf16Unit bf16_unit(const std::string& name) {
  for (const Bf16Unit unit : bf16_units())
    if (name.empty() || name == name_of(unit)) return unit;
  throw std::invalid_argument("no bfloat16 unit named '" + name + "' works on this machine");
}

}  // namespace nerf_ssim
