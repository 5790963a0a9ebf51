"""Every option of a training run, declared once: type, default, range, choices and help.

Names are those that users of TensoRF and S3IM have in their configuration files. Defaults are the canonical ones of
TensoRF on Replica where the published files give a value, and the published parser's otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from .options import Section, option

_LOADED = "convert another kind of data set to one of these layouts, or look for its converter to sdfstudio's"


@dataclass(frozen=True)
class CommonRunConfig(Section):
    """What every kind of run has: its folder, its length, how it is interrupted and continued."""

    expname: str = option(
        "run",
        "name of the run's folder in basedir; when not given, the configuration file's name",
        pattern=r"(?!\.{1,2}$)(?!-)[^/\\]+",
        must="a folder's plain name, without slashes; the folder around it is basedir",
    )
    basedir: str = option("./runs", "folder of all runs", pattern=".+", must="the name of a folder")
    seed: int = option(
        20211202, "seed of every random generator", at_least=0, at_most=2**53, defaults={"dvgo": 777}
    )
    device: str = option(
        "cpu", "where to train", pattern=r"cpu|cuda(:[0-9]{1,3})?", must="cpu, cuda or cuda:NUMBER"
    )
    n_iters: int = option(
        30000, "iterations that every schedule is laid out for", at_least=1, at_most=10**8, alias="N_iters"
    )
    stop_at: int | None = option(None, "end and score after this many iterations, schedules unchanged", at_least=1)
    resume: bool = option(False, "continue the run from its last checkpoint")
    overwrite: bool = option(False, "discard what a run of this name left and start anew")
    save_every: int = option(1000, "iterations between checkpoints", at_least=1)


@dataclass(frozen=True)
class RunConfig(CommonRunConfig):
    """Where a run lives, how long it is and what it leaves behind."""

    vis_every: int = option(10000, "iterations between scorings of test views; 0 for none before the end", at_least=0)
    vis_at: tuple[int, ...] = option((), "further scorings, after these numbers of updates", at_least=0)
    save_at: tuple[int, ...] = option(
        (), "further checkpoints, after these numbers of updates, that stay in checkpoints/lasting", at_least=1
    )
    N_vis: int = option(5, "test views in each scoring under way; -1 for all, 0 for none", at_least=-1)
    render_test: bool = option(True, "keep pictures of the test views at the end; 0 scores them without")
    render_train: bool = option(False, "score the training views too at the end, with pictures")
    progress_refresh_rate: int = option(10, "iterations between updates of the progress line", at_least=1)
    log_every: int = option(10, "iterations between rows of metrics.csv where luminance isn't measured", at_least=1)
    grad_norm_every: int = option(
        100, "iterations between measurements of each loss term's gradient norm; 0 for none", at_least=0
    )


@dataclass(frozen=True)
class DataConfig(Section):
    """The scene and how it is read."""

    dataset_name: str = option("replica", "layout of the scene", choices=("replica", "monosdf"), must=_LOADED)
    datadir: str = option("", "the scene's folder; bundled:room is the one that comes with the program")
    downsample_train: float = option(
        1.0, "shrink the images by this factor, both splits unless downsample_test is given", at_least=1, at_most=64
    )
    downsample_test: float | None = option(
        None, "factor of the test images alone; none for that of training", at_least=1, at_most=64
    )
    test_every: int = option(10, "frames 0, test_every, 2*test_every, ... are the test split", at_least=2)
    as_published: bool = option(False, "read intrinsics half a pixel off, as the published loader does")
    label: str | None = option(None, "label of the results, such as 'recovered poses'; none for the scene's own")
    white_bg: bool = option(
        False, "composite on white, in training always and in tests", defaults={"dvgo": True}
    )


@dataclass(frozen=True)
class ModelConfig(Section):
    """The radiance field: grids, decoder, sampling and occupancy."""

    belongs_to = "tensorf"
    shared = ("model", "grid", "n_lamb_sigma", "n_lamb_sh", "decoder_precision")

    model: str = option("tensorf", "kind of field", choices=("tensorf", "dvgo"))
    grid: str = option(
        "vm",
        "what holds density and colour features: planes times lines (vm, TensorVMSplit), products of lines (cp, "
        "TensorCP) or voxels of their own (dense); bounded DVGO's coarse stage is always dense",
        choices=("vm", "cp", "dense"),
        alias="model_name",
        synonyms={"TensorVMSplit": "vm", "TensorCP": "cp"},
        defaults={"dvgo": "dense"},
    )
    N_voxel_init: int = option(100**3, "voxels at the start", at_least=8, at_most=2**40)
    N_voxel_final: int = option(300**3, "voxels after the last upsampling", at_least=8, at_most=2**40)
    upsamp_list: tuple[int, ...] = option(
        (2000, 3000, 4000, 5500, 7000), "iterations after which the grids are upsampled", at_least=0
    )
    update_AlphaMask_list: tuple[int, ...] = option(
        (2000, 4000),
        "iterations after which the occupancy mask is made anew; the first also shrinks the box, the second drops the "
        "rays that meet nothing",
        at_least=0,
    )
    n_lamb_sigma: tuple[int, ...] = option(
        (16, 16, 16), "density components of a vm grid, three numbers, or of a cp grid, one", at_least=1, at_most=4096
    )
    n_lamb_sh: tuple[int, ...] = option(
        (48, 48, 48), "appearance components, likewise", at_least=1, at_most=4096
    )
    data_dim_color: int = option(27, "features that the decoder gets", at_least=1, at_most=1024)
    density_shift: float = option(-10.0, "added to the density feature before softplus")
    distance_scale: float = option(25.0, "factor on distances in compositing", above=0)
    alpha_mask_thre: float = option(1e-4, "opacity from which a cell counts as occupied", at_least=0, below=1)
    rayMarch_weight_thres: float = option(1e-4, "weight above which a sample's colour is computed", at_least=0, below=1)
    fea2denseAct: str = option("softplus", "density activation", choices=("softplus", "relu"))
    shadingMode: str = option("MLP_PE", "colour decoder", choices=("MLP_PE", "MLP_Fea", "MLP", "SH", "RGB"))
    pos_pe: int = option(6, "frequencies of the position's encoding (MLP_PE)", at_least=0, at_most=16)
    view_pe: int = option(6, "frequencies of the view direction's encoding", at_least=0, at_most=16)
    fea_pe: int = option(6, "frequencies of the features' encoding (MLP_Fea)", at_least=0, at_most=16)
    featureC: int = option(128, "hidden width of the decoder", at_least=1, at_most=4096)
    step_ratio: float = option(0.5, "distance between samples, in voxels", above=0, at_most=16)
    nSamples: int = option(1000000, "most samples along a ray", at_least=1, at_most=10**9)
    color_samples: int = option(
        0,
        "in training, samples a ray that get a colour, drawn in proportion to their weight from those above "
        "rayMarch_weight_thres so that colours and gradients are unbiased; 0 for all of them, as published",
        at_least=0,
        at_most=10**6,
    )
    test_color_samples: int = option(
        0,
        "the same in tests, evenly spread over the weights instead of drawn; 0 for all of them, as published",
        at_least=0,
        at_most=10**6,
    )
    decoder_precision: str = option(
        "float32",
        "products of the colour decoder (MLP_Fea; DVGO's of depth 3): bf16 rounds their operands where the "
        "device multiplies bfloat16 in hardware, and says so where it does not",
        choices=("float32", "bf16"),
    )
    recompute: bool = option(
        False, "less memory: colours are computed again for their gradient, instead of keeping what they were made of"
    )
    aabb_scale: float = option(1.2, "factor on the scene's box, about the origin", above=0, at_most=100)


@dataclass(frozen=True)
class OptimConfig(Section):
    """The optimiser and the terms of the loss other than SSIM."""

    belongs_to = "tensorf"
    shared = ("batch_size",)

    batch_size: int = option(4096, "rays in an iteration", at_least=1, at_most=2**24, alias="N_rand")
    lr_init: float = option(0.02, "learning rate of the grids", above=0, at_most=1e37)
    lr_basis: float = option(1e-3, "learning rate of the basis and the decoder", above=0, at_most=1e37)
    lr_decay_iters: int = option(
        -1, "iterations over which the rates fall by lr_decay_target_ratio; -1 for n_iters", at_least=-1
    )
    lr_decay_target_ratio: float = option(0.1, "factor of that fall", above=0, at_most=1)
    lr_upsample_reset: bool = option(True, "rates go back to the initial ones at each upsampling")
    L1_weight_inital: float = option(0.0, "weight of density's L1 until the first mask", at_least=0)
    L1_weight_rest: float = option(0.0, "weight of density's L1 from the first mask on", at_least=0)
    Ortho_weight: float = option(0.0, "weight of the components' orthogonality", at_least=0)
    TV_weight_density: float = option(0.0, "weight of the density grids' total variation", at_least=0)
    TV_weight_app: float = option(0.0, "weight of the appearance grids' total variation", at_least=0)


@dataclass(frozen=True)
class ScheduleConfig(Section):
    """When SSIM is part of the loss."""

    ssim_add_at: int = option(0, "first iteration with SSIM", at_least=0)
    ssim_remove_at: int | str = option(
        "end", "first iteration without it; auto: once luminance has converged; end: never", at_least=1
    )
    ssim_auto_tolerance: float = option(
        0.02, "auto: how flat luminance must be, as a share of its improvement", above=0, below=1
    )
    ssim_auto_patience: int = option(20, "auto: iterations over which it must be", at_least=1)
    luminance_every: int = option(
        10, "iterations between measurements of luminance while SSIM is off; 0 for none", at_least=0
    )


@dataclass(frozen=True)
class SsimConfig(ScheduleConfig):
    """The SSIM term: its weight, its schedule and how it samples."""

    s3im_weight: float = option(1.0, "weight of 1 - SSIM; 0 for a run without SSIM", at_least=0)
    s3im_kernel: int = option(4, "side of the windows, pixels", at_least=1, at_most=11)
    s3im_stride: int = option(4, "distance between windows, pixels", at_least=1)
    s3im_repeat_time: int = option(10, "orders of the batch that SSIM looks at", at_least=1, at_most=1000)
    s3im_patch_height: int = option(64, "height of the image made of the batch's rays", at_least=1)
    s3im_patch_width: int = option(64, "width of one order of the batch in that image", at_least=1)


@dataclass(frozen=True)
class EvaluationConfig(Section):
    """How rendered views are scored."""

    lpips_weights: str | None = option(None, "folder with alexnet_features.pth and vgg16_features.pth, for LPIPS")
    ssim_variant: str = option("tensorf", "which SSIM to report", choices=("tensorf", "skimage", "s3im"))
