"""The rules of the design that a reader can't see in any one file, checked on the syntax tree of every file."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "nerf_ssim"
FILES = sorted(PACKAGE.rglob("*.py"))
MAX_LINES = 320

# The rooms of the package from the top down: each imports only rooms below it, so that data flows one way. What lies
# beside them (errors, files, resources) imports none; the package itself only names what is public.
ROOMS = (
    *("cli", "experiments", "images", "training", "models", "runs", "evaluation", "rays", "datasets"),
    *("ssim", "config", "ops"),
)
FORBIDDEN = {room: set(ROOMS[:place]) for place, room in enumerate(ROOMS)} | {
    # Ops and SSIM are lifted into other programs, and options must be there without PyTorch.
    "ssim": set(ROOMS) - {"ssim", "ops"},
    "ops": set(ROOMS) - {"ops"},
    "config": set(ROOMS) - {"config"},
}


def module_name(path: Path, root: Path = ROOT) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported, relative imports resolved, anywhere in the file.

    `from a import b` gives `a.b`, which may be a module; so do import_module("…") and __import__("…").
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = module.split(".") if is_package else module.split(".")[:-1]
                anchor = anchor[: len(anchor) - node.level + 1]
                base = ".".join([*anchor, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"
        elif isinstance(node, ast.Call) and called_name(node) in ("import_module", "__import__"):
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield node.lineno, argument.value


def called_name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def import_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """Each import in `source` that the design forbids to `module`."""
    own = module.split(".")[1] if "." in module else ""
    faults = []
    for line, name in imported_modules(ast.parse(source), module, is_package):
        parts = name.split(".")
        if parts[0] != "nerf_ssim" or len(parts) < 2:
            continue
        beside = set(ROOMS) - {"cli"} if own == "__main__" else {"cli", "training"} if not own else set(ROOMS)
        if parts[1] in FORBIDDEN.get(own, beside):
            faults.append(f"line {line}: {module} imports {name}")
    return faults


def code_faults(source: str) -> list[str]:
    """Star imports, eval and exec, `global`, mutable defaults."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            faults.append(f"line {node.lineno}: import *")
        if isinstance(node, ast.Name) and node.id in ("eval", "exec"):
            faults.append(f"line {node.lineno}: {node.id}")
        if isinstance(node, ast.Global):
            faults.append(f"line {node.lineno}: global {', '.join(node.names)}")
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                made = isinstance(default, ast.Call) and called_name(default) in ("list", "dict", "set")
                if made or isinstance(default, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
                    faults.append(f"line {node.lineno}: mutable default")
    return faults


def undocumented(source: str) -> list[str]:
    """The module, public classes, and public functions and methods of them that have no docstring."""
    tree = ast.parse(source)
    missing = [] if ast.get_docstring(tree) else ["the module"]

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, (ast.If, ast.Try)):  # definitions that depend on what is installed count too
                visit([*node.body, *node.orelse], prefix)
                continue
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or node.name[0] == "_":
                continue
            if not ast.get_docstring(node):
                missing.append(f"line {node.lineno}: {prefix}{node.name}")
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(tree.body, "")
    return missing


def test_every_part_of_the_package_is_seen():
    seen = {path.relative_to(PACKAGE).parts[0] for path in FILES if path.parent != PACKAGE}
    assert seen == set(ROOMS), "rooms for which this file states no rule, or that are gone"
    folders_without_init = {path.parent for path in FILES} - {path.parent for path in FILES if path.stem == "__init__"}
    assert not folders_without_init, "folders that would not be packaged"


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_point_one_way(path):
    assert import_faults(path.read_text(), module_name(path), path.stem == "__init__") == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_no_star_imports_eval_exec_globals_or_mutable_defaults(path):
    assert code_faults(path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_everything_public_has_a_docstring(path):
    assert undocumented(path.read_text()) == []


def test_train_py_only_hands_over():
    lines = (ROOT / "train.py").read_text().splitlines()
    assert len(lines) <= 40


# The checks themselves, on what they must find and must not.


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nerf_ssim.ops.ssim", "import nerf_ssim.training.loop"),
        ("nerf_ssim.ops.ssim", "from ..datasets import scene"),
        ("nerf_ssim.ops.ssim", "from .. import rays"),
        ("nerf_ssim.ops.reference.ssim", "def f():\n    from ...ssim.index import ssim_parts"),
        ("nerf_ssim.ssim.losses", "from nerf_ssim.datasets.scene import Scene"),
        ("nerf_ssim.ssim.losses", "from nerf_ssim import training"),
        ("nerf_ssim.models.tensorf.field", "from nerf_ssim.training.session import Session"),
        ("nerf_ssim.training.loop", "from nerf_ssim.cli.main import main"),
        ("nerf_ssim.training.loop", "import importlib\nimportlib.import_module('nerf_ssim.cli.train')"),
        ("nerf_ssim.resources", "from .cli import main"),
        ("nerf_ssim.runs.folder", "from nerf_ssim.models.config import Config"),
        ("nerf_ssim.datasets.loading", "from nerf_ssim.rays.cameras import Rays"),
        ("nerf_ssim.config.base", "from nerf_ssim.ops import backend"),
        ("nerf_ssim.evaluation.protocol", "if TYPE_CHECKING:\n    from ..training.trained import Trained"),
    ],
)
def test_a_forbidden_import_is_found(module, source):
    assert len(import_faults(source, module)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "nerf_ssim.ops.ssim",
            "from .reference import ssim\nfrom . import backend\nfrom nerf_ssim.errors import UserError",
        ),
        ("nerf_ssim.training.loop", "from ..evaluation.protocol import score_views\nimport training, cli"),
        ("nerf_ssim.cli.train", "from nerf_ssim.cli.main import main\nfrom ..training.loop import train"),
        ("nerf_ssim.__main__", "from .cli.main import main"),
    ],
)
def test_an_allowed_import_passes(module, source):
    assert import_faults(source, module) == []


def test_a_relative_import_in_a_package_file_resolves_from_the_package():
    assert import_faults("from ..training import loop", "nerf_ssim.ops", is_package=True) == [
        "line 1: nerf_ssim.ops imports nerf_ssim.training.loop"
    ]
    assert import_faults("from .training import loop", "nerf_ssim.ops", is_package=True) == []


@pytest.mark.parametrize(
    "source",
    [
        "from math import *",
        "eval('1')",
        "f = exec",
        "def f():\n    global a",
        "def f(a=[]): ...",
        "f = lambda *, a=dict(): a",
    ],
)
def test_a_forbidden_construct_is_found(source):
    assert len(code_faults(source)) == 1


def test_a_models_eval_method_and_plain_defaults_pass():
    assert code_faults("model.eval()\ndef f(a=(), b=None, c=0): ...") == []


def test_missing_docstrings_are_found_and_private_names_are_free():
    source = (
        '"""Module."""\n'
        "class A:\n    '''A.'''\n    def f(self): ...\n    def _g(self): ...\n    def __len__(self): ...\n"
        "class B: ...\n"
        "try:\n    def h(): ...\nexcept ImportError:\n    pass\n"
        "def _i(): ...\n"
    )
    assert undocumented(source) == ["line 4: A.f", "line 7: B", "line 9: h"]
    assert undocumented("x = 1") == ["the module"]
