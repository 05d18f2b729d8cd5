"""Slots that use more memory than they may."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from nbdist.errors import WorkerCrashedError
from nbdist.worker import system

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not system.WATCHES_MEMORY, reason="memory is not watched on this operating system"),
]
LIMIT_SECONDS = 60.0
JOIN_SECONDS = 60.0


@pytest.mark.parametrize("where", ["itself", "child"])
def test_a_slot_over_its_limit_is_killed_and_its_item_says_how_much(
    start: Any, connect: Any, tmp_path: Path, where: str
) -> None:
    grow = (
        "import sys, time; print('growing', file=sys.stderr, flush=True); "
        "held = [bytes([1]) * 50_000_000 for _ in range(10)]; time.sleep(60)"
    )

    def work(item: int) -> int:
        import subprocess

        with open(tmp_path / str(item), "a") as file:
            file.write("ran ")
        if item == 2 and where == "itself":
            exec(grow, {})
        elif item == 2:
            subprocess.run([sys.executable, "-c", grow], check=True)
        return item

    hub = start.hub()
    start.worker(hub.invite, "--slots", "2", "--name", "box", "--memory-limit", "300MB")
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    job = pool.map(work, range(6), on_error="keep", task_size=1, speculate=False)
    values = job.result(LIMIT_SECONDS)
    assert [value for value in values if isinstance(value, int)] == [0, 1, 3, 4, 5]
    (failure,) = job.failures
    assert isinstance(failure.error, WorkerCrashedError)
    said = str(failure.error)
    assert "item 2 = 2" in said
    assert "on box (used " in said
    assert " MB of 300 MB of memory)" in said
    assert "after 3 attempts" in said
    assert said.rstrip().endswith("growing")
    assert {item: (tmp_path / str(item)).read_text() for item in range(6)} == {
        item: "ran " * (3 if item == 2 else 1) for item in range(6)
    }
    assert pool.map(abs, range(4)).result(LIMIT_SECONDS) == list(range(4))
