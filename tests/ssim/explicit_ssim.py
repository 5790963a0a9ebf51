"""SSIM from its definition: one loop a window, one a pixel, float64, sharing nothing with the package."""

from __future__ import annotations

import math

import numpy as np

C1, C2 = 0.01**2, 0.03**2


def weights(size: int, sigma: float | None) -> np.ndarray:
    """`[size, size]`, sum 1; a Gaussian about index size // 2, or equal weights."""
    table = np.ones((size, size))
    if sigma is not None:
        for i in range(size):
            for j in range(size):
                squared = (i - size // 2) ** 2 + (j - size // 2) ** 2
                table[i, j] = math.exp(-squared / (2 * sigma**2))
    return table / table.sum()


def windows(height: int, width: int, size: int, stride: int, before: int, after: int):
    """Top-left corners, which may lie outside the image, by map row and column."""
    for row, top in enumerate(range(-before, height + after - size + 1, stride)):
        for column, left in enumerate(range(-before, width + after - size + 1, stride)):
            yield row, column, top, left


def one_window(x, y, table, top, left, c1=C1, c2=C2):
    """S1, S2, mu_x, mu_y and the gradient dSSIM/dy_i in its collective and its individual-collective part."""
    height, width = x.shape
    mu_x = mu_y = square_x = square_y = product = 0.0
    for i, j in np.ndindex(table.shape):
        if 0 <= top + i < height and 0 <= left + j < width:
            w, u, v = table[i, j], x[top + i, left + j], y[top + i, left + j]
            mu_x, mu_y = mu_x + w * u, mu_y + w * v
            square_x, square_y, product = square_x + w * u * u, square_y + w * v * v, product + w * u * v
    var_x, var_y, cov = square_x - mu_x**2, square_y - mu_y**2, product - mu_x * mu_y
    b1, b2 = mu_x**2 + mu_y**2 + c1, var_x + var_y + c2
    s1, s2 = (2 * mu_x * mu_y + c1) / b1, (2 * cov + c2) / b2
    collective, individual = np.zeros_like(y), np.zeros_like(y)
    for i, j in np.ndindex(table.shape):
        p, q = top + i, left + j
        if 0 <= p < height and 0 <= q < width:
            w = table[i, j]
            collective[p, q] = 2 * w * (s2 / b1) * (mu_x - s1 * mu_y)
            individual[p, q] = 2 * w * (s1 / b2) * ((x[p, q] - mu_x) - s2 * (y[p, q] - mu_y))
    return s1, s2, mu_x, mu_y, collective, individual


def index(x, y, size, sigma, stride, before, after, c1=C1, c2=C2):
    """Maps SSIM, S1, S2, mu_x - mu_y of one plane and the gradient of mean SSIM with respect to y."""
    table = weights(size, sigma)
    rows = len(range(-before, x.shape[0] + after - size + 1, stride))
    columns = len(range(-before, x.shape[1] + after - size + 1, stride))
    maps, gradient = np.zeros((4, rows, columns)), np.zeros_like(y)
    for row, column, top, left in windows(*x.shape, size, stride, before, after):
        s1, s2, mu_x, mu_y, collective, individual = one_window(x, y, table, top, left, c1, c2)
        maps[:, row, column] = s1 * s2, s1, s2, mu_x - mu_y
        gradient += (collective + individual) / (rows * columns)
    return maps, gradient
