"""Local modules at a worker: unpacked once, and in a slot one set of them for each job."""

from __future__ import annotations

import asyncio
import importlib
import linecache
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import BlobError
from nbdist.wire import bundles
from nbdist.wire import messages as m
from nbdist.wire.address import Address
from nbdist.worker import bundles as unpacked
from nbdist.worker import localmodules
from nbdist.worker.bundles import BundleFolders
from nbdist.worker.jobs import JobFiles
from nbdist.worker.localmodules import LocalModules
from nbdist.worker.orders import GetReady
from nbdist.worker.preparing import Doings
from nbdist.worker.transfer import BlobCache, Hub

Make = Callable[..., m.BundleFolder]
HOME = "/home/me/notebooks"
A, B, C = ("a" * 64, "b" * 64, "c" * 64)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Unpacks a bundle of these files, which lie in `HOME` at the notebook's machine."""
    folders = BundleFolders(tmp_path / "unpacked")

    def folder(name: str, home: str = HOME, **files: str) -> m.BundleFolder:
        content = {f"{path.replace('__DOT__', '/')}.py": text.encode() for path, text in files.items()}
        archive = tmp_path / f"{name}.zip"
        archive.write_bytes(bundles.pack(content, {file: f"{home}/{file}" for file in content}))
        tops = tuple(sorted({path.partition("/")[0].removesuffix(".py") for path in content}))
        return m.BundleFolder(name, str(folders.unpack(name, archive)), tops)

    return folder


@pytest.fixture
def local() -> Iterator[LocalModules]:
    before = list(sys.path), list(sys.meta_path), set(sys.modules)
    modules = LocalModules()
    yield modules
    modules.use(())
    assert sys.path == before[0]
    assert not {name for name in sys.modules if name.startswith("wm_")}
    sys.meta_path[:] = before[1]


def value(name: str) -> Any:
    return importlib.import_module(name).VALUE


# --- one process ------------------------------------------------------------------------------------------------------


def test_modules_are_there_for_their_jobs_alone(make: Make, local: LocalModules) -> None:
    first, second = make(A, wm_a="VALUE = 1"), make(B, wm_a="VALUE = 2")
    local.use([first])
    assert value("wm_a") == 1
    local.use([second])
    assert value("wm_a") == 2
    local.use([])
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("wm_a")


def test_each_set_keeps_its_module_objects(make: Make, local: LocalModules) -> None:
    first, second = make(A, wm_a="import wm_b\nVALUE = wm_b"), make(B, wm_a="VALUE = 2")
    shared = make(C, wm_b="")
    local.use([first, shared])
    one = importlib.import_module("wm_a")
    local.use([second, shared])
    other = importlib.import_module("wm_b")
    assert other is not one.VALUE  # it might refer to the others of its set
    local.use([shared, first])  # in any order
    assert importlib.import_module("wm_a") is one
    assert sys.modules["wm_b"] is one.VALUE


def test_packages_with_relative_imports_and_without_an_init(make: Make, local: LocalModules) -> None:
    package = make(
        A,
        wm_p__DOT____init__="from .inner import VALUE",
        wm_p__DOT__inner="from . import deep\nVALUE = deep.VALUE",
        wm_p__DOT__deep="VALUE = 7",
        wm_n__DOT__sub__DOT__leaf="VALUE = 8",
    )
    local.use([package])
    assert value("wm_p") == 7
    assert value("wm_n.sub.leaf") == 8
    assert Path(sys.modules["wm_p"].__file__ or "").is_file()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("wm_p.no_such")


def test_a_namespace_keeps_the_parts_that_are_installed(
    make: Make, local: LocalModules, tmp_path: Path, monkeypatch: Any
) -> None:
    installed = tmp_path / "installed" / "wm_n"
    installed.mkdir(parents=True)
    (installed / "theirs.py").write_text("VALUE = 1")
    monkeypatch.syspath_prepend(str(installed.parent))
    local.use([make(A, wm_n__DOT__ours="VALUE = 2")])
    assert (value("wm_n.theirs"), value("wm_n.ours")) == (1, 2)
    local.use([])
    sys.modules.pop("wm_n", None)


def test_what_lies_in_the_slots_folder_gives_way_and_comes_back(
    make: Make, local: LocalModules, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "wm_a.py").write_text("VALUE = 'own'")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = importlib.import_module("wm_a")
    local.use([make(A, wm_a="VALUE = 'job'")])
    assert value("wm_a") == "job"
    local.use([])
    assert sys.modules.pop("wm_a") is own


def test_the_standard_library_and_what_a_slot_runs_on_are_not_replaced(make: Make, local: LocalModules) -> None:
    import json

    import cloudpickle

    local.use([make(A, json="VALUE = 1", cloudpickle="VALUE = 1", wm_a="VALUE = 1")])
    assert importlib.import_module("json") is json
    assert importlib.import_module("cloudpickle") is cloudpickle


def test_tracebacks_name_the_notebooks_files_and_show_the_lines_that_ran(
    make: Make, local: LocalModules, tmp_path: Path
) -> None:
    file = tmp_path / "wm_a.py"  # on the notebook's own machine it is there, and may have been edited since
    file.write_text("def boom():\n    edited\n")
    texts = ("one", "two", "one")
    code = "def boom():\n    raise ValueError('{}')\nVALUE = boom"
    folders = {text: make(text * 8, str(tmp_path), wm_a=code.format(text)) for text in texts}
    for text in texts:
        local.use([folders[text]])
        with pytest.raises(ValueError) as caught:
            value("wm_a")()
        shown = "".join(traceback.format_exception(caught.value))
        assert f"File \"{file}\", line 2, in boom\n    raise ValueError('{text}')" in shown
    local.use([])
    assert str(file) not in linecache.cache


def test_bytecode_that_was_kept_names_the_notebooks_files_too(
    make: Make, local: LocalModules, monkeypatch: Any
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    folder = make(A, wm_a="VALUE = lambda: None")
    local.use([folder])
    assert value("wm_a").__code__.co_filename == f"{HOME}/wm_a.py"
    assert list(Path(folder.path).glob("__pycache__/wm_a.*"))
    local.use([])
    again = LocalModules()
    again.use([folder])
    assert value("wm_a").__code__.co_filename == f"{HOME}/wm_a.py"
    again.use([])


def test_sets_that_no_job_needs_are_dropped_but_for_the_last(make: Make, local: LocalModules, monkeypatch: Any) -> None:
    monkeypatch.setattr(localmodules, "MAX_IDLE", 1)
    folders = [make(name * 64, wm_a="VALUE = []") for name in "abc"]
    objects = []
    for folder in folders:
        local.use([folder])
        objects.append(value("wm_a"))
    local.keep([[folders[0]]])  # the third is in force, the second the last that was used before
    for folder, known in zip(folders, objects, strict=True):
        local.use([folder])
        assert value("wm_a") is known
    local.keep([])
    for folder, is_kept in zip(folders, (False, True, True), strict=True):
        local.use([folder])
        assert (value("wm_a") is objects[folders.index(folder)]) is is_kept


def test_the_version_of_a_local_package_is_known_where_it_runs(local: LocalModules, tmp_path: Path) -> None:
    metadata = b"Metadata-Version: 2.1\nName: wm-p\nVersion: 1.5\n"
    archive = tmp_path / "archive"
    code = b"from importlib.metadata import version\nVALUE = version(__name__)"
    archive.write_bytes(bundles.pack({"wm_p.py": code, "wm_p-1.5.dist-info/METADATA": metadata}, {}))
    local.use([m.BundleFolder(A, str(BundleFolders(tmp_path / "modules").unpack(A, archive)), ("wm_p",))])
    assert value("wm_p") == "1.5"


# --- unpacking --------------------------------------------------------------------------------------------------------


def test_a_bundle_is_unpacked_once_and_removed_when_others_were_used_since(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(unpacked, "MAX_IDLE", 1)
    archive = tmp_path / "archive"
    archive.write_bytes(bundles.pack({"a.py": b"x = 1"}, {}))
    folders = BundleFolders(tmp_path / "modules")
    for job, name in (("1", A), ("2", B), ("3", C)):
        folders.use(job, [name])
        assert (folders.unpack(name, archive) / "a.py").read_text() == "x = 1"
    (tmp_path / "modules" / A / "mark").touch()
    assert (folders.unpack(A, archive) / "mark").exists()
    for job in "312":
        folders.release(job)
    assert {path.name for path in (tmp_path / "modules").iterdir()} == {C}


def test_what_cannot_be_unpacked_leaves_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.write_bytes(b"no archive")
    folders = BundleFolders(tmp_path / "modules")
    with pytest.raises(BlobError):
        folders.unpack(A, archive)
    assert not list((tmp_path / "modules").iterdir())


def prepared(tmp_path: Path, *given: m.Bundle, modules: tuple[str, ...] = ()) -> tuple[JobFiles, GetReady]:
    refs = tuple(m.BlobRef(bundle.blob, 1) for bundle in given)
    for bundle in given:
        content = {f"{name}.py": b"" for name in bundle.modules}
        (tmp_path / bundle.blob).write_bytes(bundles.pack(content, {}))
    files, order = JobFiles(BlobCache(tmp_path), Doings()), GetReady("j", None, refs, modules, given)
    files.begin(order, b"task")
    return files, order


def test_modules_that_come_with_the_job_are_not_missing(tmp_path: Path) -> None:
    files, order = prepared(tmp_path, m.Bundle(A, ("wm_a", "wm_b")), modules=("json", "wm_a", "wm_b"))
    assert files.lacking(order) is None
    files, order = prepared(tmp_path, m.Bundle(A, ("wm_a",)), modules=("wm_a", "wm_missing"))
    reason, todo = files.lacking(order) or ("", "")
    assert "'wm_missing'" in reason
    assert todo.endswith("pip install wm_missing")


def test_compiled_code_for_another_platform_is_refused_unless_the_module_is_here(tmp_path: Path) -> None:
    files, order = prepared(tmp_path, m.Bundle(A, ("wm_fast",), native="win32 AMD64 cp311"), modules=("wm_fast",))
    reason, todo = files.lacking(order) or ("", "")
    assert "'wm_fast' has compiled code for win32 AMD64 cp311" in reason
    assert bundles.native_tag() in reason
    assert todo == "install wm_fast there"
    files, order = prepared(tmp_path, m.Bundle(A, ("pytest",), native="win32 AMD64 cp311"), modules=("pytest",))
    assert files.lacking(order) is None
    files, order = prepared(tmp_path, m.Bundle(A, ("wm_fast",), native=bundles.native_tag()), modules=("wm_fast",))
    assert files.lacking(order) is None


def test_slots_are_told_where_the_modules_lie(tmp_path: Path) -> None:
    files, _ = prepared(tmp_path, m.Bundle(A, ("wm_a",)), m.Bundle(B, ("pytest",), native="other"))
    assert asyncio.run(files.fetch("j", Hub(Address("127.0.0.1", 1, tls=False))))
    message, payload = files.load(m.LoadTask("j", m.JobOptions()))
    assert payload == b"task"
    assert message.files == ()
    assert message.bundles == (m.BundleFolder(A, str(tmp_path / "modules" / A), ("wm_a",)),)
    assert (tmp_path / "modules" / A / "wm_a.py").exists()


# --- a real slot ------------------------------------------------------------------------------------------------------


@pytest.mark.real
def test_slices_of_jobs_with_other_versions_take_turns_on_one_slot(slot: Any, packed: Any, make: Make) -> None:
    def function(item: int) -> tuple[int, str]:
        import wm_a

        return wm_a.VALUE, wm_a.boom.__code__.co_filename

    folders = {
        "old": make(A, wm_a="VALUE = 1\ndef boom(): ..."),
        "new": make(B, wm_a="VALUE = 2\ndef boom(): ..."),
    }

    async def test(bench: Any) -> None:
        for job, folder in folders.items():
            bench.host.send(m.LoadTask(job, m.JobOptions(), ranges=((0, 100, 1),), bundles=(folder,)), packed(function))
        bench.host.send(m.LoadTask("none", m.JobOptions(), ranges=((0, 100, 1),)), packed(function))
        for number, (job, wanted) in enumerate([("old", 1), ("new", 2), ("old", 1), ("new", 2)]):
            bench.passed.clear()
            bench.host.claim.begin((1, number), number, number + 1)
            bench.host.send(m.RunSlice(job, (1, number), 0, number, number + 1))
            assert await bench.to_end() == [(wanted, f"{HOME}/wm_a.py")]
        bench.host.claim.begin((1, 9), 9, 10)
        bench.host.send(m.RunSlice("none", (1, 9), 0, 9, 10))
        failed = await bench.until(m.Part)
        assert failed.failed == (9,)

    slot(test)


@pytest.mark.real
def test_a_function_of_a_local_module_is_loaded_from_its_bundle(
    slot: Any, packed: Any, make: Make, tmp_path: Path
) -> None:
    folder = make(A, wm_a="def double(x):\n    return 2 * x")
    here = LocalModules()
    here.use([folder])
    task = packed(importlib.import_module("wm_a").double)
    here.use([])

    async def test(bench: Any) -> None:
        bench.host.send(m.LoadTask("j", m.JobOptions(), ranges=((0, 100, 1),), bundles=(folder,)), task)
        bench.again(0, 3, (1, 1))
        assert await bench.to_end() == [0, 2, 4]
        bench.host.send(m.LoadTask("k", m.JobOptions(), ranges=((0, 100, 1),)), task)
        bench.host.claim.begin((1, 2), 0, 1)
        bench.host.send(m.RunSlice("k", (1, 2), 0, 0, 1))
        refused = await bench.until(m.TaskRefused)
        assert "No module named 'wm_a'" in refused.reason

    slot(test)
