"""Counts what a training step launches on a GPU, without one: the step runs on the device `meta`, which has no data.

There the ops answer with shapes, as they would for CUDA, and PyTorch shows every operator that it would run. Each
counts for as many launches as its CUDA binding makes: kernels, and ATen's operators called inside, one each. What only
looks at a tensor otherwise (`VIEWS`) or allocates launches nothing. Copies that bring numbers to the device are counted
apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nerf_ssim.models.dvgo import contracted as dvgo_contracted
from nerf_ssim.models.dvgo import field as dvgo
from nerf_ssim.models.parts import rendering
from nerf_ssim.models.tensorf import field as tensorf
from nerf_ssim.ops import backend, decoder, decoder_products
from nerf_ssim.ops.contracted import ContractedSamples
from nerf_ssim.ops.marching import Samples
from nerf_ssim.ops.selection import Selected
from nerf_ssim.training.session import Session

RAYS, PER_RAY = 64, 5
SAMPLES, COLOURED = RAYS * PER_RAY, RAYS * PER_RAY // 2

LAUNCHES = {  # by operator of cuda_ext/bindings/cuda: kernels of the source, and fills and products of ATen inside
    "pixel_rays": 1,
    "vm_density": 1,
    "vm_density_backward": 2,  # zeros, gradient
    "vm_basis_features": 2,  # features, product
    "vm_basis_features_backward": 5,  # product, zeros, gradient, features, product
    "decoder_inputs": 1,
    "decoder_last_layer_backward": 1,
    "decoder_relu_backward": 1,
    "decoder_inputs_backward": 1,
    "composite": 1,
    "composite_backward": 1,
    "select_samples_backward": 2,  # zeros, places
    "accumulate": 2,  # zeros, sums
    "accumulate_backward": 1,
    "s3im": 3,  # zeros, windows, mean
    "planes_tv": 2,  # sums of blocks, sum
    "planes_tv_backward": 1,
    "adam_steps": 1,
    "voxel_features": 1,
    "add_voxel_features_gradient": 1,
    "composite_voxels": 1,
    "composite_voxels_backward": 1,
    "distortion_loss": 2,  # sums of warps, sum
    "light_entropy": 2,  # sums of blocks, mean
    "light_entropy_backward": 1,
    "point_error": 2,
    "point_error_backward": 1,
    "voxel_adam_step": 1,
}
STAND_INS = {"march_box": 3, "march_contracted": 3, "select_samples": 3}
"""Ops whose number of samples depends on data, so that another stands in: count, offsets, fill."""
OF_ATEN = {"new_zeros": 1, "zeros": 1, "ones_like": 1, "new_ones": 1, "select_backward": 2}
VIEWS = frozenset(
    "view _unsafe_view slice select expand t transpose unsqueeze squeeze detach split split_with_sizes unbind permute "
    "alias as_strided diagonal reshape _reshape_alias empty empty_like new_empty empty_strided new_empty_strided "
    "narrow lift_fresh is_pinned scalar_tensor".split()
)


class Launches(TorchDispatchMode):
    """Counts launches by operator, and copies from the host; `noted` counts those of ops that have a stand-in."""

    def __init__(self) -> None:
        super().__init__()
        self.by_operator: Counter[str] = Counter()
        self.copies = 0

    @property
    def total(self) -> int:
        """All launches."""
        return sum(self.by_operator.values())

    def noted(self, op: str) -> None:
        """Counts a call of an op that has a stand-in."""
        self.by_operator[op] += STAND_INS[op]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operator and counts it where it is the device's."""
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in VIEWS or name.startswith("_record_function"):
            return result
        devices = {each.device.type for each in tree_leaves((args, kwargs, result)) if isinstance(each, Tensor)}
        if "meta" not in devices:
            return result
        if name == "_to_copy" and "cpu" in devices:
            self.copies += 1
        elif func.namespace == "nerf_ssim":
            self.by_operator[name] += LAUNCHES[name]  # an operator that is missing here is one to look up and enter
        else:
            self.by_operator[name] += OF_ATEN.get(name, 1)
        return result


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor without data."""
    return torch.empty(shape, dtype=dtype, device="meta")


def marched() -> dict[str, Tensor]:
    """As many samples on each ray, where the number of samples would depend on data."""
    integers = {"ray_index": empty(SAMPLES, dtype=torch.int64), "ray_offsets": empty(RAYS + 1, dtype=torch.int64)}
    return {"coords": empty(SAMPLES, 3), "t": empty(SAMPLES), **integers}


class HalfOfThem(torch.autograd.Function):
    """Stands in for the choice of samples: the first half, whose gradient is the op's."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor) -> Tensor:
        """As many weights."""
        return weights.new_empty(COLOURED)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        """As the op has it."""
        return torch.ops.nerf_ssim.select_samples_backward(*upstream, empty(COLOURED, dtype=torch.int64), SAMPLES)


@contextmanager
def as_on_a_gpu(count: Launches | None = None) -> Iterator[None]:
    """The ops as a GPU would serve them, on the device `meta`: reading data, or mixing devices, is an error."""

    def note(op: str) -> None:
        if count is not None:
            count.noted(op)

    def march_box(*_: object) -> Samples:
        note("march_box")
        return Samples(**marched(), delta=empty(SAMPLES))

    def march_contracted(*_: object, **__: object) -> ContractedSamples:
        note("march_contracted")
        return ContractedSamples(**marched())

    def select_samples(weights: Tensor, *_: object) -> tuple[Tensor, Selected]:
        note("select_samples")
        integers = empty(COLOURED, dtype=torch.int64)
        return HalfOfThem.apply(weights), Selected(
            integers, integers, empty(COLOURED, 3), empty(COLOURED, 3), empty(COLOURED)
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "implementation", lambda *_: "native")
        patch.setattr(decoder, "multiplies_by_library", lambda features: True)
        patch.setattr(decoder_products, "_multiplying", lambda like, precision: torch.no_grad())
        patch.setattr(tensorf, "march_box", march_box)
        patch.setattr(dvgo_contracted, "march_contracted", march_contracted)
        for module in (rendering, dvgo):
            patch.setattr(module, "select_samples", select_samples)
        yield


def move_to_meta(session: Session) -> None:
    """The field and the pictures without their data, and an optimiser for the field."""
    recipe, batches = session.recipe, session.batches
    recipe.field.to("meta")
    if session.config.model.model == "tensorf":
        recipe.optimizer = recipe.optimizer_of(recipe.field)
    else:
        recipe.field.mask = recipe.field.mask.to("meta")
        recipe.optimizer = recipe._make_optimizer()
    views = batches.views
    images, c2w, K = (each.to("meta") for each in (views.images, views.c2w, views.K))
    batches.views = type(views)(images, c2w, K, views.names)
    # Pixels are found many batches ahead; their numbers are on the device.
    batches._found.extend((empty(RAYS, dtype=torch.int64), 0) for _ in range(batches.batches_left))
