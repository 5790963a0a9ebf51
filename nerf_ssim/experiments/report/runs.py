"""The runs that a report is about: found under the folders given, read, and named by what they are."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nerf_ssim.errors import ConfigError
from nerf_ssim.experiments.report.layout import metrics_columns
from nerf_ssim.files import read_text

__all__ = ["Comparison", "ReportedRun", "load_comparison", "schedule_name"]

LONGEST_SETTINGS = 60
COLUMNS = ("iteration", "seconds", "psnr_train", "psnr_test")
RESULTS = ("label", "stopped_at", "schedule", "seconds_train", "ssim_variant", "psnr")
# Options that say which run it is, where it is or how it is watched, and those that the schedule's name says.
NAMED_ELSEWHERE = frozenset(
    "expname basedir seed datadir dataset_name device model resume overwrite label config save_every save_at "
    "vis_every vis_at N_vis log_every grad_norm_every luminance_every progress_refresh_rate render_test render_train "
    "log_to lpips_weights ssim_add_at ssim_remove_at s3im_weight ssim_part ssim_luminance_weight "
    "ssim_structure_weight".split()
)


@dataclass(frozen=True)
class ReportedRun:
    """What one run left.

    Attributes:
        name: its folder's name, or the path as it was given where two runs share that.
        columns: of `metrics.csv`.
        results: of its scored states (`results.json`, and those of `nerf-ssim evaluate RUN --checkpoint`), in the order
            of updates.
        manifest: of the run; empty where there is none.
    """

    name: str
    folder: Path
    columns: Mapping[str, Sequence[float | None]]
    results: Sequence[Mapping[str, Any]]
    manifest: Mapping[str, Any]

    def curve(self, column: str) -> list[tuple[int, float, float]]:
        """(updates, seconds of training, value) wherever `column` has a value."""
        if column not in self.columns:
            return []
        rows = zip(*(self.columns[name] for name in ("iteration", "seconds", column)), strict=True)
        return [
            (int(iteration) + 1, seconds, value)
            for iteration, seconds, value in rows
            if iteration is not None and seconds is not None and value is not None
        ]

    def scored(self, metric: str) -> list[tuple[int, float | None, float]]:
        """(updates, seconds of training, mean over the views) of each scored state that has the metric."""
        return [
            (results["stopped_at"], results["seconds_train"], results[metric])
            for results in self.results
            if results.get(metric) is not None
        ]

    @property
    def final(self) -> Mapping[str, Any] | None:
        """The scores of the last state that was scored."""
        return self.results[-1] if self.results else None

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """The resolved options, by name."""
        config = self.manifest.get("config")
        return config if isinstance(config, dict) else {}

    @property
    def scene(self) -> str:
        """The scene's name, or a dash where the run does not say."""
        return str((self.final or {}).get("scene") or self._of_manifest("scene", "name") or "–")

    @property
    def model(self) -> str:
        """The model's name, or a dash."""
        return str((self.final or {}).get("model") or self.options.get("model") or "–")

    @property
    def seed(self) -> int | None:
        """The seed, or None where the run does not say."""
        seed = (self.final or {}).get("seed", self.manifest.get("seed"))
        return seed if isinstance(seed, int) else None

    @property
    def schedule(self) -> str:
        """What SSIM did in this run, in words."""
        return schedule_name(self.options, (self.final or {}).get("schedule"))

    @property
    def views(self) -> int | None:
        """How many views the final scores are means of."""
        per_image = (self.final or {}).get("per_image")
        return len(per_image) if isinstance(per_image, list) else None

    def _of_manifest(self, group: str, name: str) -> Any:
        values = self.manifest.get(group)
        return values.get(name) if isinstance(values, dict) else None


@dataclass(frozen=True)
class Comparison:
    """The runs of a report, and the folders that were left out, each with its reason."""

    runs: Sequence[ReportedRun]
    left_out: Sequence[str]

    @cached_property
    def options_that_differ(self) -> Mapping[str, str]:
        """By run, the options beyond the schedule in which it differs from others of its model and scene."""
        found: dict[str, str] = {}
        for run in self.runs:
            peers = [other for other in self.runs if (other.model, other.scene) == (run.model, run.scene)]
            differing = _differing([peer.options for peer in peers if peer.options])
            found[run.name] = " ".join(f"{name}={_shown(run.options.get(name))}" for name in differing if run.options)
        return found

    @cached_property
    def letters(self) -> Mapping[str, str]:
        """By options that are too long to stand in a schedule's name, what stands for them: settings A, B and so on."""
        long = [text for text in dict.fromkeys(self.options_that_differ.values()) if len(text) > LONGEST_SETTINGS]
        return {text: f"settings {_letter(number)}" for number, text in enumerate(long)}

    @property
    def settings(self) -> Mapping[str, str]:
        """By run, what its schedule's name says of its other options."""
        return {name: self.letters.get(text, text) for name, text in self.options_that_differ.items()}

    @cached_property
    def options_of_scenes(self) -> Sequence[str]:
        """The options in which runs of one model differ between scenes and never within one: a scene's own."""
        found: dict[str, None] = {}
        for model in dict.fromkeys(run.model for run in self.runs):
            of_model = [run for run in self.runs if run.model == model and run.options]
            within: set[str] = set()
            for scene in dict.fromkeys(run.scene for run in of_model):
                within |= _differing([run.options for run in of_model if run.scene == scene]).keys()
            found |= dict.fromkeys(name for name in _differing([run.options for run in of_model]) if name not in within)
        return list(found)

    def method(self, run: ReportedRun) -> str:
        """What a run stands for, whatever its scene, model and seed: its schedule, and other options that differ."""
        return " ".join(part for part in (run.schedule, self.settings[run.name]) if part)

    @property
    def methods(self) -> list[str]:
        """Every method: without SSIM first, then with, then the others as they sort."""
        order = {"without SSIM": 0, "with SSIM": 1}
        found = {self.method(run): run.schedule for run in self.runs}
        return sorted(found, key=lambda method: (order.get(found[method], 2), _numbers_last(method)))


def load_comparison(folders: Sequence[Path]) -> Comparison:
    """The runs in and below `folders`, in that order; one that is found twice counts once.

    A folder that holds a run is that run; any other is searched for runs. A run that cannot be read is left out, and
    `left_out` says why.

    Raises:
        ConfigError: a folder in which there is no run on a scene, or no run of all that could be read.
    """
    places: dict[str, Path] = {}
    for folder in folders:
        if not (found := list(_runs_in(folder))):
            raise ConfigError(
                f"{folder}: holds no run (there is no metrics.csv); give a run's folder, such as runs/room"
            )
        for place in found:
            places.setdefault(os.path.abspath(place), place)
    names = [os.path.basename(place) for place in places]
    runs, left_out = [], []
    for folder, name in zip(places.values(), names, strict=True):
        try:
            runs.append(_load_run(folder, name if names.count(name) == 1 else told_apart(folder, places)))
        except ConfigError as error:
            left_out.append(str(error))
    if not runs:
        raise ConfigError("; ".join(left_out))
    return Comparison(runs, left_out)


def told_apart(folder: Path, places: Iterable[str]) -> str:
    """A run's path below what all runs share."""
    return os.path.relpath(os.path.abspath(folder), os.path.commonpath([os.path.dirname(place) for place in places]))


def schedule_name(options: Mapping[str, Any], schedule: Mapping[str, Any] | None) -> str:
    """A schedule in words, from a run's `schedule` results, else from its options.

    Example:
        >>> schedule_name({}, {"weight": 1.0, "add_at": 0, "remove_at": 70, "removed_at": 70})
        'removed at 70'
    """
    known = schedule or {
        "weight": options.get("s3im_weight", 1.0),
        "add_at": options.get("ssim_add_at", 0),
        "remove_at": options.get("ssim_remove_at", "end"),
    }
    if not known["weight"]:
        return "without SSIM"
    parts = []
    if known["add_at"]:
        parts.append(f"added at {known['add_at']}")
    if known["remove_at"] != "end":
        parts.append("removed by auto" if known["remove_at"] == "auto" else f"removed at {known['remove_at']}")
    name = " and ".join(parts) or "with SSIM"
    part = options.get("ssim_part", "both")
    return name if part == "both" else f"{name}, {part} alone" if part != "sum" else f"{name}, {_weighted_sum(options)}"


def _differing(options: Sequence[Mapping[str, Any]]) -> dict[str, None]:
    """The options with more than one value, but for those that are named elsewhere, in the order of the first run's."""
    names = dict.fromkeys(name for of_run in options for name in of_run if name not in NAMED_ELSEWHERE)
    return {name: None for name in names if len({json.dumps(of_run.get(name)) for of_run in options}) > 1}


def _letter(number: int) -> str:
    """A, B, … Z, then A1 and so on."""
    return chr(ord("A") + number % 26) + (str(number // 26) if number >= 26 else "")


def _weighted_sum(options: Mapping[str, Any]) -> str:
    luminance, structure = options.get("ssim_luminance_weight"), options.get("ssim_structure_weight")
    return f"{luminance:g} of luminance and {structure:g} of structure"


def _shown(value: Any) -> str:
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (list, dict)) else str(value)


def _numbers_last(name: str) -> tuple[str, list[float]]:
    """Sorts "removed at 70" before "removed at 200"."""
    words = name.split()
    numbers = [float(word) for word in words if word.replace(".", "", 1).isdigit()]
    return " ".join(word for word in words if not word.replace(".", "", 1).isdigit()), numbers


def _runs_in(folder: Path) -> Iterator[Path]:
    if (folder / "metrics.csv").is_file():
        yield folder
        return
    for path in sorted(folder.rglob("metrics.csv")):
        yield path.parent


def _load_run(folder: Path, name: str) -> ReportedRun:
    columns = metrics_columns(folder)
    if not columns:
        raise ConfigError(f"{folder}: the run has logged nothing yet")
    if missing := [column for column in COLUMNS if column not in columns]:
        raise ConfigError(
            f"{folder}: is no run on a scene (its metrics.csv has no {', '.join(missing)}); "
            "nerf-ssim paper reports fits of pictures"
        )
    paths = [*folder.glob("results.json"), *sorted(folder.glob("evaluation_*/results.json"))]
    results = sorted(map(_load_results, paths), key=lambda found: found["stopped_at"])
    manifest = _load_json(folder / "manifest.json") if (folder / "manifest.json").is_file() else {}
    return ReportedRun(name, folder, columns, results, manifest)


def _load_results(path: Path) -> dict[str, Any]:
    results = _load_json(path)
    if missing := [key for key in RESULTS if key not in results]:
        raise ConfigError(f"{path}: has no {', '.join(missing)}; score the run again with nerf-ssim evaluate")
    return results


def _load_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_text(path))
        if not isinstance(values, dict):
            raise ValueError("not an object")
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); score the run again with nerf-ssim evaluate") from error
    return values
