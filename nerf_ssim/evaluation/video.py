"""Videos of rendered frames: MP4 where the package imageio-ffmpeg is installed, else GIF."""

from __future__ import annotations

from pathlib import Path

import imageio
import numpy as np
from numpy.typing import NDArray

__all__ = ["Video", "has_mp4"]

INSTALL = "pip install 'nerf_ssim[video]'"


class Video:
    """A video that is written frame by frame.

    Args:
        stem: the file's path without its suffix.
        fps: frames a second.
        frame: width and height of the largest picture, pixels; smaller ones lie at its upper left, on black.
    """

    def __init__(self, stem: Path, fps: float, frame: tuple[int, int]) -> None:
        self._frame = frame
        if has_mp4():
            self.path = stem.with_name(f"{stem.name}.mp4")
            # H.264 wants even sides: an odd one gets a black row or column more, and no pixel is resized.
            pad = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2"]
            self._writer = imageio.get_writer(
                self.path, format="FFMPEG", fps=fps, quality=8, macro_block_size=1, output_params=pad
            )
            self.remark = f"video: {self.path}"
        else:
            self.path = stem.with_name(f"{stem.name}.gif")
            self._writer = imageio.get_writer(self.path, duration=1000.0 / fps, loop=0)
            self.remark = f"video: {self.path} (a GIF of 256 colours; for MP4: {INSTALL})"

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append a picture, uint8 `[height, width, 3]`."""
        width, height = self._frame
        below, right = height - frame.shape[0], width - frame.shape[1]
        self._writer.append_data(np.pad(frame, ((0, below), (0, right), (0, 0))) if below or right else frame)

    def close(self) -> None:
        """Finish the file; what was added so far plays."""
        self._writer.close()


def has_mp4() -> bool:
    """Whether there is an encoder for MP4."""
    try:
        import imageio_ffmpeg

        return bool(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError):  # RuntimeError: the package without a binary for this machine
        return False
