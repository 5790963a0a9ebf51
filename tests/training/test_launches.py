"""How many launches a training step takes on a GPU, where small steps are bound by them."""

from __future__ import annotations

from collections import Counter

import pytest
from tiny_scene import tiny_config, write_tiny_scene

from nerf_ssim.ops import backend
from nerf_ssim.training.session import Session
from nerf_ssim.training.step import take_step
from tests.training.launches import Launches, as_on_a_gpu, move_to_meta

needs_native = pytest.mark.skipif(
    backend.describe()["composite"][0] != "native", reason="the extension defines the operators"
)
MOST = {"tensorf": 95, "dvgo": 90}
TERMS = {
    "tensorf": {"mse", "ssim", "tv_density", "tv_app"},
    "dvgo": {"mse", "ssim", "distortion", "entropy_last", "rgbper"},
}
NO_MILESTONES = {"tensorf": {"upsamp_list": [], "update_AlphaMask_list": []}, "dvgo": {"pg_scale": []}}


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write_tiny_scene(tmp_path_factory.mktemp("launches") / "scene")


def count_step(model, scene, tmp_path) -> tuple[Launches, set[str]]:
    """The launches of a step, its second, and the names of its loss terms."""
    session = Session(tiny_config(scene, tmp_path, model, **NO_MILESTONES[model]))
    count = Launches()
    with as_on_a_gpu(count):
        move_to_meta(session)
        take_step(session.recipe, session.batches, session.s3im, 1.0, 0)
        count.by_operator.clear()
        with count:
            step = take_step(session.recipe, session.batches, session.s3im, 1.0, 1)
    return count, set(step.terms)


@needs_native
@pytest.mark.parametrize("model", MOST)
def test_a_step_takes_few_launches(model, scene, tmp_path):
    count, terms = count_step(model, scene, tmp_path)
    assert terms == TERMS[model]
    table = "\n".join(f"{n:4} {name}" for name, n in count.by_operator.most_common())
    assert count.total <= MOST[model], f"{count.total} launches:\n{table}"


@needs_native
def test_operators_that_stand_for_many_launches_are_all_there(scene, tmp_path):
    """The count would be low if the step left something out."""
    count, _ = count_step("tensorf", scene, tmp_path)
    expected = Counter(
        pixel_rays=1, march_box=3, select_samples=3, select_samples_backward=2, planes_tv=4, planes_tv_backward=2,
        adam_steps=1, s3im=3, accumulate=2,
    )  # fmt: skip
    assert {name: count.by_operator[name] for name in expected} == dict(expected)
    assert not {"index", "index_put", "nonzero", "_fused_adam_"} & set(count.by_operator)
