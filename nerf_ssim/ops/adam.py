"""Adam in one pass over memory: each parameter, gradient and moment is read once and written once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import adam as reference


@torch.no_grad()
def adam_step(
    param: Tensor,
    grad: Tensor,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    *,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    step: int,
) -> None:
    """One Adam update of `param` and its two moments, in place.

    Args:
        param, grad, exp_avg, exp_avg_sq: four tensors of one shape, dtype and device.
        lr, beta1, beta2, eps: learning rate and Adam's constants.
        step: number of this update for this parameter, from 1.
    Raises:
        ValueError: shapes that differ, or a step below 1.
    Source: Kingma and Ba 2015, algorithm 1; rounds as `torch.optim.Adam(foreach=False)` does, the moments bit for bit.
    """
    _check(param, grad, exp_avg, exp_avg_sq, step)
    if param.is_contiguous() and exp_avg.is_contiguous() and exp_avg_sq.is_contiguous():
        ADAM_STEP(param, grad.contiguous(), exp_avg, exp_avg_sq, lr, beta1, beta2, eps, step)
    else:
        reference.adam_step(param, grad, exp_avg, exp_avg_sq, lr=lr, beta1=beta1, beta2=beta2, eps=eps, step=step)


class FusedAdam(torch.optim.Optimizer):
    """`torch.optim.Adam` whose update is one pass over memory, with the same state, so that checkpoints interchange.

    Example:
        >>> optimizer = FusedAdam(field.parameter_groups(), betas=(0.9, 0.99))
        >>> loss.backward()
        >>> optimizer.step()

    Args:
        params: parameters, or groups with their own `lr`, `betas`, `eps`.
        lr, betas, eps: defaults of the groups.
    State of each parameter: `step` (a float32 scalar tensor), `exp_avg`, `exp_avg_sq`, as in `torch.optim.Adam`.
    Raises:
        ValueError: a negative `lr` or `eps`, or betas outside [0, 1).
        RuntimeError: a sparse gradient.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if lr < 0 or eps < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"FusedAdam: lr {lr}, betas {betas}, eps {eps}: lr and eps must be >= 0, betas in [0, 1)")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Update every parameter that has a gradient; returns what `closure` returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for param in group["params"]:
                if param.grad is None:
                    continue
                if param.grad.is_sparse:
                    raise RuntimeError("FusedAdam: sparse gradients have no update here; use torch.optim.SparseAdam")
                state = self.state[param]
                if not state:
                    state["step"] = torch.tensor(0.0)
                    state["exp_avg"] = torch.zeros_like(param, memory_format=torch.preserve_format)
                    state["exp_avg_sq"] = torch.zeros_like(param, memory_format=torch.preserve_format)
                state["step"] += 1
                adam_step(
                    param,
                    param.grad,
                    state["exp_avg"],
                    state["exp_avg_sq"],
                    lr=float(group["lr"]),
                    beta1=beta1,
                    beta2=beta2,
                    eps=group["eps"],
                    step=int(state["step"].item()),
                )
        return loss


def _check(param: Tensor, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, step: int) -> None:
    if not param.shape == grad.shape == exp_avg.shape == exp_avg_sq.shape:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in (param, grad, exp_avg, exp_avg_sq))
        raise ValueError(f"Adam: parameter, gradient and moments must have one shape, not {shapes}")
    if step < 1:
        raise ValueError(f"Adam: step counts from 1, not {step}")


def _reference(
    param: Tensor, grad: Tensor, exp_avg: Tensor, exp_avg_sq: Tensor, lr: float, beta1: float, beta2: float, eps: float,
    step: int,
) -> None:  # fmt: skip
    """The specification, with the operator's arguments."""
    reference.adam_step(param, grad, exp_avg, exp_avg_sq, lr=lr, beta1=beta1, beta2=beta2, eps=eps, step=step)


def _examples() -> Iterator[tuple[Any, ...]]:
    for shape, step in (((5, 7), 1), ((1,), 3), ((33, 4), 100)):
        state = (uniform(*shape, low=-1, seed=seed) for seed in range(3))
        yield *state, uniform(*shape, seed=4), 0.1, 0.9, 0.99, 1e-8, step


ADAM_STEP = declare(
    Op(
        name="adam_step",
        operators={
            "adam_step(Tensor(a!) param, Tensor grad, Tensor(b!) exp_avg, Tensor(c!) exp_avg_sq, float lr, float beta1,"
            " float beta2, float eps, int step) -> ()": lambda *_: None,
        },
        reference=_reference,
        in_place=True,
        examples=_examples,
    )
)
