"""The options that say which scene is read and how."""

from __future__ import annotations

from dataclasses import dataclass

from nerf_ssim.config.options import Section, option
from nerf_ssim.datasets.conventions import IMAGE_ORDERS, LAYOUT, LISTED, POSE_CONVENTIONS
from nerf_ssim.datasets.formats import FORMATS, SYNONYMS
from nerf_ssim.errors import ConfigError

BOX_CENTRES = ("centre", "origin")
"""What a scene's box may be scaled about."""

AUTO = "auto"
_LOADED = "auto finds the layout by the folder's files; nerf-ssim data convert writes sdfstudio's or nerfstudio's"


@dataclass(frozen=True)
class DataConfig(Section):
    """The scene and how it is read."""

    dataset_name: str = option(
        AUTO,
        "layout of the scene; auto finds it by the folder's files",
        choices=(AUTO, *FORMATS),
        must=_LOADED,
        synonyms=SYNONYMS,
    )
    datadir: str = option(
        "", "the scene's folder; bundled:room is the one that comes with the program", may_change=True
    )
    downsample_train: float = option(
        1.0, "shrink the images by this factor, both splits unless downsample_test is given", at_least=1, at_most=64
    )
    downsample_test: float | None = option(
        None, "factor of the test images alone; none for that of training", at_least=1, at_most=64
    )
    test_every: int | None = option(
        None,
        "frames 0, test_every, 2*test_every, ... are the test split, 0 trains on all; none for the layout's own way: "
        "its test views, every 8th of COLMAP and LLFF, else every 10th",
        at_least=0,
    )
    frame_step: int = option(1, "of the scene's frames take 0, frame_step, 2*frame_step, ... only", at_least=1)
    follow_links: bool = option(
        False, "take images from outside the scene's folder, where links or paths lead there", may_change=True
    )
    as_published: bool = option(False, "read intrinsics half a pixel off, as the published loader does")
    pose_convention: str = option(
        LAYOUT,
        "what the scene's matrices are, where its layout is wrong about them: camera to world with OpenCV's or "
        "OpenGL's axes, world to camera (w2c), with a transposed rotation, or with the position of world to camera; "
        "data check says which one fits",
        choices=POSE_CONVENTIONS,
    )
    image_order: str = option(
        LISTED,
        "order in which the images are given to the poses: as listed, by the number in their names, by that number as "
        "text (1, 10, 2), or so that sorting as text is undone",
        choices=IMAGE_ORDERS,
    )
    image_shift: int = option(0, "a pose takes the image of the frame that comes so many later, around the end")
    focal_scale: float = option(1.0, "multiply the focal lengths", above=0)
    principal_scale: float = option(1.0, "multiply the principal points", above=0)
    position_scale: float = option(
        1.0, "multiply the camera positions, where box, near and far are in other units or the sign is wrong"
    )
    check_poses: bool = option(
        True,
        "before training, look for a few seconds whether images and cameras agree, and warn where they do not",
        may_change=True,
    )
    near: float | None = option(None, "near of the scene, in its units; none for the scene's own", at_least=0)
    far: float | None = option(None, "far of the scene, in its units; none for the scene's own", above=0)
    scene_box: str | None = option(
        None,
        "the scene's box, lowest and highest corner as x,y,z,x,y,z in its units; none for the scene's own",
        pattern=r"\s*[-+.\deE]+(\s*[,\s]\s*[-+.\deE]+){5}\s*",
        must="six numbers, the lowest corner and the highest: x,y,z,x,y,z",
    )
    label: str | None = option(
        None, "label of the results, such as 'recovered poses'; none for the scene's own", may_change=True
    )
    white_bg: bool = option(
        False,
        "composite on white, in training always and in tests; Blender's, NSVF's and Tanks and Temples' layouts do so "
        "without being asked",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.position_scale == 0:
            raise ConfigError("position_scale: 0 puts all cameras at one place; give another factor")
        if self.test_every == 1:
            raise ConfigError("test_every: 1 makes every frame a test view; 0 trains on all, 10 tests on every tenth")
