"""`ImageConfig`: all options of a 2D image fit, grouped, checked and unchangeable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nerf_ssim.errors import ConfigError

from .base import BaseConfig
from .checks import check_run, check_schedule
from .image_sections import FieldConfig, ImageDataConfig, ImageOptimConfig, ImageRunConfig, ImageSsimConfig
from .parsing import Command, parse_command


@dataclass(frozen=True)
class ImageConfig(BaseConfig):
    """The resolved configuration of a fit, or of the fits of a folder.

    Raises:
        ConfigError: options that contradict each other (each one's own range is checked by its group).
    """

    run: ImageRunConfig = field(default_factory=ImageRunConfig)
    data: ImageDataConfig = field(default_factory=ImageDataConfig)
    network: FieldConfig = field(default_factory=FieldConfig)
    optim: ImageOptimConfig = field(default_factory=ImageOptimConfig)
    ssim: ImageSsimConfig = field(default_factory=ImageSsimConfig)

    def __post_init__(self) -> None:
        check_run(self.run)
        check_schedule(self.ssim, ("ssim_weight", self.ssim.ssim_weight), self.run.n_iters)
        self._check_data()
        self._check_network()
        if self.optim.lr_exponents and self.run.stop_psnr is None:
            raise ConfigError("lr_exponents: a search needs a PSNR to reach; give stop_psnr, such as 60")
        if len(set(self.optim.lr_exponents)) != len(self.optim.lr_exponents):
            raise ConfigError(f"lr_exponents: {list(self.optim.lr_exponents)} names a rate twice")

    def _check_data(self) -> None:
        data, window = self.data, self.ssim.ssim_window
        if data.image and data.images:
            raise ConfigError("image and images are both given; give one picture or one folder of them")
        if len(data.size) not in (1, 2) or (0 in data.size and data.size != (0,)):
            raise ConfigError(f"size: {list(data.size)} is not a side, a height and a width, or 0")
        if data.size != (0,) and min(data.size) < window:
            raise ConfigError(f"size: {min(data.size)} pixels are fewer than ssim_window {window}; enlarge one")
        if not data.permute and self.ssim.ssim_domain == "image":
            raise ConfigError("ssim_domain: without permute the picture as shown is the one fitted; give permuted")

    def _check_network(self) -> None:
        network = self.network
        if network.weight_scale != 1.0 and network.field not in ("siren", "finer"):
            raise ConfigError(f"weight_scale: {network.field} has published initial weights only; give siren or finer")
        if network.spread is not None and network.field == "siren":
            raise ConfigError("spread: siren has none; omega and weight_scale set its frequencies")
        if network.omega is not None and network.field in ("gaussian", "fourier"):
            raise ConfigError(f"omega: {network.field} has no sine of that kind; spread sets its frequencies")
        if network.precision != "float32" and network.field != "siren":
            raise ConfigError(f"precision: {network.precision} is for siren only, not {network.field}; give float32")


FIT_IMAGE = Command(
    "fit-image",
    "Fit a coordinate network to a picture or to each of a folder, with SSIM in the loss while its schedule says.",
    ImageConfig,
)


def parse_images(argv: Sequence[str]) -> ImageConfig:
    """The configuration that the words after `nerf-ssim fit-image` ask for.

    Raises:
        ConfigError: as `parse_command`, or neither a picture nor a folder is named.
    """
    config = parse_command(FIT_IMAGE, argv)
    if not (config.data.image or config.data.images):
        raise ConfigError("image: not given; name a picture with --image, or a folder of them with --images")
    return config
