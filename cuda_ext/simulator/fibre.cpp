#include "fibre.h"

#include <sys/mman.h>

#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace nerf_ssim::simulator {
namespace {

constexpr unsigned long kStackBytes = 64 * 1024;
constexpr unsigned long kGuardBytes = 4096;  // below the stack: overflowing it stops the program

Fibre* starting = nullptr;  // the fibre whose first instructions run

}  // namespace

#if defined(__x86_64__)
// Saves the registers that a call preserves on the running stack, whose pointer goes to *save, and continues on `next`.
extern "C" void nerf_ssim_switch_stack(void** save, void* next);
asm(R"(
.text
.globl nerf_ssim_switch_stack
.hidden nerf_ssim_switch_stack
.type nerf_ssim_switch_stack,@function
nerf_ssim_switch_stack:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp,(%rdi)
  movq %rsi,%rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size nerf_ssim_switch_stack,.-nerf_ssim_switch_stack
)");
#endif

Fibre::Fibre() {
  void* const memory =
      mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) std::abort();
  stack_ = static_cast<char*>(memory);
}

Fibre::~Fibre() { munmap(stack_, kStackBytes); }

void Fibre::prepare(Entry entry) {
  entry_ = entry;
  is_fresh_ = true;
  fake_stack_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  ASAN_UNPOISON_MEMORY_REGION(stack_ + kGuardBytes, kStackBytes - kGuardBytes);
#endif
#if defined(__x86_64__)
  // As nerf_ssim_switch_stack would have left it: six registers, the address to return to, and that one's own caller.
  void** top = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--top = nullptr;
  *--top = reinterpret_cast<void*>(&Fibre::begin);
  for (int preserved = 0; preserved < 6; ++preserved) *--top = nullptr;
  own_ = top;
#else
  getcontext(&own_);
  own_.uc_stack.ss_sp = stack_;
  own_.uc_stack.ss_size = kStackBytes;
  own_.uc_link = nullptr;
  makecontext(&own_, &Fibre::begin, 0);
#endif
}

void Fibre::begin() {
  Fibre* const self = starting;
  self->arrived_in_fibre();
  self->entry_();
  std::abort();
}

void Fibre::arrived_in_fibre() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(is_fresh_ ? nullptr : fake_stack_, &caller_stack_, &caller_stack_bytes_);
#endif
  is_fresh_ = false;
}

void Fibre::resume() {
  if (is_fresh_) starting = this;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&caller_fake_stack_, stack_, kStackBytes);
#endif
#if defined(__x86_64__)
  nerf_ssim_switch_stack(&caller_, own_);
#else
  swapcontext(&caller_, &own_);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(caller_fake_stack_, nullptr, nullptr);
#endif
}

void Fibre::suspend([[maybe_unused]] bool for_good) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, caller_stack_, caller_stack_bytes_);
#endif
#if defined(__x86_64__)
  nerf_ssim_switch_stack(&own_, caller_);
#else
  swapcontext(&own_, &caller_);
#endif
  arrived_in_fibre();
}

}  // namespace nerf_ssim::simulator
