"""What an import that fails means to a person: OpenCV without the system's graphics library, or not there at all."""

from __future__ import annotations

import re

__all__ = ["explain_import_error"]

_OPENCV = re.compile(r"\blib(?:GL|EGL|gthread|glib|SM|ICE|X\w*)[\w.+-]*\.so[\w.]*")
"""Libraries of a desktop that OpenCV's ordinary package loads and a server often lacks."""


def explain_import_error(error: ImportError) -> str | None:
    """One line for a person; None where the import tells of a defect, which needs its traceback."""
    if isinstance(error, ModuleNotFoundError):
        return "OpenCV is not installed: pip install opencv-python-headless" if error.name == "cv2" else None
    library = _OPENCV.search(str(error))
    if library is None or "cannot open shared object" not in str(error):
        return None
    return (
        f"OpenCV does not load, {library.group()} is missing: pip uninstall opencv-python and pip install "
        "opencv-python-headless, or install the system's package (libgl1 and libglib2.0-0 on Debian and Ubuntu)"
    )
