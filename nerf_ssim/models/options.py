"""What a model's options are made of: those that every model has, and what else a model declares beside its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nerf_ssim.config.options import Section, option
from nerf_ssim.errors import ConfigError
from nerf_ssim.memory import Need
from nerf_ssim.models.registry import MODELS, model_options

if TYPE_CHECKING:
    from nerf_ssim.models.recipe import Recipe


@dataclass(frozen=True)
class ModelOptions(Section):
    """The field and its optimiser, whatever the model.

    A model's own options are a subclass. Its `model` option has the model's name as default (`with_default`).
    """

    defaults: ClassVar[Mapping[str, Any]] = {}
    """By name, the options outside this group that have another default with this model."""

    counterparts: ClassVar[Mapping[str, str]] = {}
    """By name, other models' options and what comes nearest to them here."""

    learning_rates: ClassVar[tuple[str, ...]] = ()
    """The options of the learning rates, which are to be lowered where a run diverges."""

    model: str = option("tensorf", "kind of field", choices=MODELS)
    grid: str = option(
        "vm",
        "what holds density and colour features: planes times lines (vm, TensorVMSplit), products of lines (cp, "
        "TensorCP) or voxels of their own (dense); bounded DVGO's coarse stage is always dense",
        choices=("vm", "cp", "dense"),
        alias="model_name",
        synonyms={"TensorVMSplit": "vm", "TensorCP": "cp"},
    )
    n_lamb_sigma: tuple[int, ...] = option(
        (16, 16, 16), "density components of a vm grid, three numbers, or of a cp grid, one", at_least=1, at_most=4096
    )
    n_lamb_sh: tuple[int, ...] = option((48, 48, 48), "appearance components, likewise", at_least=1, at_most=4096)
    batch_size: int = option(4096, "rays in an iteration", at_least=1, at_most=2**24, alias="N_rand")
    decoder_precision: str = option(
        "float32",
        "products of the colour decoder (MLP_Fea; DVGO's of depth 3): bf16 rounds their operands where the "
        "device multiplies bfloat16 in hardware, tf32 on GPUs from compute capability 8.0 on; elsewhere they are "
        "float32, and the run says so",
        choices=("float32", "tf32", "bf16"),
    )

    @property
    def schedule_starts_at(self) -> int:
        """The update that the SSIM schedule counts from: the first after a coarse stage, else 0."""
        return 0

    @property
    def streams(self) -> tuple[str, ...]:
        """The random generators that the model draws from, by name."""
        raise NotImplementedError

    def lengthened(self, n_iters: int, iteration: int) -> tuple[dict[str, Any], list[str]]:
        """As `BaseConfig.lengthened`, for what the model makes of a run's length."""
        return {}, []

    def scale_warning(self, far: float) -> str:
        """One line that names what to change where a scene is too small for the model to see anything; else "".

        Args:
            far: how far from a camera the scene ends, in its units.
        """
        return ""

    def recipe(self) -> type[Recipe]:
        """How the model is trained. Its module is imported here, so that options need no PyTorch."""
        raise NotImplementedError

    def needs(self, updates: int) -> list[Need]:
        """The least memory that training takes at one time, where a run ends after so many updates."""
        return []

    def milestones(self, n_iters: int) -> list[tuple[str, tuple[int, ...], int]]:
        """Options that list moments of a run of `n_iters` updates: name, moments, and the last that comes."""
        return []

    def check(self, n_iters: int) -> None:
        """Refuse options that contradict each other in a run of `n_iters` updates; raises `ConfigError`."""
        if not isinstance(self, model_options(self.model)):
            raise ConfigError(f"model: {self.model} has options of its own, not those of {type(self).__name__}")
        canonical = {"vm": ("[16,16,16]", "[48,48,48]"), "cp": ("[96]", "[288]")}
        for name, example in zip(("n_lamb_sigma", "n_lamb_sh"), canonical.get(self.grid, ()), strict=False):
            value, count = getattr(self, name), 3 if self.grid == "vm" else 1
            if len(value) != count:
                raise ConfigError(
                    f"{name}: {list(value)} has {len(value)} numbers where grid {self.grid} takes {count}; "
                    f"canonical is {example}"
                )


def with_default(name: str, default: Any) -> Any:
    """The option `name` of every model, declared with another default in a model's own group."""
    declared = ModelOptions.__dataclass_fields__[name].metadata
    return dataclasses.field(default=default, metadata=declared)
