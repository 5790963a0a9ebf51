"""The experiments on pictures: which fits each is made of, in the order in which they are worth most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.report import pictures as picture_reports
from nerf_ssim.images.fits import is_finished, precision_note, run_fit, search_rate
from nerf_ssim.images.options import ImageConfig
from nerf_ssim.images.target import list_images
from nerf_ssim.ops.siren import PRECISIONS
from nerf_ssim.runs.folder import run_path
from nerf_ssim.runs.interrupts import GracefulStop

__all__ = ["EXPERIMENTS", "Experiment", "run_experiment"]

PLAIN = {"permute": False, "ssim_weight": 0.0, "ssim_remove_at": "end", "ssim_domain": "permuted"}
PERMUTED = {**PLAIN, "permute": True}
MOMENTS = (60, 10, 20, 40, 80, 120, 200, 400)
"""When SSIM is removed or added in figure 2; the paper's own first."""

Options = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """Some fits of each picture, by name, and the report made of them.

    Attributes:
        purpose: what it shows, in a line.
        fits: from the options given, the options of each fit that differ from them.
        report: takes the experiment's folder, writes its figures there and returns its text.
    """

    purpose: str
    fits: Callable[[ImageConfig], dict[str, Options]]
    report: Callable[[Path], str]


def guided(config: ImageConfig, **changes: Any) -> Options:
    """The options of guided RPP: SSIM until `ssim_remove_at`, or the paper's 60 where none is given."""
    given = config.ssim.ssim_remove_at
    options = {"permute": True, "ssim_weight": config.ssim.ssim_weight, "ssim_domain": config.ssim.ssim_domain}
    return {**options, "ssim_remove_at": 60 if given == "end" else given, **changes}


def three_methods(config: ImageConfig) -> dict[str, Options]:
    """Plain, RPP, and guided RPP."""
    return {"rpp": PERMUTED, "guided": guided(config), "plain": PLAIN}


def schedules(config: ImageConfig) -> dict[str, Options]:
    """Figure 2: without SSIM, throughout, removed and added at each moment, in the order of pixels that is given."""
    steps = config.run.n_iters
    fits: dict[str, Options] = {"without": {"ssim_weight": 0.0, "ssim_remove_at": "end"}}
    fits["with"] = {"ssim_add_at": 0, "ssim_remove_at": "end"}
    for moment in MOMENTS:
        if moment < steps:
            fits[f"remove_{moment}"] = {"ssim_add_at": 0, "ssim_remove_at": moment}
            fits[f"add_{moment}"] = {"ssim_add_at": moment, "ssim_remove_at": "end"}
    return fits


def ssim_options(config: ImageConfig) -> dict[str, Options]:
    """Guided RPP with other weights, pictures and windows; what the defaults rest on."""
    fits = {"rpp": PERMUTED, "plain": PLAIN}
    fits |= {f"weight_{weight:g}": guided(config, ssim_weight=weight) for weight in (0.1, 1.0, 0.01)}
    fits |= {f"domain_{domain}": guided(config, ssim_domain=domain) for domain in ("image", "reshuffled")}
    fits |= {f"window_{window}": guided(config, ssim_window=window) for window in (4, 7)}
    fits["window_11_uniform"] = guided(config, ssim_sigma=None)
    return fits


def optimizer_memory(config: ImageConfig) -> dict[str, Options]:
    """RPP, and guided RPP with and without what Adam remembers of SSIM's gradient."""
    reset = {"ssim_reset_adam": True}
    return {"rpp": PERMUTED, "guided": guided(config), "guided_reset": guided(config, **reset)}


def networks(config: ImageConfig) -> dict[str, Options]:
    """Each network with RPP and with guided RPP."""
    fits: dict[str, Options] = {}
    kinds: dict[str, Options] = {field: {"field": field} for field in ("siren", "finer", "gaussian", "fourier", "wire")}
    kinds["siren_scaled"] = {"field": "siren", "weight_scale": 2.0}
    for name, kind in kinds.items():
        plain = {"omega": None, "spread": None, "weight_scale": 1.0, "precision": "float32", **kind}
        fits[f"{name}_rpp"] = {**PERMUTED, **plain}
        fits[f"{name}_guided"] = {**guided(config), **plain}
    return fits


def precisions(config: ImageConfig) -> dict[str, Options]:
    """Guided RPP in each precision of the products."""
    return {precision: guided(config, precision=precision) for precision in PRECISIONS}


EXPERIMENTS = {
    "figure2": Experiment(
        "best PSNR by when SSIM leaves or enters, and PSNR by step", schedules, picture_reports.figure2
    ),
    "figure3": Experiment(
        "S1 and mu_x - mu_y by step, with and without SSIM",
        lambda config: {name: fit for name, fit in schedules(config).items() if name in ("without", "with")},
        picture_reports.figure3,
    ),
    "table2": Experiment(
        "steps to reach 50, 55 and 60 dB of plain, RPP and guided RPP", three_methods, picture_reports.table2
    ),
    "table3": Experiment("variance of the squared errors at each PSNR level", three_methods, picture_reports.table3),
    "figure5": Experiment("error maps of plain, RPP and guided RPP", three_methods, picture_reports.figure5),
    "options": Experiment("guided RPP by weight, picture and window of SSIM", ssim_options, picture_reports.best_table),
    "memory": Experiment(
        "guided RPP with Adam's moments forgotten when SSIM is removed", optimizer_memory, picture_reports.best_table
    ),
    "precisions": Experiment("guided RPP in float32 and in bfloat16 terms", precisions, picture_reports.best_table),
    "networks": Experiment("each network with RPP and guided RPP", networks, picture_reports.best_table),
}


def run_experiment(name: str, config: ImageConfig, *, report_only: bool = False, names: list[str] | None = None) -> int:
    """Runs what is missing of an experiment's fits, picture by picture, then writes and prints its report.

    Everything is under `<basedir>/<expname>/<picture>/<fit>`; the report is `<basedir>/<expname>/<name>.md`.
    Experiments that share fits share them: give the same `expname`.

    Args:
        name: of the experiment.
        config: the options given, and the pictures.
        report_only: runs no fit.
        names: of the fits to run, in this order; None for all.

    Returns:
        0, or 130/143 when interrupted, without a report.

    Raises:
        ConfigError: a name that is no fit of the experiment.
    """
    experiment, folder = EXPERIMENTS[name], run_path(config.run)
    pictures = [Path(config.data.image)] if config.data.image else list_images(config.data.images)
    fits = _chosen(experiment.fits(config), names)
    notes = set() if report_only else {precision_note(config.replace(**options)) for options in fits.values()}
    for note in sorted(notes - {""}):
        print(note)
    with GracefulStop() as stop:
        for picture in [] if report_only else pictures:
            for fit, options in fits.items():
                one = config.replace(
                    **{"image": str(picture), "images": "", "basedir": str(folder / picture.stem), "expname": fit},
                    **{"resume": True, **options},
                )
                if stop.requested is None and not is_finished(one):
                    (search_rate if one.optim.lr_exponents else run_fit)(one, stop)
    if stop.requested is not None:
        print("stopped; the same command goes on, and --report_only makes the report of what there is")
        return stop.exit_code
    report = experiment.report(folder)
    (folder / f"{name}.md").write_text(report, encoding="utf-8")
    print(report)
    return 0


def _chosen(fits: dict[str, Options], names: list[str] | None) -> dict[str, Options]:
    unknown = [name for name in names or () if name not in fits]
    if unknown:
        raise ConfigError(f"--fits: {unknown[0]!r} is no fit of this experiment; there are: {', '.join(fits)}")
    return fits if names is None else {name: fits[name] for name in names}
