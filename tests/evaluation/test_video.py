"""Videos play, and no pixel of them is resized."""

from __future__ import annotations

import imageio.v3 as imageio
import numpy as np
import pytest

from nerf_ssim.evaluation import video


def frames_of(height: int, width: int) -> list[np.ndarray]:
    y, x = np.mgrid[:height, :width]
    return [np.stack([4 * x, 4 * y, np.full_like(x, 40 * n)], -1).astype(np.uint8) for n in range(5)]


@pytest.mark.parametrize(("height", "width"), [(35, 51), (36, 52), (35, 52)])
def test_odd_sides_are_padded_with_black_and_nothing_is_resized(tmp_path, height, width):
    pytest.importorskip("imageio_ffmpeg", reason="needs imageio-ffmpeg: pip install nerf_ssim[video]")
    writer = video.Video(tmp_path / "a", 10.0, (width, height))
    for frame in frames_of(height, width):
        writer.add(frame)
    writer.close()
    assert writer.remark == f"video: {tmp_path / 'a.mp4'}"
    played = imageio.imread(tmp_path / "a.mp4")
    assert played.shape == (5, height + height % 2, width + width % 2, 3)
    for frame, shown in zip(frames_of(height, width), played, strict=True):
        assert np.abs(shown[:height, :width].astype(int) - frame).mean() < 6
    assert played[:, height:].mean() < 24 if height % 2 else True


def test_without_an_encoder_it_is_a_gif_that_says_how_to_have_more(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "has_mp4", lambda: False)
    writer = video.Video(tmp_path / "a", 10.0, (13, 11))
    for frame in frames_of(11, 13):
        writer.add(frame)
    writer.close()
    assert "pip install 'nerf_ssim[video]'" in writer.remark
    assert imageio.imread(tmp_path / "a.gif").shape == (5, 11, 13, 3)


def test_a_smaller_picture_is_padded_to_the_frame(tmp_path, monkeypatch):
    monkeypatch.setattr(video, "has_mp4", lambda: False)
    writer = video.Video(tmp_path / "a", 10.0, (20, 12))
    for height, width in ((12, 16), (8, 20)):
        writer.add(np.full((height, width, 3), 255, np.uint8))
    writer.close()
    played = imageio.imread(tmp_path / "a.gif")
    assert played.shape == (2, 12, 20, 3)
    assert [int((shown > 128).all(axis=2).sum()) for shown in played] == [12 * 16, 8 * 20]
