"""Calls that are odd but reasonable: each is right, or is refused in one line."""

from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

import nerf_ssim
from nerf_ssim import LuminanceConvergence, SsimSchedule, fused_l1_ssim, fused_mse_ssim, fused_ssim, psnr, ssim_parts
from nerf_ssim.errors import ConfigError, DerivativeError
from nerf_ssim.ssim import S3IM, ssim_with_statistics

pytestmark = pytest.mark.usefixtures("each_backend")
Of = Callable[[Tensor], Tensor]


def images(*shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(6)
    x = torch.rand(shape, generator=generator)
    return x, 0.7 * x + 0.3 * torch.rand(shape, generator=generator)


def small_s3im(**options: object) -> S3IM:
    return S3IM(patch_height=8, patch_width=8, **options)


@pytest.fixture
def default_device() -> Iterator[Callable[[str], None]]:
    yield torch.set_default_device
    torch.set_default_device(None)


@pytest.fixture
def double_by_default() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def exact(x: Tensor, y: Tensor) -> tuple[float, Tensor]:
    """The index and its gradient in x, in float64."""
    x = x.detach().double().requires_grad_()
    value = fused_ssim(x, y.double())
    return value.item(), torch.autograd.grad(value, x)[0]


@pytest.mark.parametrize(
    "view",
    [
        lambda image: image.contiguous(memory_format=torch.channels_last),
        lambda image: image.transpose(2, 3),
        lambda image: image[:, :, ::2].flip(-1),
        lambda image: image[:, :1].expand(-1, 3, -1, -1),
        lambda image: image[:, :1],
        lambda image: image[..., :3, :2],
        torch.nn.Parameter,
    ],
    ids=["channels_last", "transposed", "every_second_row_mirrored", "expanded", "one_channel", "3x2", "parameter"],
)
def test_every_view_of_an_image_is_that_image(view):
    x, y = (view(image) for image in images(2, 3, 22, 18))
    x = x.detach().requires_grad_()
    value = fused_ssim(x, y)
    (gradient,) = torch.autograd.grad(value, x)
    expected, exact_gradient = exact(x, y)
    assert value.item() == pytest.approx(expected, abs=1e-6)
    torch.testing.assert_close(gradient.double(), exact_gradient, rtol=0, atol=1e-5 * float(exact_gradient.abs().max()))


def test_losses_under_func_grad_vmap_and_forward_mode_are_those_of_backward():
    colours, target = images(64, 3)
    batch = torch.stack([colours, 1 - colours])
    expected = []
    for each in batch:
        each = each.clone().requires_grad_()
        value = small_s3im()(each, target)
        expected.append((value.detach(), torch.autograd.grad(value, each)[0]))
    values, gradients = (torch.stack(column) for column in zip(*expected, strict=True))

    def transformed(
        transform: Callable[[Callable[[Tensor], Tensor]], Callable[[Tensor], Tensor]], at: Tensor
    ) -> Tensor:
        """By a new loss, which afterwards draws what one that never saw a transformation does."""
        loss, other = small_s3im(), small_s3im()
        found = transform(lambda rendered: loss(rendered, target))(at)
        other(colours, target)
        leaf = colours.clone().requires_grad_()
        assert torch.equal(*(torch.autograd.grad(each(leaf, target), leaf)[0] for each in (loss, other)))
        return found

    same = {"randomness": "same"}
    torch.testing.assert_close(transformed(torch.func.grad, colours), gradients[0])
    torch.testing.assert_close(transformed(lambda of: torch.func.vmap(of, **same), batch), values)
    inside = transformed(lambda of: torch.func.vmap(torch.func.grad(of), **same), batch)
    torch.testing.assert_close(inside, gradients)
    along = transformed(lambda of: lambda at: torch.func.jvp(of, (at,), (target,))[1], colours)
    assert along.item() == pytest.approx(float((gradients[0] * target).sum()), abs=1e-6)


@pytest.mark.slow
def test_jacobians_and_hessians_are_right_or_refused():
    x, y = images(1, 1, 9, 8)

    def of_single(image: Tensor) -> Tensor:
        return fused_l1_ssim(image, y)

    exact_hessian = torch.autograd.functional.hessian(lambda image: fused_l1_ssim(image, y.double()), x.double())
    found = torch.autograd.functional.hessian(of_single, x)
    tolerance = 1e-5 * float(exact_hessian.abs().max())
    torch.testing.assert_close(found.double(), exact_hessian, rtol=0, atol=tolerance)
    try:
        functional = torch.func.hessian(of_single)(x)
    except DerivativeError as error:
        assert "\n" not in str(error)
    else:
        torch.testing.assert_close(functional.double(), exact_hessian, rtol=0, atol=tolerance)
    of_maps = torch.func.jacrev(lambda image: fused_ssim(image, y, reduction="none"))(x)
    exact_maps = torch.func.jacrev(lambda image: fused_ssim(image, y.double(), reduction="none"))(x.double())
    torch.testing.assert_close(of_maps.double(), exact_maps, rtol=0, atol=1e-5)


def test_a_validation_in_inference_mode_leaves_the_next_training_step_whole():
    x, y = images(1, 3, 16, 16)
    colours, target = images(64, 3)
    loss, other = small_s3im(), small_s3im()
    with torch.inference_mode():
        seen = float(fused_ssim(x, y)), float(loss(colours, target))
    assert seen == (float(fused_ssim(x, y)), float(other(colours, target)))
    gradients = []
    for each in (loss, other):
        leaf = colours.clone().requires_grad_()
        gradients.append(torch.autograd.grad(each(leaf, target), leaf)[0])
    assert torch.equal(*gradients)


def test_the_default_device_of_a_program_changes_nothing(default_device):
    colours, target = images(64, 3)
    expected = float(small_s3im()(colours, target)), float(fused_ssim(*images(3, 16, 16)))
    pair = images(3, 16, 16)
    default_device("meta")
    assert (float(small_s3im()(colours, target)), float(fused_ssim(*pair))) == expected


@pytest.mark.usefixtures("double_by_default")
def test_the_default_type_of_a_program_changes_nothing():
    x, y = (image.float() for image in images(1, 3, 16, 16))
    colours, target = (image.float() for image in images(64, 3))
    for value in (fused_ssim(x, y), fused_l1_ssim(x, y), small_s3im()(colours, target), ssim_parts(x, y).luminance):
        assert value.dtype == torch.float32
    assert fused_ssim(x, y.double()).item() == pytest.approx(exact(x, y)[0], abs=1e-12)


def test_tensors_without_data_have_shapes_and_gradients():
    x = torch.empty(2, 3, 16, 16, device="meta", requires_grad=True)
    y, colours = torch.empty(2, 3, 16, 16, device="meta"), torch.empty(64, 3, device="meta")
    fused_mse_ssim(x, y).backward()
    assert x.grad.shape == x.shape
    assert ssim_parts(x, y).structure.shape == x.shape
    assert small_s3im()(colours, colours).device.type == "meta"


def test_copies_go_on_with_the_same_orders():
    colours, target = images(64, 3)
    loss = small_s3im()
    loss(colours, target)
    file = io.BytesIO()
    torch.save(loss.state_dict(), file)
    file.seek(0)
    loaded = small_s3im()
    loaded.load_state_dict(torch.load(file, weights_only=True))
    copies = copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loaded
    expected = [float(loss(colours, target)) for _ in range(2)]
    for each in copies:
        assert [float(each(colours, target)) for _ in range(2)] == expected


def test_a_schedules_state_is_plain_whatever_it_was_fed():
    fed = [0.5, np.float32(0.5), np.array([0.5]), torch.tensor(0.5), torch.tensor([0.5], requires_grad=True)]
    states = []
    for value in fed:
        convergence = LuminanceConvergence(np.float32(0.02), np.int64(5))
        convergence.observe(value)
        states.append(json.dumps(convergence.state_dict()))
    assert len(set(states)) == 1
    schedule = SsimSchedule(remove_at="auto")
    schedule.observe(0, torch.tensor(0.25, requires_grad=True))
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other.state_dict() == schedule.state_dict() == json.loads(json.dumps(schedule.state_dict()))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [fused_l1_ssim, fused_mse_ssim])
def test_a_weight_and_a_size_that_change_are_compiled_whole(loss):
    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for size, weight in ((16, 0.2), (18, 0.1), (18, 0.0)):
        pair = images(1, 3, size, 16)
        assert compiled(*pair, weight).item() == pytest.approx(loss(*pair, weight).item(), abs=1e-6)


@pytest.mark.slow
def test_the_index_is_exported():
    class Index(torch.nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return fused_ssim(x, y, "valid")

    pair = images(1, 3, 16, 16)
    program = torch.export.export(Index(), images(1, 3, 16, 16))
    assert program.module()(*pair).item() == pytest.approx(fused_ssim(*pair, "valid").item(), abs=1e-6)


IMAGE, COLOURS = torch.rand(1, 3, 16, 16), torch.rand(64, 3)
NO_IMAGE, PIXELS = IMAGE[:0], torch.rand(8, 8, 3)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        (lambda: fused_ssim(NO_IMAGE, NO_IMAGE), "empty"),
        (lambda: fused_ssim(NO_IMAGE, NO_IMAGE, reduction="none"), "empty"),
        (lambda: fused_l1_ssim(NO_IMAGE, NO_IMAGE, 0.0), "empty"),
        (lambda: fused_mse_ssim(NO_IMAGE, NO_IMAGE), "empty"),
        (lambda: small_s3im(any_batch=True)(COLOURS[:0], COLOURS[:0]), "rays"),
        (lambda: small_s3im()(PIXELS, PIXELS), r"\[64, 3\]"),
        (lambda: fused_ssim(IMAGE[0, 0], IMAGE[0, 0]), "C, H, W"),
        (lambda: fused_ssim(IMAGE[None], IMAGE[None]), "C, H, W"),
        (lambda: fused_ssim(IMAGE, IMAGE[:, :1]), "shapes"),
        (lambda: fused_ssim(IMAGE.permute(0, 2, 3, 1), IMAGE.permute(0, 2, 3, 1), "valid"), "16x3"),
        (lambda: fused_ssim(IMAGE.numpy(), IMAGE), "ndarray"),
        (lambda: fused_ssim(IMAGE, IMAGE, data_range=[0, 1]), "data_range"),
        (lambda: fused_l1_ssim(IMAGE, IMAGE, torch.tensor(0.2)), "weight"),
        (lambda: SsimSchedule(remove_at=70.0), "remove_at"),
        (lambda: SsimSchedule(remove_at=None), "remove_at"),
        (lambda: SsimSchedule(remove_at="auto").observe(0, small_s3im().evaluate(COLOURS, COLOURS)), "S3imResult"),
        (lambda: SsimSchedule(remove_at="auto").observe(0, ssim_with_statistics(IMAGE, IMAGE)), "second result"),
        (lambda: SsimSchedule(remove_at="auto").observe(0, ssim_parts(IMAGE, IMAGE)), "SsimMaps"),
        (lambda: SsimSchedule(remove_at="auto").observe(0, ssim_parts(IMAGE, IMAGE).luminance), "the mean over all"),
        (lambda: LuminanceConvergence("0.02"), "tolerance"),
        (lambda: LuminanceConvergence().observe("0.5"), "str is not one number"),
        (lambda: LuminanceConvergence().observe(None), "NoneType is not one number"),
    ],
)
def test_what_is_not_taken_is_refused_in_one_line(call, names):
    with pytest.raises(ConfigError, match=names) as raised:
        call()
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("images_and_range", "names"),
    [
        ((PIXELS.numpy(), PIXELS, None), "ndarray"),
        ((PIXELS, PIXELS, "255"), "data_range"),
        ((PIXELS[:0], PIXELS[:0], None), "no pixels"),
        ((PIXELS.to(torch.complex64), PIXELS, 1), "complex64"),
        ((PIXELS > 0.5, PIXELS > 0.5, 1), "bool"),
        ((PIXELS.permute(2, 0, 1), PIXELS.permute(2, 0, 1), None), "height, width, 3"),
    ],
)
def test_a_metric_refuses_in_one_line_what_it_does_not_take(images_and_range, names):
    rendered, truth, data_range = images_and_range
    for metric in (psnr, nerf_ssim.evaluation.metrics.ssim):
        with pytest.raises(ValueError, match=names) as raised:
            metric(rendered, truth, data_range=data_range)
        assert "\n" not in str(raised.value)
