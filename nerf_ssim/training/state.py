"""What a run's checkpoint must hold beside its recipe's state, checked before anything is restored."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from nerf_ssim.models.config import Config
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.rays.permutation import ROUNDS
from nerf_ssim.runs import schema
from nerf_ssim.runs.checkpoints import refuse_unsound
from nerf_ssim.runs.generators import Generators
from nerf_ssim.runs.schedule import schedule_schema
from nerf_ssim.ssim.losses import S3IM

__all__ = ["batches_schema", "keys_schema", "refuse_unsound_run", "refuse_unsound_start"]

LARGEST_SIDE = 2**16  # of a picture, pixels


def refuse_unsound_run(path: Path, checkpoint: Mapping[str, Any], config: Config[ModelOptions]) -> None:
    """Raises `CheckpointError` where a checkpoint says impossible things of its run's progress."""
    keys: dict[str, schema.Schema] = {
        "iteration": schema.whole(0, config.run.n_iters),
        "seconds": schema.number(0),
        "schedule": schedule_schema(),
    }
    if "scene" in checkpoint:  # checkpoints of earlier versions have none
        keys["scene"] = _check_scene
    refuse_unsound(path, {key: checkpoint[key] for key in keys if key in checkpoint}, schema.record(keys))


def _check_scene(record: Any, where: str) -> None:
    """What `scene_of_record` takes; further entries are its own matter."""
    number = schema.number(0)
    bounds = {"near": number, "far": number, "aabb": schema.box, "hash": schema.text, "name": schema.text}
    others = {"label": schema.either_none_or(schema.text), "white_bg": schema.truth, "pixels": schema.text}
    keys: dict[str, schema.Schema] = {**bounds, **others, "train": _check_views, "test": _check_views}
    schema.record(keys, optional=("white_bg", "pixels"))(_known(record, keys), where)


def _check_views(record: Any, where: str) -> None:
    names = record.get("names") if isinstance(record, dict) else None
    count = len(names) if isinstance(names, (list, tuple)) else 0
    side = schema.whole(1, LARGEST_SIDE)
    cameras = {"c2w": schema.tensor((count, 3, 4)), "K": schema.tensor((count, 3, 3))}
    keys: dict[str, schema.Schema] = {**cameras, "names": schema.list_of(schema.text), "height": side, "width": side}
    keys["sizes"] = schema.list_of(schema.list_of(side, 2), count)  # where views differ in size
    schema.record(keys, optional=("sizes",))(_known(record, keys), where)


def _known(record: Any, keys: Mapping[str, schema.Schema]) -> Any:
    """Of a record, the entries of these keys."""
    return {key: record[key] for key in keys if key in record} if type(record) is dict else record


def refuse_unsound_start(
    path: Path, checkpoint: Mapping[str, Any], generators: Generators, batches: PixelBatches, s3im: S3IM | None
) -> None:
    """Raises `CheckpointError` where a run cannot draw its next batch as a checkpoint says."""
    keys: dict[str, schema.Schema] = {"generators": generators.schema(), "batches": batches_schema(batches)}
    if s3im is not None:
        keys["s3im"] = schema.either_none_or(schema.tensor(s3im.get_state().shape, torch.uint8))
    refuse_unsound(path, {key: checkpoint[key] for key in keys if key in checkpoint}, schema.record(keys))


def keys_schema() -> schema.Schema:
    """The keys of a shuffled order (`KeyedPermutation`)."""
    return schema.list_of(schema.whole(0, 2**31 - 1), ROUNDS)


def batches_schema(batches: PixelBatches) -> schema.Schema:
    """What `batches.load_state_dict` takes: a place in the shuffled order that leaves enough pixels behind it."""
    total, size = batches.total, batches.batch_size
    keys = {
        "keys": keys_schema(),
        "cursor": schema.whole(0, total),
        "batches_left": schema.whole(0, total // size),
        "kept": schema.whole(size, total),
        "kept_bits": schema.either_none_or(schema.tensor(((total + 7) // 8,), torch.uint8)),
        "has_replacement": schema.truth,
    }

    def check(state: Any, where: str) -> None:
        schema.record(keys, optional=("has_replacement",))(state, where)
        bits, kept, left = state["kept_bits"], state["kept"], state["batches_left"]
        count = total if bits is None else sum(int((bits >> place & 1).sum()) for place in range(8))
        if kept != count:
            raise schema.Unsound(schema.at(where, "kept"), f"is {kept}, and {count} pixels are marked")
        if left > kept // size or state["cursor"] + left * size > total:
            raise schema.Unsound(
                schema.at(where, "batches_left"), f"is {left}, more than the pixels left are enough for"
            )

    return check
