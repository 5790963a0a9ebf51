"""A machine on which OpenCV does not load gets one line that says what to install."""

from __future__ import annotations

import importlib

import pytest

from nerf_ssim.cli import main

MISSING = "libGL.so.1: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (ImportError(MISSING), "libGL.so.1 is missing"),
        (ImportError(MISSING.replace("GL.so.1", "gthread-2.0.so.0")), "libgthread-2.0.so.0 is missing"),
        (ModuleNotFoundError("No module named 'cv2'", name="cv2"), "not installed"),
    ],
)
def test_opencv_that_does_not_load_is_one_line(monkeypatch, capsys, error, says):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    assert main.main(["doctor"]) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and says in printed and "pip install opencv-python-headless" in printed


def test_another_import_that_fails_is_a_defect_and_keeps_its_traceback(monkeypatch):
    def fail(name):
        raise ImportError("cannot import name 'x' from 'y'")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ImportError):
        main.main(["doctor"])
