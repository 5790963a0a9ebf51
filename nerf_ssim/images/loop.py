"""The loop of a 2D fit, on one page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from nerf_ssim.images.scores import score_step
from nerf_ssim.images.session import ImageSession
from nerf_ssim.ops.reference.siren import squared_error
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.metrics_log import MetricsLog
from nerf_ssim.runs.progress import Progress
from nerf_ssim.runs.schedule import is_due, value_at
from nerf_ssim.ssim.losses import S3imResult
from nerf_ssim.ssim.schedule import SsimSchedule
from nerf_ssim.training.journal import Row, defined, statistics_row
from nerf_ssim.training.objective import gradient_norms, part_figures

__all__ = ["Ending", "fit"]

Ending = Literal["reached", "steps", "hopeless", "diverged", "interrupted"]
"""Why a fit ended: stop_psnr was reached, all steps were done, the caller gave it up, a NaN came, a signal came."""


def fit(
    session: ImageSession,
    log: MetricsLog,
    progress: Progress,
    stop: GracefulStop,
    *,
    is_hopeless: Callable[[int, float], bool] = lambda step, psnr: False,
) -> Ending:
    """Fits all pixels at once, an update a step, until the session's last step or an earlier end.

    The score of step k is that of the values after k updates, which the forward pass of update k + 1 computes anyway;
    only the last step takes a forward pass of its own. A checkpoint holds a state whose score is known to be finite
    and in which no random number of its own step has been drawn.

    Args:
        is_hopeless: takes a step and its PSNR; True ends the fit.
    """
    target, run = session.fitted, session.config.run
    while True:
        started, step = time.perf_counter(), session.iteration
        is_last = step == session.last_iteration
        weight = 0.0 if is_last else session.schedule.weight_at(step)
        values, mse = forward(session, is_last=is_last, couples_pixels=weight > 0)
        score = score_step(values, target)
        if math.isnan(score.psnr):
            return "diverged"
        session.scores.observe(step, score)
        session.seconds += time.perf_counter() - started

        ending: Ending | None = None
        if run.stop_psnr is not None and score.psnr >= run.stop_psnr:
            ending = "reached"
        elif is_last:
            ending = "steps"
        elif is_hopeless(step, score.psnr):
            ending = "hopeless"
        elif stop.requested is not None:
            ending = "interrupted"
        if ending is not None or (step > 0 and is_due(step, run.save_every)):
            session.save()

        started = time.perf_counter()
        row: Row = {
            "mse": float(mse.detach()),
            "psnr": score.psnr,
            "variance": score.variance,
            "ssim_weight": weight,
        }
        terms, ssim = {"mse": mse}, None
        if ending is None:
            terms, ssim = add_ssim(session, values, mse, weight)
            row |= gradient_row(session, values, terms, ssim, weight)
        if ssim is not None:
            row |= statistics_row(ssim.statistics)
            if session.schedule.observe(step, ssim.statistics):
                removed_at = session.schedule.removed_at
                progress.print(
                    f"step {step}: {session.schedule.watches} has converged, SSIM is removed at {removed_at}"
                )
            elif session.schedule.is_overdue(step):
                progress.print(f"step {step}: {session.schedule.overdue_note()}")
        row |= {name: float(term.detach()) for name, term in terms.items()}
        log.write(step, {"seconds": session.seconds, **{name: defined(value) for name, value in row.items()}})
        if ending is not None:
            return ending

        if session.config.ssim.ssim_reset_adam and step > 0 and was_removed(session.schedule, step):
            session.optimizer.state.clear()
        for group in session.optimizer.param_groups:
            group["lr"] = session.config.optim.lr * value_at(session.config.optim.lr_scale, step)
        session.optimizer.zero_grad(set_to_none=True)
        reduce(torch.add, terms.values()).backward()
        session.optimizer.step()
        session.iteration = step + 1
        session.seconds += time.perf_counter() - started
        progress.update(psnr_train=score.psnr, note="ssim" if weight else "")


def was_removed(schedule: SsimSchedule, step: int) -> bool:
    """Whether `step` is the first without SSIM after one with it."""
    return schedule.is_active(step - 1) and not schedule.is_active(step)


def forward(session: ImageSession, *, is_last: bool, couples_pixels: bool) -> tuple[Tensor, Tensor]:
    """Values `[pixels, channels]` and mean squared error; with gradients to come unless `is_last`.

    A loss without SSIM is a sum over the pixels, which the network may compute with its gradient in one pass; the
    values then are not differentiable, and need not be.
    """
    with torch.set_grad_enabled(not is_last):
        if not couples_pixels:
            return session.network.fit(session.coordinates, session.fitted)
        values = session.network(session.coordinates)
        return values, squared_error(values, session.fitted)


def add_ssim(
    session: ImageSession, values: Tensor, mse: Tensor, weight: float
) -> tuple[dict[str, Tensor], S3imResult | None]:
    """The loss's terms, and SSIM's result where it is on or its measurement is due."""
    size = session.target.height, session.target.width
    if weight > 0:
        measures_parts = is_due(session.iteration, session.config.run.grad_norm_every)
        arguments = values, session.fitted, session.order, size, session.generators["ssim"]
        result = session.ssim.evaluate(*arguments, measures_parts=measures_parts)
        return {"mse": mse, "ssim": weight * result.loss}, result
    if not is_due(session.iteration, session.config.ssim.luminance_every):
        return {"mse": mse}, None
    with torch.no_grad():  # watched from outside: the loss's own random numbers are left alone
        result = session.ssim.evaluate(values, session.fitted, session.order, size, session.generators["monitor"])
    return {"mse": mse}, result


def gradient_row(
    session: ImageSession, values: Tensor, terms: dict[str, Tensor], ssim: S3imResult | None, weight: float
) -> Row:
    """The norms of the terms' gradients, and with SSIM on the figures of its two parts, where they are due."""
    if not is_due(session.iteration, session.config.run.grad_norm_every):
        return {}
    parameters = list(session.network.parameters())
    norms: Row = {**gradient_norms(terms, parameters)}
    if ssim is not None and ssim.parts is not None:
        norms |= part_figures(terms["mse"], ssim.parts, weight, values, parameters)
    return norms
