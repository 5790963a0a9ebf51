"""Line charts as SVG whose every byte follows from their values, so that a page can be checked by drawing it again.

Matplotlib's files change with its version and its fonts; these are a few dozen elements of text.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Line", "Panel", "chart"]

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 14, 30, 44
ROW_OF_LEGEND = 18
COLUMNS = 2
COLORS = ("#1f77b4", "#d95f02", "#2ca02c", "#222222", "#9467bd", "#d62728", "#8c564b", "#888888", "#e377c2", "#17becf")
TICKS = 5
MOST_MARKS = 12


@dataclass(frozen=True)
class Line:
    """Points of one schedule: x, y, and the least and greatest value over seeds."""

    title: str
    points: Sequence[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    lines: Sequence[Line]


def chart(panels: Sequence[Panel], *, x_label: str, y_label: str, is_log: bool) -> str:
    """Panels two a row with one legend below them, as an SVG document.

    Args:
        is_log: whether x is drawn by equal factors; every x is then above 0.
    """
    titles = list(dict.fromkeys(line.title for panel in panels for line in panel.lines))
    colors = {title: COLORS[number % len(COLORS)] for number, title in enumerate(titles)}
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    width, legend = WIDTH * columns, legend_of(colors, WIDTH * columns, HEIGHT * rows)
    height = HEIGHT * rows + ROW_OF_LEGEND * len({y for _, y, _ in legend}) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = WIDTH * (number % columns), HEIGHT * (number // columns)
        parts += [f'<g transform="translate({x} {y})">', *drawn(panel, colors, x_label, y_label, is_log), "</g>"]
    for x, y, title in legend:
        parts.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{colors[title]}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{x + 23}" y="{y}">{html.escape(title)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def drawn(panel: Panel, colors: dict[str, str], x_label: str, y_label: str, is_log: bool) -> list[str]:
    """The elements of one panel."""
    points = [point for line in panel.lines for point in line.points]
    across, x_ticks = scale([x for x, *_ in points], LEFT, WIDTH - RIGHT, is_log=is_log)
    up, y_ticks = scale([value for _, *values in points for value in values], HEIGHT - BOTTOM, TOP)
    right, bottom, middle = WIDTH - RIGHT, HEIGHT - BOTTOM, (LEFT + WIDTH - RIGHT) // 2
    parts = [f'<text x="{middle}" y="18" text-anchor="middle" font-size="12">{html.escape(panel.title)}</text>']
    for tick in y_ticks:
        level = place(up(tick))
        parts.append(f'<line x1="{LEFT}" y1="{level}" x2="{right}" y2="{level}" stroke="#dddddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{place(up(tick) + 4)}" text-anchor="end">{tick:g}</text>')
    for tick in x_ticks:
        mark = place(across(tick))
        parts.append(f'<line x1="{mark}" y1="{bottom}" x2="{mark}" y2="{bottom + 4}" stroke="#444444"/>')
        parts.append(f'<text x="{mark}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    parts.append(f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#444444"/>')
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(x_label)}</text>')
    turned = f'transform="translate(14 {(TOP + bottom) // 2}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {turned}>{html.escape(y_label)}</text>")
    for line in panel.lines:
        color, path = colors[line.title], "L".join(f"{place(across(x))} {place(up(y))}" for x, y, _, _ in line.points)
        parts.append(f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        for x, y, least, greatest in line.points:
            if greatest > least:
                at = place(across(x))
                parts.append(f'<path d="M{at} {place(up(least))}V{place(up(greatest))}" stroke="{color}"/>')
            parts.append(f'<circle cx="{place(across(x))}" cy="{place(up(y))}" r="2.5" fill="{color}"/>')
    return parts


def scale(
    values: Sequence[float], start: float, end: float, *, is_log: bool = False
) -> tuple[Callable[[float], float], list[float]]:
    """Where a value is between two places of the picture, and the ticks of the axis."""
    if is_log:
        low, high = math.log10(min(values)), math.log10(max(values))
        low, high = (low - 0.05, high + 0.05) if low == high else (low, high)
        marks = sorted(set(values))
        if len(marks) > MOST_MARKS:  # curves; the moments of a figure are few and are named themselves
            powers = range(math.floor(low), math.ceil(high) + 1)
            marks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            marks = [mark for mark in marks if low <= math.log10(mark) <= high]
        ticks = thinned_ticks(marks, low, high)
        return (lambda value: start + (end - start) * (math.log10(value) - low) / (high - low)), ticks
    low, high = min(values), max(values)
    low, high = (low - 0.5, high + 0.5) if low == high else (low, high)
    step = nice_step((high - low) / TICKS)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    ticks = [round(low + step * number, 10) for number in range(round((high - low) / step) + 1)]
    return (lambda value: start + (end - start) * (value - low) / (high - low)), ticks


def thinned_ticks(values: Sequence[float], low: float, high: float) -> list[float]:
    """The values themselves, without those that would stand too close to the one before."""
    chosen: list[float] = []
    for value in values:
        if not chosen or math.log10(value / chosen[-1]) > 0.09 * (high - low):
            chosen.append(value)
    return chosen


def nice_step(least: float) -> float:
    """The first of 1, 2 and 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


def place(value: float) -> str:
    """A coordinate with one decimal: less than a pixel."""
    return f"{value:.1f}"


def legend_of(colors: dict[str, str], width: int, top: int) -> list[tuple[int, int, str]]:
    """Where each title stands: rows of titles below the panels."""
    found, x, y = [], LEFT, top + ROW_OF_LEGEND
    for title in colors:
        needed = 40 + 7 * len(title)
        if x + needed > width and x > LEFT:
            x, y = LEFT, y + ROW_OF_LEGEND
        found.append((x, y, title))
        x += needed
    return found
