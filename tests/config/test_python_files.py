"""Python configurations are read as data: the forms that they are made of, and nothing else."""

from __future__ import annotations

import time

import pytest

from nerf_ssim.config.python_files import read_python
from nerf_ssim.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def read(text, name="run.py", **others):
        for other, content in others.items():
            (tmp_path / f"{other}.py").write_text(content)
        (tmp_path / name).write_text(text)
        return read_python(tmp_path / name).values

    return read


def test_literals_names_and_arithmetic_have_their_values(read):
    values = read(
        "a = 160**3\nb = -a // 2\nc = [1, 2.5, 'x', None, True]\nd = {0: 1e-4*.5/10, 'k': min(a, 3, 1e-4)}\n"
        "e = dict(x=7 % 4, y=(1, 2))\nf = g = 2**-1\n'a note'\n"
    )
    assert values == {
        "a": 4096000,
        "b": -2048000,
        "c": [1, 2.5, "x", None, True],
        "d": {0: 5e-6, "k": 1e-4},
        "e": {"x": 3, "y": [1, 2]},
        "f": 0.5,
        "g": 0.5,
    }


def test_update_changes_a_group_and_deepcopy_makes_another(read):
    values = read(
        "from copy import deepcopy\na = dict(x=1, y=dict(z=1))\nb = deepcopy(a)\nc = a\n"
        "b.update(dict(x=2), w=3)\na.update(x=5)\ndel deepcopy, c\n"
    )
    assert values == {"a": {"x": 5, "y": {"z": 1}}, "b": {"x": 2, "y": {"z": 1}, "w": 3}}


def test_a_name_is_the_same_group_not_a_copy(read):
    assert read("a = dict(x=1)\nb = a\nb.update(x=2)\n")["a"] == {"x": 2}


def test_groups_are_merged_over_those_below_and_delete_replaces(read):
    base = "kept = 1\na = dict(x=1, y=dict(p=1, q=2))\nb = dict(x=1)\n"
    values = read(
        "_base_ = './base.py'\na = dict(y=dict(q=3))\nb = dict(_delete_=True, z=2)\nc = dict(new=1)\n", base=base
    )
    assert values == {"kept": 1, "a": {"x": 1, "y": {"p": 1, "q": 3}}, "b": {"z": 2}, "c": {"new": 1}}


def test_a_number_below_becomes_a_dict_only_with_delete(read):
    base = "a = dict(threshold=1e-4)\n"
    with pytest.raises(ConfigError, match=r"a\.threshold: is a dict here and 0.0001 in the file below.*_delete_"):
        read("_base_ = ['base.py']\na = dict(threshold={0: 1})\n", base=base)
    values = read("_base_ = ['base.py']\na = dict(threshold={'_delete_': True, 0: 1})\n", base=base)
    assert values == {"a": {"threshold": {0: 1}}}


def test_origins_name_the_file_that_set_a_value(tmp_path):
    (tmp_path / "base.py").write_text("a = dict(x=1, y=2)\n")
    (tmp_path / "run.py").write_text("_base_ = 'base.py'\na = dict(y=3)\n")
    origins = read_python(tmp_path / "run.py").origins
    assert origins["a.x"].endswith("base.py") and origins["a.y"].endswith("run.py")


HOSTILE = [
    "import os\n",
    "from os import system\n",
    "from copy import copy\n",
    "a = __import__('os').system('touch HERE')\n",
    "a = open('HERE', 'w')\n",
    "a = dict().__class__.__mro__\n",
    "a = (lambda: 1)()\n",
    "a = [x for x in [1, 2]]\n",
    "for x in [1]:\n    a = x\n",
    "if True:\n    a = 1\n",
    "def f():\n    return 1\n",
    "a = f'{1}'\n",
    "a = 'x' * 10\n",
    "a = [1] * 10\n",
    "a = dict(**{'x': 1})\n",
    "a = {**{'x': 1}}\n",
    "a = [1, 2][0]\n",
    "a = 1 if True else 2\n",
    "a = b'bytes'\n",
    "a = 1j\n",
    "a = max(1, 2)\n",
    "a, b = 1, 2\n",
    "a = dict(x=1)\na.pop('x')\n",
    "a = dict(x=1)\na.x = 2\n",
    "a = 1\na.update(x=1)\n",
    "dict = 1\n",
    "from copy import deepcopy\ndeepcopy = min\n",
    "a = b\n",
    "del a\n",
    "a = {[1]: 2}\n",
    "with open('HERE', 'w') as f:\n    pass\n",
    "a = (b := 1)\n",
    "assert 1\n",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_any_other_form_is_one_line_that_names_where(read, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"run\.py: line \d+: ") as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "HERE").exists()


DEEP = "a = " + "(" * 3000 + "1" + ")" * 3000 + "\n"
EXPENSIVE = {
    "a power": "a = 9**9**9**9\n",
    "a chain of powers": "a = 10**15\nb = a**a\n",
    "a large float": "a = 1e300 * 1e300\n",
    "a division by zero": "a = 1 / 0\n",
    "a complex root": "a = (-1) ** 0.5\n",
    "nested brackets": DEEP,
    "nested signs": "a = " + "-" * 5000 + "1\n",
    "nested lists": "a = " + "[" * 90 + "]" * 90 + "\n",
    "doublings": "a0 = [1, 2]\n" + "".join(f"a{n + 1} = [a{n}, a{n}]\n" for n in range(40)),
    "copies": "from copy import deepcopy\na = dict(x=[1,2,3,4,5,6,7,8])\n" + "b = deepcopy(a)\n" * 10000,
    "a group in itself": "a = dict(x=1)\na.update(y=a)\n",
    "a large file": "a = 1\n" * 100000,
}


@pytest.mark.slow
@pytest.mark.parametrize("text", EXPENSIVE.values(), ids=EXPENSIVE.keys())
def test_work_is_bounded(read, text):
    started = time.process_time()
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert time.process_time() - started < 5.0
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_files_that_build_on_each_other_in_a_circle_are_refused(read):
    with pytest.raises(ConfigError, match="builds on this file in turn"):
        read("_base_ = 'base.py'\n", base="_base_ = 'run.py'\n")
    with pytest.raises(ConfigError, match="builds on this file in turn"):
        read("_base_ = 'run.py'\n")


def test_many_files_are_refused(read):
    chain = {f"base{n}": f"_base_ = 'base{n + 1}.py'\n" for n in range(30)}
    with pytest.raises(ConfigError, match="more than 16 files"):
        read("_base_ = 'base0.py'\n", **chain)


def test_two_files_below_may_not_set_one_name(read):
    with pytest.raises(ConfigError, match="two of its files set a"):
        read("_base_ = ['one.py', 'two.py']\n", one="a = 1\n", two="a = 2\n")


@pytest.mark.parametrize("base", ["'../../../etc/passwd'", "3", "['a.py', 3]"])
def test_a_base_is_the_name_of_a_python_file(read, base):
    with pytest.raises(ConfigError, match="_base_: .* is not the name of a Python file"):
        read(f"_base_ = {base}\n")


def test_a_base_that_is_not_there_is_named(read):
    with pytest.raises(ConfigError, match=r"_base_: .*gone\.py is not there"):
        read("_base_ = './gone.py'\n")


def test_a_file_that_is_no_python_is_named_with_its_line(read):
    with pytest.raises(ConfigError, match=r"run\.py: line 2: is no Python"):
        read("a = 1\nb = = 2\n")
