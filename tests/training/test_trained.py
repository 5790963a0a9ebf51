"""A run opened again renders what the session rendered, wherever its data has gone."""

from __future__ import annotations

import shutil

import imageio.v3 as imageio
import pytest
import torch
from tiny_scene import HEIGHT, MODELS, WIDTH, tiny_config, train_session, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.errors import CheckpointError, SceneError
from nerf_ssim.rays.cameras import camera_rays
from nerf_ssim.training.scoring import render_session_view
from nerf_ssim.training.trained import load_trained, render_camera


def trained_run(kind: str, root):
    """A session past all milestones, and its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        config = tiny_config(write_tiny_scene(root / "scene"), root, kind, ssim_remove_at=9, save_every=6)
        session = train_session(config)
    return session, root / "tiny"


@pytest.fixture(scope="module", params=MODELS)
def run_of_each(request, tmp_path_factory):
    return trained_run(request.param, tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run("tensorf", tmp_path_factory.mktemp("tensorf"))


@pytest.mark.slow
def test_an_opened_run_renders_bit_for_bit_what_the_session_does(run_of_each):
    session, folder = run_of_each
    trained = load_trained(folder)
    assert trained.iteration == 14 and trained.config == session.config
    assert trained.schedule_summary == {"part": "both", "weight": 1.0, "add_at": 0, "remove_at": 9, "removed_at": 9}
    assert trained.manifest["scene"]["hash"] == session.scene.content_hash
    views = session.scene.test
    for index in range(len(views)):
        ours = trained.render_view(trained.scene.test, index)
        theirs = render_session_view(session, views, index, final=True)
        assert ours.rgb.shape == (HEIGHT, WIDTH, 3) and ours.depth.shape == ours.opacity.shape == (HEIGHT, WIDTH)
        assert torch.equal(ours.rgb, theirs.rgb) and torch.equal(ours.depth, theirs.depth)
        assert torch.equal(ours.opacity, theirs.opacity)
        assert ours.rgb.std() > 0.005, "a blank picture shows nothing"


@pytest.mark.slow
def test_a_camera_of_ones_own_is_rendered_row_by_row_in_one_or_many_chunks(run, monkeypatch):
    trained = load_trained(run[1])
    c2w, K = trained.scene.test.c2w[1], trained.scene.test.K[1]
    whole = trained.render_camera(c2w, K, 9, 5)
    rays = camera_rays(c2w, K, 9, 5)
    with torch.no_grad():
        one = trained.render_rays(type(rays)(rays.origins[5 * 4 + 3 :][:1], rays.directions[5 * 4 + 3 :][:1]))
    torch.testing.assert_close(whole.rgb[4, 3], one.rgb[0])
    monkeypatch.setattr("nerf_ssim.training.trained.RAYS_AT_ONCE", 7)
    chunked = render_camera(trained.render_rays, c2w, K, 9, 5)
    torch.testing.assert_close(chunked.rgb, whole.rgb)
    assert not whole.rgb.requires_grad


def test_an_opened_run_samples_the_whole_diagonal(run, monkeypatch):
    trained, asked = load_trained(run[1]), []
    original = type(trained.field).render

    def spy(self, rays, **options):
        asked.append(options["n_samples"])
        return original(self, rays, **options)

    monkeypatch.setattr(type(trained.field), "render", spy)
    trained.render_view(trained.scene.test, 0)
    assert asked == [None], "the training's own number of samples was used"


@pytest.mark.slow
def test_an_older_checkpoint_can_be_opened(run_of_each):
    session, folder = run_of_each
    paths = sorted((folder / "checkpoints").iterdir())
    assert [path.name for path in paths] == ["000012.pt", "000014.pt"]
    older = load_trained(folder, checkpoint=paths[0])
    assert older.iteration == 12
    ours, theirs = (t.render_view(session.scene.test, 0).rgb for t in (older, load_trained(folder)))
    assert not torch.equal(ours, theirs)


def test_a_run_whose_data_has_moved_opens_with_datadir(run, tmp_path):
    session, folder = run
    moved = tmp_path / "moved"
    shutil.copytree(session.config.data.datadir, moved)
    trained = load_trained(folder, datadir=str(moved))
    assert trained.scene.content_hash == session.scene.content_hash
    with pytest.raises(SceneError):
        load_trained(folder, datadir=str(tmp_path / "nowhere"))


def test_no_run_and_a_run_without_checkpoints_are_errors_for_people(tmp_path):
    with pytest.raises(CheckpointError, match="no such run folder"):
        load_trained(tmp_path / "none")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_trained(tmp_path)


@pytest.mark.slow
def test_other_data_is_scored_beside_the_runs_own_results(run, tmp_path, capsys, monkeypatch):
    """Another scene, or changed pictures in the scene's own folder."""
    monkeypatch.setattr("nerf_ssim.evaluation.perceptual.lpips_scorers", lambda *arguments: ())
    folder = tmp_path / "tiny"
    shutil.copytree(run[1], folder)
    assert main(["evaluate", str(folder)]) == 0
    own = (folder / "results.json").read_bytes()
    other = tmp_path / "moved"
    shutil.copytree(run[1].parent / "scene", other)
    assert main(["evaluate", str(folder), "--datadir", str(other)]) == 0
    assert not (folder / "results_moved.json").exists(), "the same data in another place"
    own = (folder / "results.json").read_bytes()
    image = imageio.imread(other / "005.png")
    image[3, 4] ^= 1
    imageio.imwrite(other / "005.png", image)
    capsys.readouterr()
    assert main(["evaluate", str(folder), "--datadir", str(other)]) == 0
    assert "is not the data" in capsys.readouterr().err
    assert (folder / "results.json").read_bytes() == own and (folder / "results_moved.json").is_file()
    assert (folder / "test_moved" / "contact_sheet.png").is_file()
