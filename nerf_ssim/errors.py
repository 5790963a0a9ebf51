"""Errors meant for people.

Each message says what is wrong, where, and what to do about it, on one line. The command line prints that line
to standard error and exits with 2; a traceback is always a defect of the program, never the answer to bad input.
"""


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


class MissingDependency(UserError):
    """An optional package is needed for what was asked; the message names the extra that installs it."""


class DownloadError(UserError):
    """Something to be fetched could not be, or the archive fetched is not safe to unpack."""


class DerivativeError(UserError):
    """A derivative is asked for that an operation does not have; it would otherwise be zero without a word."""
