"""A pixel error and SSIM in one call, against the two calls that it stands for."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from nerf_ssim import fused_l1_ssim, fused_mse_ssim, fused_ssim
from nerf_ssim.errors import ConfigError

pytestmark = pytest.mark.usefixtures("each_backend")
LOOKS = (
    "promote_types",
    "slice",
    "amax",
    "_local_scalar_dense",
)  # at the range of the images, on a GPU in the first call only
LOSSES = [(fused_l1_ssim, F.l1_loss, 1), (fused_mse_ssim, F.mse_loss, 2)]


def images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    x = torch.rand(shape, generator=generator)
    return x, (0.7 * x + 0.3 * torch.rand(shape, generator=generator)).requires_grad_()


@pytest.mark.parametrize(("ours", "error", "power"), LOSSES)
@pytest.mark.parametrize(("weight", "padding"), [(0.2, "same"), (0.7, "valid"), (0.0, "same"), (1.0, "reflect")])
def test_value_and_gradient_are_those_of_the_two_parts(ours, error, power, weight, padding):
    x, y = images(2, 3, 21, 30)
    expected = (1 - weight) * error(x, y) + weight * (1 - fused_ssim(x, y, padding))
    found = ours(x, y, weight, padding)
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)
    theirs, gradient = (torch.autograd.grad(value, y)[0] for value in (expected, found))
    torch.testing.assert_close(gradient, theirs, rtol=0, atol=1e-8)
    of_bytes = ours(255 * x, 255 * y, weight, padding, data_range=255)
    assert of_bytes.item() == pytest.approx(expected.item(), abs=1e-5)


def test_the_default_is_gaussian_splattings_loss():
    x, y = images(3, 20, 20)
    expected = 0.8 * (x - y).abs().mean() + 0.2 * (1 - fused_ssim(x, y, "same"))
    assert fused_l1_ssim(x, y).item() == pytest.approx(expected.item(), abs=1e-6)


def test_a_part_without_weight_is_not_computed():
    x, y = images(3, 5, 5)  # holds no window, so that SSIM could not be
    assert fused_l1_ssim(x, y, 0.0, "valid").item() == pytest.approx((x - y).abs().mean().item())
    with pytest.raises(ConfigError, match="5x5"):
        fused_l1_ssim(x, y, 0.1, "valid")


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), "0.2", None])
def test_a_weight_that_is_no_share_is_refused(weight):
    with pytest.raises(ConfigError, match="weight of SSIM"):
        fused_l1_ssim(*images(3, 20, 20), weight)


def test_shapes_that_would_broadcast_are_refused():
    x, y = images(3, 20, 20)
    with pytest.raises(ConfigError, match="shapes"):
        fused_l1_ssim(x, y[:1], 0.0)


@pytest.mark.parametrize(("ours", "error", "power"), LOSSES)
@pytest.mark.parametrize("padding", ["same", "valid", 3, 9])
def test_it_is_what_double_precision_says_of_the_two_parts(ours, error, power, padding):
    """Pixels behind the last window, in its halo and in several bands or tiles count once."""
    x, y = images(2, 73, 45)
    x.requires_grad_()
    exact = [each.detach().double().requires_grad_() for each in (x, y)]
    expected = 0.6 * error(*exact) + 0.4 * (1 - fused_ssim(*exact, padding))
    found = ours(x, y, 0.4, padding)
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    for gradient, theirs in zip(torch.autograd.grad(found, (x, y)), torch.autograd.grad(expected, exact), strict=True):
        torch.testing.assert_close(gradient.double(), theirs, rtol=0, atol=5e-5 * float(theirs.abs().max()))


def test_the_gradient_of_the_size_of_nothing_is_nothing():
    x, _ = images(1, 20, 20)
    y = x.clone().requires_grad_()
    fused_l1_ssim(x, y, 0.01).backward()
    assert float(y.grad.abs().max()) < 1e-6  # a slope of 1 would be 2.5e-3


class Operators(TorchDispatchMode):
    """Names of the operators that run, but for those that only look at a tensor otherwise."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.partition("::")[2]
        if name not in ("view", "_unsafe_view", "detach", "ones_like", "empty_like", "alias", "expand"):
            self.names.append(name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("ours", "error", "power"), LOSSES)
def test_one_operator_is_the_loss_and_one_its_gradient(ours, error, power, each_backend):
    if each_backend != "native":
        pytest.skip("plain PyTorch needs many")
    x, y = images(1, 3, 20, 30)
    with Operators() as forward:
        loss = ours(y, x, 0.2, data_range=8.0)
    with Operators() as backward:
        loss.backward()
    assert [name for name in forward.names if name not in LOOKS] == ["ssim_loss"]
    assert backward.names == ["ssim_loss_adjoint"]
