"""The options that `nerf-ssim import` fills in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nerf_ssim.cli.import_checkpoint import _configured

DVGO: Any = SimpleNamespace(bundled_config="dvgo_bounded.txt", options={"model": "dvgo"})


@pytest.mark.parametrize(("words", "layout"), [([], "auto"), (["--dataset_name", "nsvf"], "nsvf")])
def test_a_bundled_schedule_says_nothing_of_the_scenes_layout(tmp_path: Path, words: list[str], layout: str) -> None:
    config = _configured(DVGO, ["--datadir", "scenes/lego", *words], tmp_path / "lego")
    assert config.data.dataset_name == layout and config.data.datadir == "scenes/lego"
