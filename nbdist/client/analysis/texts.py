"""What the text of a local module says of it: what it imports, the data that it asks for, and whether it parses."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from nbdist.client.analysis.origins import absolute

DATA_NAME = "__nbdist_data__"
"""A module's list of patterns: `__nbdist_data__ = ["tables/*.csv"]` has these files travel with it."""
_IMPORT = re.compile(rb"^[ \t]*(?:from[ \t]+([A-Za-z_]\w*)|import[ \t]+([^#;\n]+))", re.MULTILINE)
_NAME = re.compile(rb"[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Text:
    """A module's text, read."""

    imports: tuple[str, ...] = ()
    """The modules that are imported whenever it is: not in functions, nor where an `if` or `try` decides."""
    data: tuple[str, ...] | None = None
    """The patterns of `DATA_NAME`; None: it has none."""
    problem: str = ""
    """Why it does not parse, with the line."""


def read(text: bytes, package: str) -> Text:
    """What a module's text says; `package` is that in which its relative imports begin."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python says of its strings, it says where it is imported
            tree = ast.parse(text)
            compile(tree, "<module>", "exec", dont_inherit=True)
    except SyntaxError as error:
        shown = f": {error.text.strip()}" if error.text else ""
        return Text(problem=f"line {error.lineno}: {error.msg}{shown}" if error.lineno else str(error.msg))
    except (ValueError, RecursionError, MemoryError) as error:
        return Text(problem=str(error) or type(error).__name__)
    return Text(tuple(dict.fromkeys(_certain(tree.body, package))), _data(tree.body))


def mentioned(text: bytes) -> frozenset[str]:
    """The top-level modules that a file may import, wherever that stands in it; other words may be among them."""
    found: set[bytes] = set()
    for match in _IMPORT.finditer(text):
        if match[1]:
            found.add(match[1])
        else:
            parts = (part.strip() for part in match[2].split(b","))
            found |= {name[0] for part in parts if (name := _NAME.match(part))}
    return frozenset(name.decode() for name in found)


def _certain(body: list[ast.stmt], package: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = absolute(node.module or "", node.level, package)
            if module and not module.startswith("."):
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)  # it may be a module itself
        elif isinstance(node, (ast.ClassDef, ast.With)):
            yield from _certain(node.body, package)


def _data(body: list[ast.stmt]) -> tuple[str, ...] | None:
    for node in body:
        if not isinstance(node, ast.Assign) or [ast.unparse(target) for target in node.targets] != [DATA_NAME]:
            continue
        try:
            value = ast.literal_eval(node.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return None
        values = [value] if isinstance(value, str) else value
        if isinstance(values, (list, tuple)) and all(isinstance(each, str) for each in values):
            return tuple(values)
    return None
