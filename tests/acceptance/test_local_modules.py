"""Modules beside the notebook work on a machine that has never seen them."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import PackingError

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]
Write = Callable[[str, str], Path]

HELPERS = """
from am_package.sub import scale
LIMIT = 10
class Point:
    def __init__(self, x): self.x = x
def boom(x):
    raise ValueError(f"not {x}")
"""
SUB = """
import json
from importlib import resources
from pathlib import Path
from .inner import FACTOR
def scale(x):
    here = json.loads((Path(__file__).parent / "table.json").read_text())
    there = json.loads(resources.files(__package__).joinpath("table.json").read_text())
    return FACTOR * x + here["offset"] + there["offset"]
"""
SCRIPT = """
import sys
import nbdist
import am_helpers
from am_package.sub import scale

def work(x):
    import am_inside
    return am_helpers.LIMIT + scale(x) + am_inside.ONE

with nbdist.connect(sys.argv[1]) as pool:
    pool.wait(workers=1)
    print("values", list(pool.map(work, range(3)).result(60)), flush=True)
    print("function", list(pool.map(scale, range(3)).result(60)), flush=True)
    print("call", pool.submit(lambda point: point.x, am_helpers.Point(4)).result(60), flush=True)
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: Any) -> Iterator[Write]:
    """Writes a file beside the notebook. The folder is on this process's path alone: workers run in another one."""
    folder = tmp_path / "notebook"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit in the same second would run the old bytecode here

    def file(name: str, text: str) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        return path

    yield file
    for name in [name for name in sys.modules if name.startswith("am_")]:
        del sys.modules[name]


@pytest.fixture
def written(write: Write) -> Path:
    """A module and a package."""
    write("am_package/__init__.py", "")
    write("am_package/inner.py", "FACTOR = 100")
    write("am_package/sub.py", SUB)
    write("am_package/table.json", '{"offset": 1}')
    write("am_inside.py", "ONE = 1")
    return write("am_helpers.py", HELPERS)


@pytest.fixture
def hub(start: Any) -> Any:
    """A hub with a worker of one slot, in a folder of its own."""
    found = start.hub()
    start.worker(found.invite, "--slots", "1")
    return found


@pytest.fixture
def pool(hub: Any, connect: Any) -> Any:
    found = connect(hub.connect)
    found.wait(workers=1, timeout=LIMIT_SECONDS)
    return found


def test_a_notebooks_modules_travel(pool: Any, notebook: Any, written: Path) -> None:
    notebook.run("%%distribute x in range(3) -> values\nimport am_helpers\nam_helpers.scale(x) + am_helpers.LIMIT")
    assert notebook["values"] == [12, 112, 212]
    notebook.run("from am_helpers import Point, boom", "%%distribute x in range(2) -> points\nPoint(x)")
    assert [point.x for point in notebook["points"]] == [0, 1]
    assert {type(point) for point in notebook["points"]} == {notebook["Point"]}
    notebook.run("%%distribute p in [Point(5), Point(6)] -> xs\np.x")
    assert notebook["xs"] == [5, 6]
    error = notebook.fail("%%distribute x in range(1)\nboom(x)")
    assert f'File "{written}", line 7, in boom\n    raise ValueError(f"not {{x}}")' in str(error.__cause__)


def test_a_scripts_modules_travel_to_a_machine_with_nothing_but_python(
    start: Any, lan: Any, connect: Any, written: Path, tmp_path: Path
) -> None:
    hub = start.hub("--lan", "--port", "0", host=lan.host("hubmachine"))
    line = next(line for label, line in connect(hub.connect).invite()["lines"] if "Linux" in label)
    (tmp_path / "home").mkdir()
    bare = {"HOME": str(tmp_path / "home"), "PYTHONPATH": "", "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)}
    start.run("sh", "-c", line, host=lan.host("second"), env=bare, cwd=tmp_path / "home")
    script = written.parent / "script.py"
    script.write_text(SCRIPT)
    ran = start.run(sys.executable, script, hub.connect, env={"PYTHONPATH": str(ROOT)})
    assert ran.line(r"values (.*)")[1] == "[13, 113, 213]"
    assert ran.line(r"function (.*)")[1] == "[2, 102, 202]"
    assert ran.line(r"call (.*)")[1] == "4"


def test_an_edited_module_runs_as_it_is_now(pool: Any, notebook: Any, write: Write) -> None:
    write("am_version.py", "def version():\n    return 1\n")
    cell = "%%distribute x in range(2) -> seen\nam_version.version()"
    notebook.run("import am_version, importlib", cell)
    assert notebook["seen"] == [1, 1]
    write("am_version.py", "def version():\n    return 22\n")
    with pytest.warns(RuntimeWarning, match="'am_version' was edited since it was imported here"):
        notebook.run(cell)
    assert notebook["seen"] == [22, 22]
    write("am_version.py", "def version():\n    return 333\n")
    notebook.run("importlib.reload(am_version)", cell)
    assert notebook["seen"] == [333, 333]
    assert notebook.run("am_version.version()") == 333


def test_jobs_with_two_versions_of_a_module_do_not_mix(pool: Any, write: Write) -> None:
    def look(x: int) -> tuple[int, int, int]:
        import time

        import am_state

        am_state.seen += 1
        time.sleep(0.01)
        return am_state.VERSION, am_state.seen, am_state.later()

    jobs = []
    for version in (1, 2):
        write(
            "am_state.py", f"VERSION, seen = {version}, 0\ndef later():\n    import am_late\n    return am_late.VERSION"
        )
        write("am_late.py", f"VERSION = {version}")
        jobs.append(pool.map(look, range(60), task_size=5))
    for version, job in enumerate(jobs, 1):
        values = job.result(LIMIT_SECONDS)
        assert {(value[0], value[2]) for value in values} == {(version, version)}
        assert sorted(value[1] for value in values) == list(range(1, 61))  # on one slot each has its own state


def test_what_does_not_parse_is_named_before_anything_is_sent(pool: Any, notebook: Any, write: Write) -> None:
    path = write("am_broken.py", "x = 1\ndef f(:\n    pass\n")
    before = len(pool.jobs)
    error = notebook.fail("%%distribute x in range(3)\nimport am_broken\nx")
    assert isinstance(error, PackingError)
    assert f"{path}, line 2: " in str(error)
    assert len(pool.jobs) == before


def test_a_package_that_a_module_of_ours_needs_is_named_by_the_machine(
    pool: Any, write: Write, monkeypatch: Any
) -> None:
    site = write("lib.txt", "").parent / "site-packages"
    (site / "am_installed").mkdir(parents=True)
    (site / "am_installed" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(site))
    write("am_needs.py", "import am_installed")

    def use(x: int) -> Any:
        import am_needs

        return am_needs

    job = pool.map(use, range(2))
    wanted = r"no module named 'am_installed'.*pip install am_installed"
    with warnings.catch_warnings(action="error"), pytest.raises(RuntimeWarning, match=wanted):
        job.result(LIMIT_SECONDS)
    job.cancel()
