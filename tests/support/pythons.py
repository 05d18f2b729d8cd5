"""Other Python interpreters of this machine, each with a long-lived process that packs and runs what it is told.

Here and there the same functions answer (`Peer`), so that a function can go from any version to any other.
"""

from __future__ import annotations

import contextlib
import functools
import io
import linecache
import os
import pickle
import struct
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
NEWEST = "3.14"
"""The one version that a machine which lands changes need not have."""
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"
_SIZE = struct.Struct(">Q")


def others() -> list[str]:
    """The supported versions of Python besides this one."""
    return [version for version in VERSIONS if version != HERE]


def missing(version: str) -> str:
    """Why a test that needs this version is skipped."""
    return f"Python {version} is not installed here: neither on PATH nor in pyenv"


@functools.cache
def find(version: str) -> str | None:
    """The interpreter of a version, on PATH or in pyenv; None if there is none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    installed = sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"), key=_patch, reverse=True)
    on_path = (Path(folder) / f"python{version}" for folder in os.environ.get("PATH", "").split(os.pathsep) if folder)
    return next((str(path) for path in (*installed, *on_path) if path.exists() and _runs(path, version)), None)


def furnished(version: str) -> str | None:
    """The interpreter of a version that has the packages of the tests, made by `make test`; else that of `find`."""
    if version == HERE:
        return sys.executable
    made = REPOSITORY / f".venv-{version}" / "bin" / "python"
    return str(made) if made.exists() else find(version)


@functools.cache
def lacking(interpreter: str, package: str | None) -> str:
    """Why a test that needs this package is skipped; empty: the interpreter has it."""
    if package is None:
        return ""
    code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({package!r}) is None)"
    if subprocess.run([interpreter, "-P", "-c", code], timeout=20, check=False).returncode == 0:
        return ""
    return f"{interpreter} has no {package}: `make test` makes interpreters that have it, where there is a network"


def _patch(path: Path) -> int:
    number = path.parts[-3].rpartition(".")[2]
    return int(number) if number.isdigit() else -1


def _runs(path: Path, version: str) -> bool:
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    found = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    return found.stdout.strip() == version


class Peer:
    """Defines, packs, runs and judges functions in this process."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, Any]] = {}

    def version(self) -> tuple[int, int]:
        return sys.version_info[:2]

    def has(self, module: str) -> bool:
        return __import__("importlib.util").util.find_spec(module) is not None

    def define(self, filename: str, text: str) -> None:
        """Runs a cell, whose text linecache then has, as in a notebook."""
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        names: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(text, filename, "exec", dont_inherit=True), names)
        self._names[filename] = names

    def names(self, filename: str) -> dict[str, Any]:
        """The names of a cell; of this process only."""
        return self._names[filename]

    def edit(self, filename: str, text: str) -> None:
        """Changes the text of a cell that has run."""
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)

    def pack(self, filename: str) -> bytes | str:
        """The function `f` of a cell as bytes for any version; text: the reason why it cannot go."""
        from nbdist.errors import PackingError
        from nbdist.execution.task import Task
        from nbdist.packing import pack_portable

        names = self._names[filename]
        try:
            pieces, _ = pack_portable(Task(names["f"], sources=names.get("sources", {})), lambda view: "")
        except PackingError as error:
            return str(error)
        return b"".join(pieces)

    def run(self, data: bytes, arguments: bytes) -> tuple[bytes, str]:
        """Calls a packed function with arguments: its packed results, and the text of what went wrong on the way."""
        from nbdist.execution.run import Run
        from nbdist.packing import decode, load_task, pack_part, pack_run

        task = load_task(data, {})
        values: list[Any] = []
        failures: list[tuple[int, BaseException]] = []
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                values.append(task.function(*decode(arguments)))
        except Exception as error:  # noqa: BLE001 - whatever the function raises
            failures.append((0, error))
        kept = None if values else []
        return b"".join(pack_part([pack_run(Run(0, 1, 0.0, values, kept, failures), portable=True)])), output.getvalue()

    def arguments(self, filename: str) -> bytes:
        from nbdist.packing import encode

        return b"".join(encode(self._names[filename].get("args", (3,)), portable=True))

    def judge(self, filename: str, result: bytes) -> tuple[str, str, bool, str]:
        """What came back, what a plain call gives, whether they are equal, and the traceback of a failure."""
        from nbdist.packing import unpack_part

        names = self._names[filename]
        (run,) = unpack_part(result)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                expected = names["f"](*names.get("args", (3,)))
        except Exception as error:  # noqa: BLE001
            failure = run.failures[0]
            again = failure.exception()
            return repr(again), repr(error), type(again) is type(error), failure.traceback
        if run.failures:
            return repr(run.failures[0].exception()), repr(expected), False, run.failures[0].traceback
        (value,) = run.values
        is_equal = value == expected if names.get("compare", True) else True
        return repr(value), repr(expected), bool(is_equal) and type(value) is type(expected), ""

    def run_items(self, data: bytes, items: bytes) -> bytes:
        """The packed results of a packed task for packed items."""
        from nbdist.execution.run import Run
        from nbdist.packing import load_task, pack_part, pack_run, unpack_chunk

        values = self.plain(load_task(data, {}), unpack_chunk(items))
        run = Run(0, len(values), 0.0, values)
        return b"".join(pack_part([pack_run(run, portable=True)]))

    def plain(self, task: Any, items: list[Any]) -> list[Any]:
        """The values of a task by a plain loop."""
        from nbdist.execution.task import SKIP, StopHere

        found = [value for value in map(task.function, items) if value is not SKIP]
        values = [("stopped", value.value) if isinstance(value, StopHere) else value for value in found]
        return values if task.reduce is None else [functools.reduce(task.reduce, values)]

    def without_recipe(self, module: str) -> tuple[list[str], int]:
        """The functions of a module that cannot go as source, and how many there are."""
        import importlib

        from nbdist.errors import PackingError
        from nbdist.packing.codes import recipe_of

        path = importlib.import_module(module).__file__
        assert path is not None
        waiting = [compile(Path(path).read_text(encoding="utf-8"), path, "exec", dont_inherit=True)]
        failed, count = [], 0
        while waiting:
            inner = [each for each in waiting.pop().co_consts if isinstance(each, types.CodeType)]
            waiting += inner
            for code in inner:
                is_function = bool(code.co_flags & 1) and (code.co_name == "<lambda>" or code.co_name[0] != "<")
                count += is_function
                try:
                    _ = is_function and recipe_of(code, {})
                except PackingError as error:
                    failed.append(str(error))
        return failed, count


class Other:
    """A `Peer` in another interpreter: has its methods."""

    def __init__(self, interpreter: str) -> None:
        import cloudpickle

        self._folder = tempfile.TemporaryDirectory(prefix="nbdist-pythons-")
        os.symlink(Path(cloudpickle.__file__).parent, Path(self._folder.name) / "cloudpickle")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        path = os.pathsep.join([str(REPOSITORY), self._folder.name])
        self._process = subprocess.Popen(
            [interpreter, "-B", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=kept | {"PYTHONPATH": path},
        )

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(60)
        self._process.stdout.close()  # type: ignore[union-attr]
        self._folder.cleanup()

    def __getattr__(self, name: str) -> Any:
        return functools.partial(self._call, name)

    def _call(self, name: str, *arguments: Any) -> Any:
        _write(self._process.stdin, (name, arguments))
        is_well, answer = _read(self._process.stdout)
        if not is_well:
            raise RemoteTrouble(answer)
        return answer


class Pythons:
    """A peer for each version, made when it is first asked for; a version that is not installed skips the test."""

    def __init__(self) -> None:
        self._peers: dict[str, Any] = {HERE: Peer()}

    def __getitem__(self, version: str) -> Any:
        if version not in self._peers:
            interpreter = find(version)
            if interpreter is None:
                import pytest

                pytest.skip(missing(version))
            self._peers[version] = Other(interpreter)
        return self._peers[version]

    def close(self) -> None:
        for peer in self._peers.values():
            if isinstance(peer, Other):
                peer.close()


class RemoteTrouble(Exception):
    """What a method of another interpreter's peer raised, as text."""


def _write(file: Any, value: Any) -> None:
    data = pickle.dumps(value, 4)
    file.write(_SIZE.pack(len(data)) + data)
    file.flush()


def _read(file: Any) -> Any:
    head = file.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError
    return pickle.loads(file.read(*_SIZE.unpack(head)))


def main() -> None:
    """Answers questions until there are no more."""
    questions, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    kept = sys.modules["__main__"]  # what is shipped comes from another main module than this file
    sys.modules["__main__"] = types.ModuleType("__main__")
    peer = Peer()
    assert kept is not None
    with contextlib.suppress(EOFError):
        while True:
            name, arguments = _read(questions)
            try:
                answer = True, getattr(peer, name)(*arguments)
            except Exception as error:  # noqa: BLE001 - it is told at the other end
                answer = False, f"{type(error).__name__}: {error}"
            _write(answers, answer)


if __name__ == "__main__":
    main()
