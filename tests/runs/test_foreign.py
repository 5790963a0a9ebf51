"""Files of torch.save are read without their pickles having any say."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from nerf_ssim.errors import CheckpointError
from nerf_ssim.runs import foreign
from nerf_ssim.runs.foreign import read_foreign

HONEST = {
    "weights": OrderedDict(a=torch.randn(3, 4), b=torch.arange(6).view(2, 3).T, c=torch.tensor(2.5)),
    "parameter": torch.nn.Parameter(torch.ones(2, dtype=torch.float64)),
    "kinds": [torch.ones(3, dtype=kind) for kind in (torch.bool, torch.uint8, torch.int16, torch.bfloat16)],
    "view": torch.arange(10.0)[3:7],
    "empty": torch.zeros(0, 3),
    "array": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "bits": np.packbits(np.array([True, False, True])),
    "scalar": np.float32(0.5),
    "size": torch.Size([1, 2]),
    "device": torch.device("cuda:1"),
    "plain": [None, True, 3, 2.5, "text", (1, 2), {1: "a"}],
}


def test_tensors_arrays_and_plain_values_are_read(tmp_path):
    torch.save(HONEST, tmp_path / "a.th")
    read = read_foreign(tmp_path / "a.th")
    for name in ("view", "empty", "parameter"):
        assert torch.equal(read[name], HONEST[name].detach()) and read[name].dtype == HONEST[name].dtype
    assert all(torch.equal(read["weights"][name], value) for name, value in HONEST["weights"].items())
    assert all(torch.equal(ours, value) for ours, value in zip(read["kinds"], HONEST["kinds"], strict=True))
    for name in ("array", "fortran", "bits"):
        assert np.array_equal(read[name], HONEST[name]) and read[name].dtype == HONEST[name].dtype
    assert (read["scalar"], read["size"], read["device"]) == (0.5, (1, 2), "cuda:1")
    assert read["plain"] == HONEST["plain"] and type(read["weights"]) is dict


def archive_with(path, pickled: bytes, storages: dict[str, bytes] | None = None, *, compression: int = 0) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        for key, data in (storages or {}).items():
            archive.writestr(f"archive/data/{key}", data)


def test_numpys_names_before_and_since_its_second_version_are_known(tmp_path):
    torch.save({"a": np.arange(3)}, tmp_path / "a.th")
    with zipfile.ZipFile(tmp_path / "a.th") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith("data.pkl")]
        pickled = archive.read(name)
    for core in (b"numpy.core.multiarray", b"numpy._core.multiarray"):
        other = pickled.replace(b"numpy._core.multiarray", core).replace(b"numpy.core.multiarray", core)
        archive_with(tmp_path / "b.th", other)
        assert np.array_equal(read_foreign(tmp_path / "b.th")["a"], np.arange(3))


class Touch:
    """Makes a file when it is unpickled by a reader that runs what it reads."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


GLOBALS = [
    b"cos\nsystem\n(S'x'\ntR.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cbuiltins\ngetattr\n.",
    b"ctorch\nload\n.",
    b"ctorch.storage\n_load_from_bytes\n.",
    b"cnumpy.core.multiarray\nfromfile\n.",
    b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
    b"cnerf_ssim.runs.foreign\n_FUNCTIONS\n.",
    b"c_codecs\ndecode\n.",
]


@pytest.mark.parametrize("pickled", GLOBALS)
def test_any_other_name_is_refused_and_named(tmp_path, pickled):
    archive_with(tmp_path / "a.th", pickled)
    with pytest.raises(CheckpointError, match=r"a\.th: asks for \S+\.\S+; only tensors, numpy arrays"):
        read_foreign(tmp_path / "a.th")


def test_nothing_of_a_hostile_file_runs(tmp_path):
    torch.save({"state_dict": Touch(tmp_path / "HERE")}, tmp_path / "a.th")
    with pytest.raises(CheckpointError, match="asks for "):
        read_foreign(tmp_path / "a.th")
    assert not (tmp_path / "HERE").exists()


STORAGE = b"((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI4\ntQ"  # of four floats, in a tuple's start


def tensor_of(offset: int, shape: str, strides: str) -> bytes:
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + STORAGE + f"I{offset}\n{shape}{strides}tR.".encode()


HOSTILE = {
    "a tensor beyond its storage": tensor_of(1, "(I4\nt", "(I1\nt"),
    "a tensor before its storage": tensor_of(-1, "(I4\nt", "(I1\nt"),
    "an expanded tensor": tensor_of(0, "(I1000000\nI1000000\nt", "(I0\nI0\nt"),
    "a negative stride": tensor_of(3, "(I4\nt", "(I-1\nt"),
    "a giant shape": tensor_of(0, "(L" + "9" * 3000 + "L\nt", "(I0\nt"),
    "a tensor changed afterwards": tensor_of(0, "(I4\nt", "(I1\nt")[:-1] + b"(S'tensor'\nI5\ndb.",
    "a function changed": b"ctorch._utils\n_rebuild_tensor_v2\n(NdS'__defaults__'\nNstb.",
    "a kind of storage changed": b"ctorch\nFloatStorage\n(S'dtype'\nI1\ndb.",
    "a class that is no function": b"ccollections\nOrderedDict\n)\x81.",
    "a missing storage": tensor_of(0, "(I4\nt", "(I1\nt").replace(b"S'0'", b"S'7'"),
    "a storage outside": tensor_of(0, "(I4\nt", "(I1\nt").replace(b"S'0'", b"S'../data.pkl'"),
    "more elements than bytes": tensor_of(0, "(I4\nt", "(I1\nt").replace(b"I4\ntQ", b"I400\ntQ"),
    "no storage at all": b"ctorch._utils\n_rebuild_tensor_v2\n(I1\nI0\n(I4\nt(I1\nttR.",
    "an array of objects": b"cnumpy\ndtype\n(S'O'\nI0\nI1\ntR.",
    "an array that lacks bytes": b"cnumpy._core.multiarray\n_reconstruct\n(I0\ntR(I1\n(I1000000000\nt"
    b"cnumpy\ndtype\n(S'f4'\nI0\nI1\ntRI0\nC\x04abcdtb.",
    "bytes in a strange encoding": b"c_codecs\nencode\n(S'a'\nS'rot13'\ntR.",
    "a list in itself": b"(lp0\ng0\na.",
    "a number as key": b"(dF1.5\nI1\ns.",
    "an empty pickle": b"",
    "a cut pickle": b"(dS'a'\n",
    "text": b"hello",
}


@pytest.mark.parametrize("pickled", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_pickle_is_one_line(tmp_path, pickled):
    before = {name: vars(value).copy() for name, value in vars(foreign).items() if isinstance(value, type)}
    archive_with(tmp_path / "a.th", pickled, {"0": bytes(16)})
    with pytest.raises(CheckpointError, match=r"a\.th: ") as caught:
        read_foreign(tmp_path / "a.th")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert {name: vars(value).copy() for name, value in vars(foreign).items() if isinstance(value, type)} == before
    assert foreign._rebuild_tensor.__defaults__ is None


def test_the_honest_form_of_those_is_read(tmp_path):
    archive_with(tmp_path / "a.th", tensor_of(0, "(I4\nt", "(I1\nt"), {"0": np.arange(4, dtype="<f4").tobytes()})
    assert torch.equal(read_foreign(tmp_path / "a.th"), torch.arange(4.0))


@pytest.mark.slow
def test_shared_lists_that_double_are_refused_before_they_are_walked(tmp_path):
    value: list = [0]
    for _ in range(45):
        value = [value, value]
    archive_with(tmp_path / "a.th", pickle.dumps(value, 2))
    with pytest.raises(CheckpointError, match="more values, or deeper ones"):
        read_foreign(tmp_path / "a.th")


def test_a_compressed_part_is_refused(tmp_path):
    archive_with(tmp_path / "a.th", pickle.dumps("a" * 100000, 2), compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="is compressed or too large"):
        read_foreign(tmp_path / "a.th")


def test_what_is_no_archive_is_said(tmp_path):
    (tmp_path / "a.th").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(CheckpointError, match=r"a\.th: no archive of torch\.save"):
        read_foreign(tmp_path / "a.th")
    with zipfile.ZipFile(tmp_path / "b.th", "w") as archive:
        archive.writestr("readme.txt", "")
    with pytest.raises(CheckpointError, match="it has no data.pkl"):
        read_foreign(tmp_path / "b.th")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_foreign(tmp_path / "gone.th")


def test_a_cut_file_is_said(tmp_path):
    torch.save({"a": torch.randn(1000)}, tmp_path / "a.th")
    data = (tmp_path / "a.th").read_bytes()
    for size in range(0, len(data), 997):
        (tmp_path / "b.th").write_bytes(data[:size])
        with pytest.raises(CheckpointError):
            read_foreign(tmp_path / "b.th")
