"""Patterns of the procedural room's surfaces, as functions of two lengths along the surface."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
_LATTICE = 64  # the noise repeats after so many cells
_GRAIN = 0.022  # scene units: two or three pixels of a 128-pixel view across the room


@dataclass(frozen=True)
class Pattern:
    """Two colours and how they alternate.

    Args:
        kind: checks, stripes (upright), planks (along the first coordinate), noise (blobs) or plain.
        first: RGB in [0, 1].
        second: RGB in [0, 1].
        cell: width of a check, stripe, plank or blob, scene units.
        lattice: `[64, 64]`, random values in [0, 1], the source of the pattern's irregularity.
        mottle: how much slow noise lightens and darkens it, 0 … 1.
        grain: the same for fine noise.
    """

    kind: str
    first: Array
    second: Array
    cell: float
    lattice: Array
    mottle: float = 0.15
    grain: float = 0.06

    def colour(self, coordinates: Array) -> Array:
        """RGB `[n, 3]` in [0, 1] at texture coordinates `[n, 2]`, scene units."""
        u, v = coordinates[:, 0] / self.cell, coordinates[:, 1] / self.cell
        blend = _BLENDS[self.kind](self.lattice, u, v)[:, None]
        colour = self.first * (1 - blend) + self.second * blend
        slow = smooth_noise(self.lattice, u * 0.37 + 11.3, v * 0.37 + 5.7)
        fine = smooth_noise(self.lattice, coordinates[:, 0] / _GRAIN, coordinates[:, 1] / _GRAIN)
        shade = 1 + self.mottle * (2 * slow - 1) + self.grain * (2 * fine - 1)
        return colour * shade[:, None]


def smooth_noise(lattice: Array, u: Array, v: Array) -> Array:
    """Value noise in [0, 1]: `lattice` at whole coordinates, smoothly blended between, repeating."""
    cell_u, cell_v = np.floor(u), np.floor(v)
    du, dv = u - cell_u, v - cell_v
    du, dv = du * du * (3 - 2 * du), dv * dv * (3 - 2 * dv)
    i, j = cell_u.astype(np.int64) % _LATTICE, cell_v.astype(np.int64) % _LATTICE
    k, m = (i + 1) % _LATTICE, (j + 1) % _LATTICE
    low = lattice[i, j] * (1 - du) + lattice[k, j] * du
    high = lattice[i, m] * (1 - du) + lattice[k, m] * du
    return low * (1 - dv) + high * dv


def random_pattern(random: np.random.Generator, kind: str, cell: float, hue: float, brightness: float) -> Pattern:
    """A pattern about `hue` (turns) and of two colours about `brightness` (0 … 1), one lighter than the other."""
    first = _hsv(hue, random.uniform(0.15, 0.42), brightness * random.uniform(0.95, 1.1))
    second = _hsv(hue + random.uniform(-0.15, 0.15), random.uniform(0.2, 0.55), brightness * random.uniform(0.45, 0.7))
    return Pattern(kind, first, second, cell, random.random((_LATTICE, _LATTICE)))


def _hsv(hue: float, saturation: float, value: float) -> Array:
    return np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, min(value, 1.0)))


def _checks(lattice: Array, u: Array, v: Array) -> Array:
    return (np.floor(u) + np.floor(v)) % 2


def _stripes(lattice: Array, u: Array, v: Array) -> Array:
    column = np.floor(u).astype(np.int64) % _LATTICE
    return np.where(column % 2 == 0, 0.15, 0.45 + 0.55 * lattice[column, 0])


def _planks(lattice: Array, u: Array, v: Array) -> Array:
    row = np.floor(v).astype(np.int64) % _LATTICE
    along = np.floor(u / 6 + lattice[row, 1] * 6).astype(np.int64) % _LATTICE
    tone = 0.1 + 0.5 * lattice[row, along]
    grain = 0.3 * smooth_noise(lattice, u * 0.5 + 7.0 * row, v * 3)
    return np.where(v - np.floor(v) < 0.08, 1.0, tone + grain)


def _noise(lattice: Array, u: Array, v: Array) -> Array:
    value = 0.7 * smooth_noise(lattice, u, v) + 0.3 * smooth_noise(lattice, u * 2.1 + 3.3, v * 2.1 + 9.1)
    return np.clip((value - 0.3) * 2.5, 0, 1)


def _plain(lattice: Array, u: Array, v: Array) -> Array:
    return np.zeros_like(u)


_BLENDS = {"checks": _checks, "stripes": _stripes, "planks": _planks, "noise": _noise, "plain": _plain}


@dataclass(frozen=True)
class Panel:
    """A framed rectangle on a face: a picture, a window, a board.

    Args:
        face: which face of the solid (0 … 5).
        centre: texture coordinates of its middle.
        half: half its width and height.
        pattern: what it shows.
        frame: RGB of the border.
    """

    face: int
    centre: Array
    half: Array
    pattern: Pattern
    frame: Array
    border: float = 0.025


@dataclass(frozen=True)
class Finish:
    """How a solid is covered: one pattern a face (or one for all), and panels upon them."""

    patterns: Sequence[Pattern]
    panels: Sequence[Panel] = ()

    def colour(self, coordinates: Array, face: NDArray[np.int64]) -> Array:
        """RGB `[n, 3]` at texture coordinates `[n, 2]` of faces `[n]`."""
        result = np.empty((len(face), 3))
        for index in np.unique(face):
            on = face == index
            result[on] = self.patterns[index % len(self.patterns)].colour(coordinates[on])
        for panel in self.panels:
            beyond = (np.abs(coordinates - panel.centre) - panel.half).max(axis=1)
            inside = (face == panel.face) & (beyond <= 0)
            result[inside] = panel.pattern.colour(coordinates[inside] - panel.centre)
            result[(face == panel.face) & (beyond > 0) & (beyond <= panel.border)] = panel.frame
        return result
