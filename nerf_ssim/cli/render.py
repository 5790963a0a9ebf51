"""`nerf-ssim render RUN`: pictures and videos of a trained scene."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from nerf_ssim.cli.run_parser import RunParser
from nerf_ssim.errors import ConfigError, FileError, explain_os_error
from nerf_ssim.evaluation.camera_paths import PATHS, camera_path, resize_intrinsics
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.datasets.scene import Scene, Views
    from nerf_ssim.training.trained import Trained

FRAMES_PER_SECOND = 24
DEFAULT_FRAMES = 120
LARGEST_SIDE = 16384


@dataclass(frozen=True)
class Shots:
    """What is to be rendered: names without suffix, `c2w [n, 3, 4]`, `K [n, 3, 3]` for `width` x `height` pixels."""

    names: Sequence[str]
    c2w: Tensor
    K: Tensor
    width: int
    height: int

    def resized(self, width: int, height: int) -> Shots:
        """The same cameras with pictures of another size."""
        lenses = [resize_intrinsics(K, (self.width, self.height), (width, height)) for K in self.K]
        return replace(self, K=torch.stack(lenses), width=width, height=height)


def run(argv: Sequence[str]) -> int:
    """Render the views of a split, or a camera path, as PNG frames with depth, and a video if asked for.

    Frames go to `<RUN>/render_<split or path>/`, each as soon as it is made: an interruption keeps them, and the video
    of the frames so far.

    Returns:
        0, or 130 or 143 when interrupted.
    Raises:
        UserError: no such run, checkpoint or scene, options that contradict, or a folder that cannot be written.
    """
    options = _parser().parse_args(argv)
    if options.frames is not None and options.path is None:
        raise ConfigError("--frames counts the frames of a camera path: give --path as well, or leave it out")
    if options.split is not None and options.path is not None:
        raise ConfigError("--split renders the data set's views and --path a path between them: give one of the two")

    from nerf_ssim.runs.leftovers import remove_abandoned
    from nerf_ssim.training.trained import load_trained

    trained = load_trained(options.run, datadir=options.datadir, checkpoint=options.checkpoint, needs_images=False)
    if options.path is None:
        shots = _views(getattr(trained.scene, options.split or "test"))
    else:
        shots = _along_path(trained.scene, options.path, options.frames or DEFAULT_FRAMES)
    if options.size is not None:
        shots = shots.resized(*options.size)
    kind = options.path or options.split or "test"
    folder = options.out or options.run / f"render_{kind}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        if options.path is not None:
            _remove_other_frames(folder, shots.names)
        video = Video(folder / kind, (shots.width, shots.height)) if options.video else None
        done, exit_code = _render(trained, shots, folder, video)
    except OSError as error:
        raise FileError(explain_os_error(error, path=folder, doing="written")) from error
    near, far = _depth_range(trained.scene)
    count = f"{done} frames" if exit_code == 0 else f"interrupted: {done} of {len(shots.names)} frames"
    print(f"{count} of {shots.width}x{shots.height} and their depth (red {near:.3g} to blue {far:.3g}): {folder}")
    if video is not None:
        print(video.remark)
    return exit_code


def _render(trained: Trained, shots: Shots, folder: Path, video: Video | None) -> tuple[int, int]:
    """Render and write frame after frame; returns how many are done and the exit code, above 0 after a signal."""
    from nerf_ssim.evaluation import pictures
    from nerf_ssim.runs.interrupts import ended_by_signals, exit_code_of

    done, exit_code = 0, 0
    try:
        with ended_by_signals():
            for index, name in enumerate(tqdm(shots.names, desc="rendering", unit="frame", disable=None)):
                view = trained.render_camera(shots.c2w[index], shots.K[index], shots.height, shots.width)
                depth = pictures.depth_map(view.depth, _depth_range(trained.scene), view.opacity)
                pictures.save_png(folder / f"{name}.png", view.rgb)
                pictures.save_png(folder / f"depth_{name}.png", depth)
                if video is not None:
                    video.add(pictures.to_bytes(view.rgb))
                done += 1
    except KeyboardInterrupt as interrupt:
        exit_code = exit_code_of(interrupt)  # the caller says how far it came
    finally:
        if video is not None:
            video.close()
    return done, exit_code


def _parser() -> RunParser:
    parser = RunParser("render", "Render the views of a run's scene, or a camera path through it.")
    parser.add_argument("--split", choices=("test", "train"), help="the data set's own views (default: test)")
    parser.add_argument("--path", choices=PATHS, help="a camera path made from the training cameras")
    parser.add_argument("--frames", type=_count, metavar="N", help=f"frames of the path (default: {DEFAULT_FRAMES})")
    parser.add_argument("--size", type=_size, metavar="WxH", help="picture size in pixels (default: the data set's)")
    parser.add_argument("--out", type=user_path, metavar="DIR", help="where to (default: RUN/render_<split or path>)")
    parser.add_argument("--video", action="store_true", help=f"also a video, {FRAMES_PER_SECOND} frames a second")
    return parser


def _views(views: Views) -> Shots:
    from nerf_ssim.evaluation.protocol import picture_names

    return Shots(picture_names(views.names), views.c2w, views.K, views.width, views.height)


def _along_path(scene: Scene, kind: str, frames: int) -> Shots:
    views = scene.train
    poses = camera_path(kind, views.c2w, frames, near=scene.near, far=scene.far)
    lens = views.K.median(0).values  # one lens for the whole path; a median ignores a frame with an odd calibration
    names = [f"{frame:04d}" for frame in range(frames)]
    return Shots(names, poses, lens.expand(frames, 3, 3), views.width, views.height)


def _remove_other_frames(folder: Path, names: Sequence[str]) -> None:
    """Removes what an earlier, longer render of a path left in `folder`: numbered pictures that have their depth."""
    for depth in folder.glob("depth_*.png"):
        name = depth.stem.removeprefix("depth_")
        picture = folder / f"{name}.png"
        if re.fullmatch(r"[0-9]{4,6}", name) and name not in names and picture.is_file():
            picture.unlink()
            depth.unlink()


def _depth_range(scene: Scene) -> tuple[float, float]:
    """One range for all frames, so that a colour means one distance throughout: the scene's bounds, or its box's."""
    diagonal = float((scene.aabb[1] - scene.aabb[0]).norm())
    return scene.near, min(scene.far, diagonal)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames (1 or more)")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    if match is None or not all(1 <= int(side) <= LARGEST_SIDE for side in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 640x480 (1 to {LARGEST_SIDE} pixels a side)")
    return int(match[1]), int(match[2])


class Video:
    """An MP4 where imageio has an encoder for it, else a GIF."""

    def __init__(self, stem: Path, size: tuple[int, int]) -> None:
        import imageio

        self._crop = size
        if _has_ffmpeg():
            # H.264 wants even sides: one row or column is left out rather than the picture scaled.
            self._crop = (max(2, size[0] - size[0] % 2), max(2, size[1] - size[1] % 2))
            self._path = stem.with_suffix(".mp4")
            self._writer = imageio.get_writer(self._path, fps=FRAMES_PER_SECOND, quality=8, macro_block_size=2)
            self.remark = f"video: {self._path}"
        else:
            self._path = stem.with_suffix(".gif")
            self._writer = imageio.get_writer(self._path, duration=1000.0 / FRAMES_PER_SECOND, loop=0)
            self.remark = f"video: {self._path} (a GIF of 256 colours; for MP4: pip install imageio-ffmpeg)"

    def add(self, frame: np.ndarray) -> None:
        """Append a picture, uint8 `[height, width, 3]`."""
        width, height = self._crop
        self._writer.append_data(frame[:height, :width])

    def close(self) -> None:
        """Finish the file; what was added so far plays."""
        self._writer.close()


def _has_ffmpeg() -> bool:
    try:
        import imageio_ffmpeg

        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # RuntimeError: the package without a binary for this machine
        return False
