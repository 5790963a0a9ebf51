"""Scores of a session: a quick look at the test views while it trains, and the full protocol when it ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nerf_ssim.datasets.scene import Views
from nerf_ssim.evaluation import pictures
from nerf_ssim.evaluation.perceptual import lpips_scorers
from nerf_ssim.evaluation.protocol import RenderedView, score_views, write_results
from nerf_ssim.evaluation.scores import Scores, masked_psnr, score_line
from nerf_ssim.files import file_errors
from nerf_ssim.runs.device import backend_record
from nerf_ssim.training.session import Session
from nerf_ssim.training.trained import render_camera

__all__ = ["score_run", "score_test_views"]


def score_test_views(session: Session) -> float:
    """Mean PSNR (dB) over evenly spaced test views, rendered with the training's sample count.

    Of n views every `n // N_vis`-th is scored, as the published code does: at least `N_vis`, and all of them where
    there are fewer than twice as many; -1 scores all. They become `<run>/progress/<updates>.png`, each beside its
    photograph.
    """
    views = session.scene.test
    wanted = session.config.run.N_vis
    step = 1 if wanted < 0 else max(len(views) // wanted, 1)
    rows, scores = [], []
    for index in range(0, len(views), step):
        view = render_session_view(session, views, index, final=False)
        truth = views.image_of(index).float() / 255.0
        scores.append(masked_psnr(view.rgb, truth, views.mask_of(index)))
        rows.append(pictures.sheet_row(views.names[index], scores[-1], truth, view.rgb, view.depth, view.opacity))
    mean = float(np.mean(scores))
    title = f"{session.config.run.expname} after {session.iteration} updates: test PSNR {mean:.2f} dB"
    folder = session.folder.path / "progress"
    with file_errors(folder, then="continue with --resume"):
        folder.mkdir(parents=True, exist_ok=True)
        pictures.save_png(folder / f"{session.iteration:06d}.png", pictures.contact_sheet(rows, title))
    return mean


def score_run(session: Session) -> Scores:
    """The full protocol on the test views: `results.json`, and pictures in `<run>/test` unless `render_test` is 0.

    With `render_train` the training views are scored too, with pictures in `<run>/train`.

    Raises:
        FileError: a picture or the results cannot be written; the last checkpoint has all that the training made.
    """
    with file_errors(session.folder.path, then="score the run with nerf-ssim evaluate"):
        scores = score_split(session, "test", session.folder.path / "test" if session.config.run.render_test else None)
        write_run_results(session, scores)
        if session.config.run.render_train:
            train = score_split(session, "train", session.folder.path / "train")
            print(f"training views: {score_line(train.means)}")
    return scores


def write_run_results(session: Session, scores: Scores) -> None:
    """Writes the run's `results.json`."""
    write_results(
        session.folder.path / "results.json",
        scores,
        scene=session.scene.name,
        model=session.recipe.name,
        label=session.config.data.label or session.scene.label,
        iterations=session.config.run.n_iters,
        stopped_at=session.iteration,
        schedule=session.schedule.summary(),
        seed=session.config.run.seed,
        backend=backend_record(session.config.run.device),
        decoder_precision=session.decoder_precision,
        seconds_train=session.seconds,
    )


def score_split(session: Session, split: str, folder: Path | None) -> Scores:
    """Scores the views of `split` ("train" or "test") with the field's full sampling; pictures go to `folder`."""
    views = session.scene.train if split == "train" else session.scene.test
    return score_views(
        lambda index: render_session_view(session, views, index, final=True),
        views,
        folder,
        ssim_variant=session.config.evaluation.ssim_variant,
        lpips=lpips_scorers(session.config.evaluation.lpips_weights),
        title=f"{session.config.run.expname}: {split} views after {session.iteration} updates",
    )


def render_session_view(session: Session, views: Views, index: int, *, final: bool) -> RenderedView:
    """The present field's render of a view."""
    return render_camera(
        lambda rays: session.recipe.render_test(rays, final=final),
        views.c2w[index],
        views.K[index],
        *views.size_of(index),
    )
