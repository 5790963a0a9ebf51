"""What the training asks of the processes that carry it out: here of one alone, in `team` of several.

Every process of a team has the whole field, the same random numbers and its own share of each batch's rays. A term of
the loss is one of the whole batch in every process, and the gradients of the processes are averaged, so that all of
them make the same update, which is the one that a single process makes up to rounding.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch import Tensor, nn

    from nerf_ssim.models.config import Config
    from nerf_ssim.models.parts.rendering import Render
    from nerf_ssim.models.recipe import Recipe
    from nerf_ssim.ops.ssim import SsimStatistics
    from nerf_ssim.rays.share import Share
    from nerf_ssim.runs.folder import RunFolder

__all__ = ["ALONE", "Processes", "joined"]

T = TypeVar("T")

STARTED_TOGETHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What `torchrun` tells each process that it starts."""


class Processes:
    """One process that trains alone; the base of `team.Team`, which says what several do instead.

    Attributes:
        size: how many processes train together.
        is_lead: whether this one writes the run's folder, speaks to people, and scores.
    """

    size = 1
    is_lead = True

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def from_lead(self, make: Callable[[], T]) -> T:
        """What `make` returns in the leading process, in all of them."""
        return make()

    def open_folder(self, config: Config[Any], **kind: Any) -> RunFolder:
        """The run's folder; `kind` is what `RunFolder` takes beside the options."""
        from nerf_ssim.runs.folder import RunFolder  # not above: a wrong option should not wait for torch

        return RunFolder(config, **kind)

    def share_of(self, batch_size: int) -> Share | None:
        """The rays of a batch that this process has; None for all.

        Raises:
            ConfigError: fewer rays than processes.
        """
        return None

    def start_note(self, batch_size: int) -> str:
        """One line that says how many processes train; empty where it is one."""
        return ""

    def whole(self, rendered: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's colours `[rays, 3]` of this process's; `rendered` stays differentiable."""
        return rendered, target

    def figures_of_batch(self, figures: dict[str, Tensor | float]) -> dict[str, Tensor | float]:
        """Means over this process's rays as means over the batch's."""
        return figures

    def terms_of_batch(self, terms: dict[str, Tensor], recipe: Recipe, render: Render) -> dict[str, Tensor]:
        """Regularisers of this process's render as those of the batch's; they stay differentiable."""
        return terms

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every parameter's gradient becomes the mean over the processes; one that none of them has stays None."""

    def averaged(self, gradients: list[Tensor]) -> list[Tensor]:
        """The mean of such gradients over the processes."""
        return gradients

    def same_statistics(self, statistics: SsimStatistics) -> SsimStatistics:
        """The leading process's statistics of a batch, so that all decide alike by them."""
        return statistics

    def agreed(self, signal: int | None) -> int | None:
        """A signal that has asked any of the processes to stop; None where none has been asked."""
        return signal

    def refuse_divergence(self, recipe: Recipe, kept_pixels: int) -> None:
        """Raises `TrainingError` where the processes no longer train the same field on the same pixels."""

    def meet(self) -> None:
        """Waits until every process has come here."""


ALONE = Processes()


def joined() -> Processes:
    """The processes that `torchrun` started this one among, or this one alone.

    It is a context manager, which ends what holds the processes together. PyTorch's part for several processes is
    imported only where there are several.
    """
    if any(name not in os.environ for name in STARTED_TOGETHER) or os.environ["WORLD_SIZE"] == "1":
        return ALONE
    # Of a process that has ended PyTorch would tell in a dozen lines of C++; it reads this once, when it is imported.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from nerf_ssim.training.team import Team

    return Team()
