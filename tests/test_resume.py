"""A job that ended early is resumed although its kernel and its hub have died since: real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nbdist

LIMIT_SECONDS = 60.0
pytestmark = pytest.mark.usefixtures("own_embedded_pool")
BEGIN = """
import json, os, signal, sys, time
import nbdist
from nbdist import embedded
def ran(x):
    with open(log, "a") as file:
        file.write(f"{x}\\n")
    return x
def kill_hub():
    os.kill(json.loads((embedded.state_folder() / "ready.json").read_text())["pid"], signal.SIGKILL)
pool = nbdist.connect()
"""
END = "sys.stdout.flush()\nos.kill(os.getpid(), signal.SIGKILL)\n"


class Log:
    """Where each item that runs leaves word."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def taken(self) -> list[int]:
        """What has run since the last look."""
        found = sorted(map(int, self.path.read_text().split()))
        self.path.write_text("")
        return found


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "ran")


def kernel(log: Log, code: str) -> str:
    """Runs code in another process, which kills itself at its end; gives what it printed."""
    program = f"log = {str(log.path)!r}\n{BEGIN}{code}\n{END}"
    ended = subprocess.run([sys.executable, "-c", program], check=False, timeout=LIMIT_SECONDS, stdout=subprocess.PIPE)
    assert ended.returncode == -9
    return ended.stdout.decode().strip()


@pytest.mark.parametrize("hub_dies", [False, True])
@pytest.mark.parametrize("items", ["range(120)", "list(range(120))", "iter(range(120))"])
def test_after_the_kernel_and_the_hub_have_died(log: Log, items: str, hub_dies: bool) -> None:
    job_id, taken = kernel(
        log,
        f"job = pool.map(lambda x: 1 // (ran(x) - 77), {items}, seed=7, task_size=4)\njob.wait(60)\n"
        "print(job.id, job.progress.done - 1)\n" + ("kill_hub()" if hub_dies else ""),
    ).split()
    assert 77 in log.taken()
    with nbdist.connect() as pool:
        path = str(log.path)

        def mended(x: int) -> int:
            with open(path, "a") as file:
                file.write(f"{x}\n")
            return 1 if x == 77 else 1 // (x - 77)

        job = pool.map(mended, eval(items), resume=job_id, speculate=False)
        assert job.result(LIMIT_SECONDS) == [1 if x == 77 else 1 // (x - 77) for x in range(120)]
        assert job.resumed is not None
        assert (job.resumed.job, job.resumed.items) == (job_id, int(taken))
        assert job.resumed.is_older_code
        assert job.seed == 7
        runs = log.taken()
        assert len(runs) == len(set(runs)) == 120 - int(taken)


@pytest.mark.parametrize("fold", ["", ", reduce=sum"])
def test_a_resumed_job_outlives_its_kernel_and_the_hub_and_can_be_resumed_again(log: Log, fold: str) -> None:
    first, second, *done = kernel(
        log,
        f"a = pool.map(lambda x: ran(x) + 0 // (x - 200), range(300), task_size=5{fold})\na.wait(60)\n"
        "fails = lambda x: time.sleep(0.01) or ran(1000 + x) - 1000 + 0 // (x != 250)\n"
        f"b = pool.map(fails, range(300), resume=a, task_size=5{fold})\n"
        "while b.progress.done < a.progress.done + 8: b.wait(0.02)\n"
        "done = {i for s in a.segments for i in range(s.start, s.stop)} - {f.index for f in a.failures}\n"
        "print(a.id, b.id, *done)\nkill_hub()",
    ).split()
    with nbdist.connect() as pool:
        again = pool.attach(second)
        with pytest.raises(ZeroDivisionError):
            again.result(LIMIT_SECONDS)
        assert again.resumed is not None
        assert again.resumed.job == first
        runs = [x - 1000 for x in log.taken() if x >= 1000]
        assert again.resumed.items == len(done)
        assert set(runs).isdisjoint(map(int, done))
        assert {200, 250} <= set(runs)
        job = pool.map(lambda x: x, range(300), resume=again, reduce=sum if fold else None)
        assert job.result(LIMIT_SECONDS) == (sum(range(300)) if fold else list(range(300)))
        assert job.resumed is not None
        assert job.resumed.items == again.progress.done - 1
        assert {row.id: row.state for row in pool.jobs}[first] == "failed"
