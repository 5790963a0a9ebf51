"""What `--deterministic` sets, and what it leaves as it was."""

from __future__ import annotations

import os

import pytest
import torch

from nerf_ssim.models.parts.thinning import WEIGHT_UNIT, running_sum
from nerf_ssim.runs.determinism import WORKSPACE, repeatable


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setenv(WORKSPACE, "")
    yield
    assert not torch.are_deterministic_algorithms_enabled()


def test_everything_is_set_within_and_returns_afterwards():
    with repeatable(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
        assert os.environ[WORKSPACE] == ":4096:8"
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_a_workspace_that_fits_is_left(monkeypatch):
    monkeypatch.setenv(WORKSPACE, ":16:8")
    with repeatable(True):
        assert os.environ[WORKSPACE] == ":16:8"


def test_nothing_is_set_where_it_is_not_asked_for():
    with repeatable(False):
        assert not torch.are_deterministic_algorithms_enabled() and os.environ[WORKSPACE] == ""


def test_it_ends_with_an_error_too():
    with pytest.raises(ZeroDivisionError), repeatable(True):
        _ = 1 / 0


def test_sums_for_thinning_are_whole_numbers_that_no_order_changes():
    weights = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    with repeatable(True):
        sums = running_sum(weights)
        in_parts = torch.cat(
            [running_sum(weights[:3001]), running_sum(weights[:3001])[-1] + running_sum(weights[3001:])]
        )
        backwards = running_sum(weights.flip(0))[-1]
    assert torch.equal(sums, in_parts) and sums[-1] == backwards
    assert (sums / WEIGHT_UNIT).frac().abs().max() == 0
    torch.testing.assert_close(sums, weights.double().cumsum(0), rtol=1e-9, atol=0)
