"""Everything a run is made of, built from its configuration, and its state as one checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from nerf_ssim.config import Config
from nerf_ssim.datasets import load_scene
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.errors import CheckpointError, ConfigError, TrainingError
from nerf_ssim.ops import backend
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.ssim.schedule import SsimSchedule
from nerf_ssim.training.checkpoints import CheckpointFolder
from nerf_ssim.training.generators import Generators, stream_seed
from nerf_ssim.training.journal import columns_of
from nerf_ssim.training.lock import lock_folder
from nerf_ssim.training.logging import MetricsLog
from nerf_ssim.training.manifest import changed_circumstances, read_manifest, write_manifest
from nerf_ssim.training.recipes import make_recipe

__all__ = ["Session", "make_schedule", "run_folder", "schedule_summary"]

CHECKPOINT_KEYS = ("config", "recipe", "schedule", "generators", "batches", "s3im", "seconds")

# What may differ between a run and its resumption: nothing that the result depends on.
FREE_OPTIONS = frozenset(
    "resume overwrite stop_at save_every vis_every vis_at N_vis render_test render_train progress_refresh_rate "
    "log_every grad_norm_every luminance_every datadir label lpips_weights ssim_variant basedir expname config".split()
)


class Session:
    """A run in progress.

    Attributes:
        iteration: updates done so far; the next update's number.
        seconds: time spent training (without scoring), over all starts.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.folder = run_folder(config)
        self.lock = lock_folder(self.folder)
        self.checkpoints = CheckpointFolder(self.folder)
        newest = self._newest_checkpoint()
        check_device(config.run.device)
        self.scene = scene_on(load_scene(config.data), config.run.device)
        self.generators = Generators(config.run.seed, device=config.run.device)
        self.recipe = make_recipe(config, self.scene, self.generators)
        self.batches = PixelBatches(self.scene.train, config.optim.batch_size, self.generators["pixels"])
        self.s3im = make_s3im(config)
        self.schedule = make_schedule(config)
        self.iteration, self.seconds = 0, 0.0
        if newest is None:
            self.recipe.prepare(self.batches)
        else:
            self._restore(*newest)
        self.started_at = None if newest is None else self.iteration

    @property
    def last_iteration(self) -> int:
        """Updates after which this run stops and scores."""
        n_iters, stop_at = self.config.run.n_iters, self.config.run.stop_at
        return n_iters if stop_at is None else min(stop_at, n_iters)

    def changed_circumstances(self) -> list[str]:
        """What has changed since the start that this one continues and can change a result's last bits."""
        if self.started_at is None:
            return []
        try:
            previous = read_manifest(self.folder)
        except TrainingError:  # a run continues without its manifest: the checkpoint has all that counts
            return []
        return changed_circumstances(previous, backend_record())

    def open_log(self) -> MetricsLog:
        """Writes the manifest and the resolved configuration, and opens `metrics.csv` where this start begins.

        A fresh run first drops what an overwritten one left that could be taken for its own.
        """
        if self.started_at is None:
            self.checkpoints.clear()
            (self.folder / "results.json").unlink(missing_ok=True)
        self.config.write(self.folder / "config.txt")
        write_manifest(
            self.folder,
            config=self.config.to_dict(),
            backend=backend_record(),
            scene=describe_scene(self.scene),
            seed=self.config.run.seed,
            device=self.config.run.device,
            resume_iteration=self.started_at,
        )
        columns = columns_of(self.recipe.terms, self.recipe.rates)
        return MetricsLog(self.folder, columns, resume_iteration=self.started_at)

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

    def _newest_checkpoint(self) -> tuple[Path, dict] | None:
        run = self.config.run
        if run.overwrite or not self.checkpoints.paths():
            return None
        if not run.resume:
            raise ConfigError(
                f"{self.folder} already holds a run: continue it with --resume, start it anew with --overwrite, or "
                "give another --expname"
            )
        return self.checkpoints.load_latest(model=self.config.model.model, required=CHECKPOINT_KEYS)

    def _restore(self, path: Path, checkpoint: dict) -> None:
        ours = self.config.to_dict()
        changed = [
            f"{name} was {was!r}, is {ours[name]!r}"
            for name, was in checkpoint["config"].items()
            if name in ours and name not in FREE_OPTIONS and plain(ours[name]) != plain(was)
        ]
        if changed:
            raise CheckpointError(
                f"{path}: belongs to a run with other options ({'; '.join(changed[:3])}); resume with its own "
                f"({self.folder / 'config.txt'}) or start anew with --overwrite"
            )
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
        if self.iteration > self.last_iteration:
            raise ConfigError(
                f"{self.folder} has already seen {self.iteration} updates, more than --stop_at {self.last_iteration}: "
                "give a later one, or score an older checkpoint with nerf-ssim evaluate --checkpoint"
            )


def run_folder(config: Config) -> Path:
    """`basedir/expname`, where everything a run leaves is."""
    return Path(config.run.basedir) / config.run.expname


def make_schedule(config: Config) -> SsimSchedule:
    """The SSIM schedule that the options describe."""
    ssim = config.ssim
    return SsimSchedule(
        ssim.s3im_weight,
        ssim.ssim_add_at,
        ssim.ssim_remove_at,
        tolerance=ssim.ssim_auto_tolerance,
        patience=ssim.ssim_auto_patience,
    )


def check_device(device: str) -> None:
    """Raises `ConfigError` where `device` is a GPU that is not there."""
    if device.startswith("cuda"):
        count = torch.cuda.device_count()
        index = torch.device(device).index or 0
        if index >= count:
            found = f"{count} found" if count else "none found (no driver, or a CPU build of torch)"
            raise ConfigError(f"--device {device}: there is no such GPU; {found}. Use --device cpu")


def scene_on(scene: Scene, device: str) -> Scene:
    """The scene with its images, cameras and box on `device`."""

    def moved(views: Views) -> Views:
        return replace(views, images=views.images.to(device), c2w=views.c2w.to(device), K=views.K.to(device))

    return replace(scene, train=moved(scene.train), test=moved(scene.test), aabb=scene.aabb.to(device))


def schedule_summary(schedule: SsimSchedule) -> dict:
    """The schedule as `results.json` records it."""
    return {
        "weight": schedule.weight,
        "add_at": schedule.add_at,
        "remove_at": schedule.remove_at,
        "removed_at": schedule.removed_at,
    }


def backend_record() -> dict[str, dict[str, str]]:
    """Each op's implementation and why, for the manifest and the results."""
    return {op: {"implementation": how, "reason": why} for op, (how, why) in backend.describe().items()}


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


def plain(value: object) -> object:
    """Tuples and lists compare alike."""
    return list(value) if isinstance(value, tuple) else value
