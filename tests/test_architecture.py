"""The house: who may import whom, what is pure, what a bare worker needs, how long things are.

The table is that of docs/architecture.md. Everything is read with `ast`; nothing of nbdist is imported here.
`python tests/test_architecture.py` prints the longest functions and files.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent / "nbdist"
MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 450

BELOW_CLIENT = {"wire", "errors", "packing", "engines", "execution", "figures", "filing"}
ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "wire": {"errors"},
    "folders": set(),
    "filing": {"wire", "errors"},
    "awake": set(),
    "embedded": {"wire", "errors", "folders"},
    "driver": {"wire", "errors"},
    "scheduler": {"wire", "errors", "driver"},
    "packing": {"errors"},
    "execution": {"errors"},
    "hub": {"wire", "errors", "folders", "awake", "driver", "scheduler"},
    "worker": {"wire", "errors", "driver", "packing", "execution", "embedded", "folders", "awake", "filing"},
    "doctor": {"wire", "errors", "folders", "awake", "packing", "execution", "embedded", "worker", "filing"},
    "engines": {"wire", "errors", "embedded"},
    "figures": {"errors"},
    "client": {"wire", "errors", "packing", "engines", "execution", "figures", "filing"},
    "notebook": {"client", *BELOW_CLIENT},
}
"""Room -> the rooms of nbdist that it may import, beside itself and the version in `nbdist`."""
MORE: dict[str, set[str]] = {
    f"engines/{name}.py": {"packing", "execution", "scheduler", "filing"}
    for name in ("inline", "inlinefiles", "dask", "ray")
}
"""… and what single files may import beyond that."""
ONLY: dict[tuple[str, str], set[str]] = {
    ("client", "execution"): {"nbdist.execution.task", "nbdist.execution.folding", "nbdist.execution.shipped"},
}
"""(room, room) -> the only modules of the second that the first may import."""
INSIDE_FUNCTIONS_ONLY = {"__init__.py", "cli.py"}
"""These may import anything, but nothing before it is needed."""
ENTRIES: dict[str, set[str]] = {"__main__.py": {"cli"}}

BARE_ROOMS = {
    "errors", "wire", "driver", "packing", "execution", "filing", "worker", "embedded", "folders", "awake", "doctor"
}  # fmt: skip
BARE_PACKAGES = {"websockets", "cloudpickle"}
"""All that a worker needs from outside the standard library."""
OPTIONAL_PACKAGES = {"numpy"}
"""May be imported inside functions, by code that runs only if it is there."""

# fmt: off
PURE_STANDARD_LIBRARY = {
    "__future__", "abc", "ast", "bisect", "collections", "contextlib", "copy", "dataclasses", "enum", "functools",
    "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "statistics", "string", "struct", "textwrap",
    "types", "typing", "unicodedata",
}
# fmt: on
# Without clock, chance, input and output.
PURE_FILES = (
    "scheduler/**/*.py",
    "worker/supervisor.py",
    "worker/environments.py",
    "worker/installing.py",
    "worker/leaving.py",
    "worker/limits.py",
    "worker/outgoing.py",
    "worker/prepared.py",
    "worker/records.py",
    "worker/settingup.py",
    "worker/starting.py",
    "worker/stating.py",
    "awake/holding.py",
    "doctor/findings.py",
    "doctor/judging.py",
    "doctor/judging_*.py",
    "client/activity.py",
    "client/assembly.py",
    "client/progress.py",
    "client/tofile/columns.py",
    "notebook/cell.py",
    "notebook/printed.py",
    "hub/items.py",
    "hub/results.py",
)
PURE_MAY_NOT_CALL = {"open", "print", "input", "__import__"}
# fmt: off
EXECUTION_MAY_NOT_IMPORT = {
    "asyncio", "concurrent", "http", "io", "multiprocessing", "os", "pathlib", "queue", "select", "selectors", "shutil",
    "signal", "socket", "ssl", "subprocess", "tempfile", "threading",
}
# fmt: on
OUTSIDE_THE_HUB = {"pickle", "cloudpickle", "marshal", "shelve", "dill"}
"""The hub never unpickles."""


class Import(NamedTuple):
    """One imported module."""

    module: str
    line: int
    in_function: bool
    for_types_only: bool

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]

    @property
    def room(self) -> str | None:
        """The room of nbdist; empty for `nbdist` itself, None for anything else."""
        parts = self.module.split(".")
        return None if parts[0] != "nbdist" else parts[1] if len(parts) > 1 else ""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def sources() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@cache
def imports(path: Path) -> tuple[Import, ...]:
    return tuple(find_imports(tree(path), relative(path)))


def find_imports(node: ast.AST, file: str, in_function: bool = False, for_types_only: bool = False) -> Iterator[Import]:
    """All imports below a node, wherever they stand."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, node.lineno, in_function, for_types_only)
    elif isinstance(node, ast.ImportFrom):
        for module in imported_from(node, file):
            yield Import(module, node.lineno, in_function, for_types_only)
    elif is_type_checking(node):
        for child in node.body:  # type: ignore[attr-defined]
            yield from find_imports(child, file, in_function, for_types_only=True)
        for child in node.orelse:  # type: ignore[attr-defined]
            yield from find_imports(child, file, in_function, for_types_only)
    else:
        inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from find_imports(child, file, inside, for_types_only)


def imported_from(node: ast.ImportFrom, file: str) -> list[str]:
    module = node.module or ""
    if node.level:
        package = ("nbdist", *Path(file).parts[:-1])
        kept = package[: len(package) - node.level + 1]
        module = ".".join([*kept, module] if module else kept)
    if module == "nbdist":  # `from nbdist import embedded` imports a room
        return [f"nbdist.{alias.name}" if is_room(alias.name) else module for alias in node.names]
    names = [f"{module}.{alias.name}" for alias in node.names]
    is_package = module.startswith("nbdist.") and (ROOT / Path(*module.split(".")[1:])).is_dir()
    return names if is_package else [module]


def is_room(name: str) -> bool:
    return (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def wrong_rooms(path: Path) -> list[str]:
    file, room = relative(path), room_of(path)
    allowed = ROOMS.get(room, set()) | MORE.get(file, set()) | ENTRIES.get(file, set()) | {room, ""}
    wrong = []
    for found in imports(path):
        if found.room is None:
            continue
        only = ONLY.get((room, found.room))
        is_narrower = only is not None and not any(
            found.module == module or found.module.startswith(module + ".") for module in only
        )
        if found.room not in allowed or is_narrower:
            wrong.append(f"{file}:{found.line} imports {found.module}")
    return wrong


ids = {"ids": relative}


@pytest.mark.parametrize("path", sources(), **ids)
def test_a_room_imports_only_what_the_table_allows(path: Path) -> None:
    if relative(path) in INSIDE_FUNCTIONS_ONLY:
        early = [f for f in imports(path) if f.room and not f.in_function and not f.for_types_only]
        assert not early, f"{relative(path)} imports rooms before they are needed: {early}"
    else:
        assert not wrong_rooms(path)


def test_every_room_is_in_the_table() -> None:
    known = {*ROOMS, *(name.removesuffix(".py") for name in (*INSIDE_FUNCTIONS_ONLY, *ENTRIES))}
    assert {room_of(path) for path in sources()} <= known


def test_the_table_has_no_circles() -> None:
    below = {room: set(allowed) for room, allowed in ROOMS.items()}
    while free := [room for room, allowed in below.items() if not allowed]:
        for room in free:
            del below[room]
        for allowed in below.values():
            allowed.difference_update(free)
    assert not below


@pytest.mark.parametrize("path", [p for pattern in PURE_FILES for p in sorted(ROOT.glob(pattern))], **ids)
def test_what_decides_is_pure(path: Path) -> None:
    outside = [f for f in imports(path) if f.room is None and not f.for_types_only]
    impure = [f"line {f.line}: {f.module}" for f in outside if f.package not in PURE_STANDARD_LIBRARY]
    assert not impure, f"{relative(path)} is pure and imports {impure}"
    calls = [node for node in ast.walk(tree(path)) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    called = [f"line {c.lineno}: {c.func.id}" for c in calls if c.func.id in PURE_MAY_NOT_CALL]  # type: ignore[attr-defined]
    assert not called, f"{relative(path)} is pure and calls {called}"


@pytest.mark.parametrize("path", sorted(ROOT.glob("execution/**/*.py")), **ids)
def test_execution_does_no_input_and_output(path: Path) -> None:
    wrong = [f"line {f.line}: {f.module}" for f in imports(path) if f.package in EXECUTION_MAY_NOT_IMPORT]
    assert not wrong


@pytest.mark.parametrize("path", [p for p in sources() if room_of(p) in BARE_ROOMS], **ids)
def test_a_worker_needs_only_the_standard_library_and_two_packages(path: Path) -> None:
    for found in imports(path):
        known = found.room is not None or found.package in sys.stdlib_module_names or found.package in BARE_PACKAGES
        optional = found.in_function and found.package in OPTIONAL_PACKAGES
        assert known or optional or found.for_types_only, f"{relative(path)}:{found.line} imports {found.module}"


@pytest.mark.parametrize("path", sources(), **ids)
def test_only_packing_imports_cloudpickle(path: Path) -> None:
    wrong = [f.line for f in imports(path) if f.package == "cloudpickle"]
    assert not wrong or room_of(path) == "packing"


@pytest.mark.parametrize("path", [p for p in sources() if room_of(p) in {"hub", "scheduler", "driver", "wire"}], **ids)
def test_the_hub_never_unpickles(path: Path) -> None:
    wrong = [f"line {f.line}: {f.module}" for f in imports(path) if f.package in OUTSIDE_THE_HUB]
    assert not wrong


class Length(NamedTuple):
    lines: int
    what: str


def function_lengths(path: Path) -> list[Length]:
    """Of every function, with its decorators, without its docstring."""
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            text = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
            described = 0 if text is None else (text.end_lineno or 0) - text.lineno + 1
            lines = (node.end_lineno or 0) - first + 1 - described
            found.append(Length(lines, f"{relative(path)}:{node.lineno} {node.name}"))
    return found


def file_length(path: Path) -> Length:
    return Length(len(path.read_text(encoding="utf-8").splitlines()), relative(path))


# The catalogue of messages is one list and is not cut.
@pytest.mark.parametrize("path", [p for p in sources() if relative(p) != "wire/messages.py"], **ids)
def test_nothing_is_too_long(path: Path) -> None:
    assert file_length(path).lines <= MAX_FILE_LINES
    assert not [length for length in function_lengths(path) if length.lines > MAX_FUNCTION_LINES]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import nbdist.packing.encoding", "packing"),
        ("from nbdist.packing import encoding", "packing"),
        ("from nbdist import packing", "packing"),
        ("def f():\n    from nbdist.packing.encoding import encode", "packing"),
        ("from ..packing import encoding", "packing"),
        ("from .. import packing", "packing"),
        ("from . import doors", "hub"),
        ("from nbdist import __version__", ""),
        ("import pickle", None),
    ],
)
def test_imports_are_found_in_every_spelling(text: str, found: str | None) -> None:
    assert [each.room for each in find_imports(ast.parse(text), "hub/doors.py")] == [found]


if __name__ == "__main__":
    lengths = [length for path in sources() for length in function_lengths(path)]
    numbers = sorted(length.lines for length in lengths)
    print(f"{len(lengths)} functions, median {numbers[len(numbers) // 2]} lines; the longest:")
    for length in sorted(lengths, reverse=True)[:10]:
        print(f"{length.lines:5} {length.what}")
    print("the longest files:")
    for length in sorted(map(file_length, sources()), reverse=True)[:10]:
        print(f"{length.lines:5} {length.what}")
