"""`nerf-ssim export RUN`: a trained field in forms that other programs read."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nerf_ssim.cli.run_parser import RunParser
from nerf_ssim.errors import ConfigError, FileError, explain_os_error
from nerf_ssim.files import user_path


def run(argv: Sequence[str]) -> int:
    """Write the forms that are asked for, and print their files.

    Returns:
        0.
    Raises:
        UserError: no such run or checkpoint, no form asked for, a missing package, or a file that cannot be written.
    """
    options = _parser().parse_args(argv)
    asked = [write for name, write in EXPORTS.items() if getattr(options, name) is not None]
    if not asked:
        raise ConfigError(f"export: say which form: {', '.join('--' + name for name in EXPORTS)}")
    for write in asked:
        try:
            print("\n".join(map(str, write(options))))
        except OSError as error:
            raise FileError(explain_os_error(error, path=options.run, doing="written")) from error
    return 0


def _write_safetensors(options: argparse.Namespace) -> list[Path]:
    """The whole checkpoint: weights, optimiser and place in the schedule."""
    from nerf_ssim.runs.portable import write_portable
    from nerf_ssim.training.trained import read_state

    state = read_state(options.run, options.checkpoint)
    is_named = options.safetensors != Path()
    path = options.safetensors if is_named else options.run / "export" / f"{state['iteration']:06d}.safetensors"
    if path.suffix != ".safetensors":
        raise ConfigError(f"--safetensors {path}: give a name that ends in .safetensors; a .json comes beside it")
    return [path, write_portable(path, state)]


EXPORTS: Mapping[str, Callable[[argparse.Namespace], list[Path]]] = {"safetensors": _write_safetensors}
"""By the name of its option, what writes a form and returns its files."""


def _parser() -> RunParser:
    parser = RunParser("export", "Write a run's field in forms that other programs read.")
    parser.add_argument(
        "--safetensors",
        nargs="?",
        type=user_path,
        const=Path(),
        metavar="FILE",
        help="the checkpoint as safetensors and JSON, which nerf-ssim import takes back (default: in RUN/export)",
    )
    return parser
