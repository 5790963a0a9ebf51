"""The `nerf-ssim` command: one word picks a subcommand, which is imported only then."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from difflib import get_close_matches

from nerf_ssim import __version__
from nerf_ssim.cli.imports import explain_import_error
from nerf_ssim.cli.memory import explain_full_memory
from nerf_ssim.cli.streams import lasting_streams, mend_closed_streams, silence
from nerf_ssim.errors import UserError, explain_os_error

COMMANDS = {
    "train": "train a radiance field with an SSIM schedule, and score it",
    "fit-image": "fit a coordinate network to a picture, with an SSIM schedule",
    "evaluate": "score a trained run's test views again",
    "render": "render views of a trained run",
    "view": "look at a run in the browser, while it trains too",
    "import": "make a run of a checkpoint of the published TensoRF or DVGO",
    "export": "write a trained field as a mesh, points or safetensors",
    "sweep": "run every combination of a file's axes, and tabulate it",
    "paper": "run and draw a table or figure of the paper",
    "report": "compare trained runs: a table and a figure of PSNR by updates and by time",
    "doctor": "show versions, devices, and what each operation runs on",
    "data": "check a scene, make the procedural room, or download a data set",
}
MODULES = {"import": "import_checkpoint"}
"""Files of commands whose names cannot be modules'."""

LASTING = ("train", "fit-image")
"""Commands whose work goes on when nobody reads what they print any more."""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the process's exit status.

    A `UserError` is one line on standard error and status 2, and so is an `OSError` that no place has put into words;
    Ctrl-C is status 130; a reader that has gone away (`nerf-ssim doctor | head -1`) ends the command without a word.

    Args:
        argv: the words after `nerf-ssim`; those of this process by default.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    mend_closed_streams()
    try:
        with lasting_streams() if words[:1] and words[0] in LASTING else nullcontext():
            status = _status_of(words)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        silence(sys.stdout)
        return EXIT_BROKEN_PIPE
    except OSError as error:
        place = "standard output" if _is_output_full() else ""
        silence(sys.stdout)
        _complain(explain_os_error(error, path=place))
        return EXIT_USER_ERROR


def _status_of(words: list[str]) -> int:
    try:
        return _dispatch(words)
    except UserError as error:
        _complain(str(error))
        return EXIT_USER_ERROR
    except ImportError as error:
        line = explain_import_error(error)
        if line is None:
            raise
        _complain(line)
        return EXIT_USER_ERROR
    except (RuntimeError, MemoryError) as error:
        if not (line := explain_full_memory(error)):
            raise
        _complain(line)
        return EXIT_USER_ERROR
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except SystemExit as stop:  # argparse's own, after --help or a malformed line of another subcommand
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)


def _is_output_full() -> bool:
    """Whether what was printed cannot be written: such an error names no file."""
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def _complain(line: str) -> None:
    """Print one line on standard error, if anybody hears it."""
    try:
        print(f"nerf-ssim: {line}", file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    command, *rest = words
    if command in ("-V", "--version"):
        print(f"nerf-ssim {__version__}")
        return 0
    if command not in COMMANDS:
        close = get_close_matches(command, COMMANDS, n=1)
        advice = f"did you mean {close[0]}?" if close else f"there are: {', '.join(COMMANDS)}"
        raise UserError(f"{command!r} is not a command; {advice}")
    module = MODULES.get(command, command.replace("-", "_"))
    return importlib.import_module(f"nerf_ssim.cli.{module}").run(rest)


def _usage() -> str:
    lines = [f"  {name:<11}{purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(
        [
            "usage: nerf-ssim COMMAND ...",
            "",
            "Neural fields trained with SSIM for part of the way.",
            "",
            *lines,
            "",
            "nerf-ssim COMMAND --help shows a command's options; nerf-ssim --version the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
