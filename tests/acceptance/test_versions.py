"""One job on machines with CPython 3.11, 3.12 and 3.13 at once; the notebook has the Python of this process."""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from pythons import HERE, find, missing, others

import nbdist
from nbdist.errors import JobRefusedError

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
def pool(hub: Any, machines: None, connect: Any) -> Iterator[nbdist.Pool]:
    found = connect(hub.connect)
    found.wait(workers=len(ALL), timeout=LIMIT_SECONDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield found


CELL = """
import dataclasses, sys, time

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
    return "%d.%d" % sys.version_info[:2]

def work(n):
    time.sleep(0.02)
    return Point(n).scaled(FACTOR), version()
"""


def test_all_of_them_run_one_job_with_the_same_results(notebook: Any, pool: nbdist.Pool) -> None:
    notebook.run(CELL, "%%distribute n in range(120) -> values\nwork(n)")
    point = notebook["Point"]
    assert [value for value, _ in notebook["values"]] == [point(3 * n) for n in range(120)]
    assert {type(value) for value, _ in notebook["values"]} == {point}
    assert {f"py{version}" for _, version in notebook["values"]} == ALL
    assert notebook["values"].job.stats["machines"].keys() == ALL
