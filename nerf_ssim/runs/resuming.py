"""What `--resume` goes on with: the run's own options, and those that stand on the command line."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from nerf_ssim.config.base import BaseConfig
from nerf_ssim.config.parsing import Given, read_command
from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.files import user_path
from nerf_ssim.runs.checkpoints import CheckpointFolder, newest_options

__all__ = ["config_to_resume"]

OWN_OPTIONS = "config.txt"


def config_to_resume(given: Given) -> tuple[Any, list[str]]:
    """The configuration of a start with `resume`, and what is to be said of it, a line each.

    The options of the run that is there are taken from its newest checkpoint; only what stands on the command line
    changes them, and a configuration file names the run alone. Where no run is there, one starts anew as both say.

    Raises:
        ConfigError: nothing is there to continue and nothing is named to start with, or options that contradict.
    """
    path = user_path(given.value("basedir")) / given.value("expname")
    own, iteration = own_options(path, given)
    if own is None:
        if not given.names_data():
            data = given.command.data[0]
            raise ConfigError(f"{path}: holds no run to continue{_similar(path)}, and no {data} is named to start one")
        # A folder with checkpoints none of which can be read is refused when it is opened.
        is_new = not CheckpointFolder(path).paths()
        return given.config(), [f"{path}: holds no run to continue{_similar(path)}; it starts anew"] if is_new else []
    model, asked = own.to_dict().get("model"), given.on_line.get("model")
    if asked not in (None, model):
        raise CheckpointError(
            f"{path}: belongs to a run with other options (model was {model!r}, is {asked!r}); leave it out, start "
            "anew with --overwrite, or give another --expname"
        )
    notes = []
    changes = {"overwrite": False, "allow_changes": False, **given.on_line, "resume": True}
    changes |= {name: given.value(name) for name in ("basedir", "expname")}
    if "stop_at" not in given.on_line and own.run.stop_at is not None and iteration >= own.run.stop_at:
        changes["stop_at"] = None
        notes = [f"{path}: has reached its stop_at {own.run.stop_at} and goes on to the end of n_iters"]
    return own.replace(**changes), notes


def own_options(path: Path, given: Given) -> tuple[BaseConfig | None, int]:
    """The options that the run in `path` has, and how many updates it has seen; None and 0 where there is no run.

    A folder of fits (one a picture, or one a rate) has its options in its `config.txt`.
    """
    kind = given.command.config
    found = newest_options(path)
    if found is not None:
        place, options, iteration = found
        try:
            return kind.from_dict(options), iteration
        except ConfigError as error:
            raise CheckpointError(f"{place}: config: {error}; use the version that wrote it, or train anew") from error
    text = path / OWN_OPTIONS
    is_begun = any(path.glob("*/checkpoints/*.pt")) or any(path.glob("*/*/checkpoints/*.pt"))
    if text.is_file() and (is_begun or not given.names_data()):
        return read_command(given.command, ["--config", str(text)]).config(), 0
    return None, 0


def _similar(path: Path) -> str:
    """` (did you mean …?)` where the folder beside has a run of a name like this one's."""
    folder = path.parent
    names = [other.name for other in folder.iterdir() if (other / OWN_OPTIONS).is_file()] if folder.is_dir() else []
    close = get_close_matches(path.name, [name for name in names if name != path.name], n=1)
    return f" (did you mean {close[0]}?)" if close else ""
