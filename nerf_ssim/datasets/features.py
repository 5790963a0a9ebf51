"""SIFT features of views."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Features", "find_features"]


@dataclass(frozen=True)
class Features:
    """The features of one view.

    Args:
        pixels: `[n, 2]`, places in the shrunk image; pixel (0, 0) has its centre at (0.5, 0.5).
        descriptors: `[n, 128]`, float32.
        K: `[3, 3]`, intrinsics of the shrunk image.
        size: its width and height, pixels.
    """

    pixels: NDArray[np.float64]
    descriptors: NDArray[np.float32]
    K: NDArray[np.float64]
    size: tuple[int, int]


def find_features(
    image: NDArray[np.uint8], K: NDArray[np.float64], longest_side: int, most: int = 1500
) -> Features | None:
    """SIFT features of an image, shrunk to `longest_side` pixels where it is larger; None where it has fewer than two.

    Args:
        image: `[height, width, 3]`, RGB.
        K: `[3, 3]`, its intrinsics, pixel centres at halves.
        most: the strongest so many are kept.
    """
    height, width = image.shape[:2]
    scale = min(1.0, longest_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    grey = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
    keypoints, descriptors = cv2.SIFT.create(nfeatures=most).detectAndCompute(grey, None)
    if descriptors is None or len(keypoints) < 2:
        return None
    K = K * np.array([size[0] / width, size[1] / height, 1.0])[:, None]
    pixels = np.array([keypoint.pt for keypoint in keypoints]) + 0.5  # OpenCV counts pixel centres at integers
    return Features(pixels, np.asarray(descriptors, np.float32), K, size)
