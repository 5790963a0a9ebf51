// Watches every memory access of a kernel: finds races inside a block and between blocks, and counts bytes, 32-byte
// sectors of global memory and conflicts of shared-memory banks.
//
// The kernel is compiled with -fsanitize=thread, whose instrumentation calls __tsan_read4(address) and the like, and is
// linked with this file instead of that sanitizer's library. Two accesses to one word race if one of them writes, not
// both are atomic, and nothing orders them: blocks are never ordered, threads of a block by __syncthreads, lanes of a
// warp also by the warp primitives in which they meet. Memory that is neither shared nor announced as a buffer (stacks,
// kernel arguments, the simulator itself) is not looked at.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include <dlfcn.h>

#include "device.h"

namespace nerf_ssim::simulator {
namespace {

constexpr int kWord = 4;  // bytes; also of a bank, and what accesses are told apart by until a smaller one comes
constexpr int kBanks = 32, kSector = 32;
constexpr int kMostThreads = 1024;

struct Access {
  int64_t block = -1;        // -1: there was none
  int epoch = 0;             // __syncthreads passed by the block
  int thread = 0, time = 0;  // time: of the thread among its warp's meetings
  bool is_atomic = false;
  const void* place = nullptr;

  int warp() const { return thread / kWarp; }
};

// The last accesses of one kind to a word, as many as it takes to find an unordered one: the last, and the last before
// it by another thread, another warp and another block.
struct History {
  Access last, of_other_thread, of_other_warp, of_other_block;

  void add(const Access& access) {
    if (last.block >= 0 && last.block != access.block) {
      of_other_block = last;
      of_other_thread = of_other_warp = {};
    } else if (last.block >= 0) {
      if (last.thread != access.thread) of_other_thread = last;
      if (last.warp() != access.warp()) of_other_warp = last;
    }
    last = access;
  }
  std::array<Access, 4> all() const { return {last, of_other_thread, of_other_warp, of_other_block}; }
};

struct Word {
  History reads, writes;
};

struct Region {
  uintptr_t begin, end;
  bool is_shared;
  std::vector<Word> words;
  int bytes_of_word = kWord;

  // Tells accesses of so many bytes apart from now on; what was seen of a word was seen of all its parts.
  void refine(int bytes) {
    std::vector<Word> parts;
    for (const Word& word : words) parts.insert(parts.end(), bytes_of_word / bytes, word);
    words = std::move(parts);
    bytes_of_word = bytes;
  }
};

// One access of the lanes of a warp together: the k-th time that they execute one instruction.
struct Request {
  std::array<uintptr_t, kWarp> addresses;
  unsigned lanes = 0;
  int bytes = 0;
  bool is_shared = false, is_write = false;
};

struct Counts {
  int64_t global_read = 0, global_written = 0, sectors = 0, fewest_sectors = 0;
  int64_t shared_read = 0, shared_written = 0, wavefronts = 0, fewest_wavefronts = 0;
  int64_t atomics = 0, contended_words = 0;
};

class Trace : public Observer {
 public:
  Trace() { set_observer(this); }

  std::vector<Region> buffers;
  Counts counts;
  std::map<std::tuple<std::string, const void*, const void*>, int64_t> races;

  void access(uintptr_t address, int bytes, bool is_write, bool is_atomic, const void* place);

  void launch_begins() override {
    for (Region& buffer : buffers) std::fill(buffer.words.begin(), buffer.words.end(), Word{});
  }
  void block_begins() override;
  void block_ends() override { count_requests(); }
  void block_met() override;
  void lanes_met(int warp, unsigned mask) override;
  void atomic(const void* address, int bytes, const void* place) override {
    access(reinterpret_cast<uintptr_t>(address), bytes, true, true, place);
  }

 private:
  Region shared_{0, 0, true, {}};
  int64_t block_ = 0;
  int epoch_ = 0;
  // clocks_[t][l]: the latest time of lane l of t's warp that t has seen; its own entry is the present.
  std::array<std::array<int, kWarp>, kMostThreads> clocks_;
  std::map<std::tuple<int, const void*, int>, Request> requests_;
  std::unordered_map<uint64_t, int> executions_;

  Region* region_of(uintptr_t address);
  bool is_unordered(const Access& before, const Access& now) const;
  void compare(const History& history, const Access& now, const char* kind);
  void note_request(uintptr_t address, int bytes, bool is_write, bool is_shared, const void* place, int thread);
  void count_requests();
  void reset_clocks();
};

Trace& trace() {
  static Trace the_trace;
  return the_trace;
}

void Trace::reset_clocks() {
  for (int thread = 0; thread < kMostThreads; ++thread) {
    clocks_[thread].fill(0);
    clocks_[thread][thread % kWarp] = 1;
  }
}

void Trace::block_begins() {
  const Range range = shared_memory();
  shared_.begin = reinterpret_cast<uintptr_t>(range.begin);
  shared_.end = reinterpret_cast<uintptr_t>(range.end);
  shared_.bytes_of_word = kWord;
  shared_.words.assign((shared_.end - shared_.begin) / kWord + 1, Word{});
  ++block_;
  epoch_ = 0;
  reset_clocks();
}

void Trace::block_met() {
  ++epoch_;
  reset_clocks();
}

void Trace::lanes_met(int warp, unsigned mask) {
  std::array<int, kWarp> latest{};
  for (int lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1)
      for (int other = 0; other < kWarp; ++other)
        latest[other] = std::max(latest[other], clocks_[warp * kWarp + lane][other]);
  for (int lane = 0; lane < kWarp; ++lane)
    if (mask >> lane & 1) {
      clocks_[warp * kWarp + lane] = latest;
      ++clocks_[warp * kWarp + lane][lane];
    }
}

Region* Trace::region_of(uintptr_t address) {
  if (shared_.begin <= address && address < shared_.end) return &shared_;
  for (Region& buffer : buffers)
    if (buffer.begin <= address && address < buffer.end) return &buffer;
  return nullptr;
}

bool Trace::is_unordered(const Access& before, const Access& now) const {
  if (before.block < 0) return false;
  if (before.block != now.block) return true;
  if (before.thread == now.thread || before.epoch != now.epoch) return false;
  return before.warp() != now.warp() || clocks_[now.thread][before.thread % kWarp] < before.time;
}

void Trace::compare(const History& history, const Access& now, const char* kind) {
  for (const Access& before : history.all()) {
    if ((before.is_atomic && now.is_atomic) || !is_unordered(before, now)) continue;
    const char* const where = before.block != now.block ? "between blocks" : "inside a block";
    ++races[{std::string(kind) + " " + where, before.place, now.place}];
    return;
  }
}

void Trace::access(uintptr_t address, int bytes, bool is_write, bool is_atomic, const void* place) {
  const int thread = running_thread();
  Region* const region = thread < 0 ? nullptr : region_of(address);
  if (region == nullptr) return;
  note_request(address, bytes, is_write, region->is_shared, place, thread);
  counts.atomics += is_atomic;
  const Access now{block_, epoch_, thread, clocks_[thread][thread % kWarp], is_atomic, place};
  const uintptr_t last = std::min(address + bytes, region->end) - 1;
  if (bytes < region->bytes_of_word) region->refine(bytes);
  const int word_bytes = region->bytes_of_word;
  for (uintptr_t index = (address - region->begin) / word_bytes; index <= (last - region->begin) / word_bytes;
       ++index) {
    Word& word = region->words[index];
    compare(word.writes, now, is_write ? "write after write" : "read after write");
    if (is_write) compare(word.reads, now, "write after read");
    // Counted once a word: its history remembers one block beside the present one.
    const History& writes = word.writes;
    counts.contended_words +=
        is_write && writes.last.block >= 0 && writes.last.block != block_ && writes.of_other_block.block < 0;
    (is_write ? word.writes : word.reads).add(now);
  }
}

void Trace::note_request(uintptr_t address, int bytes, bool is_write, bool is_shared, const void* place, int thread) {
  const uint64_t instruction = reinterpret_cast<uint64_t>(place) * kMostThreads + thread;
  Request& request = requests_[{thread / kWarp, place, executions_[instruction]++}];
  request.addresses[thread % kWarp] = address;
  request.lanes |= 1u << thread % kWarp;
  request.bytes = bytes, request.is_shared = is_shared, request.is_write = is_write;
}

int64_t distinct(std::vector<uintptr_t>& values) {
  std::sort(values.begin(), values.end());
  return std::unique(values.begin(), values.end()) - values.begin();
}

void Trace::count_requests() {
  for (const auto& [key, request] : requests_) {
    std::vector<uintptr_t> sectors, words[kBanks];
    for (int lane = 0; lane < kWarp; ++lane) {
      if ((request.lanes >> lane & 1) == 0) continue;
      for (uintptr_t word = request.addresses[lane] / kWord; word * kWord < request.addresses[lane] + request.bytes;
           ++word) {
        sectors.push_back(word * kWord / kSector);
        words[word % kBanks].push_back(word);
      }
    }
    const int64_t bytes = int64_t{__builtin_popcount(request.lanes)} * request.bytes;
    if (request.is_shared) {
      (request.is_write ? counts.shared_written : counts.shared_read) += bytes;
      int64_t most = 0, all = 0;
      for (auto& bank : words) {
        const int64_t different = distinct(bank);
        most = std::max(most, different), all += different;
      }
      counts.wavefronts += most;
      counts.fewest_wavefronts += (all + kBanks - 1) / kBanks;
    } else {
      (request.is_write ? counts.global_written : counts.global_read) += bytes;
      counts.sectors += distinct(sectors);
      counts.fewest_sectors += (bytes + kSector - 1) / kSector;
    }
  }
  requests_.clear();
  executions_.clear();
}

// library+0xoffset, which addr2line turns into a line of the source.
std::string name_of(const void* place) {
  Dl_info info{};
  if (dladdr(place, &info) == 0) return "?";
  char text[32];
  std::snprintf(text, sizeof text, "+0x%zx",
                static_cast<size_t>(static_cast<const char*>(place) - static_cast<const char*>(info.dli_fbase)) - 1);
  return text;
}

}  // namespace
}  // namespace nerf_ssim::simulator

using nerf_ssim::simulator::trace;

extern "C" {

// Announces `bytes` at `address` as device memory.
void simulator_buffer(const void* address, int64_t bytes) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
  trace().buffers.push_back({begin, begin + bytes, false, std::vector<nerf_ssim::simulator::Word>(bytes / 4 + 1)});
}

// Forgets buffers, counts and races.
void simulator_trace_reset() {
  trace().buffers.clear();
  trace().races.clear();
  trace().counts = {};
}

// What has been counted since the reset, in the order of Counts.
void simulator_trace_counts(int64_t* counts) {
  const auto& c = trace().counts;
  for (const int64_t count : {c.global_read, c.global_written, c.sectors, c.fewest_sectors, c.shared_read,
                              c.shared_written, c.wavefronts, c.fewest_wavefronts, c.atomics, c.contended_words})
    *counts++ = count;
}

// One line a kind of race: what, the two places, how often. Valid until the next call.
const char* simulator_trace_races() {
  static std::string text;
  text.clear();
  for (const auto& [race, times] : trace().races) {
    const auto& [kind, first, second] = race;
    text += kind + " " + nerf_ssim::simulator::name_of(first) + " " + nerf_ssim::simulator::name_of(second) + " " +
            std::to_string(times) + "\n";
  }
  return text.c_str();
}

// The instrumentation's calls.
void __tsan_init() { trace(); }
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
#define NERF_SSIM_TRACED(name, bytes, is_write)                                                                \
  void __tsan_##name##bytes(void* address) {                                                                   \
    trace().access(reinterpret_cast<uintptr_t>(address), bytes, is_write, false, __builtin_return_address(0)); \
  }
#define NERF_SSIM_TRACED_SIZES(name, is_write) \
  NERF_SSIM_TRACED(name, 1, is_write)          \
  NERF_SSIM_TRACED(name, 2, is_write)          \
  NERF_SSIM_TRACED(name, 4, is_write)          \
  NERF_SSIM_TRACED(name, 8, is_write)          \
  NERF_SSIM_TRACED(name, 16, is_write)
NERF_SSIM_TRACED_SIZES(read, false)
NERF_SSIM_TRACED_SIZES(write, true)
NERF_SSIM_TRACED_SIZES(unaligned_read, false)
NERF_SSIM_TRACED_SIZES(unaligned_write, true)
void __tsan_read_range(void* address, unsigned long bytes) {
  trace().access(reinterpret_cast<uintptr_t>(address), static_cast<int>(bytes), false, false,
                 __builtin_return_address(0));
}
void __tsan_write_range(void* address, unsigned long bytes) {
  trace().access(reinterpret_cast<uintptr_t>(address), static_cast<int>(bytes), true, false,
                 __builtin_return_address(0));
}
}
