"""The index against its definition, its gradient against the published formula, and what it refuses."""

from __future__ import annotations

import explicit_ssim
import numpy as np
import pytest
import torch

from nerf_ssim.errors import ConfigError
from nerf_ssim.ops.ssim_window import SsimWindow
from nerf_ssim.ssim import fused_ssim, ssim_parts, ssim_with_statistics


def images(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(shape, generator=generator, dtype=torch.float64)
    return x, (0.6 * x + 0.4 * torch.rand(shape, generator=generator, dtype=torch.float64))


# size, sigma, stride, padding, zeros before, zeros after
GEOMETRIES = [
    (11, 1.5, 1, "valid", 0, 0),
    (11, 1.5, 1, "same", 5, 5),
    (4, 1.5, 4, 1, 1, 1),
    (4, None, 1, "same", 1, 2),
    (7, None, 2, "valid", 0, 0),
    (1, 1.5, 1, "same", 0, 0),
    (1, None, 3, "valid", 0, 0),
    (2, 0.7, 3, 1, 1, 1),
    (6, 2.0, 1, 5, 5, 5),
    (10, 1.5, 2, "same", 4, 5),
    (3, 1.0, 5, 0, 0, 0),
]


@pytest.mark.parametrize(("size", "sigma", "stride", "padding", "before", "after"), GEOMETRIES)
def test_maps_and_gradient_equal_the_definition(size, sigma, stride, padding, before, after):
    x, y = images(13, 17)
    y.requires_grad_()
    options = {"window": size, "sigma": sigma, "stride": stride, "padding": padding}
    maps, gradient = explicit_ssim.index(x.numpy(), y.detach().numpy(), size, sigma, stride, before, after)

    parts = ssim_parts(x[None], y[None], **options)
    for ours, expected in zip(parts, maps, strict=True):
        np.testing.assert_allclose(ours[0].detach().numpy(), expected, rtol=0, atol=1e-11)
    mean, statistics = ssim_with_statistics(x[None], y[None], **options)
    mean.backward()
    np.testing.assert_allclose(y.grad.numpy(), gradient, rtol=0, atol=1e-11)
    expected = [*maps.mean(axis=(1, 2)), np.abs(maps[3]).mean()]
    np.testing.assert_allclose([float(value) for value in statistics], expected, rtol=0, atol=1e-12)
    assert float(fused_ssim(x[None], y[None], **options).detach()) == pytest.approx(expected[0], abs=1e-12)


def test_constants_other_than_the_usual_are_used():
    x, y = images(9, 8)
    maps, _ = explicit_ssim.index(x.numpy(), y.numpy(), 5, 1.5, 1, 0, 0, c1=0.02, c2=0.3)
    ours = fused_ssim(x[None], y[None], window=5, padding="valid", c1=0.02, c2=0.3, reduction="none")
    np.testing.assert_allclose(ours[0].numpy(), maps[0], atol=1e-12)


def test_gradient_second_part_sums_to_zero_over_a_window():
    x, y = (image.numpy() for image in images(11, 11, seed=3))
    for size, sigma in ((11, 1.5), (4, None)):
        table = explicit_ssim.weights(size, sigma)
        *_, collective, individual = explicit_ssim.one_window(x, y, table, 0, 0)
        assert abs(individual.sum()) < 1e-14
        per_weight = collective[:size, :size] / table
        assert np.ptp(per_weight) < 1e-12  # the first part is the same for every pixel up to its weight
        *_, clipped = explicit_ssim.one_window(x, y, table, -1, 0)
        assert abs(clipped.sum()) > 1e-6  # not so where zeros fill part of the window


def test_gradient_of_the_parts_splits_that_of_the_index():
    x, y = images(1, 12, 12, seed=4)
    y.requires_grad_()
    parts = ssim_parts(x, y, window=12 - 1, padding="valid")
    for row, column in ((0, 0), (1, 1)):
        s1, s2 = parts.luminance[0, row, column], parts.structure[0, row, column]
        ours_first = torch.autograd.grad(s1, y, retain_graph=True)[0] * s2.detach()
        ours_second = torch.autograd.grad(s2, y, retain_graph=True)[0] * s1.detach()
        table = explicit_ssim.weights(11, 1.5)
        *_, first, second = explicit_ssim.one_window(x[0].numpy(), y.detach()[0].numpy(), table, row, column)
        np.testing.assert_allclose(ours_first[0].numpy(), first, atol=1e-13)
        np.testing.assert_allclose(ours_second[0].numpy(), second, atol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("clamp", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same", 2])
def test_gradcheck_in_both_images(clamp, padding):
    x, y = (image.requires_grad_() for image in images(2, 1, 7, 6, seed=5))

    def parts(x, y):
        return tuple(ssim_parts(x, y, window=4, sigma=1.1, stride=2, padding=padding, clamp_variance=clamp))

    assert torch.autograd.gradcheck(parts, (x, y))
    assert torch.autograd.gradcheck(lambda x, y: fused_ssim(x, y, window=3, clamp_variance=clamp), (x, y))


def test_equals_scikit_image_inside_its_border():
    metrics = pytest.importorskip("skimage.metrics")
    x, y = images(3, 40, 33, seed=6)
    options = {"data_range": 1.0, "gaussian_weights": True, "use_sample_covariance": False}
    _, full = metrics.structural_similarity(x.numpy(), y.numpy(), channel_axis=0, full=True, **options)
    ours = fused_ssim(x, y, padding="valid", reduction="none")
    np.testing.assert_allclose(ours.numpy(), full[:, 5:-5, 5:-5], atol=1e-10)


def test_s3im_taps_are_centred_on_the_third():
    taps = SsimWindow(4, 1.5, 4, 1).taps
    np.testing.assert_allclose(taps, [0.1365, 0.2658, 0.3319, 0.2658], atol=5e-5)


def test_equal_images_score_one_and_gradient_is_zero():
    x, _ = images(3, 20, 21)
    y = x.clone().requires_grad_()
    value = fused_ssim(x, y)
    value.backward()
    assert float(value.detach()) == pytest.approx(1, abs=1e-12)
    assert float(y.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("value", [0.0, 1.0, 0.3])
def test_clamped_variance_keeps_a_constant_image_within_one_with_finite_gradients(value):
    x = torch.full((1, 16, 16), value)
    y = (x + 1e-4 * torch.rand(1, 16, 16)).requires_grad_()
    mapped = fused_ssim(x, y, padding="valid", c2=1e-12, clamp_variance=True, reduction="none")
    mapped.sum().backward()
    assert float(mapped.detach().max()) <= 1 + 1e-6
    assert bool(torch.isfinite(y.grad).all())


def test_clamping_changes_nothing_where_variances_are_sound():
    x, y = images(3, 20, 20)
    plain = fused_ssim(x, y, padding="valid", reduction="none")
    torch.testing.assert_close(fused_ssim(x, y, padding="valid", clamp_variance=True, reduction="none"), plain)


def test_batched_and_non_contiguous_inputs_equal_contiguous_ones():
    x, y = images(2, 9, 14, 3, seed=8)
    x, y = x.permute(0, 3, 1, 2), y.permute(0, 3, 1, 2)
    assert not x.is_contiguous()
    strided = fused_ssim(x, y, window=5, reduction="none")
    assert strided.shape == (2, 3, 9, 14)
    for n in range(2):
        for c in range(3):
            alone = fused_ssim(x[n, c][None].contiguous(), y[n, c][None].contiguous(), window=5, reduction="none")
            torch.testing.assert_close(strided[n, c], alone[0])


def test_half_precision_is_computed_in_single():
    x, y = (image.half() for image in images(1, 12, 12))
    assert fused_ssim(x, y).dtype == torch.float32
    torch.testing.assert_close(fused_ssim(x, y), fused_ssim(x.float(), y.float()))


def test_statistics_are_detached_scalars():
    x, y = images(3, 12, 12)
    mean, statistics = ssim_with_statistics(x, y.requires_grad_())
    assert mean.requires_grad
    assert all(value.ndim == 0 and not value.requires_grad for value in statistics)


IMAGE = torch.zeros(3, 8, 8)


@pytest.mark.parametrize(
    ("x", "y", "options", "names"),
    [
        (IMAGE[:0], IMAGE[:0], {}, "empty"),
        (torch.zeros(1, 3, 0, 8), torch.zeros(1, 3, 0, 8), {}, "empty"),
        (IMAGE, IMAGE[:, :7], {}, "shapes"),
        (IMAGE[0], IMAGE[0], {}, "shapes"),
        (IMAGE.byte(), IMAGE.byte(), {}, "uint8"),
        (IMAGE.numpy(), IMAGE, {}, "ndarray"),
        (IMAGE, IMAGE, {"padding": "valid"}, "8x8"),
        (IMAGE, IMAGE, {"window": 12}, "window"),
        (IMAGE, IMAGE, {"window": 0}, "window"),
        (IMAGE, IMAGE, {"window": 4.0}, "window"),
        (IMAGE, IMAGE, {"sigma": 0}, "sigma"),
        (IMAGE, IMAGE, {"sigma": float("nan")}, "sigma"),
        (IMAGE, IMAGE, {"stride": 0}, "stride"),
        (IMAGE, IMAGE, {"padding": 11}, "padding"),
        (IMAGE, IMAGE, {"padding": -1}, "padding"),
        (IMAGE, IMAGE, {"padding": "full"}, "padding"),
        (IMAGE, IMAGE, {"c1": -1e-4}, "c1"),
        (IMAGE, IMAGE, {"c2": float("inf")}, "c2"),
        (IMAGE, IMAGE, {"reduction": "sum"}, "reduction"),
    ],
)
def test_bad_input_is_refused_in_one_line_that_names_it(x, y, options, names):
    with pytest.raises(ConfigError, match=names) as raised:
        fused_ssim(x, y, **options)
    assert "\n" not in str(raised.value)


def test_values_of_0_to_255_are_refused_unless_the_constants_say_so():
    x, y = torch.rand(2, 3, 20, 20, generator=torch.Generator().manual_seed(2)) * 255
    for index in (fused_ssim, ssim_parts):
        with pytest.raises(ConfigError, match="give data_range"):
            index(x, y)
    wanted = fused_ssim(x / 255, y / 255)
    assert torch.allclose(fused_ssim(x, y, c1=(0.01 * 255) ** 2, c2=(0.03 * 255) ** 2), wanted, atol=1e-5)
    assert torch.allclose(fused_ssim(x, y, data_range=255), wanted, atol=1e-5)
    assert fused_ssim(x / 100, y / 100).isfinite(), "a render may overshoot"
