"""Local modules: which these are, what of them travels, and what is said where that cannot be."""

from __future__ import annotations

import functools
import importlib
import os
import pickle
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbdist.client import bundling
from nbdist.client.analysis import contents as contents_
from nbdist.client.analysis import places, texts
from nbdist.client.analysis.contents import contents
from nbdist.client.analysis.globals import globals_in
from nbdist.client.analysis.modules import needed
from nbdist.client.analysis.places import Place
from nbdist.client.analysis.values import of_items
from nbdist.client.items import items_of
from nbdist.engines.base import PackedTask
from nbdist.errors import PackingError
from nbdist.wire import bundles

Write = Callable[..., Path]
PREFIX = "lm_"
"""Of all modules that are made here."""
OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Writes files beside the notebook; long ago, if nothing else is said. Imports are forgotten with the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)

    def file(name: str, text: str | bytes = "", *, age_ns: int = OLD_NS) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        os.utime(path, ns=(age_ns, age_ns))
        importlib.invalidate_caches()
        places._known_for = None
        return path

    yield file
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]


def gathered(*certain: str, possible: tuple[str, ...] = ()) -> bundling.Gathered:
    places.begin()
    return bundling.gather(certain, possible)


def modules(found: bundling.Gathered) -> set[str]:
    return {name for packed in found.packed for name in packed.modules}


def archived(packed: bundling.Packed) -> dict[str, bytes]:
    return {"/".join(parts): data for parts, data in bundles.read(packed.data)}


# --- which modules are local ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "top", ["json", "numpy", "pytest", "nbdist", "websockets", "__main__", "no_such", "_io", "a b"]
)
def test_what_is_installed_is_not_local(top: str) -> None:
    places.begin()
    assert places.find(top) is None


def test_files_packages_and_folders_beside_the_notebook_are_local(write: Write) -> None:
    file, inner = write("lm_file.py"), write("lm_package/__init__.py")
    write("lm_folder/deep/module.py")
    places.begin()
    assert places.find("lm_file") == Place("lm_file", file=str(file))
    assert places.find("lm_package") == Place("lm_package", folders=(str(inner.parent),))
    assert places.find("lm_folder") == Place("lm_folder", folders=(str(inner.parents[1] / "lm_folder"),))
    assert not {"lm_file", "lm_package", "lm_folder"} & sys.modules.keys()


def test_an_editable_install_is_local_and_a_linked_one(write: Write, tmp_path: Path, monkeypatch: Any) -> None:
    write("src/lm_editable/__init__.py")
    site = tmp_path / "lib" / "site-packages"
    write("lib/site-packages/lm_installed/__init__.py")
    (site / "lm_linked").symlink_to(tmp_path / "src" / "lm_editable")
    monkeypatch.syspath_prepend(str(site))

    class Finder:  # as setuptools puts one there
        @staticmethod
        def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
            file = tmp_path / "src" / "lm_editable" / "__init__.py"
            return importlib.util.spec_from_file_location(name, file) if name == "lm_editable" else None

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder])
    places.begin()
    assert places.find("lm_editable") is not None
    assert places.find("lm_linked") is not None
    assert places.find("lm_installed") is None


def test_what_was_imported_is_meant(write: Write, tmp_path: Path, monkeypatch: Any) -> None:
    first = write("lm_twice.py")
    importlib.import_module("lm_twice")
    write("other/lm_twice.py")
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    places.begin()
    assert places.find("lm_twice") == Place("lm_twice", file=str(first))


def test_a_module_without_a_file_is_not_local() -> None:
    sys.modules["lm_made"] = types.ModuleType("lm_made")
    try:
        places.begin()
        assert places.find("lm_made") is None
    finally:
        del sys.modules["lm_made"]


# --- what a text says -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "imports"),
    [
        ("import a, b.c as d", {"a", "b.c"}),
        ("from a.b import c", {"a.b", "a.b.c"}),
        ("from . import x\nfrom .y import z\nfrom ..w import v", {"p.q", "p.q.x", "p.q.y", "p.q.y.z", "p.w", "p.w.v"}),
        ("def f():\n    import a\nif x:\n    import b\ntry:\n    import c\nexcept ImportError:\n    pass", set()),
        ("class C:\n    import a", {"a"}),
    ],
)
def test_imports_that_are_certain(text: str, imports: set[str]) -> None:
    assert set(texts.read(text.encode(), "p.q").imports) == imports


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("import a.b, c as d\n  from e.f import g", {"a", "c", "e"}),
        ("def f():\n\timport a # b\n\tfrom . import c", {"a"}),
        ("x = 1 # import a", set()),
        ("try: \n import a; import b", {"a"}),
    ],
)
def test_imports_that_may_be(text: str, found: set[str]) -> None:
    assert texts.mentioned(text.encode()) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", "line 2: invalid syntax"),
        ("return 1\n", "line 1: 'return' outside function"),
        ("x = '\0'", "null bytes"),
        (b"x = '\xff'", "utf-8"),
        ("x = 1\n", ""),
        ("x = '\\d'", ""),  # Python warns of it; that is not an error
    ],
)
def test_what_does_not_parse_is_named_with_its_line(text: str | bytes, said: str) -> None:
    problem = texts.read(text if isinstance(text, bytes) else text.encode(), "p").problem
    assert said in problem
    assert bool(problem) == bool(said)


@pytest.mark.parametrize(
    ("text", "patterns"),
    [
        ("", None),
        ("__nbdist_data__ = ['*.json', 'a/**']", ("*.json", "a/**")),
        ("__nbdist_data__ = '*.csv'", ("*.csv",)),
        ("__nbdist_data__ = ()", ()),
        ("__nbdist_data__ = [1]", None),
        ("__nbdist_data__ = names()", None),
    ],
)
def test_the_data_that_a_module_asks_for(text: str, patterns: Any) -> None:
    assert texts.read(text.encode(), "p").data == patterns


# --- what travels of a module -----------------------------------------------------------------------------------------


def names(found: contents_.Contents) -> set[str]:
    return {file.name for file in found.files}


def package(write: Write) -> Place:
    return Place("lm_p", folders=(str(write("lm_p/__init__.py").parent),))


def test_a_package_travels_with_its_code_and_small_data(write: Write) -> None:
    place = package(write)
    for name in ("sub/a.py", "sub/a.pyi", "tests/test_a.py", "table.csv", "odd-name/x.txt"):
        write(f"lm_p/{name}")
    for name in ("__pycache__/a.pyc", ".git/config", "a.pyc", ".hidden", "venv/pyvenv.cfg", "venv/lib/b.py"):
        write(f"lm_p/{name}")
    found = contents(place, None)
    assert names(found) == {
        "lm_p/__init__.py", "lm_p/sub/a.py", "lm_p/sub/a.pyi", "lm_p/tests/test_a.py", "lm_p/table.csv",
        "lm_p/odd-name/x.txt",
    }  # fmt: skip
    assert (found.problem, found.left_out) == ("", "")


def test_large_data_travels_only_if_it_is_asked_for(write: Write) -> None:
    place = package(write)
    write("lm_p/big/a.bin", b"x" * 600_000)
    write("lm_p/big/b.bin", b"x" * 600_000)
    write("lm_p/small.json")
    assert names(found := contents(place, None)) == {"lm_p/__init__.py"}
    assert found.left_out
    assert names(contents(place, ("*.json",))) == {"lm_p/__init__.py", "lm_p/small.json"}
    assert names(contents(place, ("**/a.*",))) == {"lm_p/__init__.py", "lm_p/big/a.bin"}
    assert names(contents(place, ())) == {"lm_p/__init__.py"}


def test_many_data_files_do_not_travel_by_themselves(write: Write, monkeypatch: Any) -> None:
    monkeypatch.setattr(contents_, "MAX_DATA_FILES", 3)
    place = package(write)
    for number in range(4):
        write(f"lm_p/{number}.txt")
    assert names(contents(place, None)) == {"lm_p/__init__.py"}


def test_a_single_module_travels_alone_unless_it_asks_for_data(write: Write) -> None:
    place = Place("lm_f", file=str(write("lm_f.py")))
    write("other.py")
    write("tables/a.csv")
    assert names(contents(place, None)) == {"lm_f.py"}
    assert names(contents(place, ("tables/*.csv",))) == {"lm_f.py", "tables/a.csv"}


@pytest.mark.parametrize("pattern", ["../x", "/etc/*", "a/../../x", "", "C:\\x"])
def test_data_lies_beside_or_below_its_module(write: Write, pattern: str) -> None:
    with pytest.raises(PackingError, match="__nbdist_data__"):
        contents(package(write), (pattern,))


def test_a_module_that_is_too_large_names_its_largest_files(write: Write, monkeypatch: Any) -> None:
    place = package(write)
    write("lm_p/large.py", b"#" * 3_000)
    write("lm_p/small.py", b"#")
    monkeypatch.setattr(contents_, "MAX_BYTES", 2_000)
    assert "the largest: lm_p/large.py" in contents(place, None).problem
    monkeypatch.setattr(contents_, "MAX_FILES", 2)
    assert "3 files" in contents(place, None).problem


def test_links_that_lead_back_end(write: Write) -> None:
    place = package(write)
    Path(place.folders[0], "again").symlink_to(place.folders[0])
    assert names(contents(place, None)) == {"lm_p/__init__.py"}


# --- bundles ----------------------------------------------------------------------------------------------------------


def test_all_that_local_modules_import_travels(write: Write) -> None:
    write("lm_a.py", "import lm_b, numpy, json\nif False:\n    import lm_c\n")
    write("lm_b.py", "from lm_p.inner import x")
    write("lm_c.py", "import lm_d, no_such_module")
    write("lm_d.py", "")
    write("lm_e.py", "")
    write("lm_p/__init__.py", "from . import inner")
    write("lm_p/inner.py", "from .deep import y")
    write("lm_p/deep.py", "def f():\n    import lm_f")
    write("lm_f.py", "import pytest")
    found = gathered("lm_a")
    assert modules(found) == {"lm_a", "lm_b", "lm_c", "lm_d", "lm_p", "lm_f"}
    assert found.installed == {"numpy"}  # of the others nobody knows whether they are imported
    assert not {"lm_a", "lm_p"} & sys.modules.keys()


def test_what_was_packed_is_not_packed_again_until_it_changes(write: Write, monkeypatch: Any) -> None:
    write("lm_a.py", "x = 1")
    write("lm_p/__init__.py")
    write("lm_p/m.py", "x = 1")
    pack, packed = bundles.pack, []
    monkeypatch.setattr(bundles, "pack", lambda files, origins: packed.append(set(files)) or pack(files, origins))
    first = {each.modules: each.blob for each in gathered("lm_a", "lm_p").packed}
    assert gathered("lm_a", "lm_p").packed
    assert packed == [{"lm_a.py"}, {"lm_p/__init__.py", "lm_p/m.py"}]
    write("lm_p/m.py", "x = 2", age_ns=OLD_NS + 1)
    second = {each.modules: each.blob for each in gathered("lm_a", "lm_p").packed}
    assert packed[2:] == [{"lm_p/__init__.py", "lm_p/m.py"}]
    assert first["lm_a",] == second["lm_a",]
    assert first["lm_p",] != second["lm_p",]


def test_an_edit_that_leaves_size_and_time_is_seen_while_the_file_is_young(write: Write) -> None:
    now = 2**62
    write("lm_a.py", "x = 1", age_ns=now)
    first = gathered("lm_a").packed[0]
    write("lm_a.py", "x = 2", age_ns=now)
    assert gathered("lm_a").packed[0].blob != first.blob


def test_the_same_files_have_the_same_name_whenever_they_are_packed(write: Write) -> None:
    write("lm_a.py", "x = 1")
    first = gathered("lm_a").packed[0]
    bundling._kept.clear()
    write("lm_a.py", "x = 1", age_ns=OLD_NS + 10**9)
    second = gathered("lm_a").packed[0]
    assert first is not second
    assert first.data == second.data


def test_an_archive_says_where_its_files_lie(write: Write) -> None:
    path = write("lm_p/__init__.py", "x = 1")
    found = archived(gathered("lm_p").packed[0])
    assert found["lm_p/__init__.py"] == b"x = 1"
    assert str(path) in found[bundles.ORIGINS].decode()


@pytest.mark.parametrize(
    ("text", "is_sent"),
    [
        ("from importlib.metadata import version\n__version__ = version(__name__)", True),
        ("import importlib.metadata as im\n__version__ = im.version('lm-p')", True),
        ("import importlib.metadata as im\n__version__ = im.version('lm_editable')", True),
        ("import importlib.metadata as im\nnumpy = im.version('numpy'), im.version('no_such')", False),
        ("def version(x): ...\nversion(__name__)", False),
    ],
)
def test_a_package_that_asks_for_its_own_version_finds_it(write: Write, text: str, is_sent: bool) -> None:
    write("lm_p/__init__.py", text)
    write("lm_p-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: lm-p\nVersion: 1.5\n")
    write("lm_editable-1.5.dist-info/METADATA", "Metadata-Version: 2.1\nName: lm-editable\nVersion: 1.5\n")
    write("lm_editable-1.5.dist-info/direct_url.json", '{"dir_info": {"editable": true}, "url": "file:///x"}')
    found = archived(gathered("lm_p").packed[0])
    assert any(name.endswith("-1.5.dist-info/METADATA") for name in found) is is_sent
    assert len(found) == 2 + is_sent


def test_compiled_code_is_for_one_platform(write: Write) -> None:
    write("lm_a.py")
    write("lm_p/__init__.py")
    write(f"lm_p/fast{contents_.EXTENSION_SUFFIXES[0]}", b"\x7fELF")
    native = {each.modules[0]: each.native for each in gathered("lm_a", "lm_p").packed}
    assert native == {"lm_a": "", "lm_p": bundles.native_tag()}


def test_a_syntax_error_is_named_with_file_and_line(write: Write) -> None:
    write("lm_a.py", "from lm_p import broken")
    write("lm_p/__init__.py")
    path = write("lm_p/broken.py", "x = 1\ny = (\n")
    with pytest.raises(PackingError, match=rf"'lm_p.broken'.*{path}, line 2: .*nothing was sent"):
        gathered("lm_a")


@pytest.mark.parametrize(
    "text", ["def f():\n    import lm_broken", "try:\n    import lm_broken\nexcept E:\n    pass", ""]
)
def test_what_may_never_be_imported_need_not_parse(write: Write, text: str) -> None:
    write("lm_p/__init__.py", text)
    write("lm_p/template.py", "{{ name }} = (")
    write("lm_broken.py", "(")
    assert "lm_p" in modules(gathered("lm_p", possible=("lm_broken",)))


def test_a_module_that_is_too_large_is_left_to_the_machines(write: Write, monkeypatch: Any) -> None:
    write("lm_large/__init__.py", "import lm_a")
    write("lm_large/more.py")
    write("lm_a.py")
    monkeypatch.setattr(contents_, "MAX_FILES", 1)
    with pytest.warns(RuntimeWarning, match="'lm_large' does not travel, and must be installed"):
        assert modules(gathered("lm_large")) == set()
    with warnings.catch_warnings(action="error"):  # said once
        gathered("lm_large")


def test_data_that_stays_is_said_once(write: Write) -> None:
    write("lm_p/__init__.py")
    write("lm_p/a.bin", b"x" * 1_200_000)
    with pytest.warns(RuntimeWarning, match="'lm_p'.*__nbdist_data__"):
        gathered("lm_p")
    with warnings.catch_warnings(action="error"):
        gathered("lm_p")
        write("lm_p/__init__.py", "__nbdist_data__ = ['*.bin']", age_ns=OLD_NS + 1)
        assert "lm_p/a.bin" in archived(gathered("lm_p").packed[0])


def test_a_folder_that_has_the_name_of_a_word_in_a_text_is_no_module(write: Write, monkeypatch: Any) -> None:
    write("lm_a.py", 'def f():\n    """\n    from lm_data, say, or from lm_notes\n    """')
    write("lm_data/a.csv", b"x" * 1_200_000)
    write("lm_notes/b.txt")
    monkeypatch.setattr(contents_, "MAX_ENTRIES", 2)
    for name in "abc":
        write(f"lm_notes/{name}/x.py")
    with warnings.catch_warnings(action="error"):
        assert modules(gathered("lm_a")) == {"lm_a"}
    with pytest.warns(RuntimeWarning, match="'lm_notes' does not travel.*more than"):
        gathered("lm_notes")


def test_of_many_modules_the_smallest_share_an_archive(write: Write, monkeypatch: Any) -> None:
    monkeypatch.setattr(bundles, "MAX_BUNDLES", 3)
    for number in range(6):
        write(f"lm_{number}.py", f"x = {'1' * number or 0}")
    write("lm_data.py", "__nbdist_data__ = ['x.txt']")
    write("x.txt")
    wanted = {*(f"lm_{number}" for number in range(6)), "lm_data"}
    task = bundling.add(PackedTask([]), wanted)
    assert sorted(len(each.modules) for each in task.bundles) == [1, 1, 5]
    assert {name for each in task.bundles for name in each.modules} == wanted
    assert {blob.name for blob in task.blobs} == {each.blob for each in task.bundles}
    assert bundling.add(PackedTask([]), wanted).bundles == task.bundles
    merged = next(each for each in task.blobs if len(each.pieces[0]) == max(len(one.pieces[0]) for one in task.blobs))
    assert {"lm_0.py", "lm_1.py", bundles.ORIGINS} <= {"/".join(parts) for parts, _ in bundles.read(merged.pieces[0])}


def test_names_that_no_message_has_room_for_are_refused(write: Write, monkeypatch: Any) -> None:
    monkeypatch.setattr(bundling, "MAX_NAME_CHARS", 7)
    write("lm_a.py")
    write("lm_b.py")
    assert bundling.add(PackedTask([]), ["lm_a"]).bundles
    with pytest.raises(PackingError, match="2 local modules"):
        bundling.add(PackedTask([]), ["lm_a", "lm_b"])


# --- edited since it was imported -------------------------------------------------------------------------------------


def test_an_edited_module_is_told_of_once_until_it_is_reloaded(write: Write) -> None:
    write("lm_a.py", "x = 1")
    module = importlib.import_module("lm_a")
    with warnings.catch_warnings(action="error"):
        gathered("lm_a")
    write("lm_a.py", "x = 22", age_ns=OLD_NS + 10**9)
    with pytest.warns(RuntimeWarning, match="'lm_a' was edited"):
        gathered("lm_a")
    with warnings.catch_warnings(action="error"):
        gathered("lm_a")
        importlib.reload(module)
        gathered("lm_a")


def test_an_edit_before_the_first_job_is_noticed_too(write: Write) -> None:
    write("lm_a.py", "x = 1")
    importlib.import_module("lm_a")
    write("lm_a.py", "x = 22", age_ns=OLD_NS + 10**9)
    with pytest.warns(RuntimeWarning, match="'lm_a' was edited"):
        gathered("lm_a")


def test_a_file_that_was_only_touched_was_not_edited(write: Write) -> None:
    write("lm_a.py", "def f():\n    return 1")
    importlib.import_module("lm_a")
    with warnings.catch_warnings(action="error"):
        gathered("lm_a")
        write("lm_a.py", "def f():\n    return 1", age_ns=OLD_NS + 10**9)
        gathered("lm_a")


# --- what a job needs -------------------------------------------------------------------------------------------------


def test_modules_by_their_full_names() -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec("def f(x):\n    import a.b\n    from c.d import e\n    return g(x)\ndef g(x):\n    import k", namespace)
    assert {"a.b", "c.d", "c.d.e", "k"} <= needed(namespace["f"])


def test_relative_imports_of_functions_that_travel_by_value() -> None:
    namespace: dict[str, Any] = {"__name__": "p.q", "__package__": "p"}
    exec("def make():\n    def f(x):\n        from .r import s\n    return f", namespace)
    assert {"p.r", "p.r.s"} <= needed(namespace["make"]())


class Plain:
    """Pickled as the name of something in this module."""


@pytest.mark.parametrize(
    ("value", "is_referred_to"),
    [
        ([Plain()], True),
        ({"key": (Plain, 1)}, True),
        ([Plain(), Plain], True),
        (__name__, False),
        ([__name__, __name__.upper(), (__name__,) * 2], False),
        (list(range(100_000)), False),
    ],
)
def test_modules_that_a_pickle_refers_to(value: Any, is_referred_to: bool) -> None:
    top = __name__.partition(".")[0]
    data = [b"head", pickle.dumps(value, 5)]
    assert globals_in(data, {top, "other"}) == ({top} if is_referred_to else set())
    assert globals_in(data, ()) == set()


def test_modules_of_items() -> None:
    home = {__name__}
    assert home <= of_items(items_of([[Plain()]], star=False))
    assert home <= of_items(items_of([[1], [{"k": [Plain()]}]], star=True))
    assert home <= of_items(items_of([{Plain(): 1}], star=False))
    assert not home & of_items(items_of([[1, "a"]], star=False))
    assert of_items(items_of([range(3)], star=False)) == set()
    assert of_items(items_of([np.arange(3)], star=False)) == {"numpy"}


def test_of_items_that_come_one_by_one_those_that_the_notebook_holds(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "held_here", Plain, raising=False)
    assert __name__ in of_items(items_of([map(str, range(3))], star=False))
    assert __name__ not in of_items(items_of([[1]], star=False))


def test_an_instance_that_a_captured_list_holds_brings_its_module(write: Write) -> None:
    write("lm_a.py", "class Thing:\n    pass")
    things = [importlib.import_module("lm_a").Thing()]
    pieces = [pickle.dumps(functools.partial(isinstance, things), 5)]
    assert {each.modules for each in bundling.add(PackedTask(pieces), ()).bundles} == {("lm_a",)}
    assert bundling.add(PackedTask([pickle.dumps(1)]), ()).bundles == ()
