"""The keyed permutation: a bijection for every count, well mixed, and nothing stored."""

from __future__ import annotations

import sys

import pytest
import torch

from nerf_ssim.rays.permutation import KeyedPermutation


def draw(count: int, seed: int = 0) -> KeyedPermutation:
    return KeyedPermutation.draw(count, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "count",
    [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 100, 255, 256, 257, 1000, 4095, 4096, 4097, 16384, 16385, 65537],
)
def test_it_is_a_bijection(count):
    for seed in range(3):
        values = draw(count, seed)(torch.arange(count))
        assert torch.equal(values.sort().values, torch.arange(count))


def test_any_part_of_the_order_is_the_same_as_in_the_whole():
    permutation = draw(12345)
    whole = permutation(torch.arange(12345))
    assert torch.equal(permutation(torch.arange(500, 700)), whole[500:700])
    assert torch.equal(permutation(torch.tensor([[3], [9999]])), whole[[3, 9999]][:, None])


def test_keys_decide_the_order_and_restore_it():
    count = 5000
    first, second = draw(count, 1), draw(count, 2)
    order = first(torch.arange(count))
    assert torch.equal(KeyedPermutation(count, list(first.keys))(torch.arange(count)), order)
    assert (second(torch.arange(count)) == order).float().mean() < 0.005
    with pytest.raises(ValueError):
        KeyedPermutation(count, [1, 2])


@pytest.mark.parametrize("count", [10000, 65536, 100003])
def test_the_order_is_well_mixed(count):
    """Neighbours land far apart, every stretch is spread evenly, and fixed points are as rare as in a true shuffle."""
    order = draw(count)(torch.arange(count))
    jumps = order.diff().abs().float().mean().item() / count
    assert jumps == pytest.approx(1 / 3, rel=0.02)  # the mean distance of two uniform numbers
    stretches = order[: count // 100 * 100].view(100, -1)
    histogram = torch.stack([torch.bincount(s * 16 // count, minlength=16) for s in stretches]).float()
    expected = stretches.shape[1] / 16
    chi_square = ((histogram - expected) ** 2 / expected).sum().item()
    assert chi_square < 100 * 15 + 5 * (2 * 100 * 15) ** 0.5  # five standard deviations
    assert (order == torch.arange(count)).sum() < 12  # Poisson with mean 1
    correlation = torch.corrcoef(torch.stack([order.double(), torch.arange(count).double()]))[0, 1]
    assert abs(correlation) < 5 / count**0.5


def test_a_permutation_of_a_billion_is_six_numbers():
    permutation = draw(10**9)
    assert len(permutation.keys) == 6 and all(isinstance(key, int) for key in permutation.keys)
    assert sum(sys.getsizeof(value) for value in vars(permutation).values()) < 1000
    values = permutation(torch.tensor([0, 1, 10**9 - 1]))
    assert ((values >= 0) & (values < 10**9)).all() and values.unique().numel() == 3
