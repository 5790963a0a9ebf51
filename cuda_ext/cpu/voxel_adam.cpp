// Voxel grids, updated: which thread takes which part, and how each part sees its neighbours' old values.
#include "../include/voxel_adam.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "levels/tables.h"

namespace nerf_ssim::cpu {
namespace {

// A grid [slabs, lines, line]: x, y, and z times channels.
struct VoxelLines {
  int64_t slabs, lines, line, channels;

  explicit VoxelLines(const VoxelShape& shape)
      : slabs(shape.nodes[0]), lines(shape.nodes[1]), line(shape.nodes[2] * shape.channels), channels(shape.channels) {}

  int64_t slab() const { return lines * line; }
  int64_t size() const { return slabs * slab(); }
};

constexpr int64_t kWorthAThread = 16384;  // elements; fewer cost less than waking a thread
constexpr float kNoGradient[kVoxelRun] = {};
constexpr int64_t kBlockFloats = 1 << 15;  // of each array that a block of lines takes: a few fit the second cache

const VoxelAdamKernels& voxel_adam_kernels() {
#ifdef NERF_SSIM_HAS_X86_LEVELS
  if (x86_level() != X86Level::baseline) return voxel_adam_kernels_avx2();
#endif
  return voxel_adam_kernels_baseline();
}

int shares_of(int64_t elements, int64_t parts, int threads) {
  const int64_t wanted = std::min<int64_t>(parts, elements / kWorthAThread);
  return static_cast<int>(std::clamp<int64_t>(wanted, 1, std::max(1, threads)));
}

// Elements [offset - channels, offset + count + channels) of a line. Beyond its ends an element stands for its only
// neighbour within, so that there is no difference between them.
void copy_with_ends(const float* line, int64_t length, int64_t channels, int64_t offset, int64_t count, float* to) {
  for (int64_t i = offset - channels; i < offset + count + channels; ++i)
    *to++ = line[i < 0 ? i + channels : i >= length ? i - channels : i];
}

// Whether the run at `offset` of line `index` may have a gradient, for all that `touched` knows.
bool may_be_touched(const VoxelLines& lines, const uint8_t* touched, int64_t index, int64_t offset) {
  return !touched || touched[index * runs_of(lines.line) + offset / kVoxelRun];
}

// Adds total variation to the gradient of one line, while the whole grid has its old values. `ends` is scratch of
// kVoxelRun + 2 * channels; the runs that were not skipped are appended to `taken` if it is not null.
void add_tv_to_line(const VoxelTv& tv, const VoxelLines& lines, const float* grid, int64_t index, float* grad,
                    const uint8_t* touched, float* ends, std::vector<int64_t>* taken) {
  const VoxelAdamKernels& kernels = voxel_adam_kernels();
  const int64_t x = index / lines.lines, y = index % lines.lines, channels = lines.channels;
  for (int64_t offset = 0; offset < lines.line; offset += kVoxelRun) {
    const int count = static_cast<int>(std::min<int64_t>(kVoxelRun, lines.line - offset));
    const int64_t first = index * lines.line + offset;
    if (!tv.is_dense && !(may_be_touched(lines, touched, index, offset) && kernels.has_gradient(grad + first, count)))
      continue;
    if (taken) taken->push_back(first);
    const float* here = grid + first;
    TvRun run{here, x > 0 ? here - lines.slab() : here, x + 1 < lines.slabs ? here + lines.slab() : here,
              y > 0 ? here - lines.line : here, y + 1 < lines.lines ? here + lines.line : here};
    if (offset < channels || offset + count + channels > lines.line) {
      copy_with_ends(here - offset, lines.line, channels, offset, count, ends);
      run.here = ends + channels;
    }
    kernels.add_tv(tv, run, channels, count, !tv.is_dense, grad + first, grad + first);
  }
}

// Adds total variation everywhere; the runs taken by each share of the lines, if they are asked for.
void add_tv(const VoxelTv& tv, const VoxelLines& lines, const float* grid, float* grad, const uint8_t* touched,
            int shares, std::vector<std::vector<int64_t>>* taken) {
  const int64_t total = lines.slabs * lines.lines;
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) {
    std::vector<float> ends(kVoxelRun + 2 * lines.channels);
    for (int64_t index = total * share / shares; index < total * (share + 1) / shares; ++index)
      add_tv_to_line(tv, lines, grid, index, grad, touched, ends.data(), taken ? &(*taken)[share] : nullptr);
  }
}

// The update of a run from `total`, unless it would change nothing, and its cleared gradient.
void update_run(const AdamStep& step, bool skip_zero, const VoxelState& state, int64_t first, int count,
                const float* total, bool is_touched) {
  const VoxelAdamKernels& kernels = voxel_adam_kernels();
  if (!skip_zero || kernels.has_gradient(total, count)) kernels.update(step, skip_zero, state, first, count, total);
  if (is_touched) std::fill_n(state.grad + first, count, 0.0f);
}

// Total variation where there is a gradient, and the update of those elements: the gradient is read through once, all
// else only where it matters. All pulls are taken before any value moves.
void update_touched(const AdamStep& step, const VoxelTv& tv, const VoxelLines& lines, const VoxelState& state,
                    int shares) {
  std::vector<std::vector<int64_t>> taken(shares);
  add_tv(tv, lines, state.param, state.grad, state.touched, shares, &taken);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (const int64_t first : taken[share]) {
      const int count = static_cast<int>(std::min<int64_t>(kVoxelRun, lines.line - first % lines.line));
      update_run(step, true, state, first, count, state.grad + first, true);
    }
}

// The update alone.
void update_all(const AdamStep& step, bool skip_zero, const VoxelState& state, int64_t size, int shares) {
  const int64_t runs = runs_of(size);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    for (int64_t run = runs * share / shares; run < runs * (share + 1) / shares; ++run) {
      const int64_t first = run * kVoxelRun;
      const int count = static_cast<int>(std::min<int64_t>(kVoxelRun, size - first));
      const float* grad = state.grad + first;
      if (const bool is_touched = voxel_adam_kernels().has_gradient(grad, count); is_touched || !skip_zero)
        update_run(step, skip_zero, state, first, count, grad, is_touched);
    }
}

// Lines [begin, end) of every slab, for dense total variation and update in one pass over memory. The share goes
// through them in blocks of lines that stay in the cache from one slab to the next; old values that neighbours still
// want are kept as copies: of the block's lines one slab back, of the line before the block and the line after the
// share.
class DenseShare {
 public:
  DenseShare(const VoxelLines& lines, const float* param, int64_t begin, int64_t end)
      : lines_(lines),
        begin_(begin),
        end_(end),
        block_(std::max<int64_t>(1, std::min(kBlockFloats / std::max<int64_t>(1, lines.line), end - begin))),
        before_(lines.slabs * lines.line),
        after_(lines.slabs * lines.line),
        copies_((block_ + 1) * padded()) {
    for (int64_t x = 0; x < lines.slabs; ++x) {
      const float* slab = param + x * lines.slab();
      if (begin > 0) std::copy_n(slab + (begin - 1) * lines.line, lines.line, &before_[x * lines.line]);
      if (end < lines.lines) std::copy_n(slab + end * lines.line, lines.line, &after_[x * lines.line]);
    }
  }

  void update(const AdamStep& step, bool skip_zero, const VoxelTv& tv, const VoxelState& state) {
    std::vector<float*> old(block_ + 1);  // of each line of the block, its copy; the last is spare
    for (int64_t k = 0; k <= block_; ++k) old[k] = &copies_[k * padded() + lines_.channels];
    for (int64_t first = begin_; first < end_; first += block_) {
      const int64_t last = std::min(first + block_, end_) - 1;
      for (int64_t x = 0; x < lines_.slabs; ++x)
        for (int64_t y = first; y <= last; ++y) {
          float* now = old[block_];
          update_line(step, skip_zero, tv, state, x, y, now, old[y - first], y > first ? old[y - first - 1] : nullptr);
          if (y == last) std::copy_n(now, lines_.line, &before_[x * lines_.line]);
          std::swap(old[y - first], old[block_]);
        }
    }
  }

 private:
  int64_t padded() const { return lines_.line + 2 * lines_.channels; }

  // `now` becomes a copy of the line's old values; `behind` has those of the slab before and `above`, if not null,
  // those of the line before.
  void update_line(const AdamStep& step, bool skip_zero, const VoxelTv& tv, const VoxelState& state, int64_t x,
                   int64_t y, float* now, const float* behind, const float* above) {
    const VoxelAdamKernels& kernels = voxel_adam_kernels();
    const int64_t length = lines_.line, start = (x * lines_.lines + y) * length;
    const float* line = state.param + start;
    copy_with_ends(line, length, lines_.channels, 0, length, now - lines_.channels);
    if (!above) above = &before_[x * length];
    const float* below = y + 1 < end_ ? line + length : &after_[x * length];
    const float* ahead = line + lines_.slab();
    for (int64_t offset = 0; offset < length; offset += kVoxelRun) {
      const int count = static_cast<int>(std::min<int64_t>(kVoxelRun, length - offset));
      const float* here = now + offset;
      const TvRun run{here, x > 0 ? behind + offset : here, x + 1 < lines_.slabs ? ahead + offset : here,
                      y > 0 ? above + offset : here, y + 1 < lines_.lines ? below + offset : here};
      const bool is_touched = may_be_touched(lines_, state.touched, x * lines_.lines + y, offset);
      float total[kVoxelRun];
      kernels.add_tv(tv, run, lines_.channels, count, false, is_touched ? state.grad + start + offset : kNoGradient,
                     total);
      update_run(step, skip_zero, state, start + offset, count, total, is_touched);
    }
  }

  VoxelLines lines_;
  int64_t begin_, end_, block_;
  std::vector<float> before_, after_, copies_;
};

}  // namespace

void voxel_adam(const AdamStep& step, bool skip_zero, const VoxelTv* tv, const VoxelShape& shape,
                const VoxelState& state, int threads) {
  const VoxelLines lines(shape);
  const int shares = shares_of(lines.size(), lines.lines, threads);
  if (!tv) return update_all(step, skip_zero, state, lines.size(), shares);
  if (!tv->is_dense && skip_zero) return update_touched(step, *tv, lines, state, shares);
  if (!tv->is_dense) {
    add_tv(*tv, lines, state.param, state.grad, state.touched, shares, nullptr);
    return update_all(step, skip_zero, state, lines.size(), shares);
  }
  std::vector<std::vector<DenseShare>> parts(shares);  // filled by their own threads, all before any value moves
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share)
    parts[share].emplace_back(lines, state.param, lines.lines * share / shares, lines.lines * (share + 1) / shares);
#pragma omp parallel for num_threads(shares) schedule(static, 1)
  for (int share = 0; share < shares; ++share) parts[share][0].update(step, skip_zero, *tv, state);
}

}  // namespace nerf_ssim::cpu
