"""Errors meant for people.

Each message says what is wrong, where, and what to do about it, on one line. The command line prints that line
to standard error and exits with 2; a traceback is always a defect of the program, never the answer to bad input.
"""

from __future__ import annotations

import errno
import os


class UserError(Exception):
    """Something the user gave, or has not installed, stops the work.

    Line breaks in `message` (an exception's text quoted from elsewhere, say) become spaces, so that whatever
    reads the output by lines sees one.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class ConfigError(UserError):
    """An option or configuration file is unknown, malformed, out of range or contradicts another."""


class SceneError(UserError):
    """A data set on disk is missing, unreadable or inconsistent."""


class CheckpointError(UserError):
    """A checkpoint is torn, of another version, or of another model."""


class TrainingError(UserError):
    """Training cannot start or go on: a term became NaN, a batch is empty, the run folder is in use."""


class HaltedTraining(TrainingError):
    """An update that training cannot go on from: a term or a weight is no number, or nothing is left to train.

    Attributes:
        problem: what happened.
        lower: options of which a lower value helps; none for the learning rates.
        anew: what else helps a run that starts anew; empty for nothing.
    """

    def __init__(self, problem: str, *, lower: tuple[str, ...] = (), anew: str = "") -> None:
        super().__init__(problem)
        self.problem, self.lower, self.anew = problem, lower, anew


class MissingDependency(UserError):
    """An optional package is needed for what was asked; the message names the extra that installs it."""


class DownloadError(UserError):
    """Something to be fetched could not be, or the archive fetched is not safe to unpack."""


class DerivativeError(UserError):
    """A derivative is asked for that an operation does not have; it would otherwise be zero without a word."""


class FileError(UserError):
    """The system refuses to read or write a file: the disk is full, there is no permission, the name is too long."""


_LONGEST_NAME = 160
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f), or choose another file system",
    errno.EACCES: "choose another folder, or mend its permissions",
    errno.EPERM: "choose another folder, or mend its permissions",
    errno.EROFS: "choose another folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "check the name",
    errno.ENOTDIR: "part of the name is a file; move it away, or choose another name",
    errno.EISDIR: "a folder has that name; move it away, or choose another name",
    errno.EEXIST: "something else has that name; move it away, or choose another name",
    errno.ENOTEMPTY: "something else has that name; move it away, or choose another name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EIO: "check the disk",
}


def explain_os_error(error: OSError, *, path: object = "", doing: str = "", then: str = "") -> str:
    """What the system refused, where and what to do, on one line.

    Args:
        error: as it was raised; the file that it names goes before `path`.
        path: the file or folder in question, where the error names none.
        doing: what could not be done to it, such as `written`.
        then: what to do once that is mended, such as `continue with --resume`.
    """
    names = (error.filename2, error.filename)  # of a renaming, its goal: what is renamed has a passing name
    named = next((name for name in names if isinstance(name, (str, bytes, os.PathLike))), path)
    place = os.fsdecode(named) if isinstance(named, (str, bytes, os.PathLike)) else str(named)
    if len(place) > _LONGEST_NAME:
        place = f"{place[: _LONGEST_NAME // 2]}...{place[-_LONGEST_NAME // 2 :]}"
    reason = error.strerror or str(error) or type(error).__name__
    advice = ", then ".join(filter(None, (_ADVICE.get(error.errno or 0, ""), then)))
    stated = f"cannot be {doing} ({reason})" if doing else reason
    return "".join((f"{place}: " if place else "", stated, f"; {advice}" if advice else ""))
