"""What a fit's checkpoint must hold, checked before anything is restored or a network is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nerf_ssim.images.networks import make_coordinate_network
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.images.scores import LEVELS
from nerf_ssim.images.target import ImageTarget
from nerf_ssim.models.parts.optimizers import FusedAdam, adam_schema
from nerf_ssim.runs import schema
from nerf_ssim.runs.checkpoints import refuse_unsound
from nerf_ssim.runs.generators import Generators, ShapesOnly
from nerf_ssim.runs.schedule import schedule_schema
from nerf_ssim.training.state import keys_schema

__all__ = ["refuse_unsound_fit"]


def refuse_unsound_fit(
    path: Path, checkpoint: Mapping[str, Any], config: ImageConfig, target: ImageTarget, generators: Generators
) -> None:
    """Raises `CheckpointError`, which names the key, where a fit of `target` cannot go on from a checkpoint."""
    network = make_coordinate_network(config.network, target.channels, ShapesOnly())
    steps = schema.whole(0, config.run.n_iters)
    keys: dict[str, schema.Schema] = {
        "iteration": steps,
        "seconds": schema.number(0),
        "schedule": schedule_schema(),
        "generators": generators.schema(),
        "permutation": keys_schema() if config.data.permute else schema.constant(None),
        "scores": schema.record(
            {
                "psnr_best": schema.number(is_finite=False),
                "step_best": schema.either_none_or(steps),
                "cost": schema.record(dict.fromkeys(LEVELS, steps), optional=LEVELS),
                "variance": schema.record(dict.fromkeys(LEVELS, schema.number(is_finite=False)), optional=LEVELS),
            }
        ),
        "network": schema.weights_like(network),
        "optimizer": adam_schema(FusedAdam(network.parameters(), lr=config.optim.lr)),
    }
    refuse_unsound(path, {key: checkpoint[key] for key in keys if key in checkpoint}, schema.record(keys))
