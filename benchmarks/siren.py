"""A step of a 2D fit with SIREN: this program's against the straightforward PyTorch loop, in one process.

The straightforward loop does what the published one does: forward, squared error in float64, backward, `torch.optim.Adam`,
and a second forward for the PSNR of the step. `--peak native` measures the peak memory of this program's steps alone
instead, torch included.
"""  # noqa: E501

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from nerf_ssim.images.loss import ImageSsim
from nerf_ssim.images.networks import make_coordinate_network
from nerf_ssim.images.options import NetworkConfig
from nerf_ssim.images.scores import score_step
from nerf_ssim.images.target import coordinates
from nerf_ssim.models.parts.optimizers import FusedAdam
from nerf_ssim.ops import backend
from nerf_ssim.ops.reference.siren import squared_error
from nerf_ssim.ops.siren import PRECISIONS, effective_precision

OMEGA, LEARNING_RATE = 30.0, 2.0**-11


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--size", type=int, default=128, help="side of the picture, pixels")
    parser.add_argument("--hidden", type=int, default=256, help="width of the four hidden layers")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of this program's products")
    parser.add_argument("--peak", choices=("native", "plain"), help="measure the peak memory of one kind of step")


class Sine(nn.Module):
    """The published activation."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """sin(30 x)."""
        return torch.sin(OMEGA * values)


def plain_step(network: nn.Module, where: torch.Tensor, target: torch.Tensor) -> Callable[[], float]:
    """A step of the straightforward loop."""
    adam = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def step() -> float:
        adam.zero_grad()
        squared_error(network(where), target).backward()
        adam.step()
        with torch.no_grad():
            return score_step(network(where), target).psnr

    return step


def our_step(network: nn.Module, where: torch.Tensor, target: torch.Tensor, size: int, ssim_weight: float) -> Callable:
    """A step of this program's loop, without or with SSIM."""
    adam = FusedAdam(network.parameters(), lr=LEARNING_RATE)
    ssim = ImageSsim("permuted", 11, 1.5, 1, "same")
    order, generator = torch.arange(len(where)), torch.Generator()

    def step() -> float:
        if ssim_weight:
            values = network(where)
            loss = ssim_weight * ssim.evaluate(values, target, order, (size, size), generator).loss
            loss = squared_error(values, target) + loss
        else:
            values, loss = network.fit(where, target)
        psnr = score_step(values, target).psnr
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        return psnr

    return step


def run(args: argparse.Namespace, options: Sequence[str]) -> dict:
    """Time the steps, or measure one kind's memory; with one thread, processor time is reported."""
    torch.set_num_threads(args.threads)
    generator = torch.Generator().manual_seed(0)
    where = coordinates(args.size, args.size)
    target = torch.rand(len(where), 1, generator=generator, dtype=torch.float64)
    field = NetworkConfig(hidden=args.hidden, precision=args.precision)
    networks = [make_coordinate_network(field, 1, generator) for _ in range(2)]
    sequence = []
    for number, layer in enumerate(make_coordinate_network(field, 1, generator).layers):
        sequence += [Sine()] if number else []
        sequence.append(layer)
    steps = {
        "native": our_step(networks[0], where, target, args.size, 0.0),
        "native_ssim": our_step(networks[1], where, target, args.size, 0.1),
        "plain": plain_step(nn.Sequential(*sequence), where, target),
    }
    record = {
        "op": "siren_step", "implementation": backend.implementation("siren_fit", where), "size": args.size,
        "hidden": args.hidden, "threads": args.threads, "precision": effective_precision(args.precision)[0],
    }  # fmt: skip
    if args.peak:
        before = peak_mib()
        for _ in range(2):
            steps[args.peak]()
        return record | {"kind": args.peak, "before_mib": before, "peak_mib": peak_mib()}
    if not args.reference:
        del steps["plain"]
    clock = time.process_time if args.threads == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for repeat in range(args.repeats + 1):
        for name, step in steps.items():
            begin = clock()
            step()
            if repeat:
                seconds[name].append(clock() - begin)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    products = 3 * 3 * 2 * len(where) * args.hidden**2  # forward, and backward for weights and for activations
    return record | {
        **{f"{name}_s": round(value, 4) for name, value in medians.items()},
        **({f"ratio{kind}": round(medians["plain"] / medians[f"native{kind}"], 2) for kind in ("", "_ssim")}
           if args.reference else {}),
        "gflops": round(products / medians["native"] / 1e9, 1),
    }  # fmt: skip


def peak_mib() -> float:
    """This process's largest resident memory so far."""
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
