"""Configurations of any content: a configuration, or one error for people."""

from __future__ import annotations

import codecs
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import examples

from nerf_ssim.config.parsing import parse_command
from nerf_ssim.errors import UserError
from nerf_ssim.files import decode_text
from nerf_ssim.images.options import FIT_IMAGE
from nerf_ssim.models.config import TRAIN, Config, parse

NAMES = sorted(Config.options())
NUMBERS = st.one_of(st.integers(-(10**12), 10**12).map(str), st.floats(width=32).map(repr))
VALUES = st.one_of(
    NUMBERS,
    st.lists(NUMBERS, max_size=4).map(lambda items: f"[{','.join(items)}]"),
    st.text(max_size=20),
    st.sampled_from(
        ["", "[]", "[", "none", "True", "~nouser/x", "a#b", "'open", "{0: 1e-4, 5: 1}", "{0:}", "../..", "\\x"]
    ),
)
LINES = st.one_of(
    st.tuples(st.sampled_from(NAMES), VALUES).map(" = ".join),
    st.tuples(st.text(max_size=12), VALUES).map("=".join),
    st.text(max_size=40),
)


def accepts_or_explains(command, contents: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "options.txt"
        path.write_bytes(contents)
        try:
            parse_command(command, ["--config", str(path)])
        except UserError as error:
            assert "\n" not in str(error) and str(error)


@pytest.mark.slow
@examples(200)
@given(st.lists(LINES, max_size=6).map("\n".join))
def test_lines_of_any_kind(text):
    accepts_or_explains(TRAIN, text.encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@examples(60)
@given(st.lists(LINES, max_size=3).map("\n".join))
def test_lines_of_any_kind_for_a_fit(text):
    accepts_or_explains(FIT_IMAGE, text.encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@examples(60)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind(contents):
    accepts_or_explains(TRAIN, contents)


@pytest.mark.slow
@examples(120)
@given(st.lists(st.tuples(st.sampled_from(NAMES), VALUES.filter(lambda text: "\0" not in text)), max_size=3))
def test_command_lines_of_any_kind(options):
    words = [word for name, value in options for word in (f"--{name}={value}",)]
    try:
        parse(words)
    except UserError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_one_text_in_every_encoding_is_one_configuration(tmp_path, encoding, end):
    (tmp_path / "a.txt").write_bytes(f"n_iters = 5000{end}label = für{end}".encode(encoding))
    config = parse(
        ["--config", str(tmp_path / "a.txt"), "--datadir", "x", "--upsamp_list", "[]", "--update_AlphaMask_list", "[]"]
    )
    assert (config.run.n_iters, config.data.label) == (5000, "für")


@examples(100)
@given(st.text(alphabet=st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=40))
def test_text_is_read_alike_in_every_encoding(text):
    for encoded in (text.encode("utf-8-sig"), codecs.BOM_UTF16_LE + text.encode("utf-16-le")):
        assert decode_text(encoded) == text
    assert decode_text(codecs.BOM_UTF16_BE + text.encode("utf-16-be")) == text


@examples(60)
@given(st.binary(max_size=40))
def test_bytes_are_text_or_a_value_error(contents):
    try:
        decode_text(contents)
    except ValueError as error:
        assert "text" in str(error)


def test_a_list_that_is_given_twice_is_longer():
    config = parse(["--datadir", "x", "--update_AlphaMask_list", "[]", "--upsamp_list", "4", "--upsamp_list", "8", "9"])
    assert config.model.upsamp_list == (4, 8, 9)


@pytest.mark.parametrize("words", [["--step_ratio", "1e-9"], ["--model", "dvgo", "--stepsize", "1e-9"]])
def test_a_step_that_asks_for_endless_samples_is_refused(words):
    with pytest.raises(UserError, match="at least"):
        parse(words)
