"""The clock on the wall jumps by days, forward and back, in hub, workers and slots: nothing is decided by it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from machines import ROOT

import nbdist
from benchmarks import kinds

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
JOIN_SECONDS = 60.0
JUMPING = """
import os, time

_wall = time.time

def jumping():
    days = (1, -1, 40, -400)[int(time.monotonic() / 0.3) % 4] if os.path.exists({begin!r}) else 0
    return _wall() + 86_400 * days

time.time = jumping
"""
"""Python imports `sitecustomize` at each start. (To set the machine's own clock would concern everything on it.)"""


def test_a_job_goes_on_while_clocks_jump(start: Any, connect: Any, tmp_path: Path) -> None:
    folder = tmp_path / "jumping"
    folder.mkdir()
    begin = folder / "begin"
    (folder / "sitecustomize.py").write_text(JUMPING.format(begin=str(begin)))
    environment = {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}
    hub = start.nbdist("hub", "--state", tmp_path / "hub", env=environment)
    address, invite = hub.line(r"^connect (\S+)")[1], hub.line(r"^invite (\S+)")[1]
    words = {"env": {**environment, "NBDIST_INVITE": invite}}
    workers = [start.nbdist("worker", "--slots", "1", "--name", name, **words) for name in ("steady", "stopped")]
    pool: nbdist.Pool = connect(address)
    pool.wait(workers=2, timeout=JOIN_SECONDS)

    def work(x: int) -> tuple[int, int, float]:
        import time

        return x, sum(range(x % 4_000)), time.time() - time.monotonic()

    job = pool.map(work, range(kinds.ITEMS))
    while not job.wait(0.02) and job.progress.done < kinds.ITEMS // 10:
        pass
    begin.touch()
    os.kill(workers[1].pid, signal.SIGSTOP)  # for it, all clocks jump
    job.wait(1.5)
    os.kill(workers[1].pid, signal.SIGCONT)
    values = job.result(LIMIT_SECONDS)
    assert [(x, value) for x, value, _ in values] == kinds.ANSWER
    days = {round((shift - values[0][2]) / 86_400) for _, _, shift in values}
    assert len(days) > 1, "the clocks of the slots have not jumped"
    assert "no sign of life" not in workers[0].text + workers[1].text
    hub.popen.kill()
    hub.wait()
    again = start.nbdist("hub", "--state", tmp_path / "hub", env=environment)
    assert again.line(r"^connect (\S+)")[1] == address
    assert pool.map(abs, range(100)).result(LIMIT_SECONDS) == list(range(100))
    assert "Traceback" not in hub.text + again.text + workers[0].text + workers[1].text
