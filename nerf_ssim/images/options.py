"""The options of a 2D fit, and `ImageConfig`: all of them, grouped, checked and unchangeable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from nerf_ssim.config.base import BaseConfig
from nerf_ssim.config.checks import check_part, check_run, check_schedule
from nerf_ssim.config.options import Section, option
from nerf_ssim.config.parsing import Command, Given, read_command
from nerf_ssim.config.sections import CommonRunConfig, ScheduleConfig
from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import BYTES_OF_WEIGHT, Need

BYTES_OF_PIXEL = 32  # its value twice in float64, its place, and its number in the order
BYTES_OF_ACTIVATION = 4
FIELDS = ("siren", "finer", "wire", "gaussian", "fourier")


@dataclass(frozen=True)
class ImageRunConfig(CommonRunConfig):
    """Where a fit lives, how long it is and when it ends."""

    n_iters: int = option(3000, "steps (updates on all pixels) of a fit", at_least=1, at_most=10**8)
    save_every: int = option(200, "steps between checkpoints", at_least=1, may_change=True)
    grad_norm_every: int = option(
        0,
        "steps between measurements of gradient norms: the MSE's, SSIM's and its two parts' with their cosines to the "
        "MSE's; 0 for none",
        at_least=0,
        may_change=True,
    )
    stop_psnr: float | None = option(
        None, "end as soon as PSNR reaches this many dB; none to go on", above=0, may_change=True
    )
    workers: int = option(
        1, "images fitted at a time, each in a process of its own", at_least=1, at_most=256, may_change=True
    )


@dataclass(frozen=True)
class ImageDataConfig(Section):
    """The picture and how it is read."""

    image: str = option("", "the picture to fit", may_change=True)
    images: str = option("", "a folder of pictures to fit one after the other, instead of image", may_change=True)
    size: tuple[int, ...] = option(
        (512,), "height and width in pixels, one number for a square; 0 for the picture's own", at_least=0
    )
    grey: bool = option(True, "fit the picture's grey values; 0 for its three colours")
    linear: bool = option(True, "fit linear intensities; 0 for the file's own sRGB values")
    permute: bool = option(False, "fit the pixels in a random order (RPP), undone in every picture shown")


@dataclass(frozen=True)
class NetworkConfig(Section):
    """The network from a pixel's place to its value."""

    field: str = option("siren", "kind of network", choices=FIELDS)
    hidden: int = option(512, "width of the hidden layers", at_least=1, at_most=8192)
    hidden_layers: int = option(4, "number of hidden layers", at_least=1, at_most=64)
    omega: float | None = option(
        None, "frequency factor of sines: siren, finer (published: 30), wire (20); none for that", above=0
    )
    spread: float | None = option(
        None,
        "gaussian: width of the activation (0.1); wire: inverse width (10); fourier: standard deviation of the "
        "frequencies, cycles over the picture (10); finer: range of the first biases (20); none for that",
        above=0,
    )
    weight_scale: float = option(
        1.0, "siren, finer: factor on the initial weights of all layers but the last", above=0, at_most=1000
    )
    precision: str = option(
        "float32",
        "siren: products in float32, or of float32 numbers as sums of three or two bfloat16 terms (gradients: two), "
        "for CPUs that multiply those in hardware, worth it with AMX; float32 elsewhere",
        choices=("float32", "bf16x3", "bf16x2"),
    )


@dataclass(frozen=True)
class ImageOptimConfig(Section):
    """The learning rate, given or searched for."""

    lr: float = option(2.0**-11, "learning rate of Adam", above=0, at_most=1e37, adjustable=True)
    lr_scale: tuple[tuple[int, float], ...] = option(
        ((0, 1.0),),
        "factor on the rate: one number, or {step: factor, ...}, each from its step on, such as {0: 1, 60: 0.25}",
        above=0,
        at_most=1000,
        adjustable=True,
    )
    lr_exponents: tuple[int, ...] = option(
        (),
        "try the rates 2^-N for these N and keep the one that reaches stop_psnr first; [] for lr",
        at_least=1,
        at_most=40,
        may_change=True,
    )


@dataclass(frozen=True)
class ImageSsimConfig(ScheduleConfig):
    """The SSIM term: its weight, its schedule and the picture that it sees."""

    ssim_weight: float = option(0.1, "weight of 1 - SSIM; 0 for a fit without SSIM", at_least=0, adjustable=True)
    ssim_domain: str = option(
        "permuted",
        "what SSIM compares: the picture as fitted, as shown, or with its pixels in a fresh order each step",
        choices=("permuted", "image", "reshuffled"),
    )
    ssim_window: int = option(11, "side of the windows, pixels", at_least=1, at_most=11)
    ssim_sigma: float | None = option(1.5, "of the windows' Gaussian weights, pixels; none for equal weights", above=0)
    ssim_stride: int = option(1, "distance between windows, pixels", at_least=1)
    ssim_padding: str = option("same", "windows over the border too, or inside only", choices=("same", "valid"))
    ssim_reset_adam: bool = option(
        False, "forget Adam's moments when SSIM is removed: shows how much of its benefit is the optimiser's memory"
    )


@dataclass(frozen=True)
class ImageConfig(BaseConfig):
    """The resolved configuration of a fit, or of the fits of a folder.

    Raises:
        ConfigError: options that contradict each other (each one's own range is checked by its group).
    """

    run: ImageRunConfig = field(default_factory=ImageRunConfig)
    data: ImageDataConfig = field(default_factory=ImageDataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    optim: ImageOptimConfig = field(default_factory=ImageOptimConfig)
    ssim: ImageSsimConfig = field(default_factory=ImageSsimConfig)

    def __post_init__(self) -> None:
        check_run(self.run)
        check_schedule(self.ssim, ("ssim_weight", self.ssim.ssim_weight), self.run.n_iters)
        check_part(self.ssim)
        self._check_data()
        self._check_network()
        if self.optim.lr_exponents and self.run.stop_psnr is None:
            raise ConfigError("lr_exponents: a search needs a PSNR to reach; give stop_psnr, such as 60")
        if len(set(self.optim.lr_exponents)) != len(self.optim.lr_exponents):
            raise ConfigError(f"lr_exponents: {list(self.optim.lr_exponents)} names a rate twice")

    def needs(self, pixels: int | None = None) -> list[Need]:
        """The network's numbers, and what is kept of each of the picture's pixels where their number is known."""
        hidden, layers = self.network.hidden, self.network.hidden_layers
        what = f"a network of {layers} layers of {hidden:,}"
        needs = [Need(what, BYTES_OF_WEIGHT * (layers - 1) * hidden**2, ("hidden", "hidden_layers"))]
        if pixels is None and self.data.size != (0,):
            pixels = self.data.size[0] * self.data.size[-1]
        if pixels is not None:
            each = BYTES_OF_PIXEL
            if self.network.field != "siren":  # whose kernels keep what fits into a core's cache
                each += BYTES_OF_ACTIVATION * layers * hidden
            needs.append(Need(f"a picture of {pixels:,} pixels", each * pixels, ("size",)))
        return needs

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
    data=("image", "images"),
)


def read_images(argv: Sequence[str]) -> Given:
    """What the words after `nerf-ssim fit-image` ask for; see `read_command`."""
    return read_command(FIT_IMAGE, argv)


def parse_images(argv: Sequence[str]) -> ImageConfig:
    """The configuration that the words after `nerf-ssim fit-image` ask for.

    Raises:
        ConfigError: as `parse_command`, or neither a picture nor a folder is named.
    """
    return require_pictures(read_images(argv).config())


def require_pictures(config: ImageConfig) -> ImageConfig:
    """The configuration itself; raises `ConfigError` where neither a picture nor a folder is named."""
    if not (config.data.image or config.data.images):
        raise ConfigError("image: not given; name a picture with --image, or a folder of them with --images")
    return config
