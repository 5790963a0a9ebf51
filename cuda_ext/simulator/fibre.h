// A stack of its own and the place where its code stopped: what one CUDA thread is in the simulator. Fibres take turns
// on the thread that calls them, so that a run can be repeated exactly and a debugger can step through it.
#pragma once

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace nerf_ssim::simulator {

class Fibre {
 public:
  using Entry = void (*)();

  Fibre();
  ~Fibre();
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;

  // Forgets what the fibre was at; its next resume() calls `entry`, which must end with suspend(true).
  void prepare(Entry entry);
  // Called outside: runs the fibre until it suspends itself.
  void resume();
  // Called by the fibre: goes back to where resume() was called, for good or until the next resume().
  void suspend(bool for_good);

 private:
  char* stack_;
#if defined(__x86_64__)
  void* own_ = nullptr;  // stack pointers of the fibre and of its caller while they don't run
  void* caller_ = nullptr;
#else
  ucontext_t own_, caller_;
#endif
  bool is_fresh_ = true;
  Entry entry_ = nullptr;
  // What AddressSanitizer keeps for either side of a switch.
  void *fake_stack_ = nullptr, *caller_fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  unsigned long caller_stack_bytes_ = 0;

  static void begin();
  void arrived_in_fibre();
};

}  // namespace nerf_ssim::simulator
