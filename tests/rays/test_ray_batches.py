"""Which pixels a step sees: shuffled epochs over the kept pixels, continued exactly after a restart."""

from __future__ import annotations

import pytest
import torch

from nerf_ssim.datasets.scene import Views
from nerf_ssim.errors import TrainingError
from nerf_ssim.rays.batches import PixelBatches, pack_bits
from nerf_ssim.rays.cameras import Rays, pixel_rays

HEIGHT, WIDTH = 7, 9


def views_of(count: int, height: int = HEIGHT, width: int = WIDTH) -> Views:
    """Every pixel has a colour of its own: blue counts views, green rows, red columns."""
    blue, green, red = torch.meshgrid(torch.arange(count), torch.arange(height), torch.arange(width), indexing="ij")
    images = torch.stack([red, green, blue], -1).to(torch.uint8)
    c2w = torch.eye(4)[:3].repeat(count, 1, 1)
    c2w[:, 0, 3] = torch.arange(count).float()
    K = torch.tensor([[5.0, 0, width / 2], [0, 6.0, height / 2], [0, 0, 1]]).repeat(count, 1, 1)
    K[:, 0, 0] += torch.arange(count)
    return Views(images, c2w, K, tuple(map(str, range(count))))


def batches_of(views: Views, size: int, seed: int = 0) -> PixelBatches:
    return PixelBatches(views, size, torch.Generator().manual_seed(seed))


def drawn_pixels(batches: PixelBatches, n: int) -> torch.Tensor:
    """Flat pixel numbers of the next `n` batches, read off the colours."""
    red, green, blue = (torch.cat([batches.next().rgb for _ in range(n)]) * 255).round().long().unbind(1)
    return (blue * batches.views.height + green) * batches.views.width + red


def in_left_half(rays: Rays) -> torch.Tensor:
    return rays.directions[:, 0] < 0


@pytest.mark.parametrize("size", [10, 63, 64])
def test_an_epoch_visits_every_pixel_once_and_drops_the_tail(size):
    batches = batches_of(views_of(5), size)
    total = 5 * HEIGHT * WIDTH
    for _ in range(3):
        pixels = drawn_pixels(batches, total // size)
        assert pixels.unique().numel() == pixels.numel() == total // size * size


def test_epochs_have_different_orders():
    batches = batches_of(views_of(4), 63)
    first, second = drawn_pixels(batches, 4), drawn_pixels(batches, 4)
    assert torch.equal(first.sort().values, second.sort().values) and not torch.equal(first, second)


def test_rays_and_colours_belong_to_the_same_pixel():
    views = views_of(3)
    batches = batches_of(views, 40)
    batch = batches.next()
    red, green, blue = (batch.rgb * 255).round().long().unbind(1)
    expected = pixel_rays(views.c2w[blue], views.K[blue], red + 0.5, green + 0.5)
    assert torch.equal(batch.rays.directions, expected.directions)
    assert torch.equal(batch.rays.origins, expected.origins)


@pytest.mark.parametrize("count", [3, 20])
def test_keeping_keeps_exactly_the_pixels_of_the_predicate_in_a_fresh_epoch(count):
    views = views_of(count)
    batches = batches_of(views, 32)
    every = torch.arange(batches.total)
    wanted = every[in_left_half(batches.rays_of(every))]
    batches.next()
    share = batches.keep_where(in_left_half)
    assert batches.kept == wanted.numel() and share == pytest.approx(wanted.numel() / batches.total)
    assert batches.batches_left == wanted.numel() // 32
    for _ in range(2):
        pixels = drawn_pixels(batches, wanted.numel() // 32)
        assert torch.isin(pixels, wanted).all() and pixels.unique().numel() == pixels.numel()


def test_when_the_batch_divides_the_kept_pixels_all_of_them_are_visited():
    batches = batches_of(views_of(8), 8)
    wanted = torch.arange(batches.total)[in_left_half(batches.rays_of(torch.arange(batches.total)))]
    assert wanted.numel() == 8 * HEIGHT * 4
    batches.keep_where(in_left_half)
    assert torch.equal(drawn_pixels(batches, wanted.numel() // 8).sort().values, wanted)


def test_filters_add_up():
    batches = batches_of(views_of(6), 16)
    every = batches.rays_of(torch.arange(batches.total))
    both = in_left_half(every) & (every.directions[:, 1] > 0)
    batches.keep_where(in_left_half)
    share = batches.keep_where(lambda rays: rays.directions[:, 1] > 0)
    assert batches.kept == int(both.sum())
    assert share == pytest.approx(float(both.sum()) / float(in_left_half(every).sum()))
    assert batches.keep_where(lambda rays: torch.ones(len(rays), dtype=torch.bool)) == 1.0
    assert batches.kept == int(both.sum())


def test_a_filter_works_across_its_chunks_and_odd_ends(monkeypatch):
    monkeypatch.setattr("nerf_ssim.rays.batches.FILTER_CHUNK", 64)
    batches = batches_of(views_of(5), 8)  # 315 pixels: neither chunks nor bytes come out even
    wanted = torch.arange(315)[in_left_half(batches.rays_of(torch.arange(315)))]
    batches.keep_where(in_left_half)
    drawn = torch.cat([drawn_pixels(batches, 140 // 8) for _ in range(20)])  # 20 epochs: every pixel in one of them
    assert torch.equal(drawn.unique(), wanted)


def test_fewer_pixels_than_a_batch_is_an_error_for_people():
    with pytest.raises(TrainingError, match="63 pixels, fewer than one batch of 64"):
        batches_of(views_of(1), 64)
    batches = batches_of(views_of(2), 60)
    with pytest.raises(TrainingError, match="only 56 of 126"):
        batches.keep_where(in_left_half)


@pytest.mark.parametrize("n_before", [0, 1, 3, 7, 8])
def test_a_restart_continues_in_the_middle_of_an_epoch(n_before):
    views = views_of(6)
    ours = batches_of(views, 24, seed=3)
    ours.keep_where(in_left_half)  # 168 pixels, 7 batches
    drawn_pixels(ours, n_before) if n_before else None
    state, generator_state = ours.state_dict(), ours.generator.get_state()
    theirs = batches_of(views, 24, seed=99)
    theirs.generator.set_state(generator_state)
    theirs.load_state_dict(state)
    assert torch.equal(drawn_pixels(ours, 20), drawn_pixels(theirs, 20))


def test_the_state_is_small_and_plain():
    batches = batches_of(views_of(50, 100, 120), 64)
    batches.keep_where(in_left_half)
    state = batches.state_dict()
    assert state["kept_bits"].dtype == torch.uint8
    assert state["kept_bits"].numel() == 50 * 100 * 120 // 8, "one bit a pixel, and no stored order"
    tensors = [value for value in vars(batches).values() if isinstance(value, torch.Tensor)]
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) == state["kept_bits"].numel()


def test_images_stay_bytes():
    batches = batches_of(views_of(3), 16)
    assert batches.views.images.dtype == torch.uint8
    rgb = batches.next().rgb
    assert rgb.dtype == torch.float32 and torch.equal((rgb * 255).round() / 255, rgb)


def test_packed_bits_are_lowest_first_and_padded_with_zeros():
    flags = torch.tensor([1, 0, 0, 0, 0, 0, 0, 1, 1, 1]).bool()
    assert pack_bits(flags).tolist() == [129, 3]
