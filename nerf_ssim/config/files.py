"""Reading configurations: Python files, and text as TensoRF and S3IM have it.

Text has lines `name = value` and `#` comments; the last line of a name counts.
"""

from __future__ import annotations

import io
import os
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TextIO

import configargparse

from nerf_ssim.config.published import PublishedFile, as_text
from nerf_ssim.errors import ConfigError
from nerf_ssim.files import read_text, user_path
from nerf_ssim.resources import find_resource

_COMMENT = re.compile(r"(^|\s)#.*$")
_QUOTED = re.compile(r"""(?P<quote>['"])(?P<text>.*?)(?P=quote)\s*(#.*)?""")

LARGEST = 1 << 20  # bytes of a configuration


class NamedText(io.StringIO):
    """Text in memory that knows the `name` of the file that it came from, as an open file does."""

    name = ""


def open_config(path: str) -> TextIO:
    """Open a configuration: the file named, else the one of that name (with or without `.txt`) that comes with us.

    Raises:
        ConfigError: there is no such file, it cannot be read, or it is not text or too long to be a configuration.
    """
    given = user_path(path)
    found = given
    is_there = os.path.exists(given)
    if not is_there and given.name == str(path):
        found = find_resource("configs", path if given.suffix else f"{path}.txt")
    try:
        text = NamedText(read_text(found, at_most=LARGEST))
    except (OSError, ValueError) as error:
        hint = "" if is_there else "; a bare name, such as room.txt, is looked for among the bundled ones"
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ConfigError(f"{path}: cannot read this configuration ({reason}){hint}") from error
    text.name = str(found)
    return text


class TextConfigParser(configargparse.ConfigFileParser):
    """What ConfigArgParse calls to read a file; it also remembers where each value stood.

    Args:
        flags: names that may stand alone on a line, meaning 1.
        problem_with: of a name and its text, what is wrong with having them in a file, or None.
        aliases: names that mean another.
        read_python: reads a file whose name ends in `.py`; None where such files are not taken.
    """

    def __init__(
        self,
        flags: Collection[str],
        problem_with: Callable[[str, str], str | None],
        aliases: Mapping[str, str],
        read_python: Callable[[Path], PublishedFile] | None = None,
    ) -> None:
        self._flags = flags
        self._problem_with = problem_with
        self._aliases = aliases
        self._read_python = read_python
        self.places: dict[str, str] = {}
        self.remarks: list[str] = []

    def get_syntax_description(self) -> str:
        """One sentence for the help text."""
        return "A configuration file has lines `name = value`, lists as [1,2,3], and comments after #."

    def parse(self, stream: TextIO) -> OrderedDict[str, str]:
        """Values by name, as text.

        Raises:
            ConfigError: a line that is not `name = value`, or an unknown name.
        """
        source = str(getattr(stream, "name", "configuration"))
        if source.endswith(".py"):
            return self._parse_python(Path(source))
        items: OrderedDict[str, str] = OrderedDict()
        for number, line in enumerate(stream.read().splitlines(), start=1):
            place = f"{source}: line {number}"
            name, value = self._split(line, place)
            if name:
                self._add(items, name, value, place)
        return items

    def serialize(self, items: Mapping[str, str]) -> str:
        """The lines that `parse` reads back."""
        return "".join(f"{name} = {value}\n" for name, value in items.items())

    def _parse_python(self, path: Path) -> OrderedDict[str, str]:
        if self._read_python is None:
            raise ConfigError(
                f"{path}: is a Python configuration, and a text file of lines name = value is needed here"
            )
        items: OrderedDict[str, str] = OrderedDict()
        file = self._read_python(path)
        for setting in file.settings:
            self._add(items, setting.name, as_text(setting.value), setting.place)
        self.remarks += file.remarks
        return items

    def _add(self, items: OrderedDict[str, str], name: str, value: str, place: str) -> None:
        name = self._aliases.get(name, name)
        if problem := self._problem_with(name, value):
            raise ConfigError(f"{place}: {problem}")
        items[name] = value
        self.places[name] = place

    def _split(self, line: str, place: str) -> tuple[str, str]:
        """Name and text of one line; both empty where it has neither."""
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            return "", ""
        name, equals, rest = stripped.partition("=")
        name, rest = name.strip(), rest.strip()
        if not equals:
            name = _COMMENT.sub("", stripped).strip()
            if name in self._flags:
                return name, "1"
        if not equals or not re.fullmatch(r"[A-Za-z_][\w-]*", name):
            raise ConfigError(f"{place}: {stripped[:60]!r} is not of the form name = value")
        if rest[:1] in ("'", '"'):
            quoted = _QUOTED.fullmatch(rest)
            if not quoted:
                raise ConfigError(f"{place}: {name}: the quotation mark is not closed")
            return name, quoted["text"]
        return name, _COMMENT.sub("", rest).strip()
