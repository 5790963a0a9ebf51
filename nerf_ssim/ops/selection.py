"""The samples that get a colour: those whose weight exceeds a threshold, with all that their colour needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nerf_ssim.ops.calls import GradientCall
from nerf_ssim.ops.declaration import Op, declare
from nerf_ssim.ops.example_values import ray_index, uniform
from nerf_ssim.ops.reference import selection as reference


class Selected(NamedTuple):
    """Some of the packed samples, in their order, `n` of them."""

    index: Tensor  # type: ignore[assignment]  # a tuple's method of that name is not used
    """Their places among all samples, `[n]` int64."""
    ray_index: Tensor
    """The ray of each, `[n]` int64."""
    coords: Tensor
    """Position in the box, `[n, 3]`."""
    directions: Tensor
    """Unit direction of the ray, `[n, 3]`."""
    t: Tensor
    """Distance from the ray's origin, `[n]`; empty where it was not asked for."""

    def split(self, size: int) -> list[Selected]:
        """Consecutive parts of at most `size` samples, without their distances."""
        parts = zip(
            self.index.split(size),
            self.ray_index.split(size),
            self.coords.split(size),
            self.directions.split(size),
            strict=True,
        )
        return [Selected(index, rays, coords, along, self.t.new_empty(0)) for index, rays, coords, along in parts]


def select_samples(
    weights: Tensor,
    ray_index: Tensor,
    coords: Tensor,
    directions: Tensor,
    threshold: float,
    t: Tensor | None = None,
) -> tuple[Tensor, Selected]:
    """The samples with `weight > threshold` (strictly), gathered.

    Args:
        weights: `[samples]`.
        ray_index: the ray of each sample, `[samples]` int64.
        coords: `[samples, 3]`.
        directions: of the rays, `[rays, 3]`.
        t: `[samples]`, or None where nobody needs it.
    Returns:
        Weights `[n]`, differentiable in `weights`, and the samples, which are constants. A GPU waits for their number.
    Raises:
        RuntimeError: a chosen sample of a ray that does not exist, on the CPU; on a GPU its direction is NaN.
    """
    chosen, *rest = SELECT_SAMPLES(weights, ray_index, coords, directions, t, threshold)
    return chosen, Selected(*rest)


def gather_samples(chosen: Tensor, ray_index: Tensor, coords: Tensor, directions: Tensor) -> Selected:
    """The samples at `chosen [n]`, in whatever way these were drawn."""
    return Selected(*reference.gathered(chosen, ray_index, coords, directions, None))


def _gradient(call: GradientCall) -> Sequence[Tensor]:
    (index,) = call.kept
    return (torch.ops.nerf_ssim.select_samples_backward(*call.upstream, index, call.args[0].shape[0]),)


def _shapes(weights: Tensor, ray_index: Tensor, coords: Tensor, directions: Tensor, t: Tensor | None, *_: Any) -> Any:
    chosen = torch.library.get_ctx().new_dynamic_size()
    numbers, places = weights.new_empty(chosen), ray_index.new_empty(chosen)
    vectors = coords.new_empty(chosen, 3)
    return numbers, places, places.clone(), vectors, vectors.clone(), numbers.clone() if t is not None else vectors[:0]


def _examples() -> Iterator[tuple[Any, ...]]:
    for counts, threshold, has_t in (([5, 0, 1, 30, 0], 0.0, True), ([700], 0.5, False), ([2, 1], 2.0, True)):
        samples = sum(counts)
        coords, directions = uniform(samples, 3, low=-1, seed=1), uniform(len(counts), 3, low=-1, seed=2)
        t = uniform(samples, seed=3) if has_t else None
        yield uniform(samples) + 0.001, ray_index(counts), coords, directions, t, threshold


SELECT_SAMPLES = declare(
    Op(
        name="select_samples",
        operators={
            "select_samples(Tensor weights, Tensor ray_index, Tensor coords, Tensor directions, Tensor? t,"
            " float threshold) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)": _shapes,
            "select_samples_backward(Tensor grad, Tensor index, SymInt samples) -> Tensor": (
                lambda grad, index, samples: grad.new_empty(samples)
            ),
        },
        reference=reference.select_samples,
        differentiable=("weights",),
        gradient=_gradient,
        results=6,
        constant_results=(1, 2, 3, 4, 5),
        first_derivative_only=True,  # how many are selected depends on data, which no vmap of the reference allows
        keeps=(1,),
        compiles=False,  # the number of samples is known only when it runs
        examples=_examples,
    )
)
