"""When SSIM is on, and when "auto" takes it off."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
import torch

from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.ssim import LuminanceConvergence, SsimSchedule, SsimStatistics


def statistics(luminance: float) -> SsimStatistics:
    """Of pictures with the same structure, so that SSIM is luminance."""
    zero = torch.tensor(0.0)
    return SsimStatistics(torch.tensor(luminance), torch.tensor(luminance), torch.tensor(1.0), zero, zero)


def rising_luminance(iteration: int, start: int = 30, pace: float = 10.0, noise: float = 0.0, seed: int = 0) -> float:
    """Black (S1 near 0) until about `start`, then up to 0.995 in a few `pace`."""
    rise = 1 / (1 + math.exp(-(iteration - start) / pace * 2))
    return 0.002 + 0.993 * rise + noise * random.Random(f"{seed} {iteration}").gauss(0, 1)


def removal(luminance, iterations: int = 400, **options) -> int | None:
    schedule = SsimSchedule(remove_at="auto", **options)
    for iteration in range(iterations):
        schedule.observe(iteration, statistics(luminance(iteration)))
    return schedule.removed_at


def test_is_on_from_add_at_up_to_but_not_at_remove_at():
    schedule = SsimSchedule(0.5, add_at=3, remove_at=6)
    assert [i for i in range(10) if schedule.is_active(i)] == [3, 4, 5]
    assert [schedule.weight_at(i) for i in range(2, 7)] == [0, 0.5, 0.5, 0.5, 0]
    assert schedule.removed_at == 6


def test_default_is_on_to_the_end_and_weight_zero_is_never_on():
    assert SsimSchedule().is_active(10**9) and SsimSchedule().removed_at is None
    assert not any(SsimSchedule(0.0).is_active(i) for i in range(5))


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_auto_removes_after_luminance_has_flattened_and_not_long_after(noise):
    def luminance(i):
        return rising_luminance(i, noise=noise if i < 200 else 0.001)

    settled = next(i for i in range(400) if rising_luminance(i) > 0.98)
    assert settled <= removal(luminance) <= settled + 60 + (150 if noise else 0)


@pytest.mark.parametrize("start", [30, 80, 150])
def test_auto_waits_for_a_field_that_stays_black_for_long(start):
    chosen = removal(lambda i: rising_luminance(i, start=start))
    settled = next(i for i in range(400) if rising_luminance(i, start=start) > 0.98)
    assert settled + 20 <= chosen <= 2 * settled


@pytest.mark.parametrize("constant", [10, 30, 100, 300])
def test_auto_waits_for_slow_curves_as_it_does_for_fast_ones(constant):
    """99.9% are reached after 6.9 time constants, whatever they are."""
    chosen = removal(lambda i: 1 - math.exp(-i / constant), iterations=12 * constant)
    assert 6.9 * constant <= chosen <= 9 * constant


def test_auto_is_no_timer_for_curves_of_different_pace():
    chosen = [removal(lambda i, pace=pace: 1 - math.exp(-i / pace)) for pace in (5, 10, 20)]
    assert chosen[0] < chosen[1] < chosen[2]


def test_auto_removes_where_ssim_joins_luminance_that_already_agrees():
    """It begins within 0.04 of one, never halves, and has nothing left to do."""
    noise = random.Random(0)
    assert removal(lambda i: 0.96 + 0.005 * math.exp(-i / 50) + noise.gauss(0, 0.001)) < 300


def test_patience_scales_with_the_run():
    assert removal(lambda i: 0.9999, length=3000) == 21
    assert removal(lambda i: 0.9999, length=30000) == 201
    assert removal(lambda i: 0.9999, length=30000, patience=300) == 301


def test_auto_says_once_at_half_of_the_run_that_it_has_not_decided():
    for options, overdue in (({"length": 100}, 49), ({"length": 100, "add_at": 40}, 69), ({"length": 31}, 15)):
        schedule = SsimSchedule(remove_at="auto", **options)
        said = []
        for i in range(100):
            schedule.observe(i, statistics(0.002))
            said += [i] if schedule.is_overdue(i) else []
        assert said == [overdue]
    shifted = SsimSchedule(remove_at="auto", length=100, starts_at=1000)
    assert [i for i in range(1200) if shifted.is_overdue(i)] == [1049]
    decided = SsimSchedule(remove_at="auto", length=100)
    for i in range(60):
        decided.observe(i, statistics(0.9999))
        assert not decided.is_overdue(i)
    assert not any(SsimSchedule(remove_at=90, length=100).is_overdue(i) for i in range(100))
    assert "ssim_remove_at" in decided.overdue_note()


def test_auto_does_not_take_a_coin_flip_of_backgrounds_for_convergence():
    flips = random.Random(1)

    def luminance(i):
        is_white = flips.random() < 0.5
        return 0.8 if is_white else 0.003

    assert removal(luminance, iterations=2000) is None


def test_auto_never_removes_what_stays_black():
    assert removal(lambda i: 0.002) is None


def test_auto_removes_where_luminance_agreed_from_the_start():
    assert removal(lambda i: 0.9999) == 21  # as soon as the patience has been observed


def test_auto_does_not_remove_while_luminance_still_falls_back():
    assert removal(lambda i: 0.7 + 0.25 * math.sin(i / 15)) is None


def test_patience_and_tolerance_move_the_choice():
    eager = removal(rising_luminance, tolerance=0.1, patience=5)
    careful = removal(rising_luminance, tolerance=0.005, patience=60)
    assert eager < removal(rising_luminance) < careful


def test_auto_looks_only_while_on():
    schedule = SsimSchedule(remove_at="auto", add_at=100)
    for iteration in range(100):
        assert not schedule.observe(iteration, statistics(0.9999))
    assert schedule.convergence.smoothed is None
    for iteration in range(100, 121):
        schedule.observe(iteration, statistics(0.9999))
    assert schedule.removed_at == 121
    assert schedule.is_active(120) and not schedule.is_active(121)
    assert not schedule.observe(121, statistics(0.5))


def test_a_given_removal_ignores_luminance():
    schedule = SsimSchedule(remove_at=50)
    assert not any(schedule.observe(i, statistics(0.99999)) for i in range(49))
    assert schedule.removed_at == 50


def test_nan_luminance_is_no_evidence():
    convergence = LuminanceConvergence(patience=5)
    values = [0.0, *[0.9999] * 4, math.nan, *[0.9999] * 5]
    assert not any(convergence.observe(value) for value in values)


@pytest.mark.parametrize("cut", [1, 40, 60, 200])
def test_resuming_anywhere_chooses_the_same_iteration(cut):
    whole = removal(lambda i: rising_luminance(i, noise=0.002))
    schedule = SsimSchedule(remove_at="auto")
    for iteration in range(400):
        if iteration == cut:
            state = json.loads(json.dumps(schedule.state_dict()))
            schedule = SsimSchedule(remove_at="auto")
            schedule.load_state_dict(state)
        schedule.observe(iteration, statistics(rising_luminance(iteration, noise=0.002)))
    assert whole is not None and schedule.removed_at == whole


def test_state_of_another_schedule_does_not_override_the_options():
    automatic = SsimSchedule(remove_at="auto")
    for iteration in range(100):
        automatic.observe(iteration, statistics(0.9999))
    given = SsimSchedule(remove_at=70)
    given.load_state_dict(automatic.state_dict())
    assert given.removed_at == 70


@pytest.mark.parametrize(
    "state", [{}, {"removed_at": "x", "convergence": {}}, {"removed_at": 3, "convergence": {"weight": 1}}, None]
)
def test_unreadable_state_is_a_checkpoint_error(state):
    with pytest.raises(CheckpointError):
        SsimSchedule(remove_at="auto").load_state_dict(state)


@pytest.mark.parametrize(
    "options",
    [
        {"weight": -1.0},
        {"weight": float("nan")},
        {"add_at": -1},
        {"add_at": 1.5},
        {"remove_at": "never"},
        {"remove_at": 0},
        {"add_at": 70, "remove_at": 70},
        {"tolerance": 0.0},
        {"tolerance": 1.0},
        {"patience": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError):
        SsimSchedule(**options)


def test_auto_in_a_loop_of_ones_own_is_fed_by_statistics_or_by_luminance_alone():
    fed, by_number = SsimSchedule(remove_at="auto"), SsimSchedule(remove_at="auto")
    for iteration in range(300):
        luminance = rising_luminance(iteration)
        fed.observe(iteration, statistics(luminance))
        by_number.observe(np.int64(iteration), torch.tensor(luminance))
    assert fed.removed_at == by_number.removed_at is not None
    assert type(by_number.removed_at) is int


@pytest.mark.filterwarnings("error")
def test_auto_that_nobody_feeds_says_so_once():
    schedule = SsimSchedule(remove_at="auto", add_at=10)
    assert [schedule.weight_at(i) for i in range(110)] == [0.0] * 10 + [1.0] * 100
    with pytest.warns(UserWarning, match="schedule.observe"):
        schedule.weight_at(110)
    assert schedule.weight_at(111) == 1.0
    fed = SsimSchedule(remove_at="auto")
    fed.observe(0, float("nan"))
    resumed = SsimSchedule(remove_at="auto")
    resumed.load_state_dict(SsimSchedule(remove_at="auto").state_dict())
    for other in (fed, resumed, SsimSchedule(remove_at="end")):
        assert other.weight_at(500) == 1.0


def test_whole_numbers_of_numpy_are_whole_numbers():
    schedule = SsimSchedule(np.float32(0.5), add_at=np.int32(3), remove_at=np.int64(6), patience=np.int64(4))
    assert [schedule.weight_at(i) for i in np.arange(2, 7)] == [0, 0.5, 0.5, 0.5, 0]
    assert json.loads(json.dumps(schedule.summary()))["remove_at"] == 6


@pytest.mark.parametrize("watches", ["luminance", "structure", "ssim"])
def test_auto_watches_what_it_is_told_to(watches):
    def removed_at(moved: str) -> int | None:
        schedule = SsimSchedule(remove_at="auto", watches=watches)
        for iteration in range(300):
            values = dict.fromkeys(("ssim", "luminance", "structure"), 0.2) | {moved: rising_luminance(iteration)}
            still = torch.tensor(0.0)
            schedule.observe(
                iteration, SsimStatistics(*(torch.tensor(value) for value in values.values()), still, still)
            )
        return schedule.removed_at

    assert removed_at(watches) is not None
    assert all(removed_at(other) is None for other in {"luminance", "structure", "ssim"} - {watches})


def test_what_auto_cannot_watch_is_refused():
    with pytest.raises(ConfigError, match="opacity"):
        SsimSchedule(remove_at="auto", watches="opacity")
