"""What the tests of checkpoints save."""

from __future__ import annotations

from collections import OrderedDict

import torch


def payload(iteration: int = 5, **more) -> dict:
    return {
        "model": "TensorVMSplit",
        "iteration": iteration,
        "field": OrderedDict(plane=torch.arange(24.0).reshape(2, 3, 4), mask=torch.tensor([True, False])),
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.ones(2, dtype=torch.float64)}}, "lr": [0.02, 1e-3]},
        "schedule": {"removed_at": None, "mode": "auto", "betas": (0.9, 0.99)},
        **more,
    }
