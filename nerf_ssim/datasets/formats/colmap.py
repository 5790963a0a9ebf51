"""COLMAP's layout, as 3D Gaussian splatting and Mip-NeRF 360 use it: a sparse model beside `images/`."""

from __future__ import annotations

from pathlib import Path

from nerf_ssim.datasets.cameras import check_intrinsics, check_pose, fitted_intrinsics
from nerf_ssim.datasets.colmap_model import Image, find_model, read_cameras, read_images, read_points
from nerf_ssim.datasets.formats.llff import largest_images
from nerf_ssim.datasets.image_headers import read_header
from nerf_ssim.datasets.paths import existing_image, find_image
from nerf_ssim.datasets.scene_file import Frame, Reading, SceneFile
from nerf_ssim.errors import SceneError

FILES = "sparse/0/cameras.bin or .txt"


def detect(folder: Path) -> bool:
    """Whether `folder` has a sparse model where COLMAP, 3DGS or Mip-NeRF 360 put it."""
    return find_model(folder) is not None


def read(folder: Path, how: Reading) -> SceneFile:
    """Read and check the model; of images only headers are opened.

    Every image has its own camera, whose lens is undone when it is loaded; images that were shrunk since (`images_4`)
    get intrinsics of their size. Images that the model names and the folder lacks are left out and counted. A mask
    `masks/NAME.png` is black where its image does not count. Pixel centres are at halves. Every 8th image by name is a
    test view, as 3DGS and Mip-NeRF 360 have it. The box is estimated from the model's points.

    Raises:
        SceneError: anything missing or wrong, naming the file and the image or camera.
    """
    model = find_model(folder)
    if model is None:
        raise SceneError(f"{folder}: no model of COLMAP's is here (cameras and images, .bin or .txt, in sparse/0)")
    cameras, posed = read_cameras(model), read_images(model)
    images_folder = _images_folder(folder, model, posed)
    frames, missing = [], []
    for image in posed:
        where = f"{model}: image {image.name}"
        if image.camera not in cameras:
            raise SceneError(f"{where}: it is of camera {image.camera}, which the model does not have")
        camera = cameras[image.camera]
        named = find_image(
            folder, _inside(images_folder / image.name, folder), where, key="its name", follow_links=how.follow_links
        )
        path = existing_image(named)
        if path is None or not path.exists():
            missing.append(image.name)
            continue
        # A name in another case may be that of a link, which only the file's own name shows.
        find_image(folder, _inside(path, folder), where, key="its name", follow_links=how.follow_links)
        K, size = fitted_intrinsics(camera.K, camera.size, read_header(path, where))
        c2w = how.pose(check_pose(image.c2w, where, "its pose"))
        mask = _mask_of(folder, image.name)
        frames.append(Frame(path, where, c2w, check_intrinsics(K, *size, where), size, camera.lens, mask))
    if not frames:
        raise SceneError(
            f"{model}: none of the {len(posed)} images that it names is in {images_folder}"
            + (f", such as {missing[0]}" if missing else "")
        )
    notes = []
    if missing:
        notes.append(
            f"{len(missing)} of the model's {len(posed)} images are missing and left out, such as {missing[0]}"
        )
    if images_folder != folder / "images":
        notes.append(f"images are those of {images_folder.relative_to(folder)}")
    points = read_points(model)
    sources = [model / f"{name}{suffix}" for name in ("cameras", "images") for suffix in (".bin", ".txt")]
    return SceneFile(
        model,
        folder.resolve().name,
        None,
        frames,
        None,
        pixel_centres="at halves, the layout's convention",
        hold=8,
        sources=tuple(source for source in sources if source.exists()),
        points=points if len(points) else None,
        notes=notes,
    )


def _images_folder(folder: Path, model: Path, posed: list[Image]) -> Path:
    """Where most of the model's images are, beside the model or in the scene's folder, of full size or shrunk."""
    bases = [folder, *(parent for parent in model.parents if parent.is_relative_to(folder))]
    candidates = []
    for base in dict.fromkeys(bases):
        candidates += [found for found in (base / "images", largest_images(base), base / "rgb") if found is not None]
    candidates = [candidate for candidate in dict.fromkeys([*candidates, folder]) if candidate.is_dir()]
    return max(candidates, key=lambda place: sum(existing_image(place / image.name) is not None for image in posed))


def _inside(path: Path, folder: Path) -> str:
    """A path as it is named in the scene's folder; one outside as it is."""
    return str(path.relative_to(folder) if path.is_relative_to(folder) else path)


def _mask_of(folder: Path, name: str) -> Path | None:
    """COLMAP's own habit `masks/NAME.png`, or the image's name with another suffix."""
    masks = folder / "masks"
    if not masks.is_dir():
        return None
    name = Path(name).name if Path(name).is_absolute() else name
    candidates = (masks / f"{name}.png", masks / Path(name).with_suffix(".png"), masks / name)
    return next((candidate for candidate in candidates if candidate.is_file()), None)
