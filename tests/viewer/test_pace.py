"""Pictures are as large as the machine makes them in time, and end at the size asked for."""

from __future__ import annotations

import pytest

from nerf_ssim.viewer.pace import LEAST_SIDE, QUICK, Pace


@pytest.mark.parametrize("aspect", [0.5, 1.0, 1.78])
@pytest.mark.parametrize("longest", [1, 100, 768])
def test_sizes_grow_to_the_longest_side_and_keep_the_shape(aspect, longest):
    sizes = Pace().sizes(aspect, longest)
    assert max(sizes[-1]) == longest
    assert sizes == sorted(sizes) and len(set(sizes)) == len(sizes)
    width, height = sizes[-1]
    assert width == pytest.approx(height * aspect, abs=1.0)


def test_a_slower_machine_gets_a_smaller_first_picture_and_a_faster_one_a_larger():
    pace = Pace()
    before = pace.sizes(1.5, 2000)[0]
    for _ in range(20):
        pace.observe(10_000, 4.0)
    slow = pace.sizes(1.5, 2000)[0]
    assert max(slow) == LEAST_SIDE < max(before)
    for _ in range(20):
        pace.observe(1_000_000, 1.0)
    fast = pace.sizes(1.5, 2000)[0]
    assert fast[0] * fast[1] == pytest.approx(1_000_000 * QUICK, rel=0.02)
