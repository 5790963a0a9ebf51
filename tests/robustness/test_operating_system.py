"""What the system refuses: one line and status 2, wherever it happens; streams that nobody reads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import injection
import pytest
from tiny_scene import command_line, folder_of, tiny_config

from nerf_ssim.cli import streams
from nerf_ssim.cli.main import main
from nerf_ssim.errors import FileError, explain_os_error
from nerf_ssim.files import atomic_file, file_errors
from nerf_ssim.training.session import Session

SHORT = {"n_iters": 3, "upsamp_list": [], "update_AlphaMask_list": [], "save_every": 1, "vis_every": 2, "N_vis": 1}


@pytest.fixture()
def words(scene, tmp_path):
    """A short training; its run's folder is `tmp_path/tiny`."""
    return command_line(tiny_config(scene, tmp_path, **SHORT))


def occupy(path: Path) -> None:
    """Puts a folder with something in it where a file is wanted."""
    (path / "something").mkdir(parents=True)


OCCUPIED = ("config.txt", "manifest.json", "metrics.csv", "results.json", "checkpoints/000001.pt", "test/000.png")
OCCUPIED += ("progress/000002.png", ".lock")


@pytest.mark.slow
@pytest.mark.parametrize("name", OCCUPIED)
def test_a_folder_in_a_files_place_is_one_line(words, tmp_path, name):
    occupy(tmp_path / "tiny" / name)
    assert forked.run([*words, "--overwrite"]).problem() is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["checkpoints", "progress", "test"])
def test_a_file_in_a_folders_place_is_one_line(words, tmp_path, name):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / name).write_text("")
    assert forked.run(words).problem() is None


@pytest.mark.parametrize("basedir", ["/proc/nowhere", "file", "file/below"])
def test_a_folder_that_cannot_be_made_is_one_line(words, tmp_path, basedir):
    (tmp_path / "file").write_text("")
    ended = forked.run([*words, "--basedir", tmp_path / basedir])
    assert ended.problem() is None and "cannot be written" in ended.line


def test_a_name_too_long_says_so(words):
    ended = forked.run([*words, "--expname", "upsamp_2000_" * 30])
    assert ended.problem() is None and "File name too long" in ended.line and "shorter name" in ended.line
    assert len(ended.line) < 400


@pytest.mark.slow
def test_fit_image_evaluate_and_render_say_it_too(words, scene, tmp_path):
    fit = ["fit-image", "--config", "siren_small.txt", "--image", scene / "000.png", "--size", "0", "--n_iters", "2"]
    fit += ["--hidden", "8", "--basedir", tmp_path, "--expname", "fit"]
    occupy(tmp_path / "fit" / "fit.png")
    assert forked.run(fit).problem() is None
    assert main(words) == 0
    for name in ("results.json", "test/000.png"):
        path = tmp_path / "tiny" / name
        path.unlink()
        occupy(path)
        ended = forked.run(["evaluate", tmp_path / "tiny"])
        assert ended.problem() is None and "cannot be written" in ended.line
        shutil.rmtree(path)
        path.touch()
    (tmp_path / "tiny" / "render_test").write_text("")
    assert forked.run(["render", tmp_path / "tiny"]).problem() is None
    assert forked.run(["data", "check", scene, "--out", tmp_path / "tiny" / "render_test"]).problem() is None


def test_below_the_command_line_it_is_an_error_for_people(scene, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="cannot be written"):
        Session(tiny_config(scene, tmp_path / "file", **SHORT))


def test_an_os_error_that_no_place_expects_is_one_line(monkeypatch, capsys):
    def fail(words):
        raise PermissionError(13, "Permission denied", "/some/where")

    monkeypatch.setattr("nerf_ssim.cli.doctor.run", fail)
    assert main(["doctor"]) == 2
    advice = "choose another folder, or mend its permissions"
    assert capsys.readouterr().err == f"nerf-ssim: /some/where: Permission denied; {advice}\n"


def test_other_exceptions_are_not_hidden(monkeypatch):
    def fail(words):
        raise RuntimeError("a defect")

    monkeypatch.setattr("nerf_ssim.cli.doctor.run", fail)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["doctor"])


def test_a_broken_pipe_is_no_matter_of_files():
    with pytest.raises(BrokenPipeError), file_errors("x"):
        raise BrokenPipeError(32, "Broken pipe")


def test_an_explanation_has_no_line_breaks_and_no_endless_names():
    text = explain_os_error(OSError(36, "File name too long", "/" + "x" * 4000), doing="written", then="go on")
    assert len(text) < 300 and text.endswith("choose a shorter name, then go on")
    assert explain_os_error(OSError("no number"), path="a") == "a: no number"


@pytest.mark.slow
def test_every_refused_operation_is_one_line_and_the_next_start_comes_to_the_same_bits():
    """A few operations of each kind here; `test_at_every_operation` and the module's command try all."""
    check_injections(step=53)


@pytest.mark.release
def test_at_every_operation():
    check_injections(step=1)


def check_injections(step: int) -> None:
    try:
        found = injection.inject(step, list(injection.MODES), timeout=3000)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    problems = [one for one in found if one["problem"]]
    assert not problems, json.dumps(problems[:3], indent=1)
    assert {(one["command"], one["mode"]) for one in found} >= {("train", "full"), ("fit-image", "denied")}
    assert sum(one["line"].startswith("nerf-ssim: ") for one in found) > len(found) / 3, "hardly any was noticed"


@pytest.mark.slow
def test_tensorboard_that_cannot_be_written_says_so_once_and_training_goes_on(events, words, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "tensorboard").write_text("")
    ended = forked.run(words)
    assert ended.code == 0 and ended.err.count("TensorBoard's events end here") == 1
    assert (tmp_path / "tiny" / "results.json").exists()


# Streams


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed", [*(pytest.param(one, marks=pytest.mark.release) for one in (">&-", "2>&-")), ">&- 2>&-"]
)
def test_a_training_with_closed_streams_ends_well(words, tmp_path, closed):
    code = (
        "import sys; from nerf_ssim.training import scoring; scoring.lpips_scorers = lambda weights: ();"
        f"from nerf_ssim.cli.main import main; sys.exit(main({[str(word) for word in words]!r}))"
    )
    script = tmp_path / "closed.py"
    script.write_text(code)
    command = f"{sys.executable} {script} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and forked.TRACEBACK not in done.stderr + done.stdout
    assert (tmp_path / "tiny" / "results.json").exists()


def test_a_training_outlives_its_reader(words, tmp_path):
    def without_reader():
        ours, theirs = os.pipe()
        os.close(ours)
        for number in (1, 2):
            os.dup2(theirs, number)

    ended = forked.run(words, prepare=without_reader)
    assert ended.code == 0
    assert (tmp_path / "tiny" / "results.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_listing_on_a_full_disk_is_one_line():
    def to_full():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    ended = forked.run(["--version"], prepare=to_full)
    assert ended.problem() is None and "standard output" in ended.line


def test_a_lasting_stream_passes_text_until_it_fails(tmp_path):
    with open(tmp_path / "log", "w") as file:
        stream = streams.LastingStream(file)
        assert stream.write("heard\n") == 6 and stream.name == file.name
        stream.flush()
    assert stream.write("lost\n") == 5
    stream.flush()
    assert (tmp_path / "log").read_text() == "heard\n"


# Paths


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["data", "check", "~nouser/x"],
        ["train", "--config", "room.txt", "--datadir", "~nouser/x"],
        ["train", "--config", "~nouser/x.txt"],
        ["train", "--config", "room.txt", "--basedir", "~nouser/x"],
        ["fit-image", "--image", "~nouser/x.png"],
        ["fit-image", "--images", "~nouser/x"],
        ["evaluate", "~nouser/x"],
        ["render", "~nouser/x"],
        ["report", "~nouser/x"],
    ],
)
def test_the_home_of_a_user_that_there_is_not(words, tmp_path):
    ended = forked.run(words, prepare=lambda: os.chdir(tmp_path))
    assert ended.problem() is None and "no such user" in ended.line
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_basedir_may_begin_with_a_tilde(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    session = Session(tiny_config(scene, Path("~/runs"), **SHORT))
    assert session.folder.path == tmp_path / "runs" / "tiny"


def test_a_scene_that_is_not_there_leaves_no_run_folder(scene, tmp_path):
    config = tiny_config(scene, tmp_path, **SHORT).replace(datadir=str(tmp_path / "nowhere"))
    ended = forked.run(command_line(config))
    assert ended.problem() is None and not folder_of(config).exists()


@pytest.mark.slow
def test_a_scene_that_has_gone_leaves_the_run_as_it_was(words, tmp_path, scene):
    assert main(words) == 0
    before = forked.tree(tmp_path / "tiny")
    ended = forked.run([*words, "--resume", "--datadir", tmp_path / "nowhere"])
    assert ended.problem() is None and forked.tree(tmp_path / "tiny") == before


def test_the_published_configurations_name_the_download(tmp_path):
    ended = forked.run(["train", "--config", "replica_scene3.txt"], prepare=lambda: os.chdir(tmp_path))
    assert ended.problem() is None and "nerf-ssim data download replica" in ended.line
    assert not (tmp_path / "runs" / "replica_scene3").exists()


def test_a_renaming_that_is_refused_names_its_goal(tmp_path):
    (tmp_path / "config.txt").mkdir()
    with pytest.raises(OSError) as refused, atomic_file(tmp_path / "config.txt") as file:
        file.write(b"options")
    line = explain_os_error(refused.value, doing="written")
    assert line.startswith(f"{tmp_path / 'config.txt'}: cannot be written") and ".partial" not in line
