"""Several processes that train one scene, each with its share of every batch's rays (`torchrun`).

Colours are gathered, so that each process computes the loss of the whole batch, S3IM's windows included, and has the
gradient of the whole batch for its own rays. What passes between processes passes here.
"""

from __future__ import annotations

import datetime
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from nerf_ssim.errors import ConfigError, TrainingError, UserError
from nerf_ssim.models.config import Config
from nerf_ssim.models.parts.rendering import Render
from nerf_ssim.models.recipe import Recipe
from nerf_ssim.ops.ssim import SsimStatistics
from nerf_ssim.rays.share import Share
from nerf_ssim.runs.device import choose_device
from nerf_ssim.runs.folder import RunFolder
from nerf_ssim.runs.followed import FollowedFolder
from nerf_ssim.training.processes import Processes

__all__ = ["Team"]

T = TypeVar("T")

LEAD = 0
MEETING = datetime.timedelta(minutes=10)  # in which all processes must have started
PATIENCE = datetime.timedelta(hours=2)  # the others wait while the leading process scores views
SMALL = 1 << 16  # elements of a gradient that is not worth an exchange of its own
LEADS_WORD = 2.0  # seconds in which the leading process tells people what ended all
LAST_TO_GO = 5.0  # seconds that it then waits for the others, who ask its store whether people have been told
SAID = "said"


class Team(Processes):
    """The processes that `torchrun` has started, of which this is one.

    Tensors on GPUs pass by NCCL, all else by Gloo. Only the leading process is heard: what the others print goes
    nowhere within the block, and of an error that ends all of them one line is told.
    """

    def __init__(self) -> None:
        if not dist.is_available():
            raise ConfigError("this PyTorch has no torch.distributed: start one process, without torchrun")
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        with _talking("the processes of this training cannot reach each other"):
            store, self.rank, self.size = next(dist.rendezvous("env://", timeout=MEETING))
            self._store = dist.PrefixStore("nerf_ssim", store)
            dist.init_process_group(backend, store=self._store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
        self.is_lead = self.rank == LEAD
        self._muted = ExitStack()
        self._share = Share.of(self.rank, self.size, self.size)

    def __enter__(self) -> Team:
        if not self.is_lead:
            nowhere = self._muted.enter_context(open(os.devnull, "w", encoding="utf-8"))
            self._muted.enter_context(redirect_stdout(nowhere))
            self._muted.enter_context(redirect_stderr(nowhere))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._muted.close()
        if error is None:
            dist.destroy_process_group()
        elif isinstance(error, UserError) and not self._has_the_word():
            raise SystemExit(2)  # another process has told people, in whose line they would find nothing new

    def from_lead(self, make: Callable[[], T]) -> T:
        """What `make` returns in the leading process, in all of them."""
        told: list[Any] = [make() if self.is_lead else None]
        with _talking():
            dist.broadcast_object_list(told, LEAD, device=torch.device("cpu"))
        return told[0]

    def open_folder(self, config: Config[Any], **kind: Any) -> RunFolder:
        """The run's folder, which the leading process alone holds and writes to.

        Raises:
            ConfigError: one GPU is named for all processes, or this one's is not there.
        """
        if config.run.device.startswith("cuda:"):
            raise ConfigError(f"--device {config.run.device}: each process has a GPU of its own; give --device cuda")
        led = RunFolder(config, processes=self.size, **kind) if self.is_lead else None
        settled, resumed = self.from_lead(lambda: _what_followers_need(led))
        device = settled.run.device
        if device.startswith("cuda"):
            asked = f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"
            device = choose_device(asked)
            if device != asked:
                raise ConfigError(f"{asked} does not compute, and the other processes train on GPUs; give --device cpu")
            torch.cuda.set_device(device)
        return led or FollowedFolder(settled.replace(device=device), resumed, **kind)

    def share_of(self, batch_size: int) -> Share:
        """The rays of a batch that this process has.

        Raises:
            ConfigError: fewer rays than processes.
        """
        if batch_size < self.size:
            raise ConfigError(f"--batch_size {batch_size}: fewer rays than the {self.size} processes; start fewer")
        self._share = Share.of(self.rank, self.size, batch_size)
        return self._share

    def start_note(self, batch_size: int) -> str:
        """One line that says how many processes train."""
        least, most = batch_size // self.size, -(-batch_size // self.size)
        each = f"{least}" if least == most else f"{least} or {most}"
        return f"{self.size} processes train together, each with {each} of the {batch_size} rays of a batch"

    def whole(self, rendered: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The batch's colours `[rays, 3]` of this process's; `rendered` stays differentiable."""
        shares = [Share.of(rank, self.size, self._share.whole) for rank in range(self.size)]
        both = _Gathered.apply(torch.cat([rendered, target], 1), shares, self.rank)
        return both[:, :3].contiguous(), both[:, 3:].detach().contiguous()

    def figures_of_batch(self, figures: dict[str, Tensor | float]) -> dict[str, Tensor | float]:
        """Means over this process's rays as means over the batch's."""
        sums = torch.tensor([float(value) for value in figures.values()], dtype=torch.float64) * self._share.count
        _reduce(sums)
        return dict(zip(figures, (sums / self._share.whole).tolist(), strict=True))

    def terms_of_batch(self, terms: dict[str, Tensor], recipe: Recipe, render: Render) -> dict[str, Tensor]:
        """Regularisers of this process's render as those of the batch's; they stay differentiable.

        Of a term that is a mean over rays, the batch's is the mean up to the last ray that any process's is over.
        """
        rays = {name: count for name, count in recipe.rays_of_terms(render).items() if name in terms}
        if not rays:
            return terms
        ends = torch.tensor([self._share.start + count if count else 0 for count in rays.values()])
        _reduce(ends, dist.ReduceOp.MAX)
        shares = [count / max(end, 1) for count, end in zip(rays.values(), ends.tolist(), strict=True)]
        own = torch.stack([share * terms[name] for name, share in zip(rays, shares, strict=True)])
        return terms | dict(zip(rays, _Summed.apply(own, self.size).unbind(), strict=True))

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Every parameter's gradient becomes the mean over the processes; one that none of them has stays None.

        It is a mean of whole tensors. The optimiser finds elements that no process's rays have touched by their zeros.
        """
        has = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.uint8)
        _reduce(has, dist.ReduceOp.MAX)
        reached = [parameter for parameter, is_reached in zip(parameters, has.tolist(), strict=True) if is_reached]
        for parameter in reached:
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
        self._average([parameter.grad for parameter in reached if parameter.grad is not None])

    def averaged(self, gradients: list[Tensor]) -> list[Tensor]:
        """The mean of such gradients over the processes."""
        means = [gradient.clone(memory_format=torch.contiguous_format) for gradient in gradients]
        self._average(means)
        return means

    def _average(self, gradients: Sequence[Tensor]) -> None:
        """Contiguous gradients become their means over the processes; small ones pass in one piece."""
        small = [gradient.view(-1) for gradient in gradients if gradient.numel() <= SMALL]
        packed = [torch.cat(small)] if small else []
        for tensor in [*packed, *(gradient for gradient in gradients if gradient.numel() > SMALL)]:
            _reduce(tensor)
            tensor.div_(self.size)
        if small:
            torch._foreach_copy_(small, packed[0].split([gradient.numel() for gradient in small]))

    def same_statistics(self, statistics: SsimStatistics) -> SsimStatistics:
        """The leading process's statistics of a batch, so that all decide alike by them."""
        values = torch.stack(list(statistics))
        with _talking():
            dist.broadcast(values, LEAD)
        return SsimStatistics(*values.unbind())

    def agreed(self, signal: int | None) -> int | None:
        """A signal that has asked any of the processes to stop; None where none has been asked."""
        asked = torch.tensor(signal or 0)
        _reduce(asked, dist.ReduceOp.MAX)
        return int(asked) or None

    def refuse_divergence(self, recipe: Recipe, kept_pixels: int) -> None:
        """Raises `TrainingError` where the processes no longer train the same field on the same pixels."""
        own = [kept_pixels, *(_digest(parameter) for parameter in recipe.field.parameters())]
        bounds = torch.tensor([own, [-number for number in own]])
        _reduce(bounds, dist.ReduceOp.MAX)
        if (bounds[0] != -bounds[1]).any():
            raise TrainingError(
                "the processes of this training no longer have the same field, so nothing is saved: resume from the "
                "last checkpoint, and give --device cpu or one process where this comes again"
            )

    def meet(self) -> None:
        """Waits until every process has come here."""
        _reduce(torch.zeros(1))

    def _has_the_word(self) -> bool:
        """Whether this process is the one that tells people of an error; the others wait for the leading one's."""
        with suppress(RuntimeError):  # a store that has gone with the leading process keeps nobody silent
            if not self.is_lead:
                _wait_for(lambda: self._store.check([SAID]), LEADS_WORD)
            is_first = self._store.add(SAID, 1) == 1
            if self.is_lead:
                _wait_for(lambda: self._store.add(SAID, 0) >= self.size, LAST_TO_GO)
            return is_first
        return True


class _Gathered(torch.autograd.Function):
    """The rows of all processes, of which each has its share.

    Every process computes the same of them, so the sum of the processes' gradients is so many times one of them: its
    mean, which `average_gradients` takes, is then the gradient of the whole.
    """

    @staticmethod
    def forward(own: Tensor, shares: Sequence[Share], rank: int) -> Tensor:
        padded = own.new_zeros(max(share.count for share in shares), own.shape[1])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in shares]
        with _talking():
            dist.all_gather(parts, padded)
        return torch.cat([part[: share.count] for part, share in zip(parts, shares, strict=True)])

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Sequence[Share], int], output: Tensor) -> None:
        _, ctx.shares, ctx.rank = inputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        return upstream[0][ctx.shares[ctx.rank].rows] * len(ctx.shares), None, None


class _Summed(torch.autograd.Function):
    """Sums over the processes, with the gradient that `_Gathered` explains."""

    @staticmethod
    def forward(own: Tensor, size: int) -> Tensor:
        total = own.clone()
        _reduce(total)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        _, ctx.size = inputs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0] * ctx.size, None


def _what_followers_need(folder: RunFolder | None) -> tuple[Config[Any], Path | None]:
    """The options as the leading process has settled them, and the checkpoint that it continues."""
    assert folder is not None, "the leading process has it"
    return folder.config, None if folder.resumed is None else folder.resumed[0]


@contextmanager
def _talking(problem: str = "another process of this training has ended, and so has this one") -> Iterator[None]:
    """Turns an exchange between processes that fails into a line for people."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(f"{problem}; start all of them again, with --resume to go on from the last save") from error


def _reduce(tensor: Tensor, by: dist.ReduceOp.RedOpType = dist.ReduceOp.SUM) -> None:
    """Puts into `tensor` its sum, or what else `by` says, over the processes."""
    with _talking():
        dist.all_reduce(tensor, by)


def _digest(tensor: Tensor) -> int:
    """A number that any change of a tensor's bits is all but sure to change."""
    words = tensor.detach().contiguous().view(-1)
    return int(words.view(torch.int32 if words.element_size() == 4 else torch.uint8).sum(dtype=torch.int64))


def _wait_for(is_so: Callable[[], bool], seconds: float) -> None:
    """Waits until something is so, at most so many seconds; torchrun's SIGTERM to those left can wait as long."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)
    signal.signal(signal.SIGTERM, before)
