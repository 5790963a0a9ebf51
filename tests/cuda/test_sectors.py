"""What the tracer counts of global memory: requests of a warp fill the sectors that they touch, and ask for little.

The simulator compiles kernels as for architectures below sm_90, where an atomic addition takes one float.
"""

from __future__ import annotations

import pytest
from checks import traces_of
from kernels import KERNELS
from simulator import missing_tool

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing_tool()), reason=missing_tool())]

# Sectors that a warp's requests touch, over the fewest that could hold as many bytes; below one where lanes share.
MOST = {
    "vm_density_backward": 1.0,  # 1.86 where every lane adds its own four channels
    "vm_features_backward": 1.0,
    "cp_backward": 1.0,
    "decoder_last_layer_backward": 1.05,
    "decoder_relu_backward": 1.05,
}

# Bytes of global memory that threads ask for, an element of a voxel grid in which no run of 64 floats has a gradient.
MOST_BYTES = {
    "voxel_tv": ("(3, 4, 40, 1), sparse", 1.0),  # 4 where the gradient is read instead of its flags
    "voxel_adam": ("(2, 5, 64, 4), skips zero True, rates False, runs noted True", 0.25),
}


@pytest.mark.parametrize("name", MOST)
def test_a_warps_requests_touch_whole_sectors(name):
    (kernel,) = (kernel for kernel in KERNELS if kernel.name == name)
    reported = [(case, counts) for case, _, counts in traces_of(kernel) if case.elements]
    assert reported
    for case, counts in reported:
        assert counts.sectors <= MOST[name] * counts.fewest_sectors, case.name


@pytest.mark.parametrize("name", MOST_BYTES)
def test_of_a_run_without_a_gradient_nothing_but_its_flag_is_read(name):
    (kernel,) = (kernel for kernel in KERNELS if kernel.name == name)
    case_name, most = MOST_BYTES[name]
    ((case, counts),) = ((case, counts) for case, _, counts in traces_of(kernel) if case.name == case_name)
    assert counts.global_read + counts.global_written <= most * case.elements
