"""The forms of Python that a configuration may be made of, read from its syntax tree without running anything.

These are assignments of literals, names, arithmetic, `dict()`, `min()` and `deepcopy()`; `name.update(…)`; `del`; and
`from copy import deepcopy`. Anything else is an error that names the line. Work is bounded, whatever a file holds.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from nerf_ssim.errors import ConfigError
from nerf_ssim.files import open_regular

__all__ = ["read_assignments"]

LARGEST_FILE = 1 << 18  # bytes
MOST_VALUES = 50_000  # that one file may make or copy
DEEPEST = 60  # expressions and containers in each other
LARGEST_NUMBER = 2**63

Number = int | float
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_SIGNS: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {ast.UAdd: operator.pos, ast.USub: operator.neg}
_CALLS = ("dict", "min", "deepcopy")


def read_assignments(path: Path) -> dict[str, Any]:
    """What a Python file sets by name, as plain values (dicts, lists, text, numbers, booleans and None).

    Raises:
        ConfigError: the file cannot be read, or holds another form.
    """
    return _Interpreter(path).run()


class _Interpreter:
    """Reads one file's statements in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._names: dict[str, Any] = {}
        self._deepcopies: set[str] = set()
        self._values_left = MOST_VALUES

    def run(self) -> dict[str, Any]:
        """What the file sets by name, names with two leading underscores left out."""
        try:
            with open_regular(self._path) as file:
                source = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot read this configuration ({error.strerror or error})") from error
        if len(source) > LARGEST_FILE:
            raise ConfigError(f"{self._path}: larger than {LARGEST_FILE} bytes, which no configuration is")
        try:
            statements = ast.parse(source).body
        except SyntaxError as error:
            raise ConfigError(f"{self._path}: line {error.lineno or 1}: is no Python ({error.msg})") from error
        except (RecursionError, MemoryError, ValueError) as error:
            raise ConfigError(f"{self._path}: is no Python configuration ({error or 'nested too deeply'})") from error
        for statement in statements:
            self._run(statement)
        end = statements[-1] if statements else ast.Pass()
        return {name: self._copy(value, end, 0) for name, value in self._names.items() if not name.startswith("__")}

    def _run(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=targets, value=value) if all(isinstance(target, ast.Name) for target in targets):
                assigned = self._value(value, 0)
                for target in targets:
                    self._names[self._free(target)] = assigned
            case ast.Expr(value=ast.Constant(value=str())):
                pass  # the file's description
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="update"), args=args, keywords=keywords)
            ):
                group = self._names.get(name)
                if not isinstance(group, dict):
                    self._refuse(node)
                group.update(self._dict(node, args, keywords, 0))
            case ast.ImportFrom(module="copy", level=0, names=names) if all(n.name == "deepcopy" for n in names):
                self._deepcopies |= {alias.asname or alias.name for alias in names}
            case ast.Delete(targets=targets) if all(isinstance(target, ast.Name) for target in targets):
                for target in targets:
                    self._delete(target)
            case _:
                self._refuse(node)

    def _free(self, target: ast.expr) -> str:
        """A name that may be assigned: not that of a function, which then would mean something else."""
        assert isinstance(target, ast.Name)
        if target.id in (*_CALLS, *self._deepcopies):
            self._refuse(target)
        return target.id

    def _delete(self, target: ast.expr) -> None:
        assert isinstance(target, ast.Name)
        if target.id in self._deepcopies:
            self._deepcopies.discard(target.id)
        elif target.id in self._names:
            del self._names[target.id]
        else:
            self._refuse(target, "is not set before")

    def _value(self, node: ast.expr, depth: int) -> Any:
        if depth > DEEPEST:
            self._refuse(node, "is nested too deeply")
        self._spend(1, node)
        match node:
            case ast.Constant(value=value) if value is None or isinstance(value, (bool, str)):
                return value
            case ast.Constant(value=value) if isinstance(value, (int, float)):
                return self._bounded(value, node)
            case ast.Name(id=name):
                if name not in self._names:
                    self._refuse(node, "is not set before")
                return self._names[name]
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
                return _SIGNS[type(op)](self._number(operand, depth + 1))
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(node, op, self._number(left, depth + 1), self._number(right, depth + 1))
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item, depth + 1) for item in items]
            case ast.Dict(keys=keys, values=values):
                return {self._key(k, node, depth): self._value(v, depth + 1) for k, v in zip(keys, values, strict=True)}
            case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords):
                return self._call(node, name, args, keywords, depth)
        self._refuse(node)

    def _call(self, node: ast.expr, name: str, args: list[ast.expr], keywords: list[ast.keyword], depth: int) -> Any:
        if name == "dict":
            return self._dict(node, args, keywords, depth)
        if name == "min" and args and not keywords:
            numbers = [self._number(arg, depth + 1) for arg in args]
            return min(numbers)
        if name in self._deepcopies and len(args) == 1 and not keywords:
            return self._copy(self._value(args[0], depth + 1), node, 0)
        self._refuse(node)

    def _dict(self, node: ast.AST, args: list[ast.expr], keywords: list[ast.keyword], depth: int) -> dict[Any, Any]:
        """What `dict(…)` makes of its arguments, or `.update(…)` is given: a dict, keywords or both."""
        first = self._value(args[0], depth + 1) if args else {}
        if len(args) > 1 or not isinstance(first, dict):
            self._refuse(node)
        self._spend(len(first), node)
        made = dict(first)
        for keyword in keywords:
            if keyword.arg is None:
                self._refuse(node)
            made[keyword.arg] = self._value(keyword.value, depth + 1)
        return made

    def _key(self, node: ast.expr | None, whole: ast.expr, depth: int) -> str | Number:
        if node is None:
            self._refuse(whole)
        key = self._value(node, depth + 1)
        if not isinstance(key, (str, int, float)):
            self._refuse(node, "is no key: text and numbers are")
        return key

    def _number(self, node: ast.expr, depth: int) -> Number:
        value = self._value(node, depth)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._refuse(node, "is not a number")
        return value

    def _arithmetic(self, node: ast.expr, op: ast.operator, left: Number, right: Number) -> Number:
        try:
            if isinstance(op, ast.Pow):
                # A float's power is quick, and says whether the exact one is small enough to be computed.
                power = float(left) ** right
                is_exact = isinstance(left, int) and isinstance(right, int) and right >= 0
                return self._bounded(left**right if is_exact and abs(power) < LARGEST_NUMBER else power, node)
            if type(op) in _ARITHMETIC:
                return self._bounded(_ARITHMETIC[type(op)](left, right), node)
        except (ArithmeticError, TypeError) as error:  # TypeError: a root of a negative number is complex
            self._refuse(node, f"cannot be computed ({error})")
        self._refuse(node)

    def _bounded(self, value: Number, node: ast.AST) -> Number:
        is_number = isinstance(value, (int, float))
        if not is_number or not abs(value) < LARGEST_NUMBER or (isinstance(value, float) and not math.isfinite(value)):
            self._refuse(node, "is out of range")
        return value

    def _copy(self, value: Any, node: ast.AST, depth: int) -> Any:
        """A deep copy; its work counts, and a container that holds itself comes to an end."""
        if depth > DEEPEST:
            self._refuse(node, "holds itself, or is nested too deeply")
        self._spend(1, node)
        if isinstance(value, dict):
            return {key: self._copy(item, node, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self._copy(item, node, depth + 1) for item in value]
        return value

    def _spend(self, count: int, node: ast.AST) -> None:
        self._values_left -= count
        if self._values_left < 0:
            self._refuse(node, "makes more values than a configuration has")

    def _refuse(self, node: ast.AST, why: str = "") -> NoReturn:
        text = " ".join(ast.unparse(node).split()) if self._is_small(node) else type(node).__name__
        text = text if len(text) <= 60 else text[:57] + "..."
        why = why or (
            "is not read: a Python configuration is read as data (literals, names, arithmetic, dict(), min(), "
            "deepcopy(), .update(), del), never run; write the value itself"
        )
        raise ConfigError(f"{self._path}: line {getattr(node, 'lineno', 1)}: {text} {why}")

    def _is_small(self, node: ast.AST) -> bool:
        """Whether writing the node back is quick and not deep."""
        level = [node]
        for _ in range(DEEPEST):
            level = [child for parent in level for child in ast.iter_child_nodes(parent)]
            if not level or len(level) > 1000:
                return not level
        return False
