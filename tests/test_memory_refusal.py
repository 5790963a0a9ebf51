"""How much memory there is, and what does not fit into it."""

from __future__ import annotations

import resource

import pytest

from nerf_ssim import memory
from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import Need, machine_memory, physical_memory, refuse_beyond


@pytest.fixture
def without_limits(monkeypatch):
    monkeypatch.setattr(memory, "GROUP_LIMITS", ())
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def test_without_a_limit_it_is_the_machines(without_limits):
    assert machine_memory() == physical_memory() > 0


def test_a_container_may_have_less(without_limits, monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("max\n")  # Linux's word for no limit
    (tmp_path / "limit").write_text("123456789\n")
    names = [str(tmp_path / name) for name in ("memory.max", "limit", "nothing")]
    monkeypatch.setattr(memory, "GROUP_LIMITS", names[:1])
    assert machine_memory() == physical_memory()
    monkeypatch.setattr(memory, "GROUP_LIMITS", names)
    assert machine_memory() == 123456789


def test_a_process_may_have_less(without_limits, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 30, resource.RLIM_INFINITY))
    assert machine_memory() == 1 << 30


def test_a_refusal_says_what_it_needs_what_there_is_and_what_to_lower():
    needs = [Need("a batch", 2**30, ("batch_size",)), Need("a grid", 9 * 2**30, ("voxels", "components"))]
    with pytest.raises(ConfigError) as refused:
        refuse_beyond(needs, 8 * 2**30, "the GPU")
    line = "a grid: the run needs at least 10.0 GiB of memory and the GPU has 8.0; lower --voxels or --components"
    assert str(refused.value) == line


@pytest.mark.parametrize("there_is", [10 * 2**30, None])
def test_what_fits_or_cannot_be_told_passes(there_is):
    refuse_beyond([Need("a batch", 2**30, ("batch_size",)), Need("a grid", 9 * 2**30, ("voxels",))], there_is)
