"""A published checkpoint becomes a run that is rendered, scored and continued like ours."""

from __future__ import annotations

import json
import math

import pytest
import torch
from published_checkpoints import save_dvgo, save_tensorf
from tiny_scene import OPTIONS, differing, folder_of, tiny_config, train_session, weights_of

from nerf_ssim.cli.main import main
from nerf_ssim.training.session import Session
from nerf_ssim.training.trained import load_trained

CP = {
    "grid": "cp",
    "n_lamb_sigma": [3],
    "n_lamb_sh": [4],
    "shadingMode": "SH",
    "data_dim_color": 27,
    "update_AlphaMask_list": [],
}
KINDS = {
    "tensorf": ("tensorf", {}),
    "cp with SH": ("tensorf", CP),
    "RGB with relu": ("tensorf", {"shadingMode": "RGB", "data_dim_color": 3, "fea2denseAct": "relu"}),
    "MLP": ("tensorf", {"shadingMode": "MLP", "update_AlphaMask_list": []}),
    "dvgo": ("dvgo", {}),
    "bounded dvgo": ("bounded dvgo", {}),
    "coarse dvgo": ("bounded dvgo", {"stop_at": 3}),
}


def exported(session: Session, path) -> str:
    """The session's field as a published checkpoint."""
    if session.config.model.model == "tensorf":
        save_tensorf(session.recipe.field, path)
    else:
        save_dvgo(session.recipe, path, session.iteration - session.recipe.stage.starts_at)
    return str(path)


def run_of(scene, tmp_path, kind: str, **options: object) -> Session:
    model, own = KINDS[kind]
    return train_session(tiny_config(scene, tmp_path, model, **{"stop_at": 10, **own, **options}))


def imported(session: Session, tmp_path, *words: str) -> int:
    session.folder.close()
    config = session.config.replace(stop_at=None, resume=False)
    config.write(tmp_path / "options.txt")
    checkpoint = exported(session, tmp_path / "published.ckpt")
    return main(
        ["import", checkpoint, str(tmp_path / "runs" / "theirs"), "--config", str(tmp_path / "options.txt"), *words]
    )


def views_of(trained) -> torch.Tensor:
    views = trained.scene.test
    return torch.stack([trained.render_view(views, index).rgb for index in range(len(views))])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_an_imported_run_renders_as_it_did_and_continues(scene, tmp_path, kind, capsys):
    session = run_of(scene, tmp_path, kind)
    before = views_of(load_trained(folder_of(session.config)))
    words = ["--iteration", str(session.iteration)] if session.config.model.model == "tensorf" else []
    assert imported(session, tmp_path, *words) == 0
    assert f"after {session.iteration} of 14 updates" in capsys.readouterr().out
    out = tmp_path / "runs" / "theirs"
    after = load_trained(out)
    assert torch.allclose(views_of(after), before, atol=2e-6) and after.iteration == session.iteration

    resumed = Session(after.config.replace(resume=True))
    assert differing(weights_of(session), weights_of(resumed)) == [] or kind in (
        "tensorf",
        "cp with SH",
        "RGB with relu",
        "MLP",
    )
    resumed.folder.close()
    assert main(["train", "--config", str(out / "config.txt"), "--resume"]) == 0
    assert load_trained(out).iteration == 14
    assert main(["evaluate", str(out)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dvgo", "bounded dvgo"])
def test_a_dvgo_goes_on_as_its_own_training_would(scene, tmp_path, kind):
    """Optimiser, rates and place in the schedule are all in the file; only the random numbers start anew."""
    whole = run_of(scene, tmp_path / "whole", kind)
    assert imported(whole, tmp_path) == 0
    theirs = Session(load_trained(tmp_path / "runs" / "theirs").config.replace(resume=True))
    ours = run_of(scene, tmp_path / "again", kind)
    for iteration in (ours.iteration, ours.iteration + 1):
        assert theirs.recipe.before_step(iteration) == ours.recipe.before_step(iteration)
    assert theirs.recipe.scalings_done == ours.recipe.scalings_done
    assert theirs.recipe.field.shift == pytest.approx(ours.recipe.field.shift, rel=1e-7)


@pytest.mark.slow
def test_the_schedule_of_a_tensorf_goes_on_after_the_iteration_given(scene, tmp_path):
    session = run_of(scene, tmp_path, "tensorf")
    assert imported(session, tmp_path, "--iteration", "10") == 0
    theirs = Session(load_trained(tmp_path / "runs" / "theirs").config.replace(resume=True))
    for name in ("resolution", "mask_resolution", "n_samples", "rates_start_at", "rates_scale"):
        assert getattr(theirs.recipe, name) == getattr(session.recipe, name)
    assert theirs.recipe.before_step(11) == session.recipe.before_step(11)
    assert theirs.batches.kept == session.batches.kept, "the ray filter of the second mask is past"


@pytest.mark.slow
def test_without_an_iteration_a_tensorf_is_finished(scene, tmp_path):
    assert imported(run_of(scene, tmp_path, "tensorf"), tmp_path) == 0
    assert load_trained(tmp_path / "runs" / "theirs").iteration == OPTIONS["n_iters"]


@pytest.mark.slow
def test_without_its_scene_a_run_knows_its_box_and_says_what_it_lacks(scene, tmp_path, capsys):
    session = run_of(scene, tmp_path, "tensorf")
    session.folder.close()
    checkpoint, out = exported(session, tmp_path / "a.th"), tmp_path / "alone"
    assert main(["import", checkpoint, str(out), "--s3im_weight", "0"]) == 0
    assert "no --datadir" in capsys.readouterr().out
    alone = load_trained(out, needs_images=False)
    assert torch.equal(alone.field.aabb, session.recipe.field.aabb) and len(alone.scene.test) == 0
    assert main(["evaluate", str(out)]) == 2
    assert "imported without its scene; give the scene's folder with --datadir" in capsys.readouterr().err
    assert main(["evaluate", str(out), "--datadir", str(scene)]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorf", "bounded dvgo"])
def test_a_run_renders_without_its_data(tmp_path, kind, scene):
    from tiny_scene import write_tiny_scene

    moved = write_tiny_scene(tmp_path / "scene")
    session = run_of(moved, tmp_path, kind)
    session.folder.close()
    before = views_of(load_trained(folder_of(session.config)))
    moved.rename(tmp_path / "elsewhere")
    trained = load_trained(folder_of(session.config), needs_images=False)
    assert torch.equal(views_of(trained), before)
    assert trained.scene.test.names == session.scene.test.names and not trained.scene.has_images


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tensorf", "dvgo"])
def test_a_run_taken_out_and_back_continues_bit_for_bit(scene, tmp_path, kind):
    pytest.importorskip("safetensors", reason="needs safetensors: pip install nerf_ssim[export]")
    session = run_of(scene, tmp_path, kind)
    session.folder.close()
    run, copy = folder_of(session.config), tmp_path / "copies" / "back"
    assert main(["export", str(run), "--safetensors", str(tmp_path / "a.safetensors")]) == 0
    assert main(["import", str(tmp_path / "a.safetensors"), str(copy)]) == 0
    for folder in (run, copy):
        assert main(["train", "--config", str(folder / "config.txt"), "--resume", "--stop_at", "14"]) == 0
    ends = [Session(load_trained(folder).config.replace(resume=True)) for folder in (run, copy)]
    assert differing(weights_of(ends[0]), weights_of(ends[1])) == []


def test_an_export_that_was_changed_is_refused_by_its_key(scene, tmp_path, capsys):
    pytest.importorskip("safetensors", reason="needs safetensors: pip install nerf_ssim[export]")
    session = run_of(scene, tmp_path, "tensorf")
    session.folder.close()
    assert main(["export", str(folder_of(session.config)), "--safetensors", str(tmp_path / "a.safetensors")]) == 0
    text = (tmp_path / "a.json").read_text()
    for change in (("iteration", -1), ("config", 3), ("scene", {}), ("seconds", "long")):
        record = json.loads(text)
        record["checkpoint"][change[0]] = change[1]
        (tmp_path / "a.json").write_text(json.dumps(record))
        assert main(["import", str(tmp_path / "a.json"), str(tmp_path / "out")]) == 2
        message = capsys.readouterr().err
        assert "a.json" in message and change[0] in message and message.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--iteration", "15"], "--iteration: 15 updates are beyond n_iters 14"),
        (["--iteration", "-1"], "--iteration: must be at least 0"),
        (["--iterations", "5"], "unknown option '--iterations'"),
        (["--datadir", "gone"], "gone: no such scene folder"),
    ],
)
def test_options_that_cannot_be_are_one_line(scene, tmp_path, capsys, words, said):
    assert imported(run_of(scene, tmp_path, "tensorf"), tmp_path, *words) == 2
    assert said in capsys.readouterr().err


def test_a_folder_with_a_run_is_not_overwritten(scene, tmp_path, capsys):
    session = run_of(scene, tmp_path, "tensorf")
    assert imported(session, tmp_path) == 0 and imported(session, tmp_path) == 2
    assert "already holds a run" in capsys.readouterr().err


def test_variants_that_are_not_here_are_named(scene, tmp_path, capsys):
    session = run_of(scene, tmp_path, "dvgo")
    session.folder.close()
    checkpoint = exported(session, tmp_path / "a.tar")
    record = torch.load(checkpoint, weights_only=False)
    for change, said in (
        ({"contracted_norm": "inf"}, "model_kwargs.contracted_norm is 'inf'"),
        ({"density_type": "TensoRFGrid"}, "model_kwargs.density_type is 'TensoRFGrid'"),
        ({"num_voxels": 30}, "do not fit"),
        ({"alpha_init": "x"}, "model_kwargs.alpha_init is 'x'"),
    ):
        torch.save({**record, "model_kwargs": {**record["model_kwargs"], **change}}, tmp_path / "b.tar")
        assert main(["import", str(tmp_path / "b.tar"), str(tmp_path / "out"), "--s3im_weight", "0"]) == 2
        assert said in capsys.readouterr().err
    torch.save({"network": 1}, tmp_path / "c.tar")
    assert main(["import", str(tmp_path / "c.tar"), str(tmp_path / "out")]) == 2
    assert "is neither a TensoRF checkpoint" in capsys.readouterr().err


def test_damaged_values_of_a_tensorf_are_named(scene, tmp_path, capsys):
    session = run_of(scene, tmp_path, "tensorf")
    session.folder.close()
    record = torch.load(exported(session, tmp_path / "a.th"), weights_only=False)
    kwargs, weights = record["kwargs"], record["state_dict"]
    others = {name: value for name, value in weights.items() if name != "density_plane.0"}
    for changed, said in (
        ({"kwargs": {**kwargs, "aabb": kwargs["aabb"].flip(0)}}, "its box is empty or inverted"),
        ({"kwargs": {**kwargs, "near_far": [6.0, 2.0]}}, "its near 6 and far 2"),
        (
            {"state_dict": {**weights, "density_plane.0": weights["density_plane.0"] * math.nan}},
            "holds NaN or infinity",
        ),
        ({"state_dict": others}, "state_dict.density_plane.0 is no tensor"),
    ):
        torch.save({**record, **changed}, tmp_path / "b.th")
        assert main(["import", str(tmp_path / "b.th"), str(tmp_path / "out")]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1 and "b.th: " in lines[0] and said in lines[0]


def test_a_dvgo_saved_in_half_precision_is_read(scene, tmp_path):
    session = run_of(scene, tmp_path, "bounded dvgo")
    session.folder.close()
    record = torch.load(exported(session, tmp_path / "a.tar"), weights_only=False)
    weights = {
        name: value.half() if value.is_floating_point() else value for name, value in record["model_state_dict"].items()
    }
    torch.save({**record, "model_state_dict": weights}, tmp_path / "b.tar")
    words = ["--config", "dvgo_bounded_room.txt", "--datadir", ""]
    assert main(["import", str(tmp_path / "b.tar"), str(tmp_path / "out"), *words]) == 0
