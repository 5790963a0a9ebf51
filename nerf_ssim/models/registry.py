"""The models there are, a line each: where its options are. They need no PyTorch, and neither does this file."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nerf_ssim.models.options import ModelOptions

MODELS = {
    "tensorf": "nerf_ssim.models.tensorf.options:TensorfOptions",
    "dvgo": "nerf_ssim.models.dvgo.options:DvgoOptions",
}


def model_options(name: str) -> type[ModelOptions]:
    """The options of the model of that name, one of `MODELS`."""
    module, _, group = MODELS[name].partition(":")
    options: type[ModelOptions] = getattr(importlib.import_module(module), group)
    return options
