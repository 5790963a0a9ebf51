"""DVGO's optimiser: an Adam that skips idle voxels, with total variation added on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nerf_ssim.models.parts.optimizers import BETAS, counted_on
from nerf_ssim.ops.adam import adam_steps
from nerf_ssim.ops.voxel_adam import voxel_adam_step
from nerf_ssim.ops.voxels import GradientPool

__all__ = ["VoxelAdam", "VoxelGroup"]


@dataclass(frozen=True)
class VoxelGroup:
    """Parameters that are updated alike.

    name: of the group. params: its parameters. rate: the learning rate that it starts from. skip_zero: whether elements
    without a gradient keep value and moments.
    """

    name: str
    params: list[nn.Parameter]
    rate: float
    skip_zero: bool


class VoxelAdam(torch.optim.Optimizer):
    """Adam (0.9, 0.99, eps 1e-8) as DVGO has it: `eps` joins the uncorrected root of the second moment.

    Each group has `tv_weight` (0 for none), the same along all axes, and `tv_dense`, whether total variation reaches
    voxels without a gradient; both may be set before each step. Planes and lines have it along their own axes.

    Args:
        groups: what is updated how.
        pools: what makes a parameter's gradient and keeps its memory between steps, for parameters that have one.
    State of each parameter: `step`, `exp_avg` and `exp_avg_sq` as in `torch.optim.Adam`, and `rates` where set.
    """

    def __init__(self, groups: list[VoxelGroup], pools: Mapping[nn.Parameter, GradientPool]) -> None:
        super().__init__(
            [
                {
                    "params": group.params,
                    "name": group.name,
                    "lr": group.rate,
                    "initial_lr": group.rate,
                    "skip_zero": group.skip_zero,
                }
                for group in groups
            ],
            {"betas": BETAS, "eps": 1e-8, "tv_weight": 0.0, "tv_dense": True},
        )
        self._pools = dict(pools)

    def set_rates(self, param: Tensor, rates: Tensor) -> None:
        """Multiplies the learning rate of each element of `param` by `rates`, of its shape."""
        self._state_of(param)["rates"] = rates

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient, and takes the gradient away; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        plain: list[tuple[nn.Parameter, dict]] = []
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is None:
                    continue
                if self._is_plain(param, group):
                    plain.append((param, group))
                else:
                    self._update(param, group)
        self._update_together(plain)
        return loss

    def _is_plain(self, param: nn.Parameter, group: dict) -> bool:
        """Whether a parameter has nothing but Adam's update: no idle elements, total variation, rates or pool."""
        has_rates = "rates" in self._state_of(param)
        return not (group["skip_zero"] or group["tv_weight"] > 0 or has_rates or param in self._pools)

    def _update_together(self, plain: list[tuple[nn.Parameter, dict]]) -> None:
        """The update of plain parameters, on a GPU in one launch."""
        states = [self._state_of(param) for param, _ in plain]
        adam_steps(
            [param for param, _ in plain],
            [grad for param, _ in plain if (grad := param.grad) is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            rates=[group["lr"] for _, group in plain],
            steps=counted_on(states),
            beta1=self.defaults["betas"][0],
            beta2=self.defaults["betas"][1],
            eps=self.defaults["eps"],
            corrects_root=False,
        )
        for param, _ in plain:
            param.grad = None

    def _update(self, param: nn.Parameter, group: dict) -> None:
        gradient = param.grad
        assert gradient is not None
        state, pool = self._state_of(param), self._pools.get(param)
        (step,) = counted_on([state])
        beta1, beta2 = group["betas"]
        tensors = [param, gradient, state["exp_avg"], state["exp_avg_sq"]]
        if group["tv_weight"] > 0:
            tensors = [as_volume(tensor) for tensor in tensors]
        voxel_adam_step(
            *tensors,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            eps=group["eps"],
            step=step,
            skip_zero=group["skip_zero"],
            tv_weights=(group["tv_weight"],) * 3 if group["tv_weight"] > 0 else None,
            tv_dense=group["tv_dense"],
            rates=state.get("rates"),
            touched=None if pool is None else pool.touched(gradient),
        )
        if pool is not None and gradient.is_contiguous():
            pool.give(gradient)
        param.grad = None

    def _state_of(self, param: Tensor) -> dict:
        state = self.state[param]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(param, memory_format=torch.contiguous_format)
            state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.contiguous_format)
        return state


def as_volume(tensor: Tensor) -> Tensor:
    """A view of a volume, a plane or a line, channels last, as `[X, Y, Z, C]` whose missing axes have length 1."""
    return tensor.view(*[1] * (4 - tensor.dim()), *tensor.shape)
