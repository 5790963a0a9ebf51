"""A checkpoint as safetensors and JSON comes back equal to the last bit."""

from __future__ import annotations

import json

import pytest
import torch

from nerf_ssim.errors import CheckpointError

pytest.importorskip("safetensors", reason="needs safetensors: pip install nerf_ssim[export]")

from nerf_ssim.runs.portable import read_portable, write_portable  # noqa: E402

PAYLOAD = {
    "model": "tensorf",
    "nested": {"a": torch.randn(2, 3).T, "b": [torch.tensor(1.5), (1, (2, None))]},
    "numbered": {0: {"exp_avg": torch.zeros(3)}, 1: {}},
    "floats": [0.1, float("inf"), float("nan"), -0.0, 1e-45],
    "looks_marked": {"tensor": "a"},
    "bits": torch.arange(5, dtype=torch.uint8),
    "mask": torch.tensor([True, False]),
    "half": torch.ones(2, dtype=torch.bfloat16),
    "text": "ü",
    "large": 2**63 + 1,
    "flag": True,
}


def same(a: object, b: object) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b)


def test_a_payload_comes_back_equal(tmp_path):
    beside = write_portable(tmp_path / "a.safetensors", PAYLOAD)
    assert beside == tmp_path / "a.json"
    for path in (tmp_path / "a.safetensors", beside):
        assert same(read_portable(path), PAYLOAD)


def test_other_programs_read_both_files(tmp_path):
    from safetensors.torch import load_file

    write_portable(tmp_path / "a.safetensors", PAYLOAD)
    tensors = load_file(tmp_path / "a.safetensors")
    assert torch.equal(tensors["nested.a"], PAYLOAD["nested"]["a"])
    record = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert record["checkpoint"]["nested"]["a"] == {"tensor": "nested.a"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", None, r"a\.json: cannot be read .*two files"),
        ("a.safetensors", None, r"a\.safetensors: cannot be read .*two files"),
        ("a.json", b"{", "is no exported checkpoint, or damaged"),
        ("a.json", b"[" * 100000, "is no exported checkpoint, or damaged"),
        ("a.json", b"{}", "was not written by nerf-ssim export"),
        ("a.json", b'{"format": "nerf_ssim portable checkpoint", "version": 9}', "version 9"),
        ("a.json", b'{"format": "nerf_ssim portable checkpoint", "version": 1}', "or is damaged"),
        (
            "a.json",
            b'{"format": "nerf_ssim portable checkpoint", "version": 1, "checkpoint": {"a": {"tensor": "gone"}}}',
            "does not go with the tensors",
        ),
        ("a.safetensors", b"12345678", "is no exported checkpoint, or damaged"),
    ],
)
def test_a_missing_or_damaged_file_is_one_line(tmp_path, name, content, said):
    write_portable(tmp_path / "a.safetensors", PAYLOAD)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_portable(tmp_path / "a.safetensors")
