"""A scene without its images: what a checkpoint keeps of it, so that a field can be rendered where its data is not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nerf_ssim.datasets.scene import Scene, Views

__all__ = ["scene_of_record", "scene_record", "scene_without_views"]


def scene_record(scene: Scene) -> dict[str, Any]:
    """The scene's cameras and bounds as tensors and plain values; `scene_of_record` takes them back."""
    bounds = {"name": scene.name, "label": scene.label, "near": scene.near, "far": scene.far, "aabb": scene.aabb}
    return {
        **bounds,
        "white_bg": scene.white_bg,
        "hash": scene.content_hash,
        "pixels": scene.pixels_hash,
        "train": _views_record(scene.train),
        "test": _views_record(scene.test),
    }


def scene_of_record(record: Mapping[str, Any]) -> Scene:
    """The scene that a record was made of, with black pictures that take no memory; its `has_images` is False."""
    return Scene(
        name=record["name"],
        label=record["label"],
        train=_views_of(record["train"]),
        test=_views_of(record["test"]),
        aabb=record["aabb"],
        near=record["near"],
        far=record["far"],
        content_hash=record["hash"],
        pixels_hash=record.get("pixels", ""),
        white_bg=record.get("white_bg", False),
        has_images=False,
    )


def scene_without_views(name: str, *, aabb: Tensor, near: float, far: float) -> Scene:
    """A scene of which only the bounds are known: that of a model that came without its data."""
    none = {"c2w": torch.zeros(0, 3, 4), "K": torch.zeros(0, 3, 3), "names": (), "height": 1, "width": 1}
    bounds = {"name": name, "label": None, "near": near, "far": far, "aabb": aabb, "hash": ""}
    return scene_of_record({**bounds, "train": none, "test": none})


def _views_record(views: Views) -> dict[str, Any]:
    size = {"height": views.height, "width": views.width}
    sizes = {} if views.sizes is None else {"sizes": [list(one) for one in views.sizes]}
    return {"c2w": views.c2w, "K": views.K, "names": list(views.names), **size, **sizes}


def _views_of(record: Mapping[str, Any]) -> Views:
    count = len(record["c2w"])
    black = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(count, record["height"], record["width"], 3)
    sizes = tuple((height, width) for height, width in record["sizes"]) if "sizes" in record else None
    return Views(black, record["c2w"], record["K"], tuple(record["names"]), sizes)
