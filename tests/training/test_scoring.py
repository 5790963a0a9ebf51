"""Which test views are scored under way."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from nerf_ssim.datasets.scene import Views
from nerf_ssim.evaluation.protocol import RenderedView
from nerf_ssim.training import scoring


def grey_views(count: int) -> Views:
    """So many black photographs of 16x16 pixels."""
    images = torch.zeros(count, 16, 16, 3, dtype=torch.uint8)
    poses, intrinsics = torch.eye(4)[:3].expand(count, 3, 4), torch.eye(3).expand(count, 3, 3)
    return Views(images, poses, intrinsics, tuple(f"{index}.png" for index in range(count)))


@pytest.mark.parametrize(
    ("views", "wanted", "scored"),
    [
        (9, 5, range(9)),
        (10, 5, range(0, 10, 2)),
        (11, 5, range(0, 11, 2)),
        (9, -1, range(9)),
        (3, 5, range(3)),
        (7, 1, range(1)),
    ],
)
def test_every_so_many_th_view_is_scored_as_the_published_code_does(tmp_path, monkeypatch, views, wanted, scored):
    seen = []

    def render(session, views, index, *, final):
        assert not final
        seen.append(index)
        return RenderedView(torch.full((16, 16, 3), 0.5), torch.ones(16, 16), torch.ones(16, 16))

    monkeypatch.setattr(scoring, "render_session_view", render)
    session = SimpleNamespace(
        config=SimpleNamespace(run=SimpleNamespace(N_vis=wanted, expname="grey")),
        scene=SimpleNamespace(test=grey_views(views)),
        folder=SimpleNamespace(path=tmp_path),
        iteration=3,
    )
    assert scoring.score_test_views(session) == pytest.approx(6.0206, abs=1e-3)
    assert seen == list(scored)
    assert (tmp_path / "progress" / "000003.png").exists()
