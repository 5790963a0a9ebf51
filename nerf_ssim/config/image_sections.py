"""Every option of a 2D image fit that a radiance field's run does not have."""

from __future__ import annotations

from dataclasses import dataclass

from .options import Section, option
from .sections import CommonRunConfig, ScheduleConfig

FIELDS = ("siren", "finer", "wire", "gaussian", "fourier")


@dataclass(frozen=True)
class ImageRunConfig(CommonRunConfig):
    """Where a fit lives, how long it is and when it ends."""

    n_iters: int = option(3000, "steps (updates on all pixels) of a fit", at_least=1, at_most=10**8)
    save_every: int = option(200, "steps between checkpoints", at_least=1)
    stop_psnr: float | None = option(None, "end as soon as PSNR reaches this many dB; none to go on", above=0)
    workers: int = option(1, "images fitted at a time, each in a process of its own", at_least=1, at_most=256)


@dataclass(frozen=True)
class ImageDataConfig(Section):
    """The picture and how it is read."""

    image: str = option("", "the picture to fit")
    images: str = option("", "a folder of pictures to fit one after the other, instead of image")
    size: tuple[int, ...] = option(
        (512,), "height and width in pixels, one number for a square; 0 for the picture's own", at_least=0
    )
    grey: bool = option(True, "fit the picture's grey values; 0 for its three colours")
    linear: bool = option(True, "fit linear intensities; 0 for the file's own sRGB values")
    permute: bool = option(False, "fit the pixels in a random order (RPP), undone in every picture shown")


@dataclass(frozen=True)
class FieldConfig(Section):
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

    lr: float = option(2.0**-11, "learning rate of Adam", above=0, at_most=1e37)
    lr_exponents: tuple[int, ...] = option(
        (), "try the rates 2^-N for these N and keep the one that reaches stop_psnr first; [] for lr", at_least=1,
        at_most=40,
    )  # fmt: skip


@dataclass(frozen=True)
class ImageSsimConfig(ScheduleConfig):
    """The SSIM term: its weight, its schedule and the picture that it sees."""

    ssim_weight: float = option(0.1, "weight of 1 - SSIM; 0 for a fit without SSIM", at_least=0)
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
