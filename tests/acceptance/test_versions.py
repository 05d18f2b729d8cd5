"""One job on machines with CPython 3.11, 3.12 and 3.13 at once; the notebook has the Python of this process."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from pythons import HERE, find, missing, others

import nbdist

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
THERE = [version for version in others() if version != "3.14"]
"""What a machine that lands changes has."""


def python(version: str) -> str:
    found = find(version)
    if found is None:
        pytest.skip(missing(version))
    return found


@pytest.fixture(scope="module")
def hub(start_once: Any) -> Any:
    return start_once.hub("--port", "0")


@pytest.fixture(scope="module")
def worker_file(hub: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("worker") / "nbdist-worker.pyz"
    with urlopen(f"http://{hub.netloc}/worker.pyz", timeout=LIMIT_SECONDS) as answer:
        path.write_bytes(answer.read())
    return path


def join(start: Any, hub: Any, worker_file: Path, version: str, name: str = "") -> Any:
    """A worker of another version, started as a person would: from the hub's one file."""
    words = (python(version), worker_file, "--slots", "1", "--name", name or f"py{version}")
    return start.run(*words, env={"NBDIST_INVITE": hub.invite, "PYTHONPATH": ""})


@pytest.fixture(scope="module")
def machines(start_once: Any, hub: Any, worker_file: Path) -> None:
    start_once.worker(hub.invite, "--slots", "1", "--name", f"py{HERE}")
    for version in THERE:
        join(start_once, hub, worker_file, version)


ALL = {f"py{version}" for version in (HERE, *THERE)}


@pytest.fixture
def pool(hub: Any, machines: None, connect: Any) -> nbdist.Pool:
    found: nbdist.Pool = connect(hub.connect)
    found.wait(workers=len(ALL), timeout=LIMIT_SECONDS)
    return found


CELL = """
import dataclasses, functools, sys, time

FACTOR = 3

@dataclasses.dataclass(order=True)
class Point:
    x: int
    y: int = 1

    def scaled(self, by):
        return Point(self.x * by, self.y)

class Trouble(Exception):
    def __init__(self, point):
        super().__init__(f"bad {point}")
        self.point = point

def version():
    return "py%d.%d" % sys.version_info[:2]

def work(n):
    time.sleep(0.02)
    return Point(n).scaled(FACTOR), version()

def checked(n):
    time.sleep(0.02)
    point = Point(n)
    if n % 2:
        raise (
            Trouble(point)
        )
    return n
"""
HIDDEN = "made = eval('lambda n: (n, __import__(\\'time\\').sleep(0.02))[0]')\n"
SLOW = "def slow(n):\n    time.sleep(0.05)\n    return n * FACTOR, version()\n"


@pytest.fixture
def cells(notebook: Any, pool: nbdist.Pool) -> Any:
    """A notebook with some names, connected to the pool."""
    notebook.shell.user_ns["nbdist_pool"] = pool
    notebook.run(CELL)
    return notebook


def test_all_of_them_run_one_job_with_the_same_results(cells: Any) -> None:
    cells.run("%%distribute n in range(120) -> values\nwork(n)")
    point = cells["Point"]
    assert [value for value, _ in cells["values"]] == [point(3 * n) for n in range(120)]
    assert {type(value) for value, _ in cells["values"]} == {point}
    assert {version for _, version in cells["values"]} == ALL
    assert cells["values"].job.stats["machines"].keys() == ALL


def test_failures_come_home_as_what_they_are_with_their_lines(cells: Any) -> None:
    job = cells.run("pool_job = nbdist_pool.map(checked, range(120), on_error='keep')\npool_job.wait(60)\npool_job")
    assert {failure.machine for failure in job.failures} == ALL
    line = 1 + CELL.strip().splitlines().index("        raise (")
    for failure in job.failures:
        error = failure.error
        assert type(error) is cells["Trouble"]
        assert error.point == cells["Point"](failure.index)
        frames = re.findall(r"line (\d+), in (\w+)\n +(.*)", failure.traceback)
        assert [(int(number), name) for number, name, _ in frames] == [(line, "checked")]
        assert frames[0][2].startswith("raise (")


def test_folds_filters_and_stops(cells: Any, pool: nbdist.Pool) -> None:
    cells.run("def larger(a, b):\n    return max(a, b, key=lambda p: p.x)")
    fold = "nbdist_pool.map(lambda n: (time.sleep(0.02), Point(n % 89))[1], range(120), reduce=larger)"
    assert cells.run(f"job = {fold}\njob.result(60)") == cells["Point"](88)
    assert cells["job"].stats["machines"].keys() == ALL
    odd = "nbdist_pool.map(work, range(60), keep_if=lambda pair: pair[0].x % 2)"
    assert [point.x for point, _ in cells.run(f"{odd}.result(60)")] == [3 * n for n in range(60) if n % 2]
    first = "nbdist_pool.map(work, range(100_000), stop_when=lambda pair: pair[0].x >= 90)"
    ((point, _),) = cells.run(f"{first}.result(60)")
    assert point.x >= 90


def test_items_that_are_made_of_the_notebooks_own(cells: Any) -> None:
    cells.run(
        "def items():\n    for n in range(60):\n        yield Point(n), (lambda x, n=n: x * n + FACTOR)",
        "job = nbdist_pool.map(lambda pair: (time.sleep(0.03), pair[1](pair[0].x), pair[0], version())[1:], items())",
        "found = job.result(60)",
    )
    assert [value for value, _, _ in cells["found"]] == [n * n + 3 for n in range(60)]
    assert {type(point) for _, point, _ in cells["found"]} == {cells["Point"]}
    assert {version for _, _, version in cells["found"]} == ALL


def test_calls(cells: Any) -> None:
    cells.run("futures = [nbdist_pool.submit(work, n) for n in range(60)]")
    found = [future.result(LIMIT_SECONDS) for future in cells["futures"]]
    assert [point for point, _ in found] == [cells["Point"](3 * n) for n in range(60)]
    assert {version for _, version in found} == ALL


@pytest.mark.parametrize("each", ["machine", "slot"])
def test_once_on_each(cells: Any, each: str) -> None:
    found = cells.run(f"nbdist_pool.run(lambda: (Point(FACTOR), version()), each={each!r})")
    assert {version for _, version in found.values()} == ALL
    assert {point for point, _ in ((repr(point), version) for point, version in found.values())} == {"Point(x=3, y=1)"}


def test_setups_and_what_items_print(cells: Any) -> None:
    cells.run(
        "%%distribute --setup --name of-versions\nclass Model:\n    def at(self, n):\n        return n * FACTOR\n"
        "model = Model()\nwhere = version()",
        "%%distribute n in range(90) -> values\ntime.sleep(0.02)\nprint('item', n)\n(model.at(n), where)",
    )
    assert [value for value, _ in cells["values"]] == [3 * n for n in range(90)]
    assert {version for _, version in cells["values"]} == ALL
    assert {f"item {n}" for n in range(90)} <= set(re.findall(r"item \d+", cells.printed))
    cells.run("%distribute setup --clear")


def test_local_modules_travel_to_all_of_them(cells: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "of_versions.py").write_text("import dataclasses\n\n\ndef twice(n):\n    return n + n\n")
    cells.run(
        "import of_versions",
        "%%distribute n in range(90) -> values\ntime.sleep(0.02)\n(of_versions.twice(n), version())",
    )
    assert [value for value, _ in cells["values"]] == [2 * n for n in range(90)]
    assert {version for _, version in cells["values"]} == ALL


# --- what cannot go ---------------------------------------------------------------------------------------------------


def refusal(job: Any) -> str:
    """Why the machines of other versions were left out: the same for all of them."""
    rows = {row.name: row for row in job.progress.machines}
    assert {rows[name].state for name in ALL - {f"py{HERE}"}} == {"refused"}
    (reason,) = {re.sub(r"^Python 3.\d+ here, ", "", rows[name].reason) for name in ALL - {f"py{HERE}"}}
    return reason


def test_a_function_without_text_is_named_and_runs_on_the_same_version(cells: Any) -> None:
    cells.run(HIDDEN)
    with pytest.warns(RuntimeWarning, match=r"another version of Python, left out of job .*line 1 of <string>"):
        job = cells.run("job = nbdist_pool.map(lambda n: made(n), range(40))\njob.result(60)\njob")
    assert job.result() == list(range(40))
    assert job.stats["machines"].keys() == {f"py{HERE}"}
    reason = refusal(job)
    assert f"{HERE} in the notebook; the captured name 'made' of the function" in reason
    assert "its text is not known; define it with def in a cell" in reason
    assert f"start the worker with Python {HERE}" in reason


def test_items_without_text_are_named_too(cells: Any) -> None:
    cells.run(HIDDEN)
    with pytest.warns(RuntimeWarning, match="another version of Python, left out of job"):
        job = cells.run("job = nbdist_pool.map(lambda made: made(3), [made] * 40)\njob.result(60)\njob")
    assert job.result() == [3] * 40
    assert job.stats["machines"].keys() == {f"py{HERE}"}
    assert "item 0" in refusal(job)


# --- machines that come later -----------------------------------------------------------------------------------------


@pytest.fixture
def lonely(start: Any, connect: Any, notebook: Any) -> tuple[Any, nbdist.Pool]:
    """A hub with a machine of the notebook's version."""
    hub = start.hub("--port", "0")
    start.worker(hub.invite, "--slots", "1", "--name", f"py{HERE}")
    found = connect(hub.connect)
    notebook.shell.user_ns["nbdist_pool"] = found
    found.wait(workers=1, timeout=LIMIT_SECONDS)
    notebook.run(CELL, SLOW, "job = nbdist_pool.map(slow, range(400))")
    return hub, found


def wait_for(condition: Callable[[], Any], job: Any) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, job.progress
        job.inbox.run.wait(0.2)


def row(job: Any, name: str) -> Any:
    return next((row for row in job.progress.machines if row.name == name), None)


@pytest.mark.parametrize("version", THERE)
def test_a_machine_that_joins_later_takes_part_with_the_values_of_then(
    notebook: Any, lonely: Any, start: Any, worker_file: Path, version: str
) -> None:
    notebook.run("FACTOR = 1_000", "def version():\n    return 'changed'")
    job = notebook["job"]
    join(start, lonely[0], worker_file, version)
    wait_for(lambda: f"py{version}" in job.stats["machines"], job)
    found = job.result(LIMIT_SECONDS)
    assert [value for value, _ in found] == [3 * n for n in range(400)]
    assert {where for _, where in found} == {f"py{HERE}", f"py{version}"}


def test_what_cannot_be_had_as_it_was_is_not_run_otherwise(
    notebook: Any, lonely: Any, start: Any, worker_file: Path
) -> None:
    hub, _ = lonely
    notebook.run("job.cancel()", "job = nbdist_pool.map(lambda n: (time.sleep(0.05), Point(n).y)[1], range(300))")
    notebook.run("del Point.scaled")
    job = notebook["job"]
    join(start, hub, worker_file, THERE[0])
    wait_for(lambda: row(job, f"py{THERE[0]}") is not None and row(job, f"py{THERE[0]}").state == "refused", job)
    reason = row(job, f"py{THERE[0]}").reason
    assert "'Point'" in reason
    assert "has changed in the notebook since the job was submitted" in reason
    with pytest.warns(RuntimeWarning, match="has changed in the notebook"):
        assert job.result(LIMIT_SECONDS) == [1] * 300


SCRIPT = """
import os, signal, sys, time
import nbdist
pool = nbdist.connect({address!r})
job = pool.map(lambda n: (time.sleep(0.05), n)[1], range(2_000))
next(iter(job))
print("job", job.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_without_the_kernel_that_has_the_code_a_late_machine_is_left_out_and_told_why(
    start: Any, connect: Any, worker_file: Path
) -> None:
    hub = start.hub("--port", "0")
    start.worker(hub.invite, "--slots", "1", "--name", f"py{HERE}")
    killed = start.script(SCRIPT.format(address=hub.connect))
    job_id = killed.line(r"^job (\S+)")[1]
    killed.wait()
    late = f"py{THERE[0]}"
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    join(start, hub, worker_file, THERE[0])
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    job = pool.attach(job_id)
    wait_for(lambda: row(job, late) is not None and "has gone, and only it could" in row(job, late).reason, job)
    assert row(job, late).state == "refused"
    job.cancel()
    job.wait(LIMIT_SECONDS)
