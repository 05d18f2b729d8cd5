"""Syntax trees as plain data, which every version of Python reads: code goes to other versions in this form.

A tree is a flat list in the order of its text, so that deep ones need no recursion. A node is `((type, fields), line,
column, end line, end column)`, or only `(type, fields)` if it has no place; a list is its length; any other value is in
a tuple of one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from typing import Any, TypeAlias

from nbdist.errors import PackingError

Flat: TypeAlias = list[Any]

_PLACE = ("lineno", "col_offset", "end_lineno", "end_col_offset")
_SINCE = {
    "type_params": (3, 12),
    "TypeAlias": (3, 12),
    "TypeVar": (3, 12),
    "ParamSpec": (3, 12),
    "TypeVarTuple": (3, 12),
    "default_value": (3, 13),
    "TemplateStr": (3, 14),
    "Interpolation": (3, 14),
}
"""Since which version there are these nodes and fields."""
_NEW_LISTS = frozenset({"type_params"})
"""Fields that older versions do not have, and newer ones do not miss if they are an empty list."""


def flatten(root: ast.AST) -> Flat:
    """The tree as plain data."""
    flat: Flat = []
    shapes: dict[Any, Any] = {}
    waiting: list[Any] = [root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, ast.AST):
            fields = tuple(name for name in value._fields if _is_there(value, name))
            shape = (type(value).__name__, fields)
            shape = shapes.setdefault(shape, shape)  # one object each: pickle writes it once
            flat.append((shape, *(getattr(value, name) for name in _PLACE)) if hasattr(value, "lineno") else shape)
            waiting += [getattr(value, name) for name in reversed(fields)]
        elif isinstance(value, list):
            flat.append(len(value))
            waiting += reversed(value)
        else:
            flat.append((value,))
    return flat


def unflatten(flat: Flat, what: str) -> ast.AST:
    """The tree again. Raises PackingError, which names it as `what`, if this Python does not know its syntax."""
    values: list[Any] = []
    for entry in reversed(flat):
        if isinstance(entry, int):
            values.append([values.pop() for _ in range(entry)])
        elif len(entry) == 1:
            values.append(entry[0])
        else:
            (kind, fields), *place = entry if len(entry) == len(_PLACE) + 1 else (entry,)
            node = _make(kind, {name: values.pop() for name in fields}, what)
            for name, number in zip(_PLACE, place, strict=False):
                setattr(node, name, number)
            values.append(node)
    (root,) = values
    assert isinstance(root, ast.AST)
    return root


def _is_there(node: ast.AST, name: str) -> bool:
    """Whether a field says something that other versions cannot guess."""
    value = getattr(node, name, None)
    if value is None:
        return name == "value"  # of a constant, where None is one
    return value != [] or name not in _NEW_LISTS


def _make(kind: str, fields: dict[str, Any], what: str) -> ast.AST:
    cls = getattr(ast, kind, None)
    if cls is None:
        raise _too_new(what, kind)
    for name in fields:
        if name not in cls._fields:
            raise _too_new(what, name)
    node: ast.AST = cls(**fields)
    for name in _NEW_LISTS.intersection(cls._fields).difference(fields):
        setattr(node, name, [])
    return node


def _too_new(what: str, name: str) -> PackingError:
    needed = _SINCE.get(name)
    version = f"Python {needed[0]}.{needed[1]} or later" if needed else "a later version of Python"
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return PackingError(f"{what} needs {version}: this machine has Python {here}, which has no {name!r} in its syntax")


def scopes(root: ast.AST, class_name: str | None = None) -> Iterator[tuple[ast.AST, str | None]]:
    """The functions and lambdas of a tree, each with the class in whose body it stands, at any depth."""
    waiting: list[tuple[ast.AST, str | None]] = [(root, class_name)]
    while waiting:
        node, inside = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node, inside
        if isinstance(node, ast.ClassDef):
            body = {id(statement) for statement in node.body}
            waiting += [(child, node.name if id(child) in body else inside) for child in ast.iter_child_nodes(node)]
        else:
            waiting += [(child, inside) for child in ast.iter_child_nodes(node)]


def imported_names(root: ast.AST) -> Iterator[str]:
    """The names that a module imports outside its functions and classes."""
    waiting: list[ast.AST] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = (alias.asname or alias.name.partition(".")[0] for alias in node.names)
            yield from (name for name in names if name != "*")
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.expr)):
            waiting += ast.iter_child_nodes(node)
