"""The manifest: says what ran, on what, from which state of the code, and never stands in the way."""

from __future__ import annotations

import datetime
import json
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

import nerf_ssim
from nerf_ssim.errors import TrainingError
from nerf_ssim.runs import manifest
from nerf_ssim.runs.device import cpu_model
from nerf_ssim.runs.manifest import changed_circumstances, git_state, read_manifest, write_manifest


def write(folder: Path, **changes) -> Path:
    values = {
        "config": {"expname": "room", "upsamp_list": (400, 600), "s3im_weight": 1.0, "stop_at": None},
        "backend": {"vm_features": ("reference", "the extension was not built")},
        "precision": {"decoder_precision": {"asked": "bf16", "ran": "float32", "reason": "no such products"}},
        "scene": {"name": "room", "hash": "abc", "train_views": 54, "test_views": 6},
        "seed": 20211202,
        "device": "cpu",
    }
    return write_manifest(folder, **(values | changes))


def test_it_holds_what_a_reader_of_the_results_needs(tmp_path):
    path = write(tmp_path / "runs" / "room")
    assert path == tmp_path / "runs" / "room" / "manifest.json"
    record = read_manifest(path.parent)
    assert record["config"] == {"expname": "room", "upsamp_list": [400, 600], "s3im_weight": 1.0, "stop_at": None}
    assert record["backend"] == {"vm_features": ["reference", "the extension was not built"]}
    assert record["decoder_precision"]["ran"] == "float32"
    assert record["scene"]["hash"] == "abc"
    assert record["seed"] == 20211202
    assert record["device"] == "cpu"
    assert record["version"] == nerf_ssim.__version__
    assert record["torch"] == torch.__version__
    assert record["threads"]["intra_op"] == torch.get_num_threads()
    assert 1 <= record["machine"]["cores"] <= record["machine"]["cores_total"]
    assert record["machine"]["memory_gib"] > 0
    assert record["resumed"] == []
    age = datetime.datetime.now(datetime.timezone.utc) - datetime.datetime.fromisoformat(record["started"])
    assert abs(age.total_seconds()) < 60


def test_what_can_change_the_last_bits_of_a_resumed_run_is_told(tmp_path):
    backend = {"composite": {"implementation": "native", "reason": "compiled CPU kernel"}}
    write(tmp_path, backend=backend)
    record = read_manifest(tmp_path)
    assert changed_circumstances(record, backend, "cpu") == []
    record["threads"]["intra_op"] = torch.get_num_threads() + 1
    record["torch"] = "2.6.0"
    changes = changed_circumstances(record, {"composite": {"implementation": "reference", "reason": "no build"}}, "cpu")
    assert changes == [
        f"threads {torch.get_num_threads() + 1}, now {torch.get_num_threads()}",
        f"PyTorch 2.6.0, now {torch.__version__}",
        "composite native, now reference",
    ]
    assert changed_circumstances({}, backend, "cpu") != []  # nothing is known of the earlier start


def test_kinds_of_processor_with_one_name_are_told_apart(monkeypatch):
    name = cpu_model()
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX1024")
    assert cpu_model() != name and cpu_model().endswith(" with AVX1024")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert name.startswith(cpu_model())


def test_a_resume_keeps_the_first_start_and_adds_its_own(tmp_path):
    write(tmp_path)
    record = read_manifest(tmp_path) | {"started": "2026-01-01T00:00:00+00:00"}
    (tmp_path / "manifest.json").write_text(json.dumps(record))
    write(tmp_path, resume_iteration=200)
    write(tmp_path, resume_iteration=300)
    record = read_manifest(tmp_path)
    assert record["started"] == "2026-01-01T00:00:00+00:00"
    assert [entry["iteration"] for entry in record["resumed"]] == [200, 300]
    write(tmp_path)
    assert read_manifest(tmp_path)["resumed"] == []  # a fresh run says nothing of the one it replaces


def test_paths_become_text_infinities_null_and_the_file_stays_strict_json(tmp_path):
    path = write(tmp_path, config={"datadir": Path("data/room"), "far": math.inf})

    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(path.read_text(), parse_constant=refuse)["config"] == {"datadir": "data/room", "far": None}


def test_a_value_json_can_not_hold_is_named_and_the_old_file_kept(tmp_path):
    before = write(tmp_path).read_bytes()
    with pytest.raises(TypeError, match=r"scene\.views\[1\]: Tensor"):
        write(tmp_path, scene={"views": [1, torch.ones(2)]})
    assert (tmp_path / "manifest.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


@pytest.mark.parametrize("content", [None, b"{", b"[1]", b"\xff\xfe"])
def test_a_missing_or_damaged_manifest_is_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(TrainingError) as caught:
        read_manifest(tmp_path)
    assert "manifest.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_that_can_not_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="manifest.json"):
        write(tmp_path / "file")


def test_without_git_or_without_a_checkout_it_is_none(tmp_path, monkeypatch):
    assert git_state(tmp_path) is None
    monkeypatch.setenv("PATH", "")
    assert git_state() is None
    write(tmp_path)
    assert read_manifest(tmp_path)["git"] is None


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_state_has_the_commit_and_whether_tracked_files_changed(tmp_path):
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
        command = ["git", *identity, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    assert git_state(tmp_path) is None  # no commit yet
    (tmp_path / "a.txt").write_text("1")
    git("add", "a.txt")
    git("commit", "-q", "-m", "first")
    assert git_state(tmp_path) == {"sha": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "untracked.txt").write_text("a run's output is no change of the code")
    assert git_state(tmp_path)["dirty"] is False
    (tmp_path / "a.txt").write_text("2")
    assert git_state(tmp_path)["dirty"] is True
    (tmp_path / "sub").mkdir()
    assert git_state(tmp_path / "sub") is None  # inside somebody else's repository


def test_a_hanging_git_does_not_stop_the_run(monkeypatch):
    def hang(*arguments, **options):
        raise subprocess.TimeoutExpired("git", options["timeout"])

    monkeypatch.setattr(manifest.subprocess, "run", hang)
    assert git_state() is None
