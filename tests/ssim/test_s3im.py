"""S3IM against an explicit loop over its stochastic image, and its randomness."""

from __future__ import annotations

import copy
import pickle

import explicit_ssim
import numpy as np
import pytest
import torch

from nerf_ssim.errors import ConfigError
from nerf_ssim.ssim import S3IM, fused_ssim


def colours(rays: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(rays, 3, generator=generator, dtype=torch.float64)
    return 0.3 * target + 0.5 * torch.rand(rays, 3, generator=generator, dtype=torch.float64), target


def explicit_s3im(rendered, target, orders, height, width, kernel, stride):
    """Loss, means of the parts and the gradient with respect to `rendered`, pixel by pixel."""
    columns = width * len(orders)
    sources = np.concatenate(orders)  # pixel p of the image, in row p // columns, shows ray sources[p]
    gradient, maps = np.zeros_like(rendered), []
    pad = (kernel - 1) // 2
    for channel in range(3):
        x, y = np.zeros((height, columns)), np.zeros((height, columns))
        for p, ray in enumerate(sources):
            x[p // columns, p % columns] = target[ray, channel]
            y[p // columns, p % columns] = rendered[ray, channel]
        channel_maps, channel_gradient = explicit_ssim.index(x, y, kernel, 1.5, stride, pad, pad)
        maps.append(channel_maps)
        for p, ray in enumerate(sources):
            gradient[ray, channel] -= channel_gradient[p // columns, p % columns] / 3
    maps = np.stack(maps)
    means = [*maps.mean(axis=(0, 2, 3)), np.abs(maps[:, 3]).mean()]
    return 1 - means[0], means, gradient


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "kernel", "stride", "repeat"),
    [(64, 64, 4, 4, 10), (8, 6, 4, 4, 3), (5, 7, 3, 2, 2), (6, 5, 4, 1, 1), (12, 3, 11, 3, 4), (3, 3, 1, 1, 2)],
)
def test_value_statistics_and_gradient_equal_an_explicit_loop(height, width, kernel, stride, repeat):
    rendered, target = colours(height * width)
    rendered.requires_grad_()
    loss = S3IM(kernel, stride, repeat, height, width, seed=5)
    orders = loss.draw_orders(torch.Generator().manual_seed(5)).numpy()
    value, means, gradient = explicit_s3im(
        rendered.detach().numpy(), target.numpy(), orders, height, width, kernel, stride
    )
    result = loss.evaluate(rendered, target)
    result.loss.backward()
    assert float(result.loss.detach()) == pytest.approx(value, abs=1e-12)
    np.testing.assert_allclose([float(v) for v in result.statistics], means, atol=1e-12)
    np.testing.assert_allclose(rendered.grad.numpy(), gradient, atol=1e-13)


def test_canonical_image_is_16_by_160_windows_and_its_last_row_and_column_are_unused():
    loss = S3IM()
    assert loss.window.map_size(64, 640) == (16, 160)
    rendered, target = colours(4096)
    orders = loss.draw_orders()
    image = torch.zeros(64 * 640, dtype=torch.bool)
    image[orders.flatten() == 7] = True  # where ray 7 stands
    rows, columns = image.view(64, 640).nonzero().T
    assert len(rows) == 10
    only_own_order = S3IM(repeat=1)  # 64 x 64, windows from -1 to 62
    changed = rendered.clone()
    changed[63] = 0.123  # row 0, column 63
    changed[64 * 63 + 5] = 0.9  # row 63, column 5
    assert float(only_own_order(changed, target)) == float(only_own_order(rendered, target))


def test_first_order_is_the_batch_own_and_the_rest_are_permutations():
    orders = S3IM(repeat=4, patch_height=8, patch_width=8).draw_orders()
    torch.testing.assert_close(orders[0], torch.arange(64))
    for order in orders[1:]:
        assert not torch.equal(order, torch.arange(64))
        torch.testing.assert_close(order.sort().values, torch.arange(64))


def test_orders_come_from_its_own_generator_and_continue_from_a_saved_state():
    rendered, target = colours(64)
    first, second = (S3IM(patch_height=8, patch_width=8, seed=3) for _ in range(2))
    torch.manual_seed(0)
    global_state = torch.get_rng_state()
    a = [float(first(rendered, target)) for _ in range(3)]
    torch.rand(5)
    assert a == [float(second(rendered, target)) for _ in range(3)]
    assert len(set(a)) == 3
    torch.set_rng_state(global_state)
    state = first.get_state()
    following = float(first(rendered, target))
    second(rendered, target)
    second.set_state(state)
    assert float(second(rendered, target)) == following
    assert torch.equal(torch.get_rng_state(), global_state)


def test_another_generator_leaves_its_own_as_it_is():
    rendered, target = colours(64)
    loss = S3IM(patch_height=8, patch_width=8)
    state = loss.get_state()
    loss.evaluate(rendered, target, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loss.get_state(), state)


def test_statistics_say_rendered_black_as_low_luminance_and_positive_difference():
    _, target = colours(4096)
    result = S3IM().evaluate(torch.zeros_like(target), target)
    assert float(result.statistics.luminance) < 0.01
    assert float(result.statistics.mean_difference) == pytest.approx(float(result.statistics.mean_difference_abs))
    assert float(result.statistics.mean_difference) > 0.4


@pytest.mark.slow
def test_gradcheck():
    rendered, target = colours(20)
    loss = S3IM(repeat=3, patch_height=4, patch_width=5)

    def same_orders(rendered, target):
        return loss.evaluate(rendered, target, generator=torch.Generator().manual_seed(2)).loss

    assert torch.autograd.gradcheck(same_orders, (rendered.requires_grad_(), target.requires_grad_()))


def test_non_contiguous_colours_equal_contiguous_ones():
    rendered, target = (value.T.contiguous().T for value in colours(64))
    a, b = (S3IM(patch_height=8, patch_width=8, seed=1) for _ in range(2))
    assert not rendered.is_contiguous()
    assert float(a(rendered, target)) == float(b(rendered.contiguous(), target.contiguous()))


@pytest.mark.parametrize(
    ("rendered", "target", "names"),
    [
        (torch.zeros(63, 3), torch.zeros(63, 3), r"\[64, 3\]"),
        (torch.zeros(64, 3), torch.zeros(64, 4), "shapes"),
        (torch.zeros(0, 3), torch.zeros(0, 3), "shapes"),
        (torch.zeros(8, 8, 3), torch.zeros(8, 8, 3), "shapes"),
        (torch.zeros(64, 3).int(), torch.zeros(64, 3).int(), "int32"),
    ],
)
def test_colours_that_do_not_fill_the_patch_are_refused(rendered, target, names):
    with pytest.raises(ConfigError, match=names):
        S3IM(patch_height=8, patch_width=8)(rendered, target)


@pytest.mark.parametrize(
    "options",
    [{"kernel": 0}, {"kernel": 12}, {"stride": 0}, {"repeat": 0}, {"patch_height": 0}, {"patch_width": 2.5},
     {"kernel": 4, "patch_height": 1}],
)  # fmt: skip
def test_geometry_out_of_range_is_refused(options):
    with pytest.raises(ConfigError):
        S3IM(**options)


def test_published_names_are_the_same_options():
    rendered, target = colours(64)
    published = S3IM(kernel_size=3, stride=2, repeat_time=4, patch_height=8, patch_width=8)
    assert float(published(rendered, target)) == float(S3IM(3, 2, 4, 8, 8)(rendered, target))
    assert (S3IM().window.size, S3IM().repeat) == (4, 10)
    for both in ({"kernel": 4, "kernel_size": 4}, {"repeat": 10, "repeat_time": 10}):
        with pytest.raises(ConfigError, match="one option"):
            S3IM(**both)


@pytest.mark.parametrize(("rays", "rows", "columns"), [(64, 8, 8), (50, 7, 7), (49, 7, 7), (13, 3, 4), (130, 11, 11)])
def test_a_batch_of_another_size_is_a_smaller_patch_of_its_first_rays(rays, rows, columns):
    rendered, target = colours(rays)
    rendered.requires_grad_()
    loss = S3IM(patch_height=8, patch_width=8, any_batch=True)(rendered, target)
    used = rows * columns
    same = S3IM(patch_height=rows, patch_width=columns)(rendered[:used], target[:used])
    assert loss.item() == same.item()
    loss.backward()
    assert rendered.grad[:used].abs().min() > 0 if rays == used else bool((rendered.grad[used:] == 0).all())


def test_a_batch_too_small_for_a_window_is_refused_and_so_is_another_size_unless_asked():
    with pytest.raises(ConfigError, match="holds no window"):
        S3IM(patch_height=8, patch_width=8, any_batch=True)(*colours(3))
    with pytest.raises(ConfigError, match="any_batch=True"):
        S3IM(patch_height=8, patch_width=8)(*colours(50))


def test_state_dict_carries_the_orders():
    rendered, target = colours(64)
    model = torch.nn.ModuleDict({"loss": S3IM(patch_height=8, patch_width=8), "layer": torch.nn.Linear(2, 2)})
    model["loss"](rendered, target)
    saved = copy.deepcopy(model.state_dict())
    following = float(model["loss"](rendered, target))
    other = torch.nn.ModuleDict({"loss": S3IM(patch_height=8, patch_width=8, seed=1), "layer": torch.nn.Linear(2, 2)})
    other.load_state_dict(saved)
    assert float(copy.deepcopy(other)["loss"](rendered, target)) == following
    assert float(pickle.loads(pickle.dumps(other))["loss"](rendered, target)) == following
    assert float(other["loss"].double()(rendered, target)) == following


def test_a_state_dict_without_orders_is_taken_and_leaves_them():
    earlier = torch.nn.ModuleDict({"loss": torch.nn.Module(), "layer": torch.nn.Linear(2, 2)}).state_dict()
    model = torch.nn.ModuleDict({"loss": S3IM(patch_height=8, patch_width=8), "layer": torch.nn.Linear(2, 2)})
    before = model["loss"].get_state()
    model.load_state_dict(earlier)
    assert torch.equal(model["loss"].get_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize("measures_parts", [False, True])
def test_the_module_is_compiled_whole_and_draws_the_same_orders(each_backend, measures_parts):
    rendered, target = (values.float() for values in colours(64))
    rendered.requires_grad_()
    plain, compiled = (S3IM(patch_height=8, patch_width=8) for _ in range(2))

    def step(rendered, target):
        result = compiled.evaluate(rendered, target, measures_parts=measures_parts)
        return result.loss + compiled(rendered, target)  # two draws in one graph

    whole = torch.compile(step, fullgraph=True, backend="aot_eager")
    for _ in range(2):
        expected = plain(rendered, target) + plain(rendered, target)
        found = whole(rendered, target)
        assert found.item() == pytest.approx(expected.item(), abs=1e-6)
        ours, theirs = (torch.autograd.grad(value, rendered)[0] for value in (found, expected))
        torch.testing.assert_close(ours, theirs)
    assert torch.equal(plain.get_state(), compiled.get_state())


@pytest.mark.slow
def test_an_index_of_bytes_is_compiled_whole(each_backend):
    x, y = ((255 * torch.rand(1, 3, 20, 20, generator=torch.Generator().manual_seed(s))).byte() for s in (0, 1))
    index = torch.compile(
        lambda x, y: fused_ssim(x, y, "reflect", train=False, data_range=255), fullgraph=True, backend="aot_eager"
    )
    assert float(index(x, y)) == pytest.approx(float(fused_ssim(x, y, "reflect", data_range=255)), abs=1e-6)
