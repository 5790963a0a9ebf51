"""`nerf-ssim export RUN`: a trained field in forms that other programs read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nerf_ssim.cli.run_parser import RunParser
from nerf_ssim.config.command_line import number_within
from nerf_ssim.errors import ConfigError, FileError, explain_os_error
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.training.trained import Trained

RESOLUTION, LARGEST_RESOLUTION = 256, 2048
THRESHOLD = 0.1
COUNT, LARGEST_COUNT = 100_000, 20_000_000


def run(argv: Sequence[str]) -> int:
    """Write the forms that are asked for, and print their files.

    Returns:
        0.
    Raises:
        UserError: no such run or checkpoint, no form asked for, options that do not go with it, a missing package, a
            field without a surface there, or a file that cannot be written.
    """
    options = _parser().parse_args(argv)
    asked = [write for name, write in EXPORTS.items() if getattr(options, name) is not None]
    if not asked:
        raise ConfigError(f"export: say which form: {', '.join('--' + name for name in EXPORTS)}")
    for name, forms in GOES_WITH.items():
        if getattr(options, name) is not None and all(getattr(options, form) is None for form in forms):
            raise ConfigError(f"--{name} is for {' and '.join('--' + form for form in forms)}, which is not asked for")
    for write in asked:
        try:
            print("\n".join(map(str, write(options))))
        except OSError as error:
            raise FileError(explain_os_error(error, path=options.run, doing="written")) from error
    return 0


def _write_safetensors(options: argparse.Namespace) -> list[object]:
    """The whole checkpoint: weights, optimiser and place in the schedule."""
    from nerf_ssim.runs.portable import write_portable
    from nerf_ssim.training.trained import read_state

    state = read_state(options.run, options.checkpoint)
    path = _place(options, "safetensors", state["iteration"], (".safetensors",), "; a .json comes beside it")
    return [path, write_portable(path, state)]


def _write_mesh(options: argparse.Namespace) -> list[object]:
    """The surface where the field becomes opaque, as coloured triangles."""
    from nerf_ssim.evaluation.geometry_files import SUFFIXES, require_trimesh, write_geometry
    from nerf_ssim.models.parts.solid import Solid, colors_of, surface_of
    from nerf_ssim.training.seen import seen_part

    require_trimesh()
    trained = _opened(options)
    path = _place(options, "mesh", trained.iteration, SUFFIXES)
    if not isinstance(trained.field, Solid):
        raise ConfigError(f"--mesh: the model {trained.config.model.model} says nothing of its matter; --points does")
    resolution, threshold = options.resolution or RESOLUTION, options.threshold or THRESHOLD
    surface = surface_of(trained.field, resolution=resolution, threshold=threshold, reach=options.reach)
    if len(surface.faces) == 0:
        where = "" if options.reach is None else f" within --reach {options.reach:g}"
        raise ConfigError(f"--mesh: nothing{where} is as opaque as --threshold {threshold:g}; give a lower one")
    total, remark = len(surface.faces), ""
    if len(trained.scene.train) > 0 and not options.unseen:
        surface = seen_part(trained, trained.field, surface)
        remark = f" ({total - len(surface.faces)} that no training camera sees are left out; --unseen keeps them)"
    if len(surface.faces) == 0:
        raise ConfigError("--mesh: no training camera sees any of the surface; --unseen keeps all of it")
    write_geometry(path, surface.vertices, colors_of(trained.field, surface), surface.faces)
    return [f"{path}: {len(surface.vertices)} vertices, {len(surface.faces)} triangles{remark}"]


def _write_points(options: argparse.Namespace) -> list[object]:
    """Coloured points on what the training cameras see."""
    from nerf_ssim.evaluation.geometry_files import SUFFIXES, require_trimesh, write_geometry
    from nerf_ssim.training.points import points_seen

    require_trimesh()
    trained = _opened(options)
    path = _place(options, "points", trained.iteration, SUFFIXES)
    points = points_seen(
        trained,
        options.count or COUNT,
        threshold=options.threshold or THRESHOLD,
        reach=options.reach,
        seed=trained.config.run.seed,
    )
    if len(points.positions) == 0:
        raise ConfigError("--points: hardly a ray of the training cameras is stopped by anything; train longer")
    write_geometry(path, points.positions, points.colors)
    return [f"{path}: {len(points.positions)} points"]


EXPORTS: Mapping[str, Callable[[argparse.Namespace], list[object]]] = {
    "safetensors": _write_safetensors,
    "mesh": _write_mesh,
    "points": _write_points,
}
"""By the name of its option, what writes a form and returns lines that name its files."""

GOES_WITH: Mapping[str, tuple[str, ...]] = {
    "resolution": ("mesh",),
    "unseen": ("mesh",),
    "threshold": ("mesh", "points"),
    "reach": ("mesh", "points"),
    "count": ("points",),
}
"""The forms that an option is of."""


def _opened(options: argparse.Namespace) -> Trained:
    from nerf_ssim.training.trained import load_trained

    return load_trained(options.run, datadir=options.datadir, checkpoint=options.checkpoint, needs_images=False)


def _place(options: argparse.Namespace, form: str, iteration: int, suffixes: Sequence[str], remark: str = "") -> Path:
    """The file that a form is written to: the one that is named, or one in the run's folder."""
    named: Path = getattr(options, form)
    if named == Path():
        stem = f"{iteration:06d}" if form == "safetensors" else f"{iteration:06d}_{form}"
        return options.run / "export" / f"{stem}{suffixes[0]}"
    if named.suffix.lower() not in suffixes:
        raise ConfigError(f"--{form} {named}: give a name that ends in {' or '.join(suffixes)}{remark}")
    return named


def _parser() -> RunParser:
    parser = RunParser("export", "Write a run's field in forms that other programs read.")

    def add_file(name: str, what: str) -> None:
        parser.add_argument(name, nargs="?", type=user_path, const=Path(), metavar="FILE", help=what)

    add_file(
        "--safetensors",
        "the checkpoint as safetensors and JSON, which nerf-ssim import takes back (default: in RUN/export)",
    )
    add_file("--mesh", "coloured triangles, .ply or .glb (default: a .ply in RUN/export)")
    add_file("--points", "coloured points that the cameras see, .ply or .glb (default: a .ply in RUN/export)")
    parser.add_argument(
        "--resolution",
        type=number_within(int, 8, LARGEST_RESOLUTION),
        metavar="N",
        help=f"of a mesh: places along the longest side where the field is asked (default: {RESOLUTION})",
    )
    parser.add_argument(
        "--unseen",
        action="store_true",
        default=None,
        help="of a mesh: keep what no training camera sees, such as a wall's other side",
    )
    parser.add_argument(
        "--threshold",
        type=number_within(float, 1e-6, 1 - 1e-6),
        metavar="SHARE",
        help="of the light, which a stretch of 1/128 of the longest side must stop to be matter "
        f"(default: {THRESHOLD:g})",
    )
    parser.add_argument(
        "--count",
        type=number_within(int, 1, LARGEST_COUNT),
        metavar="N",
        help=f"of points (default: {COUNT})",
    )
    parser.add_argument(
        "--reach",
        type=number_within(float, 1e-6),
        metavar="R",
        help="leave out what is farther than R scene units from the middle of the field",
    )
    return parser
