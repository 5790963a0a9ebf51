"""Every layout gives the same cameras and images of one scene; what each knows more is honoured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import layout_writers as layouts
import numpy as np
import pytest
import torch
from layout_writers import FOCAL, FRAMES, HEIGHT, WIDTH, WRITERS, write_image

from nerf_ssim.datasets.loading import load_scene
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.scene import Scene
from nerf_ssim.errors import SceneError


def write(tmp_path: Path, case: str) -> Path:
    folder = tmp_path / "above" / "scene"
    folder.mkdir(parents=True)
    WRITERS[case][1](folder)
    return folder


def load(folder: Path, **options: Any) -> Scene:
    return load_scene(DataConfig(datadir=str(folder), **options))


def edit(path: Path, change: Any) -> None:
    contents = json.loads(path.read_text())
    change(contents)
    path.write_text(json.dumps(contents))


@pytest.mark.parametrize("case", WRITERS)
def test_every_layout_gives_the_same_cameras_and_images(tmp_path: Path, case: str) -> None:
    scene = load(write(tmp_path, case), test_every=0)
    assert scene.layout == WRITERS[case][0]
    assert len(scene.train) == FRAMES and len(scene.test) == 0
    found = {}
    for index in range(FRAMES):
        picture = scene.train.image_of(index).numpy()
        which = next(number for number in range(FRAMES) if np.array_equal(picture, layouts.image(number)))
        found[which] = index
    assert sorted(found) == list(range(FRAMES))
    order = [found[index] for index in range(FRAMES)]
    assert np.allclose(scene.train.c2w[order], layouts.poses()[:, :3], atol=1e-6)
    assert np.allclose(scene.train.K[order], layouts.intrinsics(), atol=1e-4)
    assert scene.near < scene.far and (scene.aabb[0] < scene.aabb[1]).all()


OWN_SPLITS = {"blender": {0, 3, 6}, "own_data": {0, 3, 6}, "nsvf": {0, 3, 6}, "colmap": {0, 8}, "llff": {0, 8}}


@pytest.mark.parametrize("case", WRITERS)
def test_every_layout_has_its_own_split_unless_one_is_asked_for(tmp_path: Path, case: str) -> None:
    folder = write(tmp_path, case)
    expected = OWN_SPLITS.get(case, OWN_SPLITS.get(WRITERS[case][0], {0}))
    assert len(load(folder).test) == len(expected)
    assert len(load(folder, test_every=2).test) == 5


def test_blender_is_composited_on_white_and_has_the_published_bounds_only_at_its_distance(tmp_path: Path) -> None:
    folder = write(tmp_path, "blender")
    rgba = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    assert cv2.imwrite(str(folder / "train" / "r_1.png"), rgba)
    scene = load(folder)
    assert scene.white_bg and (scene.train.images[0] == 255).all()
    # The walk is some 3.7 from the origin, as far as the synthetic scenes' cameras.
    assert (scene.near, scene.far) == (2.0, 6.0) and scene.aabb.tolist() == [[-1.5] * 3, [1.5] * 3]

    def move(contents: dict[str, Any]) -> None:
        for frame in contents["frames"]:
            frame["transform_matrix"][0][3] += 20

    for split in ("train", "test"):
        edit(folder / f"transforms_{split}.json", move)
    assert "estimated" in load(folder).bounds_source


def test_missing_images_are_left_out_and_counted_but_not_all_of_them(tmp_path: Path) -> None:
    folder = write(tmp_path, "nerfstudio")
    (folder / "images" / "frame_00004.png").unlink()
    scene = load(folder, test_every=0)
    assert len(scene.train) == FRAMES - 1
    assert any("1 of the 9 images named are missing" in note for note in scene.notes)
    for image in (folder / "images").iterdir():
        image.unlink()
    with pytest.raises(SceneError, match="none of the 9 images"):
        load(folder)


def test_a_file_that_names_its_test_views_is_believed(tmp_path: Path) -> None:
    folder = write(tmp_path, "nerfstudio")
    edit(folder / "transforms.json", lambda c: c.update(test_filenames=["images/frame_00005.png"]))
    assert load(folder).test.names == ("frame_00005.png",)


def test_each_frame_may_have_a_camera_of_its_own(tmp_path: Path) -> None:
    folder = write(tmp_path, "nerfstudio")
    write_image(folder / "images" / "frame_00004.png", layouts.image(4, 20, 30))
    edit(folder / "transforms.json", lambda c: c["frames"][4].update(w=30, h=20, fl_x=15.0, fl_y=14.0, cx=14.0, cy=9.0))
    views = load(folder, test_every=0).train
    assert views.size_of(4) == (20, 30) and views.size_of(3) == (HEIGHT, WIDTH)
    assert views.K[4].tolist() == [[15.0, 0, 14.0], [0, 14.0, 9.0], [0, 0, 1]]
    assert np.array_equal(views.image_of(4), layouts.image(4, 20, 30))
    assert views.valid is not None and int(views.valid[4].sum()) == 600 and bool(views.valid[3].all())


def test_images_that_were_shrunk_since_get_intrinsics_of_their_size(tmp_path: Path) -> None:
    for case in ("nsvf", "nerfstudio", "colmap", "llff", "niceslam", "scannet", "tankstemple"):
        folder = write(tmp_path / case, case)
        for path in (path for path in folder.rglob("*.png")):
            write_image(path, cv2.resize(cv2.imread(str(path)), (WIDTH // 4, HEIGHT // 4)))
        K = load(folder, test_every=0).train.K[0]
        expected = np.diag([0.25, 0.25, 1.0]) @ layouts.intrinsics()
        assert np.allclose(K, expected, atol=1e-5), case


def test_colmap_takes_images_4_where_there_is_nothing_else(tmp_path: Path) -> None:
    folder = write(tmp_path, "colmap")
    for path in (folder / "images").iterdir():
        write_image(path, layouts.image(0, 6, 8))
    (folder / "images").rename(folder / "images_4")
    scene = load(folder, test_every=0)
    assert (scene.train.height, scene.train.width) == (6, 8)
    assert scene.train.K[0, 0, 0] == FOCAL / 4 and "images are those of images_4" in scene.notes


def test_names_pair_by_their_numbers_not_by_the_order_of_text(tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    folder.mkdir()
    layouts.write_monosdf(folder)
    arrays = dict(np.load(folder / "cameras.npz"))
    for number in (9, 10):  # "10_rgb.png" sorts before "2_rgb.png"
        arrays |= {f"world_mat_{number}": arrays["world_mat_1"], f"scale_mat_{number}": np.eye(4)}
        write_image(folder / f"{number:06d}_rgb.png", layouts.image(number))
    np.savez(folder / "cameras.npz", **arrays)
    for path in sorted(folder.glob("*_rgb.png")):
        path.rename(folder / f"{int(path.stem.removesuffix('_rgb'))}_rgb.png")
    views = load(folder, test_every=0).train
    assert np.array_equal(views.image_of(2), layouts.image(2))
    assert np.allclose(views.c2w[2], layouts.poses()[2, :3], atol=1e-5)


def test_a_gap_in_the_numbers_is_refused_rather_than_closed(tmp_path: Path) -> None:
    folder = write(tmp_path, "monosdf")
    (folder / "000002_rgb.png").rename(folder / "000020_rgb.png")
    with pytest.raises(SceneError, match="lack 2; pairing them in order would shift"):
        load(folder)


def test_lost_poses_of_scannet_are_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, "scannet")
    (folder / "pose" / "3.txt").write_text("\n".join(["-inf -inf -inf -inf"] * 4))
    scene = load(folder, test_every=0)
    assert len(scene.train) == FRAMES - 1 and any("tracking was lost" in note for note in scene.notes)


def test_depth_maps_give_the_box(tmp_path: Path) -> None:
    folder = write(tmp_path, "niceslam")
    for index in range(FRAMES):
        cv2.imwrite(str(folder / "results" / f"depth{index:06d}.png"), np.full((HEIGHT, WIDTH), 1500, np.uint16))
    scene = load(folder)
    assert "the layout's points" in scene.bounds_source
    # Every camera sees a wall 1.5 ahead with corners some 2 away, and the walls of others nearer.
    assert 0.3 < scene.near < 0.8 and 2.2 < scene.far < 3.2
    assert scene.points is not None and bool(((scene.points[:, 0] > 0) & (scene.points[:, 0] < 6)).all())


MALFORMED = {
    "nerfstudio mirrored": ("nerfstudio", "transforms.json", lambda c: c["frames"][2].update(
        transform_matrix=np.diag([1.0, 1, -1, 1]).tolist()), "frame 2"),
    "nerfstudio without focal length": ("nerfstudio", "transforms.json", lambda c: [c.pop("fl_x"), c.pop("fl_y")],
                                        "focal length"),
    "nerfstudio of a panorama": ("nerfstudio", "transforms.json", lambda c: c.update(camera_model="EQUIRECTANGULAR"),
                                 "EQUIRECTANGULAR"),
    "nerfstudio lens of text": ("nerfstudio", "transforms.json", lambda c: c.update(k1="a"), "k1"),
    "nerfstudio pinhole with a lens": ("nerfstudio", "transforms.json",
                                       lambda c: c.update(camera_model="PINHOLE", k1=0.1), "PINHOLE"),
    "nerfstudio of another shape": ("nerfstudio", "transforms.json", lambda c: c.update(w=100, cx=50), "100x24"),
    "nerfstudio path upwards": ("nerfstudio", "transforms.json",
                                lambda c: c["frames"][1].update(file_path="../../../etc/hostname"), "leaves the scene"),
    "nerfstudio focal length of 0": ("nerfstudio", "transforms.json", lambda c: c.update(fl_x=0), "positive focal"),
    "nerfstudio width of 0": ("nerfstudio", "transforms.json", lambda c: c.update(w=0), "w must be at least 1 pixel"),
    "nerfstudio angle in degrees": ("nerfstudio", "transforms.json", lambda c: [
        c.pop("fl_x"), c.pop("fl_y"), c.update(camera_angle_x=90)], "is it in degrees?"),
    "nerfstudio lens of four numbers": ("nerfstudio", "transforms.json", lambda c: c["frames"][1].update(
        distortion_params=[0.1, 0, 0, 0]), "six numbers"),
    "replica of a panorama": ("replica", "meta_data.json", lambda c: c.update(camera_model="FTHETA"), "FTHETA"),
    "replica mask missing": ("replica", "meta_data.json", lambda c: c["frames"][1].update(mask_path="no.png"), "mask"),
    "replica frame of another size": ("replica", "meta_data.json", lambda c: c["frames"][1].update(height=20),
                                      "the scene says 32x20"),
    "niceslam camera without fx": ("niceslam", "../cam_params.json", lambda c: c["camera"].pop("fx"), "'fx'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_file_is_one_line(tmp_path: Path, kind: str) -> None:
    case, name, change, expected = MALFORMED[kind]
    folder = write(tmp_path, case)
    edit(folder / name, change)
    with pytest.raises(SceneError) as caught:
        load(folder)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_frames_list_of_lens_coefficients_is_its_lens(tmp_path: Path) -> None:
    folder = write(tmp_path, "nerfstudio")
    edit(folder / "transforms.json", lambda c: c["frames"][1].update(distortion_params=[0.1, 0, 0, 0, 0.01, 0]))
    scene = load(folder, test_every=0)
    assert any("OpenCV (k1 0.1, p1 0.01)" in note for note in scene.notes)
    assert scene.train.K[1, 0, 0] > FOCAL == scene.train.K[0, 0, 0]


@pytest.mark.parametrize("case", ["nerfstudio", "colmap", "colmap_text"])
def test_a_suffix_may_be_in_the_other_case(tmp_path: Path, case: str) -> None:
    folder = write(tmp_path, case)
    for image in (folder / "images").iterdir():
        image.rename(image.with_suffix(".PNG"))
    assert len(load(folder, test_every=0).train) == FRAMES


def test_a_line_that_is_no_list_of_observations_is_not_passed_over(tmp_path: Path) -> None:
    folder = write(tmp_path, "colmap_text")
    images = folder / "sparse" / "images.txt"
    lines = [line for line in images.read_text().splitlines() if line.endswith(".png")]
    for between in ("", " a"):  # one name makes 11 words of a line, the other a multiple of three
        images.write_text("\n".join(line.replace("view ", f"view{between} ") for line in lines))
        with pytest.raises(SceneError, match="not its observations"):
            load(folder)


@pytest.mark.parametrize("name", ["/etc/hostname", "../../../etc/hostname"])
def test_a_models_image_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, "colmap_text")
    images = folder / "sparse" / "images.txt"
    images.write_text(images.read_text().replace("view 1.png", name))
    with pytest.raises(SceneError, match="leaves the scene folder"):
        load(folder)


@pytest.mark.parametrize("case, name", [("niceslam", "traj.txt"), ("semantic_nerf", "traj_w_c.txt")])
@pytest.mark.parametrize("numbers", [4, 12])
def test_matrices_of_a_trajectory_may_be_written_in_other_lines(
    tmp_path: Path, case: str, name: str, numbers: int
) -> None:
    folder = write(tmp_path, case)
    rows = [line.split() for line in (folder / name).read_text().splitlines() if line]
    lines = [" ".join(row[start : start + numbers]) for row in rows for start in range(0, 16, numbers)]
    lines = [line for line in lines if numbers == 4 or len(line.split()) == 12]
    (folder / name).write_text("\n".join(lines))
    assert np.allclose(load(folder, test_every=0).train.c2w, layouts.poses()[:, :3], atol=1e-6)
    if numbers == 4:
        (folder / name).write_text("\n".join(lines[:-1]))
        with pytest.raises(SceneError, match="no whole number of 4x4 matrices"):
            load(folder)


def test_a_focal_length_alone_is_that_of_the_images(tmp_path: Path) -> None:
    folder = write(tmp_path, "nsvf")
    (folder / "intrinsics.txt").write_text(f"{FOCAL}\n")
    scene = load(folder, test_every=0)
    assert np.allclose(scene.train.K, layouts.intrinsics(), atol=1e-5) and "focal length alone" in scene.notes[-1]


def test_poses_of_scannet_pair_by_number_and_their_lack_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path, "scannet")
    for image in list((folder / "color").iterdir()):
        image.rename(image.with_name(f"{int(image.stem):06d}{image.suffix}"))
    assert np.allclose(load(folder, test_every=0).train.c2w, layouts.poses()[:, :3], atol=1e-6)
    for pose in (folder / "pose").iterdir():
        pose.unlink()
    with pytest.raises(SceneError, match="none of the 9 images in color/ has a finite pose"):
        load(folder)


CUT = {"colmap": ("sparse/0/images.bin", "sparse/0/cameras.bin"), "llff": ("poses_bounds.npy",)} | {
    "nsvf": ("intrinsics.txt", "pose/0_0001.txt", "bbox.txt"),
    "niceslam": ("traj.txt", "../cam_params.json"),
    "semantic_nerf": ("traj_w_c.txt",),
    "scannet": ("pose/1.txt", "intrinsic/intrinsic_color.txt"),
    "colmap_text": ("sparse/images.txt", "sparse/cameras.txt"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CUT)
def test_every_cut_of_a_metadata_file_loads_or_is_one_line(tmp_path: Path, case: str) -> None:
    folder = write(tmp_path, case)
    for name in CUT[case]:
        whole = (folder / name).read_bytes()
        refused = 0
        for length in {0, 1, 7, *range(9, len(whole), max(1, len(whole) // 12))}:
            for contents in (whole[:length], whole[:length] + b"\xff" + whole[length + 1 :]):
                (folder / name).write_bytes(contents)
                try:
                    load(folder, dataset_name=WRITERS[case][0])
                except SceneError as error:
                    refused += 1
                    assert "\n" not in str(error)
        assert refused > 0
        (folder / name).write_bytes(whole)


def test_asking_for_another_layout_names_the_one_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="--dataset_name monosdf"):
        load(write(tmp_path, "monosdf"), dataset_name="replica")


def test_the_folder_above_a_scene_names_the_scene(tmp_path: Path) -> None:
    folder = write(tmp_path, "colmap")
    with pytest.raises(SceneError, match="scene is one"):
        load(folder.parent)
    with pytest.raises(SceneError, match="scene is one"):
        load(tmp_path)


def test_box_near_and_far_may_be_given(tmp_path: Path) -> None:
    folder = write(tmp_path, "semantic_nerf")
    scene = load(folder, scene_box="-1,-2,-3,4,5,6", near=0.5, far=9)
    assert scene.aabb.tolist() == [[-1, -2, -3], [4, 5, 6]] and (scene.near, scene.far) == (0.5, 9)
    with pytest.raises(SceneError, match="inverted along y"):
        load(folder, scene_box="-1 2 -3 4 -5 6")


def test_frames_may_be_thinned(tmp_path: Path) -> None:
    views = load(write(tmp_path, "semantic_nerf"), frame_step=4, test_every=0).train
    assert views.names == ("rgb_0.png", "rgb_4.png", "rgb_8.png")


REAL = {
    "transforms_fox": ("nerfstudio", 50, (400, 225)),
    "colmap_bin_bartoszek": ("colmap", 23, (662, 1000)),
    "nsvf_lego": ("nsvf", 34, (200, 200)),
    "replica_niceslam_room0/Replica/room0": ("niceslam", 20, (204, 360)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_scenes_are_found_and_their_surfaces_lie_in_the_box(shared_path: Path, name: str) -> None:
    layout, count, size = REAL[name]
    folder = shared_path / "data" / "layouts" / name
    scene = load(folder)
    assert (scene.layout, len(scene.train) + len(scene.test)) == (layout, count)
    assert (scene.train.height, scene.train.width) == size
    if scene.points is not None:
        inside = ((scene.points > scene.aabb[0]) & (scene.points < scene.aabb[1])).all(dim=1)
        assert inside.double().mean() > 0.9
    assert torch.isfinite(scene.train.K).all()
