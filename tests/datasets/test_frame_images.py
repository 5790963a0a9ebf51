"""From image files to a pinhole's pixels: turned, undistorted, masked; damage and false sizes are refused."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scene_files import HEIGHT, WIDTH, image, load, metadata, write_scene

from nerf_ssim.datasets.image_headers import ImageHeader, parse_header
from nerf_ssim.datasets.images import decode_image
from nerf_ssim.datasets.lenses import Lens, pinhole_of, undistort
from nerf_ssim.datasets.options import DataConfig
from nerf_ssim.datasets.scene import Views
from nerf_ssim.errors import ConfigError, SceneError
from nerf_ssim.rays.batches import PixelBatches


def with_orientation(jpeg: bytes, orientation: int) -> bytes:
    exif = b"Exif\0\0MM" + struct.pack(">HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def encoded(rgb: np.ndarray, suffix: str, *flags: int) -> bytes:
    return cv2.imencode(suffix, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), list(flags))[1].tobytes()


def smooth(height: int, width: int) -> np.ndarray:
    """Colours that tell where a pixel is: red grows to the right, green downwards."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), np.full_like(x, 90)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_upright_where_the_cameras_are_of_the_upright_one(tmp_path: Path, orientation: int) -> None:
    upright = smooth(HEIGHT, WIDTH)
    # How EXIF 2.32 says that the upright picture lies in the file, by its first row and first column.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.swapaxes(0, 1),
        6: upright.swapaxes(0, 1)[::-1], 7: upright.swapaxes(0, 1)[::-1, ::-1], 8: upright.swapaxes(0, 1)[:, ::-1],
    }[orientation]  # fmt: skip
    jpeg = encoded(np.ascontiguousarray(stored), ".jpg", cv2.IMWRITE_JPEG_QUALITY, 100)
    if orientation == 6:  # OpenCV turns images itself unless told not to: a second opinion
        turned = cv2.imdecode(np.frombuffer(with_orientation(jpeg, 6), np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        assert np.abs(turned.astype(int) - upright).max() < 20
    folder = write_scene(tmp_path / "scene", named(".jpg"))
    for index in range(5):
        (folder / f"{index:06d}_rgb.jpg").write_bytes(with_orientation(jpeg, orientation))
    found = load(folder).train.images[0].numpy().astype(int)
    expected = upright if orientation in (1, 5, 6, 7, 8) else stored  # of the same size either way: as it is stored
    assert np.abs(found - expected).max() < 20


def named(suffix: str, **changes: Any) -> dict[str, Any]:
    contents = {**metadata(), **changes}
    for frame in contents["frames"]:
        frame["rgb_path"] = frame["rgb_path"].replace(".png", suffix)
    return contents


def test_an_image_on_its_side_without_exif_says_so(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene", {**metadata(), "height": WIDTH, "width": HEIGHT} | {"frames": [
        {**frame, "intrinsics": [[15.0, 0, 5.5], [0, 16.0, 8.5], [0, 0, 1]]} for frame in metadata()["frames"]
    ]})  # fmt: skip
    with pytest.raises(SceneError, match="lies on its side"):
        load(folder)


LENSES = {
    "barrel": Lens("opencv", (-0.2, 0.05, 0.001, -0.002, 0.0, 0.0, 0.0, 0.0)),
    "pincushion": Lens("opencv", (0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
    "fisheye": Lens("fisheye", (0.05, -0.01, 0.0, 0.0)),
    "equidistant": Lens("fisheye", (0.0, 0.0, 0.0, 0.0)),
}
K = np.array([[60.0, 0, 41.0], [0, 62.0, 29.0], [0, 0, 1]])


def bent(lens: Lens, places: np.ndarray) -> np.ndarray:
    """Where the lens puts points on the plane at distance 1, by the models' formulas. `[..., 2]`."""
    x, y = places[..., 0], places[..., 1]
    r2 = x * x + y * y
    if lens.kind == "fisheye":
        r = np.sqrt(r2)
        theta = np.arctan(r)
        k = lens.coefficients
        bent_angle = theta * (1 + k[0] * theta**2 + k[1] * theta**4 + k[2] * theta**6 + k[3] * theta**8)
        scale = np.where(r > 1e-9, bent_angle / np.maximum(r, 1e-9), 1.0)
        return np.stack([x * scale, y * scale], axis=-1)
    k1, k2, p1, p2 = lens.coefficients[:4]
    radial = 1 + k1 * r2 + k2 * r2 * r2
    return np.stack(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y], -1
    )


@pytest.mark.parametrize("kind", LENSES)
def test_a_pinhole_sees_each_point_where_it_should_once_the_lens_is_undone(kind: str) -> None:
    lens, height, width = LENSES[kind], 60, 80
    pinhole = pinhole_of(lens, K, (height, width), "here")
    y, x = np.mgrid[0:height, 0:width] + 0.5
    # A picture whose colour at image point (u, v) is known: what the lens puts there, read as a formula of (u, v).
    distorted = np.stack([x * 3, y * 4, np.zeros_like(x)], axis=2).round().astype(np.uint8)
    straight = undistort(distorted, lens, K, pinhole)
    places = np.stack([(x - pinhole[0, 2]) / pinhole[0, 0], (y - pinhole[1, 2]) / pinhole[1, 1]], axis=-1)
    image_points = bent(lens, places) * [K[0, 0], K[1, 1]] + [K[0, 2], K[1, 2]]
    # Every pixel of the pinhole's image lies inside the lens's, and it has the colour of that place.
    assert image_points.min() > -0.01 and (image_points.max(axis=(0, 1)) < [width + 0.01, height + 0.01]).all()
    inner = ((image_points > 1) & (image_points < [width - 1, height - 1])).all(axis=-1)
    error = straight[..., :2] - image_points * [3, 4]
    assert np.abs(error[inner]).max() < 1.6 and inner.mean() > 0.9
    assert np.abs(error[inner].mean(axis=0)).max() < 0.1  # not half a pixel off, which would be 1.5


def test_a_lens_that_no_pinhole_can_undo_is_refused() -> None:
    wide = np.array([[18.0, 0, 40], [0, 18.0, 30], [0, 0, 1]])
    for lens in (Lens("fisheye", (0.0,) * 4), Lens("opencv", (-0.5,) + (0.0,) * 7)):
        with pytest.raises(SceneError, match="here: the lens"):
            pinhole_of(lens, wide, (60, 80), "here")


def test_a_scene_with_a_lens_is_undistorted_and_says_so(tmp_path: Path) -> None:
    plain = load(write_scene(tmp_path / "plain"))
    for name, changes in (("k", {"k1": -0.2, "k2": 0.05}), ("fisheye", {"camera_model": "OPENCV_FISHEYE"})):
        scene = load(write_scene(tmp_path / name, {**metadata(), **changes}))
        assert any("lens distortion is undone" in note for note in scene.notes)
        assert not torch.equal(scene.train.images, plain.train.images)
        assert not torch.equal(scene.train.K, plain.train.K)


def test_entries_that_are_not_known_are_named(tmp_path: Path) -> None:
    assert not load(write_scene(tmp_path / "plain")).notes
    scene = load(write_scene(tmp_path / "scene", {**metadata(), "distortion": [0.1]}))
    assert [note for note in scene.notes if note.startswith("warning") and "distortion" in note]


def masked_scene(folder: Path) -> Path:
    contents = metadata()
    contents["frames"][1]["mask_path"] = "mask.png"
    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[:, :5] = 0
    folder = write_scene(folder, contents)
    assert cv2.imwrite(str(folder / "mask.png"), mask)
    return folder


def test_what_a_mask_rules_out_is_never_drawn(tmp_path: Path) -> None:
    views = load(masked_scene(tmp_path / "scene")).train
    assert views.valid is not None and views.valid[0].sum() == HEIGHT * (WIDTH - 5)
    assert views.mask_of(1) is None and views.mask_of(0) is not None
    for with_replacement in (False, True):
        batches = PixelBatches(views, 64, torch.Generator().manual_seed(0))
        if with_replacement:
            batches.draw_with_replacement()
        counts = torch.zeros(views.images.shape[:3], dtype=torch.long).flatten()
        for _ in range(40 if with_replacement else batches.kept // 64):
            pixels = batches.next_pixels()
            assert pixels.shape == (64,)
            counts += torch.bincount(pixels, minlength=len(counts))
        assert counts[~views.valid.flatten()].sum() == 0 and counts.sum() > 0
    batches.keep_where(lambda rays: torch.ones(len(rays), dtype=torch.bool))
    assert batches.kept == int(views.valid.sum())


def test_a_mask_shrinks_with_its_image_and_keeps_only_whole_pixels(tmp_path: Path) -> None:
    views = load(masked_scene(tmp_path / "scene"), downsample_train=2.0).train
    assert views.valid is not None
    assert views.valid[0].sum(dim=1).tolist() == [(WIDTH - 6) // 2] * (HEIGHT // 2)


def test_images_without_masks_have_no_list_of_pixels_that_count(tmp_path: Path) -> None:
    views = load(write_scene(tmp_path / "scene")).train
    assert views.valid is None and views.sizes is None
    assert PixelBatches(views, 8, torch.Generator()).kept_bits is None


def noisy(size: int = 64) -> np.ndarray:
    return cv2.GaussianBlur(np.random.default_rng(3).integers(0, 256, (size, size, 3), np.uint8), (0, 0), 2)


def overwritten(contents: bytes, start: float, count: int = 60) -> bytes:
    place = int(len(contents) * start)
    return contents[:place] + bytes(count) + contents[place + count :]


DAMAGED = {
    "png overwritten": overwritten(encoded(noisy(), ".png"), 0.5),
    "png cut": encoded(noisy(), ".png")[:-40],
    "jpeg cut": encoded(noisy(), ".jpg")[:-300],
    "jpeg cut and ended": encoded(noisy(), ".jpg")[:-900] + b"\xff\xd9",
    "jpeg overwritten": overwritten(encoded(noisy(256), ".jpg"), 0.4, 2000),
    "tiff overwritten": overwritten(encoded(noisy(), ".tiff"), 0.5),
    "webp cut": encoded(noisy(), ".webp")[:-100],
    "bmp cut": encoded(noisy(), ".bmp")[:-500],
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_image_is_refused_whatever_its_kind(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SceneError, match="there: (image is damaged|not an image)") as caught:
        decode_image(DAMAGED[kind], "there")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp", ".bmp"])
def test_a_whole_image_is_taken_whatever_its_kind(suffix: str) -> None:
    assert np.abs(decode_image(encoded(noisy(), suffix), "there").astype(int) - noisy()).mean() < 6


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_a_file_that_claims_to_be_huge_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1 << 20))) + chunk(b"IEND", b"")
    folder = write_scene(tmp_path / "scene")
    (folder / "000002_rgb.png").write_bytes(bomb)
    with pytest.raises(SceneError, match=r"60000x60000 pixels, more than the limit"):
        load(folder)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tiff", ".webp", ".bmp"])
def test_headers_say_the_size(suffix: str) -> None:
    assert parse_header(encoded(image(0, 30, 40), suffix)) == ImageHeader(30, 40)


def test_links_and_outside_paths_are_taken_only_when_allowed(tmp_path: Path) -> None:
    store = write_scene(tmp_path / "store")
    linked = tmp_path / "linked"
    linked.mkdir()
    (linked / "meta_data.json").write_bytes((store / "meta_data.json").read_bytes())
    for path in store.glob("*.png"):
        (linked / path.name).symlink_to(path)
    with pytest.raises(SceneError, match="is a link that leaves the scene folder .* to .*store.*--follow_links 1"):
        load(linked)
    scene = load(linked, follow_links=True)
    assert torch.equal(scene.train.images, load(store).train.images)
    assert any("5 images lie outside" in note for note in scene.notes)


@pytest.mark.parametrize("place", ["inside", "outside"])
def test_absolute_paths_are_judged_by_where_they_lead(tmp_path: Path, place: str) -> None:
    folder = write_scene(tmp_path / "scene")
    store = folder if place == "inside" else write_scene(tmp_path / "store")
    contents = metadata()
    for frame in contents["frames"]:
        frame["rgb_path"] = str(store / frame["rgb_path"])
    (folder / "meta_data.json").write_text(json.dumps(contents))
    if place == "outside":
        with pytest.raises(SceneError, match="leaves the scene folder .*--follow_links 1"):
            load(folder)
    assert len(load(folder, follow_links=place == "outside").train) == 3


CENTRES = {"halves": (9.0, 6.0, 0.0), "integers": (8.5, 5.5, 0.5), "elsewhere": (8.7, 6.1, 0.5)}


@pytest.mark.parametrize("kind", CENTRES)
def test_principal_points_tell_where_sdfstudios_pixel_centres_are(tmp_path: Path, kind: str) -> None:
    cx, cy, shift = CENTRES[kind]
    contents = metadata()
    for frame in contents["frames"]:
        frame["intrinsics"][0][2], frame["intrinsics"][1][2] = cx, cy
    folder = write_scene(tmp_path / "scene", contents)
    scene = load(folder)
    assert scene.train.K[0, :2, 2].tolist() == pytest.approx([cx + shift, cy + shift], abs=1e-6)
    assert ("halves" if kind == "halves" else "integers") in scene.pixel_centres
    assert load(folder, as_published=True).train.K[0, :2, 2].tolist() == pytest.approx([cx, cy], abs=1e-6)


def test_splits_by_option() -> None:
    with pytest.raises(ConfigError, match="every frame a test view"):
        DataConfig(datadir="x", test_every=1)


def test_one_test_view_is_enough_and_none_can_be_asked_for(tmp_path: Path) -> None:
    folder = write_scene(tmp_path / "scene")
    assert (len(load(folder, test_every=10).test), len(load(folder, test_every=10).train)) == (1, 4)
    scene = load(folder, test_every=0)
    assert (len(scene.test), len(scene.train)) == (0, 5) and scene.test.images.shape[0] == 0
    assert isinstance(scene.test, Views)


def test_frames_may_differ_in_size(tmp_path: Path) -> None:
    contents = metadata()
    contents["frames"][2] |= {"height": 10, "width": 14}
    contents["frames"][2]["intrinsics"][0][2] = 6.5
    contents["frames"][2]["intrinsics"][1][2] = 4.5
    folder = write_scene(tmp_path / "scene", contents)
    cv2.imwrite(str(folder / "000002_rgb.png"), cv2.cvtColor(image(2, 10, 14), cv2.COLOR_RGB2BGR))
    views = load(folder).train
    assert views.size_of(1) == (10, 14) and np.array_equal(views.image_of(1), image(2, 10, 14))
    assert views.mask_of(1) is None and views.images.shape[1:3] == (HEIGHT, WIDTH)
