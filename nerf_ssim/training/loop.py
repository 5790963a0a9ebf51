"""The training loop that every field shares, on one page."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from nerf_ssim.errors import HaltedTraining, TrainingError
from nerf_ssim.rays.batches import PixelBatches
from nerf_ssim.runs.interrupts import GracefulStop
from nerf_ssim.runs.metrics_log import MetricsLog
from nerf_ssim.runs.progress import Progress
from nerf_ssim.runs.schedule import is_due
from nerf_ssim.training.journal import Journal, statistics_row
from nerf_ssim.training.scoring import score_test_views
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step

__all__ = ["train"]


def train(session: Session, log: MetricsLog, progress: Progress, stop: GracefulStop) -> None:
    """Trains until the session's last iteration or until `stop` is requested; either way the state is saved.

    Iterations count from 0. The order within one is canonical: the recipe's milestones before a batch; render, losses,
    step; then scoring; then the recipe's milestones after an update; then the checkpoint.

    Raises:
        TrainingError: a loss term that is not finite, or a batch in which no ray has a sample.
    """
    recipe, schedule, run, processes = session.recipe, session.schedule, session.config.run, session.processes
    journal = Journal(log, run.log_every, recipe.terms)
    for iteration in range(session.iteration, session.last_iteration):
        started = time.perf_counter()
        run_milestones(recipe.before_batch, iteration, session, journal, progress)
        weight = schedule.weight_at(iteration)
        with_norms = is_due(iteration, run.grad_norm_every)
        try:
            step = take_step(
                recipe,
                session.batches,
                session.s3im,
                weight,
                iteration,
                measures_norms=with_norms,
                processes=processes,
            )
        except TrainingError:
            journal.flush()  # where a loss term was not finite, that is the cause to name
            raise

        statistics = step.statistics
        if statistics is None and session.s3im is not None and is_due(iteration, session.config.ssim.luminance_every):
            with torch.no_grad():  # watched from outside: the loss's own random numbers are left alone
                result = session.s3im.evaluate(step.rendered, step.target, session.generators["monitor"])
                statistics = result.statistics
        row = step.rates | step.norms | step.figures | {"ssim_weight": weight}
        if statistics is not None:
            statistics = processes.same_statistics(statistics)
            row |= statistics_row(statistics)
            if schedule.observe(iteration, statistics):
                progress.print(
                    f"iteration {iteration}: {schedule.watches} has converged, SSIM is removed at {schedule.removed_at}"
                )
            elif schedule.is_overdue(iteration):
                progress.print(f"iteration {iteration}: {schedule.overdue_note()}")
        session.iteration = iteration + 1
        session.seconds += time.perf_counter() - started
        journal.record(iteration, row | {"seconds": session.seconds}, terms=step.terms)

        is_last = session.iteration == session.last_iteration
        if (
            processes.is_lead
            and run.N_vis != 0
            and len(session.scene.test) > 0
            and (is_due(session.iteration, run.vis_every) or session.iteration in run.vis_at)
        ):
            journal.add_test_score(score_test_views(session))
        started = time.perf_counter()
        run_milestones(recipe.after_step, iteration, session, journal, progress)
        session.seconds += time.perf_counter() - started

        is_stopping = is_to_stop(session, stop)  # asked once: a later signal must not skip the save
        is_save_due = is_due(session.iteration, run.save_every) or session.iteration in run.save_at
        is_saving = is_last or is_stopping or is_save_due
        if is_saving or is_due(session.iteration, run.progress_refresh_rate):
            journal.flush()
        progress.update(
            psnr_train=journal.psnr_train,
            psnr_test=journal.latest.get("psnr_test"),
            note="ssim" if weight else "",
        )
        if is_saving:
            refuse_spoilt_weights(recipe.field, iteration)
            session.save()
        if is_stopping:
            return


def is_to_stop(session: Session, stop: GracefulStop) -> bool:
    """Whether a signal has come, to this process or to another that trains along."""
    signal = session.processes.agreed(stop.requested)
    if signal is not None:
        stop.requested = signal
    return signal is not None


def run_milestones(
    milestones: Callable[[int, PixelBatches], list[str]],
    iteration: int,
    session: Session,
    journal: Journal,
    progress: Progress,
) -> None:
    """Lets a recipe do what is due at this point of an iteration, and prints what it was."""
    try:
        events = milestones(iteration, session.batches)
    except TrainingError:
        journal.flush()  # where a loss term was not finite, that is the cause to name
        raise
    for event in events:
        progress.print(f"iteration {iteration}: {event}")


def refuse_spoilt_weights(field: torch.nn.Module, iteration: int) -> None:
    """Raises `HaltedTraining` where a weight is not finite.

    Every term may be finite and a gradient still overflow, which only the next iteration's terms would show, after the
    checkpoint.
    """
    for name, parameter in field.named_parameters():
        if not parameter.isfinite().all():
            raise HaltedTraining(f"iteration {iteration}: the update left {name} not finite")
