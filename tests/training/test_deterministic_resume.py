"""What a resumed run takes from its checkpoint instead of computing it again, and the option for the same bits."""

from __future__ import annotations

import pytest
import torch
from tiny_scene import differing, tiny_config, train_session, weights_of, write_tiny_scene

from nerf_ssim.models.tensorf.field import TensoRF
from nerf_ssim.runs.determinism import repeatable
from nerf_ssim.training.session import Session


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("deterministic") / "scene")


def test_a_restored_field_does_not_compute_its_step_anew(scene, tmp_path, monkeypatch):
    """Another device rounds the last bit of the step otherwise: here, more than that."""
    stopped = train_session(tiny_config(scene, tmp_path, stop_at=6))
    saved = stopped.recipe.field.step_size, stopped.recipe.field.full_samples_per_ray
    stopped.folder.close()
    set_resolution = TensoRF._set_resolution

    def rounded_otherwise(self, resolution):
        set_resolution(self, resolution)
        self.step_size *= 1.00005
        self.full_samples_per_ray += 1

    monkeypatch.setattr(TensoRF, "_set_resolution", rounded_otherwise)
    resumed = Session(tiny_config(scene, tmp_path, resume=True))
    assert (resumed.recipe.field.step_size, resumed.recipe.field.full_samples_per_ray) == saved
    resumed.folder.close()


def test_a_state_of_before_it_was_saved_is_restored_as_ever(scene, tmp_path):
    field = train_session(tiny_config(scene, tmp_path, stop_at=3)).recipe.field
    state = {name: value for name, value in field.state().items() if name not in ("step_size", "full_samples_per_ray")}
    restored = TensoRF.restore(field.settings, state)
    assert (restored.step_size, restored.full_samples_per_ray) == (field.step_size, field.full_samples_per_ray)


def test_orders_drawn_ahead_are_not_in_the_checkpoint(scene, tmp_path):
    """The state is that before the orders that the next update will use, or these would be left out."""
    session = train_session(tiny_config(scene, tmp_path, stop_at=3))
    assert session.s3im._ahead is not None
    state = session.s3im.get_state()
    ahead = session.s3im._ahead[1]
    session.s3im.set_state(state)
    assert torch.equal(session.s3im.draw_orders(), ahead)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tensorf", "dvgo"])
def test_the_option_changes_no_bit_on_a_cpu(scene, tmp_path, model):
    plain = train_session(tiny_config(scene, tmp_path / "plain", model))
    with repeatable(True):
        same = train_session(tiny_config(scene, tmp_path / "same", model, deterministic=True))
    assert differing(weights_of(plain), weights_of(same)) == []
