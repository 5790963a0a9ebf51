// Who made the processor.
#pragma once

#include <string>

namespace nerf_ssim {

// "GenuineIntel", "AuthenticAMD" and so on, as the processor says; "" where it cannot be asked.
std::string processor_vendor();

}  // namespace nerf_ssim
