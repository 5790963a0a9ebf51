"""`nerf-ssim render RUN`: pictures and videos of a trained scene."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from nerf_ssim.cli.run_parser import RunParser
from nerf_ssim.cli.shots import DEFAULT_FRAMES, LARGEST_PICTURE, NAMED_PATHS, Shots, shots_along, shots_of_split
from nerf_ssim.errors import ConfigError, FileError, explain_os_error
from nerf_ssim.evaluation import video as videos
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.training.trained import Trained

LARGEST_SIDE = 16384


def run(argv: Sequence[str]) -> int:
    """Render the views of a split, or a camera path, as PNG frames with depth, and a video of a path.

    Frames go to `<RUN>/render_<split or path>/`, each as soon as it is made: an interruption keeps them, and the video
    of the frames so far. Depth is there as a coloured picture, and in `depth/` as data; `cameras.json` has the cameras.

    Returns:
        0, or 130 or 143 when interrupted.
    Raises:
        UserError: no such run, checkpoint or scene, options that contradict, or a folder that cannot be written.
    """
    options = _parser().parse_args(argv)
    if options.frames is not None and options.path is None:
        raise ConfigError("--frames counts the frames of a camera path: give --path as well, or leave it out")
    if options.path_frame is not None and options.path is None:
        raise ConfigError("--path_frame is for a camera file: give --path FILE as well, or leave it out")
    if options.video and options.no_video:
        raise ConfigError("--video and --no_video contradict each other; give one of them")
    if options.split is not None and options.path is not None:
        raise ConfigError("--split renders the data set's views and --path a path between them: give one of the two")

    from nerf_ssim.runs.leftovers import remove_abandoned
    from nerf_ssim.training.trained import load_trained

    trained = load_trained(options.run, datadir=options.datadir, checkpoint=options.checkpoint, needs_images=False)
    if trained.difference:
        said = f"{trained.scene.name} is not the data that {options.run} was trained on ({trained.difference})"
        print(f"{said}: its cameras are rendered")
    if options.path is None:
        shots = shots_of_split(trained.scene, options.split or "test")
        shots = shots if options.size is None else shots.resized(*options.size)
    else:
        shots = shots_along(
            trained.scene, options.path, frames=options.frames, size=options.size, viewer=options.path_frame
        )
    for remark in shots.remarks:
        print(remark)
    kind = options.split or "test" if options.path is None else Path(options.path).stem
    folder = options.out or options.run / f"render_{kind}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_abandoned(folder)
        if options.path is not None:
            _remove_other_frames(folder, shots.names)
        is_filmed = options.video or (options.path is not None and not options.no_video and videos.has_mp4())
        video = videos.Video(folder / kind, shots.fps, shots.frame) if is_filmed else None
        done, exit_code = _render(trained, shots, folder, video)
    except OSError as error:
        raise FileError(explain_os_error(error, path=folder, doing="written")) from error
    near, far = trained.depth_range
    count = f"{done} frames" if exit_code == 0 else f"interrupted: {done} of {len(shots.names)} frames"
    size = f"{shots.frame[0]}x{shots.frame[1]}" + (" and less" if len(set(shots.sizes)) > 1 else "")
    print(f"{count} of {size} and their depth (red {near:.3g} to blue {far:.3g}): {folder}")
    if video is not None:
        print(video.remark)
    elif options.path is not None and not options.no_video:
        print(f"no video: for MP4, {videos.INSTALL}")
    return exit_code


def _render(trained: Trained, shots: Shots, folder: Path, video: videos.Video | None) -> tuple[int, int]:
    """Render and write frame after frame; returns how many are done and the exit code, above 0 after a signal."""
    from nerf_ssim.evaluation import pictures
    from nerf_ssim.evaluation.camera_files import write_camera_file
    from nerf_ssim.evaluation.depth_files import depth_unit, hit_distance, save_depth
    from nerf_ssim.runs.interrupts import ended_by_signals, exit_code_of

    done, exit_code = 0, 0
    unit = depth_unit(shots.c2w, trained.scene.aabb)
    write_camera_file(folder / "cameras.json", shots.c2w, shots.K, shots.sizes, shots.fps, depth_unit=unit)
    device = trained.scene.aabb.device
    c2w, K = shots.c2w.to(device), shots.K.to(device)
    try:
        with ended_by_signals():
            for index, name in enumerate(tqdm(shots.names, desc="rendering", unit="frame", disable=None)):
                width, height = shots.sizes[index]
                view = trained.render_camera(c2w[index], K[index], height, width)
                depth = pictures.depth_map(view.depth, trained.depth_range, view.opacity)
                pictures.save_png(folder / f"{name}.png", view.rgb)
                pictures.save_png(folder / f"depth_{name}.png", depth)
                save_depth(folder / "depth" / name, hit_distance(view.depth, view.opacity), unit)
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
    parser.add_argument(
        "--path",
        metavar="PATH",
        help=f"a camera path: {', '.join(NAMED_PATHS)}, or a camera file of nerfstudio, instant-ngp or our own",
    )
    parser.add_argument(
        "--path_frame",
        type=user_path,
        metavar="FILE",
        help="the coordinates of a camera file, where they are not the scene's: nerfstudio's "
        "dataparser_transforms.json or instant-ngp's transforms.json",
    )
    parser.add_argument(
        "--frames",
        type=_count,
        metavar="N",
        help=f"frames of the path (default: the file's or the split's own number, else {DEFAULT_FRAMES})",
    )
    parser.add_argument("--size", type=_size, metavar="WxH", help="picture size in pixels (default: the data set's)")
    parser.add_argument("--out", type=user_path, metavar="DIR", help="where to (default: RUN/render_<split or path>)")
    parser.add_argument("--video", action="store_true", help="a video of a split too; of a path there is one anyhow")
    parser.add_argument("--no_video", action="store_true", help="no video of a path")
    return parser


def _remove_other_frames(folder: Path, names: Sequence[str]) -> None:
    """Removes what an earlier, longer render of a path left in `folder`: numbered pictures that have their depth."""
    for depth in folder.glob("depth_*.png"):
        name = depth.stem.removeprefix("depth_")
        picture = folder / f"{name}.png"
        if re.fullmatch(r"[0-9]{4,6}", name) and name not in names and picture.is_file():
            picture.unlink()
            depth.unlink()
            for data in (folder / "depth" / f"{name}.npy", folder / "depth" / f"{name}.png"):
                data.unlink(missing_ok=True)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of frames (1 or more)")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text)
    if match is None or not all(1 <= int(side) <= LARGEST_SIDE for side in match.groups()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 640x480 (1 to {LARGEST_SIDE} pixels a side)")
    if int(match[1]) * int(match[2]) > LARGEST_PICTURE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is more than the {LARGEST_PICTURE} pixels that are rendered at once"
        )
    return int(match[1]), int(match[2])
