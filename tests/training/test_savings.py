"""The options that save work or memory do what they say, change what they may, and are off in published runs."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_scene import differing, tiny_config, train_session, weights_of

from nerf_ssim.cli.main import main
from nerf_ssim.errors import CheckpointError, ConfigError
from nerf_ssim.models.config import Config, parse
from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.runs.manifest import read_manifest
from nerf_ssim.training.session import Session
from tests.ops.native_parity import pretend_bf16_unit

SHORT = {"n_iters": 6, "upsamp_list": [], "update_AlphaMask_list": []}


@pytest.fixture()
def renders(monkeypatch):
    """Every render of the field, with the numbers of samples that it evaluated."""
    seen: list = []
    original = TensoRF.render

    def render(self, *arguments, **options):
        seen.append(original(self, *arguments, **options))
        return seen[-1]

    monkeypatch.setattr(TensoRF, "render", render)
    return seen


def test_the_canonical_run_saves_nothing():
    model = Config().model
    assert (model.color_samples, model.test_color_samples, model.recompute) == (0, 0, False)
    assert model.decoder_precision == "float32"


def test_color_samples_bounds_what_is_coloured_in_training_and_not_in_tests(scene, tmp_path, renders):
    session = train_session(tiny_config(scene, tmp_path, color_samples=2, **SHORT))
    per_ray = [render.n_coloured / 64 for render in renders]
    assert 0 < min(per_ray) and max(per_ray) <= 2
    assert session.recipe.render_test(session.batches.next().rays, final=False).n_coloured / 64 > 2


@pytest.mark.slow
def test_color_samples_change_no_other_random_number_and_resume_bit_for_bit(scene, tmp_path, renders):
    options = SHORT | {"color_samples": 2}
    whole = weights_of(train_session(tiny_config(scene, tmp_path / "whole", **options)))
    density = [render.n_samples for render in renders]
    train_session(tiny_config(scene, tmp_path / "parts", stop_at=4, **options))
    parts = train_session(tiny_config(scene, tmp_path / "parts", resume=True, **options))
    assert differing(whole, weights_of(parts)) == []
    renders.clear()
    train_session(tiny_config(scene, tmp_path / "all", **SHORT))
    assert [render.n_samples for render in renders] == density  # the same rays and the same jitter


def test_test_color_samples_colour_fewer_samples_alike_each_time_and_hardly_move_the_render(scene, tmp_path):
    session = train_session(tiny_config(scene, tmp_path, test_color_samples=4, density_shift=0.0, **SHORT))
    rays = session.batches.next().rays
    with torch.no_grad():
        whole = session.recipe.field.render(rays)
        some = session.recipe.render_test(rays, final=True)
        again = session.recipe.render_test(rays, final=True)
    assert 0 < some.n_coloured < whole.n_coloured
    assert torch.equal(some.rgb, again.rgb)
    assert 0 < (some.rgb - whole.rgb).abs().max() < 0.05


@pytest.mark.slow
def test_recomputing_trains_alike(scene, tmp_path, monkeypatch):
    monkeypatch.setattr("nerf_ssim.models.parts.rendering.SAMPLES_IN_A_PART", 100)
    kept = weights_of(train_session(tiny_config(scene, tmp_path / "kept", **SHORT)))
    again = weights_of(train_session(tiny_config(scene, tmp_path / "again", recompute=True, **SHORT)))
    for name, value in kept.items():
        torch.testing.assert_close(again[name], value, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.parametrize("change", [{"color_samples": 4}, {"recompute": True}, {"decoder_precision": "bf16"}])
def test_a_run_is_not_resumed_with_another_of_them(scene, tmp_path, change):
    train_session(tiny_config(scene, tmp_path, stop_at=2, **SHORT))
    Session(tiny_config(scene, tmp_path, resume=True, test_color_samples=8, **SHORT))  # changes no weight
    with pytest.raises(CheckpointError, match=next(iter(change))):
        Session(tiny_config(scene, tmp_path, resume=True, **SHORT, **change))


@pytest.mark.slow
def test_bf16_is_applied_by_the_reference_and_recorded(config, tmp_path, monkeypatch):
    monkeypatch.setenv("NERF_SSIM_BACKEND", "reference")
    plain = weights_of(train_session(config.replace(stop_at=3, expname="plain")))
    session = train_session(config.replace(stop_at=3, decoder_precision="bf16"))
    assert differing(plain, weights_of(session)) != []
    record = read_manifest(session.folder.path)["decoder_precision"]
    assert (record["asked"], record["ran"]) == ("bf16", "bf16")


def test_bf16_without_the_hardware_is_float32_and_says_so(config, tmp_path, monkeypatch, capsys):
    pretend_bf16_unit(monkeypatch, "")
    config = config.replace(decoder_precision="bf16", stop_at=1, render_test=False)
    config.write(tmp_path / "options.txt")
    assert main(["train", "--config", str(tmp_path / "options.txt")]) == 0
    assert "decoder_precision bf16: runs in float32" in capsys.readouterr().out
    results = json.loads((tmp_path / "tiny" / "results.json").read_text())
    assert results["decoder_precision"]["asked"] == "bf16" and results["decoder_precision"]["ran"] == "float32"


def test_options_without_an_effect_are_refused():
    with pytest.raises(ConfigError, match="MLP_Fea"):
        parse(["--datadir", "x", "--shadingMode", "MLP_PE", "--decoder_precision", "bf16"])
