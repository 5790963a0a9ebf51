"""The figures of SSIM's two parts on the real training path: in the log when due, and without influence."""

from __future__ import annotations

import pytest
from tiny_scene import differing, rows_of, tiny_config, train_session, weights_of

from nerf_ssim.training.objective import PART_FIGURES


@pytest.mark.slow
@pytest.mark.parametrize("part", ["both", "structure"])
def test_figures_stand_in_the_log_while_ssim_is_on_and_change_nothing(scene, tmp_path, kind, part):
    schedule = {"ssim_remove_at": 6, "stop_at": 9, "ssim_part": part, "log_every": 1}
    config = tiny_config(scene, tmp_path, kind, grad_norm_every=2, **schedule)
    measured = train_session(config)
    plain = train_session(tiny_config(scene, tmp_path, kind, grad_norm_every=0, expname="plain", **schedule))
    assert differing(weights_of(measured), weights_of(plain)) == []
    rows = rows_of(config)
    assert len(rows) == 9
    for iteration, row in enumerate(rows):
        filled = [name for name in PART_FIGURES if row[name]]
        if iteration % 2 or iteration >= 6:
            assert filled == []
            continue
        figures = {name: float(row[name]) for name in filled}
        assert {"grad_luminance", "grad_structure", "colour_grad_mse"} <= set(figures)
        assert all(-1.000001 <= value <= 1.000001 for name, value in figures.items() if "cosine" in name)
        # A loss of structure alone has no gradient through luminance, and all of it through structure.
        if part == "structure":
            assert figures["grad_luminance"] == figures["colour_grad_luminance"] == 0
            assert not row["cosine_luminance"]
            assert figures["grad_structure"] == pytest.approx(float(row["grad_ssim"]), rel=1e-3)
        else:
            assert figures["colour_grad_luminance"] > 0
        assert figures["colour_grad_structure"] > 0
