"""The rule by which a GPU takes SSIM's tall or flat tiles, against the occupancy that the budget says of each."""

from __future__ import annotations

import json
import math
import re

import pytest
from budget import FILE
from compiled import LIMITS
from simulator import NATIVE

RULE = re.search(r"kSharedMemoryForTallTiles = ([\d *]+);", (NATIVE / "include" / "ssim.h").read_text())
TALL, FLAT = 32, 16


@pytest.mark.parametrize("architecture", LIMITS)
def test_the_tiles_that_are_chosen_keep_every_thread_of_a_multiprocessor_busy(architecture):
    assert RULE is not None
    least = math.prod(int(factor) for factor in RULE[1].split("*"))
    rows = TALL if LIMITS[architecture].shared >= least else FLAT
    budget = json.loads(FILE.read_text())
    chosen = {
        f"ssim_tile_{kernel}<false, {has_error}, {rows}>"
        for kernel in ("forward", "adjoint")
        for has_error in ("false", "true")
    }
    occupancy = {entry: budget[entry][f"sm_{architecture}"]["occupancy"] for entry in chosen}
    assert occupancy == dict.fromkeys(chosen, 100)
