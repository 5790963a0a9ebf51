"""The options that say which scene is read and how."""

from __future__ import annotations

from dataclasses import dataclass

from nerf_ssim.config.options import Section, option
from nerf_ssim.datasets.formats import FORMATS

BOX_CENTRES = ("centre", "origin")
"""What a scene's box may be scaled about."""

_LOADED = "convert another kind of data set to one of these layouts, or look for its converter to sdfstudio's"


@dataclass(frozen=True)
class DataConfig(Section):
    """The scene and how it is read."""

    dataset_name: str = option("replica", "layout of the scene", choices=FORMATS, must=_LOADED)
    datadir: str = option(
        "", "the scene's folder; bundled:room is the one that comes with the program", may_change=True
    )
    downsample_train: float = option(
        1.0, "shrink the images by this factor, both splits unless downsample_test is given", at_least=1, at_most=64
    )
    downsample_test: float | None = option(
        None, "factor of the test images alone; none for that of training", at_least=1, at_most=64
    )
    test_every: int = option(10, "frames 0, test_every, 2*test_every, ... are the test split", at_least=2)
    as_published: bool = option(False, "read intrinsics half a pixel off, as the published loader does")
    label: str | None = option(
        None, "label of the results, such as 'recovered poses'; none for the scene's own", may_change=True
    )
    white_bg: bool = option(False, "composite on white, in training always and in tests")
