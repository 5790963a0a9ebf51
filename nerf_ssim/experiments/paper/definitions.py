"""What each table and figure of the paper is made of: sweeps of runs on scenes and of fits of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nerf_ssim.experiments.paper.scenes import Scale, Scenes
from nerf_ssim.experiments.sweep.definition import Options, Sweep, schedule_options
from nerf_ssim.ops.siren import PRECISIONS

__all__ = ["CONFIG_OF_FITS", "M_OF_MODEL", "RATES_OF_FITS", "Request", "Schedules", "fit_sweep", "run_sweep"]

MOMENTS_OF_RUNS = (70, 10, 30, 150, 300, 700)
MOMENTS_OF_FITS = (60, 10, 20, 40, 80, 120, 200, 400)
"""When SSIM is removed or added, the paper's own first."""

VIEW_MOMENTS = (50, 100, 200, 400)
"""Updates after which figure 4 shows a test view."""

M_OF_MODEL = {"tensorf": 70, "dvgo": 200}
M_OF_FITS = 60
SEEDS = (20211202, 1, 2)
RATES_OF_FITS = {"small": [9, 10, 11], "full": [8, 9, 10, 11, 12, 13, 14, 15, 16]}
CONFIG_OF_FITS = {"small": "siren_small.txt", "full": "siren_kodak.txt"}

PLAIN: Options = {"permute": 0, "ssim_weight": 0.0, "ssim_domain": "permuted"}
PERMUTED: Options = {**PLAIN, "permute": 1}


@dataclass(frozen=True)
class Request:
    """What a table or figure is asked for with.

    Attributes:
        scale: small or full.
        updates: of a run on a scene, or of a fit: later moments are left out.
        seeds: how many a table takes.
        options: given on the command line, by name.
    """

    scale: Scale
    updates: int
    seeds: int
    options: Mapping[str, Any]


Schedules = dict[str, Options]


def moment(first_choice: int, updates: int) -> int:
    """The moment of the paper, or the middle of a run that does not last so long."""
    return first_choice if first_choice < updates else max(updates // 2, 1)


def with_and_without(command: str) -> Schedules:
    """SSIM throughout, and never."""
    return {word: schedule_options(word, command) for word in ("without", "with")}


def by_moment(command: str, moments: Sequence[int], updates: int) -> Schedules:
    """Without SSIM, throughout, removed and added at each of the moments that come before the end."""
    words = [f"{kind}_{at}" for at in moments if at < updates for kind in ("remove", "add")]
    return {**with_and_without(command), **{word: schedule_options(word, command) for word in words}}


def moments_of_runs(request: Request) -> Schedules:
    """Figures 1a and 2c."""
    return by_moment("train", MOMENTS_OF_RUNS, request.updates)


def four_schedules(request: Request) -> Schedules:
    """Figure 4: without SSIM, throughout, removed and added at the paper's moment."""
    return by_moment("train", MOMENTS_OF_RUNS[:1], request.updates)


def table1_schedules(request: Request) -> Schedules:
    """Table I: without SSIM, throughout, removed and added at each model's moment."""
    return by_moment("train", sorted(set(M_OF_MODEL.values())), request.updates)


def run_sweep(name: str, schedules: Schedules, scenes: Scenes, models: Sequence[str], request: Request) -> Sweep:
    """Runs on scenes under each schedule, for each model and the first seeds."""
    axes = {
        "seed": seeds_of(request),
        "scene": scenes.axis,
        "model": {model: {"config": scenes.configs[model]} for model in models},
        "schedule": schedules,
    }
    others = {
        model: [f"{kind}_{at}" for other, at in M_OF_MODEL.items() if other != model for kind in ("remove", "add")]
        for model in models
    }
    exclude = [
        {"model": [model], "schedule": [word for word in words if word in schedules]} for model, words in others.items()
    ]
    base: Options = {"N_vis": -1, "vis_every": 0}
    return Sweep(f"{name}_{request.scale}", "train", base, axes, exclude if len(models) > 1 else [])


def guided(request: Request, **changes: Any) -> Options:
    """The options of guided RPP: SSIM until `ssim_remove_at`, or the paper's 60 where none is given."""
    given = request.options.get("ssim_remove_at", "end")
    at = moment(M_OF_FITS, request.updates) if given == "end" else given
    chosen = {name: request.options[name] for name in ("ssim_weight", "ssim_domain") if name in request.options}
    return {"permute": 1, **chosen, "ssim_remove_at": at, **changes}


def moments_of_fits(request: Request) -> Schedules:
    """Figures 1b, 2a and 2b: in the order of pixels that is given."""
    return by_moment("fit-image", MOMENTS_OF_FITS, request.updates)


def three_methods(request: Request) -> Schedules:
    """Plain, RPP, and guided RPP."""
    return {"rpp": PERMUTED, "guided": guided(request), "plain": PLAIN}


def ssim_options(request: Request) -> Schedules:
    """Guided RPP with other weights, pictures and windows; what the defaults rest on."""
    fits = {"rpp": PERMUTED, "plain": PLAIN}
    fits |= {f"weight_{weight:g}": guided(request, ssim_weight=weight) for weight in (0.1, 1.0, 0.01)}
    fits |= {f"domain_{domain}": guided(request, ssim_domain=domain) for domain in ("image", "reshuffled")}
    fits |= {f"window_{window}": guided(request, ssim_window=window) for window in (4, 7)}
    fits["window_11_uniform"] = guided(request, ssim_sigma=None)
    return fits


def optimizer_memory(request: Request) -> Schedules:
    """RPP, and guided RPP with and without what Adam remembers of SSIM's gradient."""
    return {"rpp": PERMUTED, "guided": guided(request), "guided_reset": guided(request, ssim_reset_adam=1)}


def networks(request: Request) -> Schedules:
    """Each network with RPP and with guided RPP."""
    fits: Schedules = {}
    kinds: dict[str, Options] = {kind: {"field": kind} for kind in ("siren", "finer", "gaussian", "fourier", "wire")}
    kinds["siren_scaled"] = {"field": "siren", "weight_scale": 2.0}
    for name, kind in kinds.items():
        plain = {"omega": None, "spread": None, "weight_scale": 1.0, "precision": "float32", **kind}
        fits[f"{name}_rpp"] = {**PERMUTED, **plain}
        fits[f"{name}_guided"] = {**guided(request), **plain}
    return fits


def precisions(request: Request) -> Schedules:
    """Guided RPP in each precision of the products."""
    return {precision: guided(request, precision=precision) for precision in PRECISIONS}


def fit_sweep(name: str, schedules: Schedules, pictures: Mapping[str, Options], request: Request) -> Sweep:
    """Fits of each picture under each schedule, for the first seeds."""
    axes = {"seed": seeds_of(request), "scene": pictures, "schedule": schedules}
    return Sweep(f"{name}_{request.scale}", "fit-image", {}, axes)


def seeds_of(request: Request) -> Schedules:
    """The axis of the first seeds."""
    return {f"seed_{seed}": {"seed": seed} for seed in SEEDS[: request.seeds]}
