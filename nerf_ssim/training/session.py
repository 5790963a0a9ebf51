"""Everything a run is made of, built from its configuration, and its state as one checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.scene import Scene, Views
from nerf_ssim.datasets.scene_record import scene_record
from nerf_ssim.models.config import Config
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.models.recipe import Recipe, continued_recipe, make_recipe
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.runs.checkpoints import refusing_unsound
from nerf_ssim.runs.device import precision_record
from nerf_ssim.runs.generators import Generators, stream_seed
from nerf_ssim.runs.metrics_log import MetricsLog
from nerf_ssim.runs.schedule import last_iteration, make_mix, make_schedule
from nerf_ssim.ssim.losses import S3IM
from nerf_ssim.training.journal import columns_of
from nerf_ssim.training.processes import ALONE, Processes
from nerf_ssim.training.state import refuse_unsound_run, refuse_unsound_start

__all__ = ["Session", "make_generators", "scene_on"]

CHECKPOINT_KEYS = ("recipe", "schedule", "generators", "batches", "s3im", "seconds")


class Session:
    """A run in progress.

    Args:
        config: the options.
        processes: that train it together.
    Attributes:
        config: the options, with the device resolved.
        folder: where the run leaves everything.
        iteration: updates done so far; the next update's number.
        seconds: time spent training (without scoring), over all starts.
    """

    def __init__(self, config: Config[ModelOptions], processes: Processes = ALONE) -> None:
        self.processes = processes
        self.folder = processes.open_folder(
            config, model=config.model.model, required=CHECKPOINT_KEYS, lasting=config.run.save_at
        )
        self.config = config = self.folder.config
        with self.folder.given_up_on_error():
            self.scene = scene_on(load_scene(config.data), config.run.device)
        self.folder.refuse_other_data("scene_hash", self.scene.content_hash, f"--datadir {config.data.datadir}")
        self.generators = make_generators(config)
        self.generators.share = share = processes.share_of(config.model.batch_size)
        self.batches = PixelBatches(self.scene.train, config.model.batch_size, self.generators["pixels"], share)
        self.s3im = make_s3im(config)
        self.schedule = make_schedule(
            config.ssim, config.ssim.s3im_weight, config.run.n_iters, config.model.schedule_starts_at
        )
        self.iteration, self.seconds = 0, 0.0
        self.recipe: Recipe
        if self.folder.resumed is None:
            with self.folder.given_up_on_error():
                self.recipe = make_recipe(config, self.scene, self.generators)
                self.recipe.prepare(self.batches)
        else:
            self._restore(*self.folder.resumed)

    @property
    def last_iteration(self) -> int:
        """Updates after which this run stops and scores."""
        return last_iteration(self.config.run)

    @property
    def decoder_precision(self) -> dict[str, str]:
        """What precision the colour decoder's products were `asked` for, which `ran`, and the `reason`."""
        return precision_record(self.config.model.decoder_precision, self.config.run.device)

    def open_log(self) -> MetricsLog:
        """Writes the manifest and the resolved options, and opens `metrics.csv` where this start begins."""
        return self.folder.open_log(
            data=describe_scene(self.scene),
            columns=columns_of(self.recipe.terms, self.recipe.rates),
            precision={"decoder_precision": self.decoder_precision},
        )

    def save(self) -> Path:
        """Writes a checkpoint of this moment.

        Raises:
            FileError: it cannot be written.
            TrainingError: the processes do not have the same field.
        """
        self.processes.refuse_divergence(self.recipe, self.batches.kept)
        path = self.folder.save(
            {
                "scene_hash": self.scene.content_hash,
                "scene": scene_record(self.scene),
                "recipe": self.recipe.state_dict(),
                "schedule": self.schedule.state_dict(),
                "generators": self.generators.state_dict(),
                "batches": self.batches.state_dict(),
                "s3im": None if self.s3im is None else self.s3im.get_state(),
                "seconds": self.seconds,
            },
            self.iteration,
        )
        self.processes.meet()  # so that none goes while the checkpoint is being written
        return path

    def _restore(self, path: Path, checkpoint: dict) -> None:
        refuse_unsound_run(path, checkpoint, self.config)
        refuse_unsound_start(path, checkpoint, self.generators, self.batches, self.s3im)
        with refusing_unsound(path):
            self.recipe = continued_recipe(self.config, self.scene, self.generators, checkpoint["recipe"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.generators.load_state_dict(checkpoint["generators"])
        self.batches.load_state_dict(checkpoint["batches"])
        if self.s3im is not None and checkpoint["s3im"] is not None:
            self.s3im.set_state(checkpoint["s3im"])
        self.iteration, self.seconds = checkpoint["iteration"], checkpoint["seconds"]
        self.folder.refuse_past_the_end(
            self.last_iteration, "give a later one, or score an older checkpoint with nerf-ssim evaluate --checkpoint"
        )


def make_generators(config: Config[ModelOptions]) -> Generators:
    """The random generators of a run: of its batches, of its luminance monitor, and those that its model asks for."""
    return Generators(config.run.seed, ("pixels", "monitor", *config.model.streams))


def scene_on(scene: Scene, device: str) -> Scene:
    """The scene with its images, cameras and box on `device`."""

    def moved(views: Views) -> Views:
        valid = None if views.valid is None else views.valid.to(device)
        c2w, K = views.c2w.to(device), views.K.to(device)
        return replace(views, images=views.images.to(device), c2w=c2w, K=K, valid=valid)

    return replace(scene, train=moved(scene.train), test=moved(scene.test), aabb=scene.aabb.to(device))


def describe_scene(scene: Scene) -> dict:
    """What identifies the data, for the manifest."""
    return {
        "name": scene.name,
        "layout": scene.layout,
        "label": scene.label,
        "hash": scene.content_hash,
        "train_views": len(scene.train),
        "test_views": len(scene.test),
        "size": [scene.train.width, scene.train.height],
        "near": scene.near,
        "far": scene.far,
        "aabb": scene.aabb.tolist(),
    }


def make_s3im(config: Config[ModelOptions]) -> S3IM | None:
    """The S3IM loss; None where a run without SSIM has a batch that is no patch (its luminance is then not logged)."""
    ssim = config.ssim
    if ssim.s3im_weight == 0 and ssim.s3im_patch_height * ssim.s3im_patch_width != config.model.batch_size:
        return None
    return S3IM(
        ssim.s3im_kernel,
        ssim.s3im_stride,
        ssim.s3im_repeat_time,
        ssim.s3im_patch_height,
        ssim.s3im_patch_width,
        seed=stream_seed(config.run.seed, "ssim"),
        mix=make_mix(ssim),
    )
