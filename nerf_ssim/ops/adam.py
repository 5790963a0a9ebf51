"""Adam's updates of many tensors at once: on a GPU one launch, whatever their sizes and rates.

Source: Kingma and Ba 2015; the form in which eps joins the uncorrected root is that of DirectVoxGO.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import uniform
from nerf_ssim.ops.reference import adam as reference


@torch.no_grad()
def adam_steps(
    params: Sequence[Tensor],
    grads: Sequence[Tensor],
    exp_avgs: Sequence[Tensor],
    exp_avg_sqs: Sequence[Tensor],
    *,
    rates: Sequence[float],
    steps: Sequence[int],
    beta1: float,
    beta2: float,
    eps: float,
    corrects_root: bool = True,
) -> None:
    """One update of each parameter and its two moments, in place.

    Args:
        params, grads, exp_avgs, exp_avg_sqs: as many tensors each, of equal shapes, on one device.
        rates: the learning rate of each.
        steps: the number of this update of each, from 1.
        beta1, beta2, eps: Adam's constants.
        corrects_root: whether eps joins the corrected root of the second moment, as published, or the uncorrected one,
            as in DVGO. The second form leaves the gradients cleared.
    """
    if not params:
        return
    tensors = [list(each) for each in (params, grads, exp_avgs, exp_avg_sqs)]
    constants = list(rates), list(steps), beta1, beta2, eps, corrects_root
    is_contiguous = all(each.is_contiguous() for group in tensors for each in group)
    update: Callable[..., None] = ADAM_STEPS if is_contiguous else reference.adam_steps
    update(*tensors, *constants)


def _examples() -> Iterator[tuple[Any, ...]]:
    for shapes, corrects_root in (
        (((5, 4, 8), (40,), (3,)), True),
        (((16, 4), (8,)), True),
        (((16, 4), (7,)), False),
        (tuple((4,) for _ in range(35)), False),
    ):
        numbers = range(len(shapes))
        params = [uniform(*shape, low=-1, seed=i) for i, shape in enumerate(shapes)]
        grads = [uniform(*shape, low=-1, seed=i + 7) for i, shape in enumerate(shapes)]
        first = [uniform(*shape, low=-0.1, high=0.1, seed=i + 3) for i, shape in enumerate(shapes)]
        second = [uniform(*shape, high=0.1, seed=i + 5) for i, shape in enumerate(shapes)]
        rates, steps = [0.1 / (1 + i) for i in numbers], [1 + 3 * i for i in numbers]
        yield params, grads, first, second, rates, steps, 0.9, 0.99, 1e-8, corrects_root


ADAM_STEPS = declare(
    Op(
        name="adam_steps",
        operators={
            "adam_steps(Tensor(a!)[] params, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, Tensor(d!)[] exp_avg_sqs,"
            " float[] rates, int[] steps, float beta1, float beta2, float eps, bool corrects_root) -> ()": (
                lambda *_: None
            ),
        },
        reference=reference.adam_steps,
        in_place=True,
        examples=_examples,
    )
)
