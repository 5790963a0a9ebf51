from __future__ import annotations

import subprocess
import sys

import pytest

from nerf_ssim.errors import TrainingError
from nerf_ssim.runs.lock import lock_folder

HOLD = "import sys; from pathlib import Path; from nerf_ssim.runs.lock import lock_folder; \
lock = lock_folder(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"


def test_a_second_process_is_refused_and_a_killed_holder_frees_the_folder(tmp_path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(TrainingError, match="another process"):
        lock_folder(tmp_path / "run")
    holder.kill()
    holder.wait()
    holder.stdin.close()
    holder.stdout.close()
    lock_folder(tmp_path / "run").close()
