"""The simulator finds what it is there to find, and counts right."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from checks import bounds_error, catch, trace, value_error
from simulated_call import Run, call
from simulator import Case, Kernel, Mutation, library_of, missing_tool, unwritten

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())]

SOURCE, THREADS = "hazards.cu", 128


def hazard_cases() -> list[Case]:
    blocks, rounds = 4, 3
    values = np.random.default_rng(0).random((blocks, rounds, THREADS), dtype=np.float32)
    sums = np.roll(values.astype(np.float64).sum(axis=1), -1, axis=1)
    squares = sums[:, np.arange(THREADS) ^ 1] ** 2
    arguments = {"values": values, "blocks": blocks, "rounds": rounds, "total": np.zeros(1, np.float32)}
    expected = {"total": sums.sum()[None], "squares": squares}
    return [
        Case("four blocks", "launch_hazards", {**arguments, "squares": unwritten(blocks, THREADS)}, expected,
             shares_addresses=True)
    ]  # fmt: skip


BARRIER_AFTER_READ = "    __syncthreads();  // the next round overwrites\n"
DEFECTS = (
    Mutation("missing barrier, values depend on the order", BARRIER_AFTER_READ, "", "value"),
    Mutation("missing barrier, traced", BARRIER_AFTER_READ, "", "race"),
    Mutation("early return before a barrier", "  float sum = 0;\n",
             "  float sum = 0;\n  if (t >= 100) return;\n", "named"),
    Mutation("barrier in divergent code", BARRIER_AFTER_READ,
             "    if (t < 64) __syncthreads();\n    else __syncthreads();\n", "named"),
    Mutation("add between blocks that is not atomic", "atomicAdd(total, ", "*total += (", "race"),
    Mutation("add inside a block that is not atomic", "  if (t == 0) atomicAdd(total,",
             "  if (t < 2) total[blockIdx.x == 0 ? 0 : 0] += 0.5f * (", "race"),
    Mutation("exchange in a warp without __syncwarp", "  __syncwarp();\n  squares", "  squares", "race"),
    Mutation("full-mask shuffle in divergent code", "step /= 2) sum", "step /= 2) if (t % 32 < 16) sum", "named"),
    Mutation("shuffle from a lane outside the mask", "__shfl_xor_sync(0xFFFFFFFFu, sum, step)",
             "(t % 32 < 8 ? __shfl_xor_sync(0xFFu, sum, step) : 0.f)", "named"),
    Mutation("shared index out of bounds", "passed[(t + 1) % kThreads]", "passed[t + 1]", "bounds"),
    Mutation("global read out of bounds", "mine[round * kThreads + t]", "mine[round * kThreads + t + 1]", "bounds"),
    Mutation("shared element that nobody writes", "    passed[t] = mine", "    if (t != 77) passed[t] = mine", "value"),
    Mutation("index arithmetic that overflows", "int64_t{blockIdx.x} * kThreads + t",
             "(static_cast<int>(blockIdx.x) * 2000000000 & 127)", "bounds"),
)  # fmt: skip
HAZARDS = Kernel("hazards", SOURCE, "", ("hazards",), hazard_cases, DEFECTS)


def test_a_correct_kernel_passes_every_check():
    (case,) = hazard_cases()
    assert value_error(SOURCE, case) == ""
    races, counts = trace(SOURCE, case)
    assert races == []
    assert counts.atomics == 4 and counts.contended_words == 1
    assert counts.global_read == case.arguments["values"].nbytes
    assert counts.global_written == case.arguments["squares"].nbytes + 4 * 4
    assert bounds_error(SOURCE, [case]) == ""


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_is_found(defect):
    assert catch(HAZARDS, defect, defect.caught_by)


def test_an_atomic_and_a_plain_write_of_two_blocks_race():
    mixed = Mutation("mixed", "atomicAdd(total, ", "if (blockIdx.x == 3) *total = 0.f; else atomicAdd(total, ", "race")
    assert "between blocks" in catch(HAZARDS, mixed, "race")


def test_warp_primitives_give_what_cuda_defines():
    out = np.zeros((8, 32), np.int32)
    assert call(Run(str(library_of(SOURCE, "plain")), "launch_primitives", {"out": out}, "random", 3)).failure == ""
    lane = np.arange(32)
    assert (out[0] == 5).all()
    assert (out[1] == lane // 8 * 8 + 5).all()
    assert (out[2] == np.where(lane >= 3, lane - 3, lane)).all()
    assert (out[3] == np.where(lane % 16 < 13, lane + 3, lane)).all()
    assert (out[4].view(np.uint32) == 0x49249249).all()
    assert (out[5].view(np.uint32) == np.left_shift(np.uint32(0x11111111), (lane % 4).astype(np.uint32))).all()
    assert (out[6] == np.where(lane < 16, lane ^ 1, 1)).all()
    assert (out[7] == np.where(lane < 16, lane, lane ^ 16)).all()


@pytest.mark.parametrize("blocks", [0, 2**31])
def test_a_grid_that_no_device_launches_is_refused(blocks):
    arguments = {"blocks": blocks, "stride": 1, "out": unwritten(1)}
    assert "no device launches" in call(Run(str(library_of(SOURCE, "plain")), "launch_far_apart", arguments)).failure


def test_some_blocks_of_a_huge_grid_run_alone_in_memory_that_is_mostly_not_there():
    blocks, stride = 2**20, 5000  # 20 GB of which three pages are touched
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE of Linux
    with mmap.mmap(-1, 4 * blocks * stride, flags=flags) as memory:
        out = np.frombuffer(memory, np.float32)
        arguments = {"blocks": blocks, "stride": stride, "out": out}
        library = str(library_of(SOURCE, "plain"))
        assert call(Run(library, "launch_far_apart", arguments, only_blocks=(blocks - 2, 2))).failure == ""
        last = [float(out[(blocks - 2) * stride]), float(out[(blocks - 1) * stride]), float(out[stride])]
        del out, arguments
    assert last == [(blocks - 2) % 1000, (blocks - 1) % 1000, 0]


@pytest.mark.parametrize(
    ("stride", "spread", "sectors", "wavefronts"),
    [(1, 1, 4, 1), (2, 1, 8, 1), (8, 1, 32, 1), (1, 2, 4, 2), (1, 32, 4, 32), (1, 31, 4, 1)],
)
def test_sectors_and_bank_conflicts_are_counted(stride, spread, sectors, wavefronts):
    values = np.random.default_rng(1).random(32 * 8, dtype=np.float32)
    arguments = {"in": values, "stride": stride, "spread": spread, "out": unwritten(32)}
    expected = {"out": values[: 32 * stride : stride].astype(np.float64)}
    races, counts = trace(SOURCE, Case("strided", "launch_strided", arguments, expected))
    assert races == []
    assert counts.sectors == sectors + 4 and counts.fewest_sectors == 8
    assert counts.wavefronts == 2 * wavefronts and counts.fewest_wavefronts == 2
