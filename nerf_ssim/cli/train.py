"""`nerf-ssim train`: train a field on a scene, score it, and leave everything under `<basedir>/<expname>`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerf_ssim.models.config import Config, read, require_scene
from nerf_ssim.training.processes import joined

if TYPE_CHECKING:
    from nerf_ssim.evaluation.scores import Scores
    from nerf_ssim.training.session import Session


def run(argv: Sequence[str]) -> int:
    """Trains as the options say; returns the exit code (0, or 130/143/138 when interrupted)."""
    with joined() as processes:
        config, is_new, notes = processes.from_lead(lambda: asked_for(argv))
        # Imported here: `--help` and a wrong option should not wait for torch.
        from nerf_ssim.datasets.posecheck.verdict import check_poses
        from nerf_ssim.datasets.scene import reading_lines
        from nerf_ssim.runs.determinism import repeatable
        from nerf_ssim.runs.device import start_line
        from nerf_ssim.training.session import Session

        session = Session(config, processes)
        print(start_line(session.config.run.device))
        together = processes.start_note(config.model.batch_size)
        for note in (*([together] if together else []), *notes, *session.folder.notes, *reading_lines(session.scene)):
            print(note)
        if is_new and processes.is_lead and (warning := config.model.scale_warning(session.scene.far)):
            print(warning, file=sys.stderr)
        if is_new and config.data.check_poses and processes.is_lead:
            verdict = check_poses(session.scene, config.data, is_training=True)
            if verdict.warning:
                print(f"{verdict.warning} (nerf-ssim data check looks closer)", file=sys.stderr)
        if changes := session.folder.changed_circumstances():
            print(f"resuming under other circumstances ({'; '.join(changes[:4])}): the last bits may differ")
        precision = session.decoder_precision
        if precision["ran"] != precision["asked"]:
            print(f"decoder_precision {precision['asked']}: runs in {precision['ran']} ({precision['reason']})")
        with repeatable(session.config.run.deterministic):
            return train_and_score(session)


def asked_for(argv: Sequence[str]) -> tuple[Config[Any], bool, list[str]]:
    """The run's options, whether it begins anew, and what is to be said of one that goes on."""
    given = read(argv)
    if not given.value("resume"):
        return require_scene(given.config()), True, []
    from nerf_ssim.runs.resuming import config_to_resume

    config, notes = config_to_resume(given)
    return require_scene(config), False, notes


def train_and_score(session: Session) -> int:
    """The session's updates and its scores; returns the exit code."""
    from nerf_ssim.runs.interrupts import GracefulStop, ended_by_signals, exit_code_of
    from nerf_ssim.runs.progress import Progress
    from nerf_ssim.training.endings import advising, decline_note
    from nerf_ssim.training.loop import train
    from nerf_ssim.training.scoring import score_run

    label = session.config.run.expname
    with GracefulStop(is_quiet=session.processes.size > 1) as stop, advising(session):
        with session.open_log() as log, Progress(session.last_iteration, session.iteration, label) as progress:
            train(session, log, progress, stop)
        if stop.requested:
            print(f"stopped after {session.iteration} updates; continue with --resume")
            return stop.exit_code
    if not session.processes.is_lead:
        return 0
    try:
        with ended_by_signals():
            scores = score_run(session)
    except KeyboardInterrupt as interrupt:
        print(
            f"interrupted while scoring: all {session.iteration} updates are saved; nerf-ssim evaluate "
            f"{session.folder.path} scores them"
        )
        return exit_code_of(interrupt)
    print_scores(session.folder.path, scores)
    if note := decline_note(session.folder.path, session.config.model.learning_rates):
        print(note, file=sys.stderr)
    return 0


def print_scores(folder: Path, scores: Scores) -> None:
    """The scores in one line, and where to look."""
    from nerf_ssim.evaluation.scores import score_line

    if not scores.per_image:
        print(f"no test views, so nothing is scored; results: {folder / 'results.json'}")
        return
    print(f"test views: {score_line(scores.means)} (SSIM variant: {scores.ssim_variant})")
    if any(metric.startswith("lpips") for metric in scores.notes):
        print(f"LPIPS: {scores.lpips_note}")
    if (folder / "test" / "contact_sheet.png").exists():
        print(f"pictures: {folder / 'test' / 'contact_sheet.png'}")
    print(f"scores:   {folder / 'results.json'}")
