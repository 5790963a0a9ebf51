"""Everything a run is made of, built from its configuration, and its state as one checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nerf_ssim.config import Config
from nerf_ssim.datasets import load_scene
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.errors import CheckpointError
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.checkpoints import CheckpointFolder
from nerf_ssim.training.generators import Generators, generator_names, stream_seed
from nerf_ssim.training.journal import columns_of
from nerf_ssim.training.lock import lock_folder
from nerf_ssim.training.logging import MetricsLog
from nerf_ssim.training.recipes import make_recipe
from nerf_ssim.training.runs import (
    check_device,
    last_iteration,
    make_schedule,
    newest_checkpoint,
    open_run_log,
    precision_record,
    refuse_other_options,
    refuse_past_the_end,
    run_folder,
    what_has_changed,
)

__all__ = ["Session", "scene_on"]

CHECKPOINT_KEYS = ("config", "recipe", "schedule", "generators", "batches", "s3im", "seconds")

# What may differ between a run and its resumption: nothing that the result depends on.
FREE_OPTIONS = frozenset(
    "resume overwrite stop_at save_every save_at vis_every vis_at N_vis render_test render_train progress_refresh_rate "
    "log_every grad_norm_every luminance_every datadir label lpips_weights ssim_variant test_color_samples basedir "
    "expname config".split()
)


class Session:
    """A run in progress.

    Attributes:
        iteration: updates done so far; the next update's number.
        seconds: time spent training (without scoring), over all starts.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = run_folder(config.run)
        self.lock = lock_folder(self.folder)
        self.checkpoints = CheckpointFolder(self.folder, lasting=config.run.save_at)
        newest = newest_checkpoint(self.checkpoints, config.run, model=config.model.model, required=CHECKPOINT_KEYS)
        check_device(config.run.device)
        self.scene = scene_on(load_scene(config.data), config.run.device)
        self.generators = Generators(config.run.seed, generator_names(config), config.run.device)
        self.recipe = make_recipe(config, self.scene, self.generators)
        self.batches = PixelBatches(self.scene.train, config.optim.batch_size, self.generators["pixels"])
        self.s3im = make_s3im(config)
        self.schedule = make_schedule(config.ssim, config.ssim.s3im_weight, config.schedule_starts_at)
        self.iteration, self.seconds = 0, 0.0
        if newest is None:
            self.recipe.prepare(self.batches)
        else:
            self._restore(*newest)
        self.started_at = None if newest is None else self.iteration

    @property
    def last_iteration(self) -> int:
        """Updates after which this run stops and scores."""
        return last_iteration(self.config.run)

    def changed_circumstances(self) -> list[str]:
        """What has changed since the start that this one continues and can change a result's last bits."""
        return [] if self.started_at is None else what_has_changed(self.folder)

    def open_log(self) -> MetricsLog:
        """Writes the manifest and the resolved configuration, and opens `metrics.csv` where this start begins."""
        return open_run_log(
            self.checkpoints,
            self.config,
            self.config.run,
            data=describe_scene(self.scene),
            columns=columns_of(self.recipe.terms, self.recipe.rates),
            resume_iteration=self.started_at,
            precision={
                "decoder_precision": precision_record(self.config.model.decoder_precision, self.config.run.device)
            },
        )

    def save(self) -> Path:
        """Writes a checkpoint of this moment."""
        return self.checkpoints.save(
            {
                "model": self.recipe.name,
                "config": self.config.to_dict(),
                "scene_hash": self.scene.content_hash,
                "recipe": self.recipe.state_dict(),
                "schedule": self.schedule.state_dict(),
                "generators": self.generators.state_dict(),
                "batches": self.batches.state_dict(),
                "s3im": None if self.s3im is None else self.s3im.get_state(),
                "seconds": self.seconds,
            },
            self.iteration,
        )

    def _restore(self, path: Path, checkpoint: dict) -> None:
        refuse_other_options(path, checkpoint["config"], self.config, FREE_OPTIONS)
        if checkpoint.get("scene_hash") != self.scene.content_hash:
            raise CheckpointError(
                f"{path}: was trained on other data than {self.config.data.datadir} holds now (the content hashes "
                "differ); give the original --datadir or start anew with --overwrite"
            )
        self.recipe.load_state_dict(checkpoint["recipe"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.generators.load_state_dict(checkpoint["generators"])
        self.batches.load_state_dict(checkpoint["batches"])
        if self.s3im is not None:
            self.s3im.set_state(checkpoint["s3im"])
        self.iteration, self.seconds = checkpoint["iteration"], checkpoint["seconds"]
        refuse_past_the_end(
            self.folder,
            self.iteration,
            self.last_iteration,
            "give a later one, or score an older checkpoint with nerf-ssim evaluate --checkpoint",
        )


def scene_on(scene: Scene, device: str) -> Scene:
    """The scene with its images, cameras and box on `device`."""

    def moved(views: Views) -> Views:
        return replace(views, images=views.images.to(device), c2w=views.c2w.to(device), K=views.K.to(device))

    return replace(scene, train=moved(scene.train), test=moved(scene.test), aabb=scene.aabb.to(device))


def describe_scene(scene: Scene) -> dict:
    """What identifies the data, for the manifest."""
    return {
        "name": scene.name,
        "label": scene.label,
        "hash": scene.content_hash,
        "train_views": len(scene.train),
        "test_views": len(scene.test),
        "size": [scene.train.width, scene.train.height],
        "near": scene.near,
        "far": scene.far,
        "aabb": scene.aabb.tolist(),
    }


def make_s3im(config: Config) -> S3IM | None:
    """The S3IM loss; None where a run without SSIM has a batch that is no patch (its luminance is then not logged)."""
    ssim = config.ssim
    if ssim.s3im_weight == 0 and ssim.s3im_patch_height * ssim.s3im_patch_width != config.optim.batch_size:
        return None
    return S3IM(
        ssim.s3im_kernel,
        ssim.s3im_stride,
        ssim.s3im_repeat_time,
        ssim.s3im_patch_height,
        ssim.s3im_patch_width,
        seed=stream_seed(config.run.seed, "ssim"),
    )
