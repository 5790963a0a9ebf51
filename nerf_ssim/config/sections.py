"""The option groups that a run has whatever it trains, each option declared once: type, default, range and help.

Names are those that users of TensoRF and S3IM have in their configuration files. Defaults are the canonical ones of
TensoRF on Replica where the published files give a value, and the published parser's otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from nerf_ssim.config.options import Section, option

SSIM_VARIANTS = ("tensorf", "skimage", "s3im")
"""The ways of computing SSIM whose numbers are published; `evaluation.metrics.ssim` says how they differ."""


@dataclass(frozen=True)
class CommonRunConfig(Section):
    """What every kind of run has: its folder, its length, how it is interrupted and continued."""

    expname: str = option(
        "run",
        "name of the run's folder in basedir; when not given, the configuration file's name",
        pattern=r"(?!\.{1,2}$)(?!-)[^/\\]+",
        must="a folder's plain name, without slashes; the folder around it is basedir",
        may_change=True,
    )
    basedir: str = option("./runs", "folder of all runs", pattern=".+", must="the name of a folder", may_change=True)
    seed: int = option(20211202, "seed of every random generator", at_least=0, at_most=2**53)
    device: str = option(
        "auto",
        "where to train; auto is a GPU that PyTorch can use, else the processor, and for --resume the run's own device",
        pattern=r"auto|cpu|cuda(:[0-9]{1,3})?",
        must="auto, cpu, cuda or cuda:NUMBER",
        may_change=True,
    )
    deterministic: bool = option(
        False,
        "the same bits at every run on a GPU too: sums in a fixed order instead of atomics, which take longer",
        may_change=True,
    )
    n_iters: int = option(
        30000, "iterations that every schedule is laid out for", at_least=1, at_most=10**8, alias="N_iters"
    )
    stop_at: int | None = option(
        None, "end and score after this many iterations, schedules unchanged", at_least=1, may_change=True
    )
    resume: bool = option(False, "continue the run from its last checkpoint", may_change=True)
    allow_changes: bool = option(
        False, "with resume: take other rates, weights and thresholds than the run's own from here on", may_change=True
    )
    overwrite: bool = option(False, "discard what a run of this name left and start anew", may_change=True)
    save_every: int = option(1000, "iterations between checkpoints", at_least=1, may_change=True)
    log_to: str = option(
        "tensorboard",
        "programs that are given the rows of metrics.csv too, where they are installed: tensorboard, wandb, both with "
        "a comma between, or none",
        pattern=r"none|(tensorboard|wandb)|tensorboard,wandb|wandb,tensorboard",
        must="tensorboard, wandb, tensorboard,wandb or none",
        may_change=True,
    )


@dataclass(frozen=True)
class RunConfig(CommonRunConfig):
    """Where a run lives, how long it is and what it leaves behind."""

    vis_every: int = option(
        10000, "iterations between scorings of test views; 0 for none before the end", at_least=0, may_change=True
    )
    vis_at: tuple[int, ...] = option(
        (), "further scorings, after these numbers of updates", at_least=0, may_change=True
    )
    save_at: tuple[int, ...] = option(
        (),
        "further checkpoints, after these numbers of updates, that stay in checkpoints/lasting",
        at_least=1,
        may_change=True,
    )
    N_vis: int = option(
        5, "score every n//N-th of the n test views under way; -1 for all, 0 for none", at_least=-1, may_change=True
    )
    render_test: bool = option(
        True, "keep pictures of the test views at the end; 0 scores them without", may_change=True
    )
    render_train: bool = option(False, "score the training views too at the end, with pictures", may_change=True)
    progress_refresh_rate: int = option(
        10, "iterations between updates of the progress line", at_least=1, may_change=True
    )
    log_every: int = option(
        10, "iterations between rows of metrics.csv where luminance isn't measured", at_least=1, may_change=True
    )
    grad_norm_every: int = option(
        100,
        "iterations between measurements of gradient norms: each loss term's, and SSIM's two parts' with their cosines "
        "to the MSE's; 0 for none",
        at_least=0,
        may_change=True,
    )


@dataclass(frozen=True)
class ScheduleConfig(Section):
    """When SSIM is part of the loss, and which part of it."""

    ssim_add_at: int = option(0, "first iteration with SSIM", at_least=0)
    ssim_remove_at: int | str = option(
        "end", "first iteration without it; auto: once SSIM has converged; end: never", at_least=1
    )
    ssim_auto_watches: str = option(
        "ssim",
        "auto: what must have converged: luminance S1, structure S2, or SSIM itself, S1 S2",
        choices=("luminance", "structure", "ssim"),
    )
    ssim_part: str = option(
        "both",
        "what the term is made of: 1 - S1 S2 (both), luminance 1 - S1 or structure 1 - S2 alone, or their weighted sum",
        choices=("both", "luminance", "structure", "sum"),
    )
    ssim_luminance_weight: float | None = option(
        None, "ssim_part sum: weight of 1 - S1, times that of the whole term; none for 1", at_least=0
    )
    ssim_structure_weight: float | None = option(None, "ssim_part sum: weight of 1 - S2, likewise", at_least=0)
    ssim_auto_tolerance: float = option(
        0.005, "auto: how flat what it watches is, as a share of its improvement", above=0, below=1, adjustable=True
    )
    ssim_auto_patience: int = option(
        20,
        "auto: the least iterations over which it must be; also a 150th of the run and a third of those gone by",
        at_least=1,
        adjustable=True,
    )
    luminance_every: int = option(
        10, "iterations between measurements of luminance while SSIM is off; 0 for none", at_least=0, may_change=True
    )


@dataclass(frozen=True)
class SsimConfig(ScheduleConfig):
    """The SSIM term: its weight, its schedule and how it samples."""

    s3im_weight: float = option(1.0, "weight of 1 - SSIM; 0 for a run without SSIM", at_least=0, adjustable=True)
    s3im_kernel: int = option(4, "side of the windows, pixels", at_least=1, at_most=11)
    s3im_stride: int = option(4, "distance between windows, pixels", at_least=1)
    s3im_repeat_time: int = option(10, "orders of the batch that SSIM looks at", at_least=1, at_most=1000)
    s3im_patch_height: int = option(64, "height of the image made of the batch's rays", at_least=1)
    s3im_patch_width: int = option(64, "width of one order of the batch in that image", at_least=1)


@dataclass(frozen=True)
class EvaluationConfig(Section):
    """How rendered views are scored."""

    lpips_weights: str | None = option(
        None, "folder with alexnet_features.pth and vgg16_features.pth, for LPIPS", may_change=True
    )
    ssim_variant: str = option("tensorf", "which SSIM to report", choices=SSIM_VARIANTS, may_change=True)
