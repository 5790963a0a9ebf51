"""Everything a 2D fit is made of, built from its configuration, and its state as one checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from nerf_ssim.images.loss import ImageSsim
from nerf_ssim.images.networks import make_coordinate_network
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.images.scores import FitScores
from nerf_ssim.images.state import refuse_unsound_fit
from nerf_ssim.images.target import ImageTarget, coordinates, load_target
from nerf_ssim.models.parts.optimizers import FusedAdam, restore_optimizer
from nerf_ssim.ops.siren import effective_precision
from nerf_ssim.rays.permutation import KeyedPermutation
from nerf_ssim.runs.device import precision_record, refuse_beyond_device
from nerf_ssim.runs.folder import RunFolder
from nerf_ssim.runs.generators import Generators
from nerf_ssim.runs.metrics_log import MetricsLog
from nerf_ssim.runs.schedule import last_iteration, make_mix, make_schedule
from nerf_ssim.training.objective import PART_FIGURES

__all__ = ["COLUMNS", "ImageSession", "network_precision"]

COLUMNS = (
    "iteration",
    "seconds",
    "mse",
    "ssim",
    "psnr",
    "variance",
    "ssim_weight",
    "similarity",
    "luminance",
    "structure",
    "mean_difference",
    "mean_difference_abs",
    "grad_mse",
    "grad_ssim",
    *PART_FIGURES,
)
GENERATORS = ("init", "permutation", "ssim", "monitor")
CHECKPOINT_KEYS = ("network", "optimizer", "permutation", "schedule", "generators", "scores", "seconds")


class ImageSession:
    """A fit in progress.

    Attributes:
        config: the options, with the device resolved.
        folder: where the fit leaves everything.
        target: the picture.
        fitted: its values in the order that is fitted, `[pixels, channels]` float64.
        order: the pixel that is fitted at each place, `[pixels]` int64; ascending without `permute`.
        iteration: updates done so far.
        seconds: time spent fitting, over all starts.
    """

    def __init__(self, config: ImageConfig, target: ImageTarget | None = None) -> None:
        self.folder = RunFolder(config, model=config.network.field, required=CHECKPOINT_KEYS)
        self.config = config = self.folder.config
        with self.folder.given_up_on_error():
            self.target = read_target(config) if target is None else target
            refuse_beyond_device(config.needs(self.target.height * self.target.width), config.run.device)
        self.folder.refuse_other_data("image_hash", self.target.content_hash, f"--image {config.data.image}")
        self.generators = Generators(config.run.seed, GENERATORS)
        if self.folder.resumed is not None:
            refuse_unsound_fit(*self.folder.resumed, config, self.target, self.generators)
        pixels = self.target.height * self.target.width
        self.permutation = None
        if config.data.permute:
            self.permutation = KeyedPermutation.draw(pixels, self.generators["permutation"])
        # Drawn on the CPU, so that a seed means the same network on every device.
        self.network = make_coordinate_network(config.network, self.target.channels, self.generators["init"])
        self.network.to(config.run.device)
        self.optimizer = FusedAdam(self.network.parameters(), lr=config.optim.lr)
        self.schedule = make_schedule(config.ssim, config.ssim.ssim_weight, config.run.n_iters)
        self.ssim = ImageSsim(
            config.ssim.ssim_domain,
            config.ssim.ssim_window,
            config.ssim.ssim_sigma,
            config.ssim.ssim_stride,
            config.ssim.ssim_padding,
            make_mix(config.ssim),
        )
        self.scores = FitScores()
        self.iteration, self.seconds = 0, 0.0
        if self.folder.resumed is not None:
            self._restore(self.folder.resumed[1])
        self._place()

    @property
    def last_iteration(self) -> int:
        """Updates after which this fit stops and is scored."""
        return last_iteration(self.config.run)

    def as_shown(self, values: Tensor) -> Tensor:
        """Fitted `values [pixels, channels]` in the picture's own order, `[height, width, channels]`."""
        shown = torch.empty_like(values)
        shown[self.order] = values
        return shown.view(self.target.height, self.target.width, -1)

    def open_log(self) -> MetricsLog:
        """Writes the manifest and the resolved configuration, and opens `metrics.csv` where this start begins."""
        return self.folder.open_log(
            data={
                "name": self.target.name,
                "hash": self.target.content_hash,
                "size": [self.target.width, self.target.height],
                "channels": self.target.channels,
                "linear": self.target.is_linear,
            },
            columns=COLUMNS,
            precision={"network_precision": network_precision(self.config)},
        )

    def save(self) -> Path:
        """Writes a checkpoint of this moment."""
        return self.folder.save(
            {
                "image_hash": self.target.content_hash,
                "network": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "permutation": None if self.permutation is None else self.permutation.keys,
                "schedule": self.schedule.state_dict(),
                "generators": self.generators.state_dict(),
                "scores": self.scores.state_dict(),
                "seconds": self.seconds,
            },
            self.iteration,
        )

    def _restore(self, checkpoint: dict) -> None:
        self.network.load_state_dict(checkpoint["network"])
        restore_optimizer(self.optimizer, checkpoint["optimizer"])
        if checkpoint["permutation"] is not None:
            self.permutation = KeyedPermutation(self.target.height * self.target.width, checkpoint["permutation"])
        self.schedule.load_state_dict(checkpoint["schedule"])
        self.generators.load_state_dict(checkpoint["generators"])
        self.scores.load_state_dict(checkpoint["scores"])
        self.iteration, self.seconds = checkpoint["iteration"], checkpoint["seconds"]
        self.folder.refuse_past_the_end(self.last_iteration, "give a later one")

    def _place(self) -> None:
        """Coordinates and target in the order that is fitted, on the run's device."""
        device = self.config.run.device
        order = torch.arange(self.target.height * self.target.width)
        self.order = (order if self.permutation is None else self.permutation(order)).to(device)
        self.coordinates = coordinates(self.target.height, self.target.width).to(device)
        self.fitted = self.target.values.to(device).flatten(0, 1)[self.order]


def network_precision(config: ImageConfig) -> dict[str, str]:
    """What precision the network's products were `asked` for, which `ran`, and the `reason`."""
    return precision_record(config.network.precision, config.run.device, effective_precision)


def read_target(config: ImageConfig) -> ImageTarget:
    """The picture that the options name."""
    data = config.data
    return load_target(data.image, size=data.size, grey=data.grey, linear=data.linear)
