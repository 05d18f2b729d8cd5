"""A worker with `--install` runs jobs of a notebook that has more packages than it."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from wheels import own_uv, wheels, write_wheel

__all__ = ["own_uv", "wheels"]

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]
Have = Callable[..., Path]

CELL = """%%distribute x in range(40) -> seen --task-size 1 --fresh
import {name}
{name}.VERSION, hasattr({name}, "BY_INSTALLER")"""

WAITING = """%%distribute x in range(4) -> job --task-size 1 --background
import nbdt_shape, os, time
while not os.path.exists(gate):
    time.sleep(0.02)
nbdt_shape.VERSION"""


@pytest.fixture
def have(tmp_path: Path, monkeypatch: Any) -> Iterator[Have]:
    """Installs a package for the notebook: a folder that workers do not have. What an installer gives them differs."""
    folder = tmp_path / "notebook" / "site-packages"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(str(folder))
    names = []

    def install(name: str, version: str) -> Path:
        names.append(name)
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "RECORD").write_text(f"{name}.py,,\n")
        (folder / f"{name}.py").write_text(f"VERSION = {version!r}\n")
        importlib.invalidate_caches()
        return folder

    yield install
    for name in names:
        sys.modules.pop(name, None)


def test_a_cell_gets_its_packages_and_what_cannot_be_installed_is_said(
    start: Any, connect: Any, notebook: Any, wheels: Path, have: Have
) -> None:
    write_wheel(wheels, "nbdt_colour", "1.0", "BY_INSTALLER = True\n")
    hub = start.hub()
    box = start.worker(hub.invite, "--install", "--slots", "2", "--name", "box")
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    folder = have("nbdt_colour", "1.0")
    for _ in range(2):
        notebook.run(CELL.format(name="nbdt_colour"))
        assert notebook["seen"] == [("1.0", True)] * 40
    assert box.text.count("installing nbdt_colour 1.0") == 1

    write_wheel(wheels, "nbdt_shape", "1.0")
    have("nbdt_shape", "9.9")
    paths = f"{ROOT}{os.pathsep}{folder}"
    start.nbdist("worker", "--name", "has", env={"NBDIST_INVITE": hub.invite, "PYTHONPATH": paths})
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    gate = wheels / "gate"
    notebook.run(f"gate = {str(gate)!r}")
    notebook.run(WAITING)
    job = notebook["job"]
    box.line("nbdt_shape==9.9 could not be installed", LIMIT_SECONDS)
    gate.touch()
    with pytest.warns(RuntimeWarning, match="box is left out"):
        assert set(job.result(LIMIT_SECONDS)) == {"9.9"}
    [notice] = [notice.text for notice in job.progress.notices if "could not be installed" in notice.text]
    assert notice.startswith("box is left out of job")
    assert any(f"no {what}" in notice.lower() for what in ("matching distribution", "version of"))


def test_a_cancelled_job_ends_what_is_being_installed_for_it(
    start: Any, connect: Any, notebook: Any, own_uv: Path, have: Have
) -> None:
    (own_uv / "wait").touch()
    hub = start.hub()
    box = start.worker(hub.invite, "--install", "--slots", "1", "--name", "box")
    connect(hub.connect).wait(workers=1, timeout=LIMIT_SECONDS)
    have("nbdt_colour", "1.0")
    notebook.run("gate = ''", WAITING.replace("nbdt_shape", "nbdt_colour"))
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (own_uv / "log").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    installers = [process for process in box.family() if "nbdist.worker.guard" in process.cmdline()]
    assert installers
    notebook["job"].cancel()
    assert psutil.wait_procs(installers, timeout=LIMIT_SECONDS)[1] == []
    assert box.popen.poll() is None
