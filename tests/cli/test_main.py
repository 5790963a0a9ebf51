"""The command: how it finds a subcommand, and how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import nerf_ssim
from nerf_ssim.cli import doctor
from nerf_ssim.cli import main as command
from nerf_ssim.errors import SceneError, UserError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def subcommand(monkeypatch):
    """Put a function in the place of the subcommand `train`."""

    def put(function):
        module = SimpleNamespace(run=function)
        monkeypatch.setattr(command.importlib, "import_module", lambda name: module)

    return put


def test_help_lists_every_command_in_one_line_each(capsys):
    for words in ([], ["--help"], ["-h"]):
        assert command.main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        for name, purpose in command.COMMANDS.items():
            assert sum(line.split()[:1] == [name] and line.endswith(purpose) for line in lines) == 1


@pytest.mark.parametrize("name", command.COMMANDS)
def test_every_listed_command_explains_itself(name, capsys):
    assert command.main([name, "--help"]) == 0
    assert f"nerf-ssim {name}" in capsys.readouterr().out


def test_version(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"nerf-ssim {nerf_ssim.__version__}\n"


def test_unknown_command_names_the_nearest(capsys):
    assert command.main(["trian"]) == 2
    assert capsys.readouterr().err == "nerf-ssim: 'trian' is not a command; did you mean train?\n"


def test_status_and_words_pass_through(subcommand):
    seen = []
    subcommand(lambda words: seen.append(words) or 143)
    assert command.main(["train", "--a", "1"]) == 143
    assert seen == [["--a", "1"]]


def test_user_error_is_one_line_and_status_2(subcommand, capsys):
    def fail(words):
        raise SceneError("meta_data.json: frame 3:\n  no such image")

    subcommand(fail)
    assert command.main(["train"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "nerf-ssim: meta_data.json: frame 3: no such image\n")


def test_interruption_is_status_130_without_a_traceback(subcommand, capsys):
    def interrupt(words):
        raise KeyboardInterrupt

    subcommand(interrupt)
    assert command.main(["train"]) == 130
    assert capsys.readouterr().err == "nerf-ssim: interrupted\n"


def test_a_defect_is_not_hidden(subcommand):
    def fail(words):
        raise ZeroDivisionError

    subcommand(fail)
    with pytest.raises(ZeroDivisionError):
        command.main(["train"])


def test_a_reader_that_leaves_ends_the_command_silently():
    code = (
        "import sys; from nerf_ssim.cli import main as m; from types import SimpleNamespace as S;"
        "m.importlib = S(import_module=lambda n: S(run=lambda w: [print('x' * 100) for _ in range(10000)] and 0));"
        "sys.exit(m.main(['doctor']))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == command.EXIT_BROKEN_PIPE


def test_train_script_is_the_train_command():
    done = subprocess.run(
        [sys.executable, str(ROOT / "train.py"), "--n_iter", "3"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr == "nerf-ssim: unknown option '--n_iter'; did you mean n_iters?\n"


def test_train_help_does_not_wait_for_torch():
    code = (
        "import sys; from nerf_ssim.cli.main import main; status = main(['train', '--help']);"
        "sys.exit(status or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.slow
def test_package_import_is_light_and_names_are_lazy():
    code = (
        "import sys, nerf_ssim; assert 'torch' not in sys.modules;nerf_ssim.SsimSchedule; assert 'torch' in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert {"S3IM", "SsimSchedule", "__version__", "fused_ssim"} <= set(nerf_ssim.__all__)
    for name in nerf_ssim.__all__:
        assert getattr(nerf_ssim, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = nerf_ssim.no_such_name


def test_messages_for_people_are_one_line():
    assert str(UserError("a\n  b\r\nc")) == "a b c"


def test_doctor_tells_versions_devices_operations_and_weights(capsys):
    assert command.main(["doctor"]) == 0
    out = capsys.readouterr().out
    for word in ("versions", "torch ", "devices", "cpu ", "cuda", "operations", "LPIPS", "vgg"):
        assert word in out
    assert "--decoder_precision bf16 on cpu      runs in " in out
    assert "fit-image --precision bf16x3 on cpu  runs in " in out


def test_doctor_says_how_to_install_what_is_missing(monkeypatch, capsys):
    is_there = doctor._is_there
    monkeypatch.setattr(doctor, "_is_there", lambda module: module != "lpips" and is_there(module))
    assert command.main(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["lpips"]]
    assert "pip install '.[eval]'" in line


def test_doctor_without_a_needed_package_says_so_and_fails(monkeypatch, capsys):
    is_there = doctor._is_there
    monkeypatch.setattr(doctor, "_is_there", lambda module: module != "torch" and is_there(module))
    assert command.main(["doctor"]) == 1
    assert "missing: torch" in capsys.readouterr().out


def test_doctor_reports_a_wrong_backend_setting_instead_of_failing(monkeypatch, capsys):
    from nerf_ssim.ops import backend

    def refuse(device):
        raise UserError("NERF_SSIM_BACKEND=fast: choose auto, reference or native")

    monkeypatch.setattr(backend, "describe", refuse)
    assert command.main(["doctor"]) == 0
    assert "choose auto, reference or native" in capsys.readouterr().out
