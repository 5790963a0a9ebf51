"""`nerf-ssim import CKPT OUT`: a checkpoint of the published TensoRF or DVGO, or an exported one, becomes a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nerf_ssim.config.command_line import OneLineErrors, number_within
from nerf_ssim.errors import ConfigError
from nerf_ssim.files import user_path

if TYPE_CHECKING:
    from nerf_ssim.models.imported import ForeignModel

PORTABLE = (".safetensors", ".json")


def run(argv: Sequence[str]) -> int:
    """Read a checkpoint and write the run folder OUT, which render, evaluate and train --resume take.

    Returns:
        0.
    Raises:
        UserError: a checkpoint that cannot be read or is of another model, options that do not fit it, or a folder
            that holds a run already.
    """
    options, words = _parser().parse_known_args(list(argv))
    if list(argv[:2]) != [str(options.checkpoint), str(options.out)]:
        raise ConfigError("import: give CKPT and OUT first, and options after them")

    if user_path(options.checkpoint).suffix in PORTABLE:
        return _import_portable(user_path(options.checkpoint), user_path(options.out), words)

    from nerf_ssim.models.imported import foreign_model
    from nerf_ssim.runs.foreign import read_foreign
    from nerf_ssim.training.importing import changed_options, import_model

    checkpoint = user_path(options.checkpoint)
    model = foreign_model(checkpoint, read_foreign(checkpoint))
    asked = _configured(model, words, user_path(options.out))
    config = model.fitted(asked)
    folder, updates = import_model(model, config, options.iteration)
    size = "x".join(map(str, model.resolution))
    print(f"{model.program} of {size} cells after {updates} of {config.run.n_iters} updates: {folder}")
    if changes := changed_options(asked, config):
        print(f"from the checkpoint: {', '.join(changes)}")
    if not config.data.datadir:
        print("no --datadir: it renders along a camera file only (nerf-ssim render RUN --path FILE)")
    elif updates < config.run.n_iters:
        print(f"continue: nerf-ssim train --config {folder / 'config.txt'} --resume")
    return 0


def _import_portable(exported: Path, out: Path, words: Sequence[str]) -> int:
    """A run of what `nerf-ssim export --safetensors` wrote; its options are its own."""
    parser = OneLineErrors(prog="nerf-ssim import", add_help=False, allow_abbrev=False)
    parser.add_argument("--datadir")
    options, others = parser.parse_known_args(list(words))
    if others:
        raise ConfigError(f"import: {others[0]}: an exported run has its options; only --datadir may be given with it")

    from nerf_ssim.runs.portable import read_portable
    from nerf_ssim.training.importing import import_portable

    folder, updates = import_portable(exported, read_portable(exported), out, options.datadir)
    print(f"the run as of {updates} updates: {folder}")
    print(f"continue: nerf-ssim train --config {folder / 'config.txt'} --resume")
    return 0


def _parser() -> OneLineErrors:
    parser = OneLineErrors(
        prog="nerf-ssim import",
        description="Make a run of a TensoRF checkpoint (.th) or a DVGO one (.tar). Every option of nerf-ssim train "
        "may follow: --config and --datadir say what schedule and scene the run goes on with.",
        usage="%(prog)s CKPT OUT [--iteration N] [--config FILE] [--datadir DIR] [--OPTION VALUE ...]",
        allow_abbrev=False,
    )
    parser.add_argument(
        "checkpoint",
        metavar="CKPT",
        help="the checkpoint, or one that nerf-ssim export --safetensors wrote; nothing in it is run",
    )
    parser.add_argument("out", metavar="OUT", help="the run's folder to make, such as runs/lego")
    parser.add_argument(
        "--iteration",
        type=number_within(int, 0),
        metavar="N",
        help="updates after which the schedule goes on (default: what the checkpoint says, else n_iters, the end)",
    )
    return parser


def _configured(model: ForeignModel, words: Sequence[str], out: Path) -> Any:
    """The options that the words and the kind of model ask for, and a folder for the run."""
    from nerf_ssim.config.parsing import parse_command
    from nerf_ssim.datasets.options import AUTO
    from nerf_ssim.models.config import TRAIN

    if not out.name:
        raise ConfigError(f"import: {out} is no folder that a run can be made in; give one such as runs/imported")
    given = {word.split("=")[0] for word in words}
    place = {"expname": out.name, "basedir": str(out.parent)}
    bundled: list[str] = []
    if model.bundled_config is not None and "--config" not in given:
        bundled = ["--config", model.bundled_config]
        # Its scene is not the model's, nor need the model's be in its layout.
        place |= {} if "--datadir" in given else {"datadir": ""}
        place |= {} if "--dataset_name" in given else {"dataset_name": AUTO}
    return parse_command(TRAIN, [*bundled, *words, "--model", str(model.options["model"])]).replace(**place)
