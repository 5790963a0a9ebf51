"""Where a scene's images may lie."""

from __future__ import annotations

from pathlib import Path

from nerf_ssim.errors import SceneError

__all__ = ["IMAGE_SUFFIXES", "existing_image", "find_image", "is_inside", "list_images"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")


def find_image(folder: Path, given: str, where: str, *, key: str, follow_links: bool = False) -> Path:
    """The image that the metadata of the scene in `folder` calls `given`: a path in it, or an absolute one.

    Args:
        where, key: how an error names the frame, and the entry that holds the path.
        follow_links: allow an image outside the folder, whether a link, an absolute path or `..` leads there.
    Raises:
        SceneError: no file name, or an image outside the folder that was not allowed; the message says what leads out.
    """
    if not given or "\0" in given:
        raise SceneError(f"{where}: {key} is not a file name")
    name = given.replace("\\", "/")  # a scene written on one system should be read on every other
    image = folder / name
    if follow_links and _is_loop(image):
        raise SceneError(f"{where}: the image is a link that leads to itself; copy the image there")
    if follow_links or is_inside(image, folder):
        return image
    if not is_inside(image.parent, folder) or ".." in Path(name).parts:
        raise SceneError(
            f"{where}: {key} leaves the scene folder {folder}; put the image inside it, or allow it with "
            "--follow_links 1"
        )
    raise SceneError(
        f"{where}: the image is a link that leaves the scene folder {folder}, to {_target(image)}; copy the image, or "
        "allow links with --follow_links 1"
    )


def existing_image(image: Path) -> Path | None:
    """The image file of a name that may leave its suffix out, or have it in the other case (`.JPG` for `.jpg`).

    Returns:
        None where there is no such file. A link is returned wherever it leads.
    """
    if image.is_file() or image.is_symlink():
        return image
    has_suffix = image.suffix.lower() in IMAGE_SUFFIXES
    stem = image.stem if has_suffix else image.name
    suffixes = (image.suffix,) if has_suffix else IMAGE_SUFFIXES
    cases = [case for suffix in suffixes for case in (suffix.lower(), suffix.upper())]
    candidates = (image.with_name(stem + case) for case in cases)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def is_inside(path: Path, folder: Path) -> bool:
    """Whether `path` is in `folder` once links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of links
        return False


def _is_loop(path: Path) -> bool:
    try:
        path.resolve()
    except (OSError, RuntimeError):
        return True
    return False


def list_images(folder: Path) -> list[Path]:
    """The image files in `folder`, by name; hidden ones are left out."""
    files = (file for file in folder.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES)
    return sorted(file for file in files if not file.name.startswith("."))


def _target(path: Path) -> str:
    try:
        return str(path.resolve())
    except (OSError, RuntimeError):
        return "itself"
