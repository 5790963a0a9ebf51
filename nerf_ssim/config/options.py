"""One option: its kind, range, choices and help, declared once as the metadata of a frozen dataclass's field.

Everything else comes from that declaration: the parser, its help, the check of every value whichever way it came
(command line, file, checkpoint, Python) and the text written back.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import cache
from typing import Any, cast, get_type_hints

from nerf_ssim.errors import ConfigError

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")
NOTHING = "none"

_INTEGER = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)", re.IGNORECASE)
_LARGEST_EXACT = 2**53
LARGEST_FLOAT = 10**308


def shown(value: object) -> str:
    """A value quoted for a message, on one line and not longer than a glance."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def to_bool(value: object) -> bool:
    """A boolean from a word or from 0 and 1, as published files write it."""
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, (str, int)) else ""
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ValueError(f"{shown(value)} is neither true nor false; write 1 or 0")


def to_int(value: object) -> int:
    """A whole number; `1e6` and `300.0` are whole too."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, float) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        number = float(value)
        if number.is_integer() and abs(number) <= _LARGEST_EXACT:
            return int(number)
    raise ValueError(f"{shown(value)} is not a whole number")


def to_float(value: Any) -> float:
    """A finite number."""
    if isinstance(value, str) and _NOT_FINITE.fullmatch(value):
        raise ValueError(f"{shown(value)} is not a finite number")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise ValueError(f"{shown(value)} is not a number")
    if isinstance(value, int) and abs(value) > LARGEST_FLOAT:
        raise ValueError(f"{shown(value)} is not a finite number")
    number = float(value)
    if not abs(number) < float("inf"):
        raise ValueError(f"{shown(value)} is not a finite number")
    return number


def to_text(value: object) -> str:
    """Text of one line; a path counts."""
    if not isinstance(value, (str, os.PathLike)):
        raise ValueError(f"{shown(value)} is not text")
    text = os.fspath(value)
    if not isinstance(text, str) or not text.isprintable():
        raise ValueError(f"{shown(value)} has characters that cannot be printed")
    return text


def to_ints(value: object) -> tuple[int, ...]:
    """Whole numbers from `[1,2,3]`, `1,2,3`, `1 2 3` or a sequence."""
    if isinstance(value, (list, tuple)):
        return tuple(to_int(item) for item in value)
    if not isinstance(value, str):
        return (to_int(value),)
    inner = value.strip()
    if inner[:1] == "[" and inner[-1:] == "]" and len(inner) > 1:
        inner = inner[1:-1].strip()
    if not inner:
        if value.strip():
            return ()
        raise ValueError("has no value; write [] for an empty list")
    try:
        return tuple(to_int(item) for item in re.split(r"\s*,\s*|\s+", inner))
    except ValueError:
        raise ValueError(f"{shown(value)} is not a list of whole numbers such as [2000,3000]") from None


def to_steps(value: object) -> tuple[tuple[int, float], ...]:
    """A number that changes on the way: from `{0: 5e-6, 1500: 1e-5}`, one number for all, or pairs."""
    if isinstance(value, (list, tuple)):
        if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value):
            raise ValueError(f"{shown(value)} is not a list of pairs")
        steps = tuple((to_int(at), to_float(number)) for at, number in value)
    else:
        text = value.strip() if isinstance(value, str) else value
        if not isinstance(text, str) or text[:1] != "{":
            return ((0, to_float(text)),)
        pairs = [pair.split(":") for pair in text[1:].removesuffix("}").split(",")]
        if text[-1] != "}" or any(len(pair) != 2 for pair in pairs):
            raise ValueError(f"{shown(value)} is neither a number nor of the form {{0: 5e-6, 1500: 1e-5}}")
        steps = tuple((to_int(at.strip()), to_float(number.strip())) for at, number in pairs)
    starts = [at for at, _ in steps]
    if starts[:1] != [0] or starts != sorted(set(starts)):
        raise ValueError(f"{shown(value)} must begin with 0 and ascend")
    return steps


def to_removal(value: object) -> int | str:
    """When SSIM leaves: an iteration, `auto` or `end`."""
    if isinstance(value, str) and value.lower() in ("auto", "end"):
        return value.lower()
    try:
        return to_int(value)
    except ValueError:
        raise ValueError(f"{shown(value)} is not an iteration, 'auto' or 'end'") from None


@dataclasses.dataclass(frozen=True)
class Kind:
    """How one type of option is read."""

    read: Callable[[object], Any]
    placeholder: str
    is_optional: bool = False


KINDS: Mapping[object, Kind] = {
    bool: Kind(to_bool, "0|1"),
    int: Kind(to_int, "N"),
    float: Kind(to_float, "X"),
    str: Kind(to_text, "TEXT"),
    int | None: Kind(to_int, "N", is_optional=True),
    float | None: Kind(to_float, "X", is_optional=True),
    str | None: Kind(to_text, "TEXT", is_optional=True),
    tuple[int, ...]: Kind(to_ints, "N"),
    tuple[tuple[int, float], ...]: Kind(to_steps, "X|{N:X,...}"),
    int | str: Kind(to_removal, "M|auto|end"),
}


@dataclasses.dataclass(frozen=True)
class Option:
    """A declared option. `at_least`, `above`, `at_most` and `below` bound numbers and the members of lists."""

    name: str
    kind: Kind
    default: Any
    help: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Collection[str] | None = None
    pattern: str | None = None
    must: str = ""  # what `pattern` or `choices` ask for, in words
    alias: str | None = None  # another name that it is known by
    synonyms: Mapping[str, str] | None = None  # other spellings of its choices
    may_change: bool = False  # whether a run may be resumed with another value: its result does not depend on it
    adjustable: bool = False  # whether one may with --allow_changes: a rate, weight or threshold that each update reads

    def convert(self, raw: object) -> Any:
        """The checked value of what a file, the command line or Python gave.

        Raises:
            ValueError: not of this option's kind, or out of its range; the text does not name the option.
        """
        if self.kind.is_optional and (raw is None or (isinstance(raw, str) and raw.strip().lower() in ("", NOTHING))):
            return None
        value = self.kind.read(raw.strip() if isinstance(raw, str) and self.kind.read is not to_ints else raw)
        for number in value if isinstance(value, tuple) else (value,):
            number = number[1] if isinstance(number, tuple) else number
            if not isinstance(number, (bool, str)):
                self._check_range(number)
        value = (self.synonyms or {}).get(value, value)
        if self.choices is not None and value not in self.choices:
            advice = f"; {self.must}" if self.must else ""
            raise ValueError(f"{shown(value)} is not one of {', '.join(self.choices)}{advice}")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise ValueError(f"{shown(value)} must be {self.must}")
        return value

    def _check_range(self, number: float) -> None:
        out_of_range = (
            (self.at_least is not None and number < self.at_least)
            or (self.above is not None and number <= self.above)
            or (self.at_most is not None and number > self.at_most)
            or (self.below is not None and number >= self.below)
        )
        if out_of_range:
            raise ValueError(f"{number} is out of range; it must be {self.range_in_words()}")

    def range_in_words(self) -> str:
        """Such as `at least 0, below 1`; empty without bounds."""
        bounds = (("at least", self.at_least), ("above", self.above), ("at most", self.at_most), ("below", self.below))
        return ", ".join(f"{word} {bound}" for word, bound in bounds if bound is not None)

    def write(self, value: Any) -> str:
        """The text that `convert` and a configuration file's reader take back to `value`."""
        if value is None:
            return NOTHING
        if isinstance(value, bool):
            return str(int(value))
        if self.kind.read is to_steps:
            return "{" + ", ".join(f"{at}: {number!r}" for at, number in value) + "}"
        if isinstance(value, tuple):
            return "[" + ",".join(map(str, value)) + "]"
        if isinstance(value, str):
            if "#" not in value and value[:1] not in ("'", '"'):
                return value
            return f"'{value}'" if '"' in value else f'"{value}"'
        return repr(value)


def option(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: Collection[str] | None = None,
    pattern: str | None = None,
    must: str = "",
    alias: str | None = None,
    synonyms: Mapping[str, str] | None = None,
    may_change: bool = False,
    adjustable: bool = False,
) -> Any:
    """A dataclass field that declares an option; its type is the field's annotation, one of `KINDS`."""
    declared = {
        "help": help,
        "at_least": at_least,
        "above": above,
        "at_most": at_most,
        "below": below,
        "choices": choices,
        "pattern": pattern,
        "must": must,
        "alias": alias,
        "synonyms": synonyms,
        "may_change": may_change,
        "adjustable": adjustable,
    }
    return dataclasses.field(default=default, metadata={"option": declared})


def options_of(section: type) -> Mapping[str, Option]:
    """The options that a dataclass declares, by name, in order."""
    # A checker takes the class of instances that have no hash for a value that has none.
    return _declared_options(cast(Hashable, section))


@cache
def _declared_options(section: type) -> Mapping[str, Option]:
    hints = get_type_hints(section)
    return {
        field.name: Option(field.name, KINDS[hints[field.name]], field.default, **field.metadata["option"])
        for field in dataclasses.fields(section)
    }


@dataclasses.dataclass(frozen=True)
class Section:
    """Base of the option groups: every value is checked against its declaration, however the group was made.

    Raises:
        ConfigError: a value of the wrong kind or out of range, named.
    """

    def __post_init__(self) -> None:
        for name, declared in options_of(type(self)).items():
            try:
                object.__setattr__(self, name, declared.convert(getattr(self, name)))
            except ValueError as error:
                raise ConfigError(f"{name}: {error}") from None
