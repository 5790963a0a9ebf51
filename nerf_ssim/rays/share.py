"""The rays of a batch that one of several processes has."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Share"]


@dataclass(frozen=True)
class Share:
    """The rays from `start` up to `stop` of a batch of `whole`."""

    start: int
    stop: int
    whole: int

    @classmethod
    def of(cls, rank: int, size: int, whole: int) -> Share:
        """That of process `rank` of `size`: neighbouring rays, one more or less than any other process has."""
        return cls(whole * rank // size, whole * (rank + 1) // size, whole)

    @property
    def count(self) -> int:
        """How many rays it has."""
        return self.stop - self.start

    @property
    def rows(self) -> slice:
        """Where they are in the batch."""
        return slice(self.start, self.stop)
