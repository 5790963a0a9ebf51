"""Checkpoints of the published programs, and what each model's own file makes of them."""

from __future__ import annotations

import importlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from nerf_ssim.config.options import shown
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.datasets.scene_record import scene_without_views
from nerf_ssim.errors import CheckpointError
from nerf_ssim.models.config import Config
from nerf_ssim.rays.batches import PixelBatches

__all__ = ["ForeignModel", "ForeignRecord", "foreign_model"]

_READERS = ("nerf_ssim.models.tensorf.imported", "nerf_ssim.models.dvgo.imported")

T = TypeVar("T")


class ForeignRecord:
    """A published checkpoint's dict, whose entries are asked for by kind.

    Args:
        path: the file, which errors name.
        values: the dict.
        where: how errors name it inside the file.
    """

    def __init__(self, path: Path, values: Mapping[str, Any], where: str = "") -> None:
        self.path, self.values, self._where = path, values, where

    def has(self, *names: str) -> bool:
        """Whether all of `names` are there."""
        return all(name in self.values for name in names)

    def group(self, name: str) -> ForeignRecord:
        """The dict of that name."""
        return ForeignRecord(self.path, self.get(name, dict), f"{self._where}{name}.")

    def get(self, name: str, kind: type[T] | tuple[type[T], ...], default: T | None = None) -> T:
        """The entry `name`, of that kind; `default` where it is missing and one is given.

        Raises:
            CheckpointError: it is missing, or of another kind.
        """
        value = self.values.get(name, default)
        if isinstance(value, bool) and kind in (int, float, (int, float)):
            value = None
        if not isinstance(value, kind):
            state = "is missing" if value is None else f"is {shown(value)}"
            raise CheckpointError(
                f"{self.path}: {self._where}{name} {state}; this is no such checkpoint as is read here"
            )
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """The number `name`, given as one or as a tensor or array of one element."""
        value = self.values.get(name, default)
        if isinstance(value, (Tensor, np.ndarray)) and int(np.prod(value.shape)) == 1:
            return float(value.item())
        return float(self.get(name, (int, float), default))

    def tensor(self, name: str, *shape: int | None) -> Tensor:
        """The tensor or array `name` as a tensor of its own memory; `shape` has None for sides of any length."""
        value = self.values.get(name)
        tensor = torch.tensor(value) if isinstance(value, np.ndarray) else value
        if not isinstance(tensor, Tensor) or tensor.dim() != len(shape):
            raise CheckpointError(f"{self.path}: {self._where}{name} is no tensor of {len(shape)} axes")
        if any(side not in (None, have) for side, have in zip(shape, tensor.shape, strict=True)):
            raise CheckpointError(f"{self.path}: {self._where}{name} has the shape {tuple(tensor.shape)}")
        tensor = tensor.detach().clone()
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise CheckpointError(
                f"{self.path}: {self._where}{name} holds NaN or infinity, with which nothing can be rendered"
            )
        return tensor.float() if tensor.is_floating_point() else tensor

    def refuse(self, why: str) -> CheckpointError:
        """An error that names the file."""
        return CheckpointError(f"{self.path}: {why}")


@dataclass(frozen=True)
class ForeignModel(ABC):
    """A published checkpoint, read.

    Attributes:
        path: its file.
        options: what it says of a configuration's options, the model's name among them.
        aabb: the box `[2, 3]` in world coordinates that the field is about.
        near, far: the scene's bounds as far as it says them.
        resolution: grid nodes along x, y, z.
        trained: updates that the stage which saved it had done; None where it does not say.
    """

    program: ClassVar[str]
    path: Path
    options: Mapping[str, Any]
    aabb: Tensor
    near: float
    far: float
    resolution: tuple[int, ...]
    trained: int | None

    @property
    def bundled_config(self) -> str | None:
        """The bundled configuration with what such a run has beside `options`; None for the defaults."""
        return None

    @abstractmethod
    def iteration(self, config: Config[Any]) -> int | None:
        """The run's updates at this checkpoint, by what it says; None where it does not say."""

    @abstractmethod
    def fitted(self, config: Config[Any]) -> Config[Any]:
        """`config` with this checkpoint's options, and a schedule that has a grid like this one."""

    @abstractmethod
    def install(self, recipe: Any, batches: PixelBatches | None, iteration: int) -> None:
        """Makes a fresh `recipe` of the fitted configuration go on from this checkpoint after `iteration` updates.

        Args:
            batches: the training pixels, which lose those that training had dropped by then; None without a scene.
        """

    def scene(self) -> Scene:
        """A scene with these bounds and no views, for a model whose data is not there."""
        return scene_without_views(self.path.stem, aabb=self.aabb, near=self.near, far=self.far)


class _Reader(Protocol):
    """What a model's file of imported checkpoints offers."""

    def read(self, record: ForeignRecord) -> ForeignModel | None:
        """The model in the record, or None where it is another program's."""


def _check_bounds(record: ForeignRecord, model: ForeignModel) -> None:
    """Raises CheckpointError for a box or distances that no scene has."""
    if not (model.aabb[0] < model.aabb[1]).all():
        raise record.refuse(f"its box is empty or inverted ({model.aabb.tolist()})")
    if not 0 <= model.near < model.far < math.inf:
        raise record.refuse(f"its near {model.near:g} and far {model.far:g} are no distances along a ray")


def foreign_model(path: Path, loaded: Any) -> ForeignModel:
    """The model that a published program's checkpoint holds.

    Args:
        path: the file, for errors.
        loaded: what `runs.foreign.read_foreign` read from it.
    Raises:
        CheckpointError: it is no program's that is known here, or damaged, or of a variant that is not here.
    """
    if isinstance(loaded, dict):
        record = ForeignRecord(path, loaded)
        try:
            for name in _READERS:
                model = cast(_Reader, importlib.import_module(name)).read(record)
                if model is not None:
                    _check_bounds(record, model)
                    return model
        except (TypeError, ValueError, KeyError, IndexError, RuntimeError) as error:
            raise record.refuse(f"does not hold what such a checkpoint holds ({error})") from error
    raise CheckpointError(
        f"{path}: is neither a TensoRF checkpoint (a dict with kwargs and state_dict) nor one of DVGO (model_kwargs "
        "and model_state_dict)"
    )
