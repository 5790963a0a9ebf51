"""Marked blocks of Markdown pages, which a command writes anew; everything else on a page is written by hand.

`<!-- table: NAME -->` or `<!-- figure: NAME -->` at the beginning of a line begins a block, `<!-- end -->` ends it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from nerf_ssim.errors import ConfigError

__all__ = ["redrawn"]

_BLOCK = re.compile(r"^<!-- (table|figure): (\S+) -->\n(.*?)^<!-- end -->", re.DOTALL | re.MULTILINE)
_BEGIN = re.compile(r"^<!-- (?:table|figure): ", re.MULTILINE)


def redrawn(page: Path, makers: Mapping[str, Callable[[str], str]]) -> str:
    """The page's text with the content of every block made anew.

    Args:
        makers: by kind of block, what makes the content of one from its name.
    Raises:
        ConfigError: a block that does not end.
    """
    text = page.read_text(encoding="utf-8")
    blocks = _BLOCK.findall(text)
    if len(blocks) < len(_BEGIN.findall(text)) or any(_BEGIN.search(content) for _, _, content in blocks):
        raise ConfigError(f"{page}: a block has no <!-- end --> before the next one begins")

    def made(found: re.Match[str]) -> str:
        kind, name = found[1], found[2]
        return f"<!-- {kind}: {name} -->\n\n{makers[kind](name).strip()}\n<!-- end -->"

    return _BLOCK.sub(made, text)
