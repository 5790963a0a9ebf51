"""The tables and figures by name: their sweeps, and what draws them. A new one is an entry of `ARTIFACTS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nerf_ssim.experiments.paper import curves, gradients, tables, views
from nerf_ssim.experiments.paper import definitions as define
from nerf_ssim.experiments.paper.definitions import Request, Schedules
from nerf_ssim.experiments.paper.finished import Finished
from nerf_ssim.experiments.sweep.definition import Options

__all__ = ["ARTIFACTS", "Artifact", "Part"]

Draw = Callable[[Sequence[Finished], Path, str], str]


SHARED = "schedules"
"""The fits that figures 1b, 2a, 2b and 3 share."""


def nothing(request: Request) -> Options:
    """No further option."""
    return {}


def watched(request: Request) -> Options:
    """Luminance is measured at every step without SSIM too: figure 3 draws it."""
    return {"luminance_every": 1}


@dataclass(frozen=True)
class Part:
    """The half of a table or figure that is of runs on scenes, or of fits of pictures.

    Attributes:
        command: `train` or `fit-image`.
        group: of the sweep's folder: parts of one group share their runs.
        schedules: the runs of each scene, by name.
        draw: takes the finished runs, a folder and the artifact's name; writes figures there and returns Markdown.
        models: that train on each scene.
        is_of_one_scene: whether the paper shows one scene.
        base: options of every run beside those given.
    """

    command: str
    group: str
    schedules: Callable[[Request], Schedules]
    draw: Draw
    models: Sequence[str] = ("tensorf",)
    is_of_one_scene: bool = True
    base: Callable[[Request], Options] = nothing


@dataclass(frozen=True)
class Artifact:
    """A table or figure: what it shows in a line, its parts, and over how many seeds."""

    purpose: str
    parts: Sequence[Part]
    seeds: int = 1


def runs(schedules: Callable[[Request], Schedules], draw: Draw) -> Part:
    """A part of TensoRF on one scene that shares its runs with figures 1a and 2c."""
    return Part("train", "moments", schedules, draw, base=scored_under_way)


def fits(group: str, schedules: Callable[[Request], Schedules], draw: Draw) -> Part:
    """A part of fits."""
    return Part("fit-image", group, schedules, draw, base=watched if group == SHARED else nothing)


def methods(draw: Draw) -> Part:
    """A part of plain, RPP and guided RPP, each at the rate that reaches 60 dB first: tables II and III, figure 5."""
    return Part("fit-image", "methods", define.three_methods, draw, base=searched)


def searched(request: Request) -> Options:
    """A search for the rate to 60 dB, unless a rate is given."""
    if "lr" in request.options:
        return {}
    return {"stop_psnr": 60, "lr_exponents": define.RATES_OF_FITS[request.scale]}


def scored_under_way(request: Request) -> Options:
    """Test views are scored a dozen times on the way, and more often at the beginning."""
    shares = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    return {**watched(request), "vis_at": sorted({max(round(share * request.updates), 1) for share in shares})}


def saved_early(request: Request) -> Options:
    """Ends with figure 4's last moment, and keeps a checkpoint of each."""
    moments = [at for at in define.VIEW_MOMENTS if at <= request.updates]
    return {"stop_at": max(moments, default=request.updates), "save_at": moments}


def measured_parts(request: Request) -> Options:
    """The gradients of SSIM's two parts are measured some two hundred times in a run."""
    return {"grad_norm_every": max(request.updates // 200, 1)}


def with_ssim(command: str) -> Callable[[Request], Schedules]:
    """SSIM throughout, alone."""
    return lambda request: {"with": define.with_and_without(command)["with"]}


def with_and_without_runs(request: Request) -> Schedules:
    """Figure 3c and 3d."""
    return define.with_and_without("train")


def with_and_without_fits(request: Request) -> Schedules:
    """Figure 3a and 3b."""
    return define.with_and_without("fit-image")


ARTIFACTS: Mapping[str, Artifact] = {
    "fig1a": Artifact(
        "TensoRF: PSNR by update, SSIM throughout, never, removed, added",
        [runs(define.moments_of_runs, curves.draw_psnr)],
    ),
    "fig1b": Artifact("pictures: the same by step", [fits(SHARED, define.moments_of_fits, curves.draw_psnr)]),
    "fig2a": Artifact(
        "pictures: best PSNR by when SSIM is removed or added",
        [fits(SHARED, define.moments_of_fits, curves.draw_moments)],
    ),
    "fig2b": Artifact("pictures: PSNR by step of those", [fits(SHARED, define.moments_of_fits, curves.draw_psnr)]),
    "fig2c": Artifact(
        "TensoRF: PSNR at the end by when SSIM is removed or added", [runs(define.moments_of_runs, curves.draw_moments)]
    ),
    "fig3": Artifact(
        "S1 and mu_x - mu_y with and without SSIM, pictures and TensoRF",
        [
            fits(SHARED, with_and_without_fits, curves.draw_luminance),
            runs(with_and_without_runs, curves.draw_luminance),
        ],
    ),
    "fig4": Artifact(
        "TensoRF: a test view early on under each schedule",
        [Part("train", "views", define.four_schedules, views.draw_views, base=saved_early)],
    ),
    "fig5": Artifact("pictures: error maps of plain, RPP and guided RPP", [methods(views.draw_errors)]),
    "fig6": Artifact(
        "ours: the gradient of SSIM through S1 and through S2 beside MSE's, pictures and both models",
        [
            Part("fit-image", "gradients", with_ssim("fit-image"), gradients.draw_gradients, base=measured_parts),
            Part(
                "train",
                "gradients_of_runs",
                with_ssim("train"),
                gradients.draw_gradients,
                models=tuple(define.M_OF_MODEL),
                base=measured_parts,
            ),
        ],
    ),
    "table1": Artifact(
        "TensoRF and DVGO over scenes: PSNR w/o, w/, removed and added at M",
        [
            Part(
                "train",
                "table1",
                define.table1_schedules,
                tables.table1,
                tuple(define.M_OF_MODEL),
                is_of_one_scene=False,
            )
        ],
        seeds=3,
    ),
    "table2": Artifact("pictures: steps to 50, 55 and 60 dB of plain, RPP and guided RPP", [methods(tables.table2)]),
    "table3": Artifact("pictures: variance of the squared errors at each level", [methods(tables.table3)]),
    "options": Artifact(
        "ours: guided RPP by weight, picture and window of SSIM",
        [fits("options", define.ssim_options, tables.best_table)],
    ),
    "memory": Artifact(
        "ours: guided RPP with Adam's moments forgotten at removal",
        [fits("memory", define.optimizer_memory, tables.best_table)],
    ),
    "precisions": Artifact(
        "ours: guided RPP in float32 and in bfloat16 terms", [fits("precisions", define.precisions, tables.best_table)]
    ),
    "networks": Artifact(
        "ours: each network with RPP and guided RPP", [fits("networks", define.networks, tables.best_table)]
    ),
}
