"""How large a picture may be so that it comes in time on the machine that renders it."""

from __future__ import annotations

import math

__all__ = ["Pace"]

QUICK = 0.15  # seconds that the first picture after a movement may take
LEAST_SIDE = 48  # pixels: on less nothing is recognised
FIRST_RATE = 20_000.0  # pixels a second, before anything was measured
REFINEMENT = 2.0  # by which the sides of one picture exceed those of the one before
NEWEST_SHARE = 0.5  # that the newest measurement has in the rate


class Pace:
    """Sizes of pictures by the speed at which the last ones came.

    While the camera moves, each picture is as large as `QUICK` seconds allow. When it rests, larger ones follow up to
    the size asked for. A training that runs beside the viewer makes rendering slower, and the next picture smaller.

    Attributes:
        rate: pixels a second.
    """

    def __init__(self) -> None:
        self.rate = FIRST_RATE

    def observe(self, pixels: int, seconds: float) -> None:
        """Learns from a picture of so many pixels that took so long."""
        self.rate += NEWEST_SHARE * (pixels / max(seconds, 1e-4) - self.rate)

    def sizes(self, aspect: float, longest: int) -> list[tuple[int, int]]:
        """Width and height of the pictures to make of one camera, in order; the last one's longer side is `longest`.

        Args:
            aspect: width over height.
            longest: pixels of the longer side, at least 1.
        """
        shape = (1.0, 1.0 / aspect) if aspect >= 1 else (aspect, 1.0)
        pixels_of_unit = shape[0] * shape[1]
        side = min(max(math.sqrt(self.rate * QUICK / pixels_of_unit), LEAST_SIDE), longest)
        sides = [side]
        while sides[-1] * math.sqrt(REFINEMENT) < longest:
            sides.append(min(sides[-1] * REFINEMENT, longest))
        sides[-1] = longest
        return [(max(1, round(shape[0] * s)), max(1, round(shape[1] * s))) for s in sides]
