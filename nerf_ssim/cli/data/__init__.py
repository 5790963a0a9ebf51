"""`nerf-ssim data check|convert|room|download`: look at a scene, convert it, make the procedural room, fetch a set."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from nerf_ssim.cli.data.check import check_scene
from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.datasets.conventions import IMAGE_ORDERS, LAYOUT, LISTED, POSE_CONVENTIONS
from nerf_ssim.datasets.convert import WRITERS, convert_scene
from nerf_ssim.datasets.corrections import Correction
from nerf_ssim.datasets.download import ARCHIVES, download_dataset
from nerf_ssim.datasets.formats import FORMATS, SYNONYMS, detect_format
from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import AUTO, BOX_CENTRES, DataConfig
from nerf_ssim.datasets.room import write_room
from nerf_ssim.datasets.scene import reading_lines
from nerf_ssim.files import user_path

_MIN_ROOM_VIEWS = 11  # every tenth is a test view, and two are needed


def run(argv: Sequence[str]) -> int:
    """Run one of the data commands; returns the process's exit status.

    Raises:
        UserError: whatever is wrong with the line, the scene or the download.
    """
    arguments = _parser().parse_args(list(argv))
    return arguments.run(arguments)


def _check(arguments: argparse.Namespace) -> int:
    data = _data_options(arguments)
    print(check_scene(data, arguments.out, aabb_scale=arguments.aabb_scale, box_about=arguments.box_about))
    return 0


def _convert(arguments: argparse.Namespace) -> int:
    scene = load_scene(_data_options(arguments))
    written = convert_scene(scene, arguments.out, arguments.to)
    for line in reading_lines(scene):
        print(line)
    print(f"wrote {len(scene.train) + len(scene.test)} views to {written}")
    return 0


def _data_options(arguments: argparse.Namespace) -> DataConfig:
    """The scene that the line names. Looking at one follows links: what they lead to is only read, and said."""
    return DataConfig(
        dataset_name=arguments.dataset_name,
        datadir=arguments.dir,
        downsample_train=arguments.downsample_train,
        test_every=arguments.test_every,
        frame_step=arguments.frame_step,
        as_published=arguments.as_published,
        white_bg=arguments.white_bg,
        **{one.name: getattr(arguments, one.name) for one in fields(Correction)},
        near=arguments.near,
        far=arguments.far,
        scene_box=arguments.scene_box,
        follow_links=arguments.follow_links,
    )


def _room(arguments: argparse.Namespace) -> int:
    folder = write_room(
        arguments.dir, size=arguments.size, views=arguments.views, seed=arguments.seed, progress=not arguments.quiet
    )
    print(f"wrote {arguments.views} views of {arguments.size}x{arguments.size} to {folder}")
    print(f"train on it: nerf-ssim train --config room.txt --datadir {folder}")
    return 0


def _download(arguments: argparse.Namespace) -> int:
    unpacked = download_dataset(
        arguments.name, arguments.out, url=arguments.url, sha256=arguments.sha256, progress=not arguments.quiet
    )
    folders = sorted({file.parent for top in unpacked if top.is_dir() for file in top.rglob("*")})
    scenes = {folder: name for folder in folders if (name := detect_format(folder))}
    print(f"unpacked {', '.join(str(top) for top in unpacked)}; {len(scenes)} scenes")
    for scene, name in scenes.items():
        print(f"  {scene} (--dataset_name {name})")
    return 0


def _sha256(text: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not 64 hexadecimal digits")
    return text


def _parser() -> argparse.ArgumentParser:
    parser = OneLineErrors(prog="nerf-ssim data", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="check|convert|room|download")

    check = commands.add_parser("check", help="count, measure and draw a scene", allow_abbrev=False)
    check.add_argument("dir", metavar="DIR", help="the scene's folder, or bundled:room")
    _add_scene_options(check)
    check.add_argument("--out", type=user_path, default=Path(), metavar="DIR", help="where data_check.png goes (here)")
    check.add_argument("--aabb_scale", type=number_within(float, 0.01), default=1.2, help="grow the box by (1.2)")
    check.add_argument("--box_about", choices=BOX_CENTRES, default=BOX_CENTRES[0], help="the point it grows about")
    check.set_defaults(run=_check, follow_links=True)

    convert = commands.add_parser(
        "convert", help="write a scene in sdfstudio's layout or nerfstudio's", allow_abbrev=False
    )
    convert.add_argument("dir", metavar="DIR", help="the scene's folder, in any layout")
    convert.add_argument("out", type=user_path, metavar="OUT", help="a new folder")
    convert.add_argument("--to", choices=WRITERS, default="sdfstudio", help="the layout to write (sdfstudio)")
    convert.add_argument("--follow_links", action="store_true", help="take images from outside the scene's folder")
    _add_scene_options(convert)
    convert.set_defaults(run=_convert)

    room = commands.add_parser("room", help="render a procedural room as a scene", allow_abbrev=False)
    room.add_argument("dir", type=user_path, metavar="DIR", help="a new folder")
    room.add_argument("--size", type=number_within(int, 16, 4096), default=128, help="pixels a side (128)")
    room.add_argument("--views", type=number_within(int, _MIN_ROOM_VIEWS, 10000), default=60, help="images (60)")
    room.add_argument("--seed", type=number_within(int, 0), default=0, help="which room (0)")
    room.add_argument("--quiet", action="store_true", help="no progress bar")
    room.set_defaults(run=_room)

    download = commands.add_parser("download", help="fetch and unpack a public data set", allow_abbrev=False)
    download.add_argument("name", choices=sorted(ARCHIVES), help="which one")
    download.add_argument("--out", type=user_path, default=Path("data"), metavar="DIR", help="where to (data)")
    download.add_argument("--url", help="fetch this copy of the archive")
    download.add_argument("--sha256", type=_sha256, metavar="HEX", help="the archive's checksum, if you know it")
    download.add_argument("--quiet", action="store_true", help="no progress bar")
    download.set_defaults(run=_download)
    return parser


def _add_scene_options(parser: argparse.ArgumentParser) -> None:
    """The options of training that say how a scene is read."""
    parser.add_argument(
        "--dataset_name",
        choices=(AUTO, *FORMATS, *SYNONYMS),
        metavar="LAYOUT",
        default=AUTO,
        help="its layout (found by its files)",
    )
    parser.add_argument(
        "--downsample_train", type=number_within(float, 1, 64), default=1.0, help="shrink images by (1)"
    )
    parser.add_argument("--test_every", type=number_within(int, 0), help="every so many is a test frame, 0 for none")
    parser.add_argument("--frame_step", type=number_within(int, 1), default=1, help="take every so many frames (1)")
    parser.add_argument("--as_published", action="store_true", help="leave intrinsics half a pixel off")
    parser.add_argument("--white_bg", action="store_true", help="blend transparency over white")
    parser.add_argument(
        "--pose_convention", choices=POSE_CONVENTIONS, metavar="WORD", default=LAYOUT, help="what its matrices are"
    )
    parser.add_argument("--image_order", choices=IMAGE_ORDERS, default=LISTED, help="order of images for its poses")
    parser.add_argument("--image_shift", type=int, default=0, help="frames that images are shifted by")
    for name, what in (("focal", "focal lengths"), ("principal", "principal points")):
        factor = number_within(float, 1e-6)
        parser.add_argument(f"--{name}_scale", type=factor, default=1.0, metavar="X", help=f"multiply {what}")
    parser.add_argument("--position_scale", type=float, default=1.0, metavar="X", help="multiply camera positions")
    parser.add_argument("--near", type=number_within(float, 0), help="near, in place of the scene's")
    parser.add_argument("--far", type=number_within(float, 0), help="far, in place of the scene's")
    parser.add_argument("--scene_box", metavar="X,Y,Z,X,Y,Z", help="its box, in place of the scene's")
