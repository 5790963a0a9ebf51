"""The words for how a scene's matrices and images may be read; light, so that options can name them."""

LAYOUT = "layout"
"""The matrices are what their layout says."""

POSE_CONVENTIONS = (
    LAYOUT,
    *(f"{axes}{kind}" for axes in ("opencv", "opengl") for kind in ("", "_w2c", "_transposed", "_w2c_position")),
)
"""What a scene's matrices may be: camera to world with OpenCV's axes or OpenGL's, or wrongly made."""

LISTED = "listed"
"""The images are in the order of the poses that they are listed with."""

IMAGE_ORDERS = (LISTED, "number", "text", "text_undone")
"""In which order images may be given to poses."""
