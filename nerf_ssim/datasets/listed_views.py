"""The views of both splits of a scene in the order of its own list."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from nerf_ssim.datasets.scene import Scene

__all__ = ["ListedViews"]


class ListedViews:
    """A scene's views as one list; images are not copied.

    Attributes:
        c2w: `[views, 3, 4]`, float64, OpenCV camera-to-world.
        K: `[views, 3, 3]`, float64, pixel centres at halves.
        names: the image files' names.
        is_test: which of them are test views.
    """

    def __init__(self, scene: Scene) -> None:
        self._splits = scene.train, scene.test
        self.is_test = scene.listed or (False,) * len(scene.train) + (True,) * len(scene.test)
        counts = np.cumsum([[not test, test] for test in self.is_test], axis=0)
        self._places = [int(counts[place, int(test)]) - 1 for place, test in enumerate(self.is_test)]
        both = list(zip(self.is_test, self._places, strict=True))
        self.c2w = np.array([self._splits[test].c2w[place].double().cpu().numpy() for test, place in both])
        self.K = np.array([self._splits[test].K[place].double().cpu().numpy() for test, place in both])
        self.names = tuple(self._splits[test].names[place] for test, place in both)

    def image_of(self, index: int) -> Tensor:
        """One image, `[height, width, 3]` uint8."""
        return self._splits[self.is_test[index]].image_of(self._places[index])

    def size_of(self, index: int) -> tuple[int, int]:
        """Height and width of one image, in pixels."""
        return self._splits[self.is_test[index]].size_of(self._places[index])

    def __len__(self) -> int:
        return len(self._places)
