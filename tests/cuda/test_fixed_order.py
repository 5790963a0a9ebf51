"""Kernels that serve `torch.use_deterministic_algorithms`: the same bits in whatever order threads and blocks run."""

from __future__ import annotations

import numpy as np
import pytest
from checks import cases_of, runs_in_every_order
from kernels import KERNELS
from simulated_call import arrays_in, call
from simulator import library_of, missing_tool

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())]

BY_NAME = {kernel.name: kernel for kernel in KERNELS}
FIXED = ("accumulate_ordered", "gather_vm_plane", "gather_vm_line", "gather_cp_line", "voxel_features_backward_ordered")
BY_ATOMICS = ("accumulate", "voxel_features_backward")


def has_one_result(name: str) -> bool:
    """Whether each case of a kernel has the same bits in every order."""
    kernel = BY_NAME[name]
    for case in cases_of(kernel):
        runs = runs_in_every_order(library_of(kernel.source, "plain"), case)
        written = [arrays_in(call(run).arguments) for run in runs]
        if any(not np.array_equal(written[0][key], other[key], equal_nan=True) for other in written for key in other):
            return False
    return True


@pytest.mark.parametrize("name", FIXED)
def test_bits_do_not_depend_on_the_order(name):
    assert has_one_result(name)


@pytest.mark.parametrize("name", BY_ATOMICS)
def test_those_of_atomic_additions_do(name):
    """The orders are far enough apart to tell."""
    assert not has_one_result(name)
