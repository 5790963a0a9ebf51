"""Which frames are fitted and which are kept for tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nerf_ssim.datasets.scene_file import Frame, SceneFile
from nerf_ssim.errors import SceneError

__all__ = ["Split", "split_frames"]

MIN_TRAINING_VIEWS = 2  # fewer cannot show how anything lies in space


@dataclass(frozen=True)
class Split:
    """The frames in use, which of them are test views, and by which rule, in words."""

    frames: Sequence[Frame]
    is_test: Sequence[bool]
    rule: str


def split_frames(file: SceneFile, test_every: int | None, frame_step: int = 1) -> Split:
    """Split a scene's frames.

    Args:
        test_every: 0 makes every frame a training view; a number makes frames 0, N, 2N … test views; None leaves it to
            the layout: its own test views, else every `file.hold`-th.
        frame_step: of the scene's frames, take only 0, N, 2N …
    Raises:
        SceneError: fewer than two training views, or no test view although one was asked for.
    """
    frames = list(file.frames)[::frame_step]
    if test_every == 0:
        is_test, rule = [False] * len(frames), "every frame trains, no test views"
    elif test_every is None and file.is_test is not None:
        is_test, rule = list(file.is_test)[::frame_step], file.split or "as the scene's file says"
    else:
        every = file.hold if test_every is None else test_every
        is_test, rule = [index % every == 0 for index in range(len(frames))], f"every {every}th"
    split = Split(frames, is_test, rule)
    _check(split, file, needs_test=test_every != 0)
    return split


def _check(split: Split, file: SceneFile, *, needs_test: bool) -> None:
    tests = sum(split.is_test)
    training = len(split.frames) - tests
    if training < MIN_TRAINING_VIEWS:
        raise SceneError(
            f"{file.path}: {len(split.frames)} frames leave {training} for the training split (test views: "
            f"{split.rule}); at least {MIN_TRAINING_VIEWS} are needed: add frames or change --test_every"
        )
    if tests == 0 and needs_test:
        raise SceneError(
            f"{file.path}: none of the {len(split.frames)} frames is a test view (test views: {split.rule}); "
            "--test_every 10 makes every tenth one, --test_every 0 trains on all"
        )
