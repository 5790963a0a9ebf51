"""Curves of a few dozen points instead of thousands, for files that people keep."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["kept_places"]


def kept_places(count: int, most: int, always: Collection[int] = ()) -> list[int]:
    """Which of `count` rows a curve keeps: at most `most`, closer at the beginning, and those of `always` beside them.

    Half of them are spread evenly and half by equal factors, because SSIM's schedule acts in the first hundred updates.
    The first and the last row are among them where `most` is at least 2.
    """
    if count <= most:
        return list(range(count))
    even = most - most // 2
    places = {round(number * (count - 1) / max(even - 1, 1)) for number in range(even)}
    factor = count ** (1 / (most // 2)) if most > 1 else 1.0
    places |= {min(int(factor**number), count - 1) for number in range(most // 2)}
    return sorted({*places, *always})


def rows_to_keep(columns: Sequence[Sequence[float | None]], count: int, most: int) -> list[int]:
    """`kept_places` with every row in which one of `columns` has a value, as scores of test views have it."""
    scored = {place for column in columns for place, value in enumerate(column) if value is not None}
    return kept_places(count, most, scored)
