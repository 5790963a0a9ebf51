"""`Config`: all options of a radiance field's run, grouped, checked and unchangeable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from nerf_ssim.config.base import BaseConfig, title_of
from nerf_ssim.config.checks import check_moments, check_part, check_patch, check_run, check_schedule
from nerf_ssim.config.options import Option, Section, options_of
from nerf_ssim.config.parsing import Command, Given, read_command
from nerf_ssim.config.published import PublishedFile
from nerf_ssim.config.sections import EvaluationConfig, RunConfig, SsimConfig
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import Need
from nerf_ssim.models.options import ModelOptions
from nerf_ssim.models.registry import MODELS, model_options

BYTES_OF_PLACE = 8  # of a ray in one of S3IM's orders, int64
DEFAULT_MODEL = options_of(ModelOptions)["model"].default

M_co = TypeVar("M_co", bound=ModelOptions, covariant=True)


@dataclass(frozen=True)
class Config(BaseConfig, Generic[M_co]):
    """The resolved configuration of a run. Its type says which model's options `model` holds.

    Raises:
        ConfigError: options that contradict each other (each one's own range is checked by its group).
    Example:
        >>> config = Config(data=DataConfig(datadir="bundled:room")).replace(ssim_remove_at=70)
        >>> config.ssim.ssim_remove_at
        70
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    model: M_co = field(default_factory=lambda: cast(Any, model_options(DEFAULT_MODEL))())
    ssim: SsimConfig = field(default_factory=SsimConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_run(self.run)
        check_moments(self.run)
        self.model.check(self.run.n_iters)
        updates_of_schedule = self.run.n_iters - self.model.schedule_starts_at
        check_schedule(self.ssim, ("s3im_weight", self.ssim.s3im_weight), updates_of_schedule)
        check_part(self.ssim)
        check_patch(self.ssim, self.model.batch_size)

    def remarks(self) -> list[str]:
        """Lines on milestones that never come, which is no fault: a published file may be run for a shorter time."""
        lines = []
        for name, moments, last in self.model.milestones(self.run.n_iters):
            if late := [moment for moment in moments if moment > last]:
                never = f"{', '.join(map(str, late))} will never come with n_iters {self.run.n_iters}"
                lines.append(f"{name}: {never}, as in the published code")
        return lines

    def needs(self) -> list[Need]:
        """What the model needs, and S3IM's orders."""
        run, ssim, batch = self.run, self.ssim, self.model.batch_size
        updates = run.n_iters if run.stop_at is None else min(run.stop_at, run.n_iters)
        needs = self.model.needs(updates)
        if ssim.s3im_weight > 0 or ssim.luminance_every > 0:
            size = BYTES_OF_PLACE * batch * ssim.s3im_repeat_time
            what = f"{ssim.s3im_repeat_time:,} orders of a batch of {batch:,} rays"
            needs.append(Need(what, size, ("s3im_repeat_time", "batch_size")))
        return needs

    def lengthened(self, n_iters: int, iteration: int) -> tuple[dict[str, Any], list[str]]:
        """What the model makes of it, and SSIM that stays to the end."""
        changes, notes = self.model.lengthened(n_iters, iteration)
        if self.ssim.s3im_weight > 0 and self.ssim.ssim_remove_at == "end":
            notes = [*notes, "SSIM stays in the loss to the new end"]
        return changes, notes

    @classmethod
    def sections(cls, values: Mapping[str, Any] | None = None) -> dict[str, type[Section]]:
        """The groups, that of the model's options being of the model that `values` name."""
        return super().sections() | {"model": model_options(model_of(values))}

    @classmethod
    def groups(cls) -> dict[str, tuple[str, list[Option]]]:
        """Every group's title and options; after those that every model has, each model's own."""
        groups = {}
        for name, group in super().groups().items():
            groups[name] = group
            if name == "model":
                shared = options_of(ModelOptions)
                groups[name] = (title_of(ModelOptions), list(shared.values()))
                for model in MODELS:
                    own = model_options(model)
                    declared = [one for option, one in options_of(own).items() if option not in shared]
                    groups[model] = (title_of(own), declared)
        return groups

    @classmethod
    def defaults(cls, values: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The default of each option, by name, for the model that `values` name."""
        return super().defaults(values) | dict(model_options(model_of(values)).defaults)

    @classmethod
    def kinds(cls) -> dict[str, dict[str, Any]]:
        """By model, its defaults."""
        return {model: cls.defaults({"model": model}) for model in MODELS}

    @classmethod
    def problem_with(cls, name: str, values: Mapping[str, Any]) -> str | None:
        """Why the option `name` cannot be given beside `values` (it is another model's); None where it can."""
        model = model_of(values)
        ours = model_options(model)
        owners = [other for other in MODELS if other != model and name in options_of(model_options(other))]
        if not owners or any(name in options_of(section) for section in cls.sections(values).values()):
            return None
        theirs = model_options(owners[0]).counterparts
        nearest = ours.counterparts.get(name) or next((n for n, text in theirs.items() if name in text), None)
        advice = f"; {model} has {nearest}" if nearest else ""
        return f"is an option of --model {owners[0]}, and this run is --model {model}{advice}"


def model_of(values: Mapping[str, Any] | None) -> str:
    """The model that option values name, the default one where they name none or one that is not there."""
    model = str((values or {}).get("model", DEFAULT_MODEL))
    return model if model in MODELS else DEFAULT_MODEL


def read_python(path: Path) -> PublishedFile:
    """The options that a Python configuration sets: such files are DVGO's."""
    from nerf_ssim.models.dvgo.published import read_published

    return read_published(path)


TRAIN = Command(
    "train",
    "Train a radiance field, with SSIM in the loss for as long as its schedule says.",
    Config,
    data=("datadir",),
    takes_published=True,
    read_python=read_python,
)


def read(argv: Sequence[str]) -> Given:
    """What the words after `nerf-ssim train` ask for; see `read_command`."""
    return read_command(TRAIN, argv)


def parse(argv: Sequence[str]) -> Config[ModelOptions]:
    """The configuration of a radiance field's run that a command line asks for; see `parse_command`.

    Raises:
        ConfigError: as `parse_command`, or no scene is named.
    """
    return require_scene(read(argv).config())


def require_scene(config: Config[ModelOptions]) -> Config[ModelOptions]:
    """The configuration itself; raises `ConfigError` where no scene is named."""
    if not config.data.datadir:
        raise ConfigError("datadir: not given; name the scene's folder, or bundled:room for the one that comes with us")
    return config
