"""Meshes and points of each kind of field: a ball comes out as a ball, in world coordinates and in its colours."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from run_fixtures import one_thread, without_tensorboard  # noqa: F401 - pytest finds them here
from tiny_scene import tiny_config, train_session, write_tiny_scene

from nerf_ssim.cli.main import main
from nerf_ssim.models.parts.solid import opacity_at, stretch_of
from nerf_ssim.models.parts.voxel_grid import node_coords
from nerf_ssim.rays.cameras import Rays
from nerf_ssim.training.trained import load_trained

trimesh = pytest.importorskip("trimesh", reason="needs trimesh: pip install nerf_ssim[export]")

# Of the ball in the middle, in half sides of the field's box; for the contracted field a part of its inner ball.
SIZE = 0.4
KINDS = {"dense tensorf": {"update_AlphaMask_list": []}, "bounded dvgo": {}, "dvgo": {"num_voxels": 8000}}


def field_of(session):
    return session.recipe.field


@torch.no_grad()
def fill_ball(field, radius: float) -> None:
    """Matter within `radius` of the middle (in units of `sides`), nothing elsewhere; masks are open."""
    is_tensorf = hasattr(field, "density_grid")
    values = (field.density_grid if is_tensorf else field.density).values
    distance = (node_coords(values.shape[:3], "cpu") * field.sides / 2).norm(dim=-1)
    values[..., 0] = 400 * (radius - distance)
    if is_tensorf:
        field.occupancy = None
    else:
        field.mask = torch.ones_like(field.mask)


@pytest.fixture(scope="module", params=KINDS)
def run(request, tmp_path_factory):
    """A run whose field is a ball and whose data set is gone, and the ball's radius in scene units."""
    root = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nerf_ssim.runs.writers.WRITERS", {"tensorboard": lambda destination: None})
        session = train_session(
            tiny_config(write_tiny_scene(root / "scene"), root, request.param, **KINDS[request.param])
        )
    field = field_of(session)
    radius = SIZE * float(field.sides.min()) / 2
    fill_ball(field, radius)
    session.folder.checkpoints.clear()
    session.save()
    shutil.rmtree(root / "scene")
    return root / "tiny", radius * getattr(field, "radius", 1.0)


@pytest.mark.slow
def test_the_mesh_of_a_ball_is_a_ball_where_the_ball_is(run, tmp_path, capsys):
    folder, radius = run
    assert main(["export", str(folder), "--mesh", "--unseen", "--resolution", "40"]) == 0
    path, _, counts = capsys.readouterr().out.partition(": ")
    mesh = trimesh.load(path, process=False)
    assert counts == f"{len(mesh.vertices)} vertices, {len(mesh.faces)} triangles\n"
    field = load_trained(folder, needs_images=False).field
    middle = field.to_world(torch.zeros(1, 3))[0].numpy()
    cell = float((field.sides / torch.tensor(field.resolution)).max()) * getattr(field, "radius", 1.0)
    distance = np.linalg.norm(mesh.vertices - middle, axis=1)
    assert len(distance) > 100 and np.abs(distance - radius).max() < 1.5 * cell
    assert mesh.is_watertight and mesh.volume > 0
    colors = mesh.visual.vertex_colors[:, :3]
    coords = field.from_world(torch.from_numpy(mesh.vertices).float())
    inwards = torch.from_numpy(-(mesh.vertices - middle) / distance[:, None]).float()
    expected = field.color(coords, inwards).detach().clamp(0, 1).mul(255).numpy()
    assert np.abs(colors - expected).mean() < 3


@pytest.mark.slow
def test_extinction_is_what_a_render_composites(run):
    """Light along a ray falls to exp of minus the extinction's integral over the field's own lengths."""
    trained = load_trained(run[0], needs_images=False)
    field, origin = trained.field, trained.field.to_world(torch.zeros(1, 3))
    grid = field.density_grid if hasattr(field, "density_grid") else field.density
    grid.values.data[..., 0] = -1.0 if hasattr(field, "density_grid") else 0.0
    direction = torch.nn.functional.normalize(torch.tensor([[0.8, -0.5, 0.3]]), dim=1)
    t = torch.linspace(0, 3 * float((field.to_world(torch.full((1, 3), 0.5)) - origin).norm()), 4000)
    points = origin + direction * t[:, None]
    coords = field.from_world(points)
    lengths = ((coords[1:] - coords[:-1]) * field.sides / 2).norm(dim=1)
    with torch.no_grad():
        is_in = (coords[:-1].abs() < 1).all(1)
        thickness = (field.extinction(coords[:-1]) * lengths)[is_in].sum()
        opacity = trained.render_rays(Rays(origin, direction)).opacity
    assert 0.02 < float(opacity) < 0.999
    assert float(-torch.log1p(-opacity)) == pytest.approx(float(thickness), rel=0.12)


def test_world_and_field_coordinates_are_each_others_inverse(run):
    field = load_trained(run[0], needs_images=False).field
    coords = torch.rand(200, 3, generator=torch.Generator().manual_seed(0)) * 1.8 - 0.9
    points = field.to_world(coords)
    is_reached = points.isfinite().all(1)
    assert is_reached.sum() > 50
    torch.testing.assert_close(field.from_world(points[is_reached]), coords[is_reached], rtol=0, atol=2e-4)
    assert (opacity_at(field, coords)[~is_reached] == 0).all() and stretch_of(field) > 0


def test_points_and_seen_triangles_lie_on_the_side_of_the_cameras(run, tmp_path, capsys):
    folder, radius = run
    out = tmp_path / "a.glb"
    assert main(["export", str(folder), "--points", str(out), "--count", "200", "--threshold", "0.2"]) in (0, 2)
    printed = capsys.readouterr()
    if printed.err:  # every camera of the tiny scene is inside the ball, or sees nothing of it
        assert "--points" in printed.err
        return
    cloud = next(iter(trimesh.load(out).geometry.values()))
    middle = load_trained(folder, needs_images=False).field.to_world(torch.zeros(1, 3))[0].numpy()
    assert 0 < len(cloud.vertices) <= 200
    assert (np.linalg.norm(cloud.vertices - middle, axis=1) < 1.6 * radius).all()


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "say which form"),
        (["--mesh", "a.obj"], "a name that ends in .ply or .glb"),
        (["--points", "a.txt"], "a name that ends in .ply or .glb"),
        (["--points", "--resolution", "64"], "--resolution is for --mesh"),
        (["--mesh", "--count", "9"], "--count is for --points"),
        (["--mesh", "--resolution", "1"], "must be from 8"),
        (["--mesh", "--threshold", "1.5"], "--threshold"),
        (["--mesh", "--threshold", "nan"], "--threshold"),
        (["--mesh", "--resolution", "9", "--reach", "1e-5"], "nothing within --reach 1e-05"),
        (["--mesh", "--checkpoint", "none.pt"], "no such checkpoint"),
    ],
)
def test_what_cannot_be_exported_is_one_line(run, words, said, capsys):
    assert main(["export", str(run[0]), *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and said in lines[0]


def test_a_missing_run_and_a_missing_package_are_one_line(run, tmp_path, capsys, monkeypatch):
    assert main(["export", str(tmp_path / "none"), "--mesh"]) == 2
    assert "no such run folder" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "trimesh", None)
    assert main(["export", str(run[0]), "--mesh"]) == 2
    assert "pip install 'nerf_ssim[export]'" in capsys.readouterr().err
