"""What is installed on machines decides which of them take part in a job, and what is installed later counts."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbdist.hub.pyz import build_pyz

pytestmark = pytest.mark.real
LIMIT_SECONDS = 30.0
Install = Callable[..., Path]


def use(x: int) -> str:
    import pk_tool

    return pk_tool.version()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: Any) -> Iterator[Install]:
    """Installs a tiny distribution into an environment; that of the notebook is on the path of this process."""

    def add(environment: str, version: str = "") -> Path:
        folder = tmp_path / environment / "site-packages"
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("pk_tool-*"):
            old.rename(folder / f"pk_tool-{version}.dist-info")
        if version:
            info = folder / f"pk_tool-{version}.dist-info"
            info.mkdir(exist_ok=True)
            (folder / "pk_tool.py").write_text(f"def version():\n    return {version!r}\n")
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pk-tool\nVersion: {version}\n")
            (info / "RECORD").write_text("pk_tool.py,,\n")
        importlib.invalidate_caches()
        return folder

    monkeypatch.syspath_prepend(str(add("notebook", "2.3.3")))
    yield add
    sys.modules.pop("pk_tool", None)


@pytest.fixture
def join(start: Any, install: Install) -> Callable[..., Any]:
    """Starts a worker of this name in an environment of its own with this version, if any."""

    def begin(hub: Any, name: str, version: str = "") -> Any:
        folder = install(name, version)
        words = ("worker", "--slots", "1", "--name", name)
        return start.nbdist(*words, env={"NBDIST_INVITE": hub.invite, "PYTHONPATH": f"{ROOT}:{folder}"})

    return begin


ROOT = Path(__file__).resolve().parents[2]


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def fit(pool: Any) -> dict[str, str]:
    return {worker.name: worker.fit for worker in pool.workers}


def notices(job: Any) -> list[str]:
    return [notice.text for notice in job.progress.notices]


def test_machines_that_have_not_what_the_job_needs_are_left_out_and_named(
    start: Any, connect: Any, notebook: Any, join: Any
) -> None:
    hub = start.hub()
    for name, version in (("same", "2.3.3"), ("minor", "2.2.0"), ("major", "1.5.3"), ("none", "")):
        join(hub, name, version)
    pool = connect(hub.connect)
    pool.wait(workers=4, timeout=LIMIT_SECONDS)
    job = pool.map(use, range(40), task_size=1)
    assert set(job.result(LIMIT_SECONDS)) <= {"2.3.3", "2.2.0"}
    assert notices(job)[0] == (
        "2 of 4 machines fit: major: pk-tool 2.3.3 here, 1.5.3 there (pip install pk-tool==2.3.3); "
        "none: no pk-tool (pip install pk-tool==2.3.3); taking part with other versions: minor: "
        "pk-tool 2.3.3 here, 2.2.0 there"
    )
    assert fit(pool) == {
        "same": "fits",
        "minor": "fits: pk-tool 2.3.3 here, 2.2.0 there",
        "major": "left out: pk-tool 2.3.3 here, 1.5.3 there (pip install pk-tool==2.3.3)",
        "none": "left out: no pk-tool (pip install pk-tool==2.3.3)",
    }
    assert "left out: no pk-tool" in repr(notebook.run("%distribute"))
    exact = pool.map(use, range(10), task_size=1, needs="versions=same")
    assert set(exact.result(LIMIT_SECONDS)) == {"2.3.3"}
    older = pool.map(use, range(10), task_size=1, needs="versions=any, worker=major")
    assert set(older.result(LIMIT_SECONDS)) == {"1.5.3"}


def test_a_worker_on_a_bare_python_says_that_it_has_nothing(
    start: Any, connect: Any, join: Any, tmp_path: Path
) -> None:
    hub = start.hub()
    join(hub, "same", "2.3.3")
    (tmp_path / "worker.pyz").write_bytes(build_pyz())
    bare = (sys.executable, "-I", "-S", tmp_path / "worker.pyz", "--slots", "1", "--name", "bare")
    start.run(*bare, env={"NBDIST_INVITE": hub.invite})
    pool = connect(hub.connect)
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    assert pool.map(use, range(3)).result(LIMIT_SECONDS) == ["2.3.3"] * 3
    assert fit(pool)["same"] == "fits"
    missing = f"left out: no pk-tool; no pytest (pip install pk-tool==2.3.3 pytest=={pytest.__version__})"
    assert fit(pool)["bare"] == missing  # this module, which travels, imports pytest
    assert pool.map(lambda x: x + 1, range(3), needs="worker=bare").result(LIMIT_SECONDS) == [1, 2, 3]


def test_a_package_that_is_installed_while_the_worker_runs(
    start: Any, connect: Any, install: Install, join: Any
) -> None:
    hub = start.hub()
    join(hub, "late")
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    job = pool.map(use, range(3))
    until(lambda: any("no machine can run it. late: no pk-tool" in text for text in notices(job)))
    install("late", "2.3.3")
    assert job.result(LIMIT_SECONDS) == ["2.3.3"] * 3
    install("late", "2.4.0")  # the slot has the old one loaded
    until(lambda: "2.4.0 there" in fit(pool)["late"])
    assert pool.map(use, range(3)).result(LIMIT_SECONDS) == ["2.4.0"] * 3


def test_a_hub_that_was_restarted_asks_again(start: Any, connect: Any, join: Any) -> None:
    hub = start.hub()
    join(hub, "none")
    join(hub, "same", "2.3.3")
    pool = connect(hub.connect)
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    hub.process.popen.kill()
    hub.process.wait()
    start.hub("--port", str(hub.address.port), folder=hub.folder)
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    assert pool.map(use, range(3)).result(LIMIT_SECONDS) == ["2.3.3"] * 3
    assert fit(pool)["none"] == "left out: no pk-tool (pip install pk-tool==2.3.3)"
