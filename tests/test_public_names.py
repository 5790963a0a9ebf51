"""Every public name loads, says what it takes and gives, and has its entry on the page of the API."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path

import pytest

import nerf_ssim
import nerf_ssim.ssim
from nerf_ssim.ssim import msssim

ROOT = Path(__file__).resolve().parents[1]
ENTRIES = re.findall(r"^::: (\S+)$", (ROOT / "docs/api.md").read_text(), re.MULTILINE)
PUBLIC = {
    *(f"nerf_ssim.{name}" for name in nerf_ssim.__all__ if name != "__version__"),
    *(f"nerf_ssim.ssim.{name}" for name in nerf_ssim.ssim.__all__),
    *(f"nerf_ssim.ssim.msssim.{name}" for name in msssim.__all__),
}


def found(path: str):
    module, _, name = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_name_is_on_the_page(name):
    last = name.rpartition(".")[2]
    assert any(found(entry) is found(name) for entry in ENTRIES if entry.rpartition(".")[2] == last), name


@pytest.mark.parametrize("entry", ENTRIES)
def test_an_entry_says_what_it_is_and_a_function_what_it_takes(entry):
    text = inspect.getdoc(found(entry))
    assert text
    is_of_ssim = entry.startswith(("nerf_ssim.ssim", "nerf_ssim.evaluation.metrics"))
    if inspect.isfunction(found(entry)) and is_of_ssim:
        assert "Args:" in text or "as in" in text or "as `" in text or "are those of" in text, entry


@pytest.mark.parametrize("entry", [each for each in ENTRIES if each.startswith(("nerf_ssim.ssim", "nerf_ssim.eval"))])
def test_an_entry_of_ssim_says_what_it_refuses_and_where_it_comes_from(entry):
    text = inspect.getdoc(found(entry))
    is_result = inspect.isclass(found(entry)) and issubclass(found(entry), tuple)
    refers = re.search(r"source are those of|otherwise as `", text)
    assert is_result or refers or ("Raises:" in text and "Source:" in text), entry


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no_such"):
        _ = nerf_ssim.no_such
