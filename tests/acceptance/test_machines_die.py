"""Machines die, vanish, freeze and come back in the middle of a job: nothing is lost, nothing comes twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import nbdist

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
JOIN_SECONDS = 60.0
ITEMS = 20_000
FREEZE_SECONDS = 11.0
"""Longer than any machine may be silent."""


def busy(x: int) -> int:
    """Some tenths of a millisecond of work with a known answer."""
    total = x
    for step in range(2_000):
        total = (total * 31 + step) % 1_000_003
    return total


ANSWER = [busy(x) for x in range(1_000)]
"""Of the first items; the others are compared with the function itself, too slow for all of them."""


def check(values: list[Any]) -> None:
    """Every item is there once, in its place."""
    assert len(values) == ITEMS
    assert [index for index, _ in values] == list(range(ITEMS))
    assert [value for _, value in values[: len(ANSWER)]] == ANSWER
    assert all(value == busy(index) for index, value in values[:: ITEMS // 200])


def start_job(pool: nbdist.Pool) -> nbdist.Job:
    """A job of some seconds; its function travels by value."""

    def work(x: int) -> tuple[int, int]:
        total = x
        for step in range(2_000):
            total = (total * 31 + step) % 1_000_003
        return x, total

    return pool.map(work, range(ITEMS))


def until(job: nbdist.Job, condition: Callable[[nbdist.Job], bool]) -> None:
    """Returns once the condition holds of the running job."""
    for _ in range(int(LIMIT_SECONDS / 0.02)):
        if job.wait(0.02):
            break
        if condition(job):
            return
    pytest.fail(f"the job has ended before: {job}")


def is_under_way(job: nbdist.Job) -> bool:
    return job.progress.done > ITEMS // 10 and len(job.progress.machines) > 1


@pytest.fixture
def pair(start: Any, connect: Any, lan: Any) -> Any:
    """A hub, and two machines with one slot each: (hub, pool, host 1, worker 1, host 2, worker 2)."""
    hosts = [lan.host("one"), lan.host("two")]
    hub = start.hub("--lan", "--port", "0", host=lan.host("hub"))
    workers = [start.worker(hub.invite, "--slots", "1", host=host) for host in hosts]
    pool = connect(hub.connect)
    pool.wait(workers=2, timeout=JOIN_SECONDS)
    return hub, pool, hosts[0], workers[0], hosts[1], workers[1]


def agent_of(worker: Any) -> int:
    """The process id of the agent: the programs that prepare its machine have become it."""
    return next(p.pid for p in worker.family() if "worker" in p.cmdline() and "nbdist" in p.cmdline())


def slots_of(worker: Any) -> list[psutil.Process]:
    """The slots' processes: those below the agent that have none below themselves."""
    agent = psutil.Process(agent_of(worker))
    return [process for process in agent.children(recursive=True) if not process.children()]


def test_slots_are_killed(pair: Any) -> None:
    _, pool, _, worker, _, _ = pair
    job = start_job(pool)
    for share in (10, 5, 3):  # of all items: one attempt of one item is lost each time
        until(job, lambda job, share=share: job.progress.done > ITEMS // share)  # type: ignore[misc]
        for slot in slots_of(worker):
            slot.kill()
    check(job.result(LIMIT_SECONDS))
    assert not job.failures
    assert len(pool.workers) == 2


def test_an_agent_is_killed(pair: Any, start: Any) -> None:
    hub, pool, host, worker, _, _ = pair
    job = start_job(pool)
    until(job, is_under_way)
    family = worker.family()
    os.kill(agent_of(worker), signal.SIGKILL)
    _, alive = psutil.wait_procs(family, timeout=JOIN_SECONDS)
    assert not alive, "slots outlive their agent"
    start.worker(hub.invite, "--slots", "1", "--name", "again", host=host)
    check(job.result(LIMIT_SECONDS))
    pool.wait(workers=2, timeout=JOIN_SECONDS)
    assert "again" in {row.name for row in pool.workers}


@pytest.mark.slow
def test_a_cable_is_pulled_and_plugged_in_again(pair: Any) -> None:
    _, pool, host, _, _, _ = pair
    job = start_job(pool)
    until(job, is_under_way)
    host.pull_cable()
    try:
        check(job.result(LIMIT_SECONDS))
        assert {row.name: row.state for row in job.progress.machines}["two"] == "ready"
    finally:
        host.plug_cable()
    wait_for(pool, lambda: len([row for row in pool.describe()["workers"] if row["state"] != "lost"]) == 2)
    again = start_job(pool)
    check(again.result(LIMIT_SECONDS))
    assert set(again.stats["machines"]) == {"one", "two"}


def wait_for(pool: nbdist.Pool, condition: Callable[[], bool]) -> None:
    """Asks the pool again and again, with a call between: that takes its time on the other side."""
    import time

    deadline = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, pool.describe()["workers"]
        pool.run(int)


@pytest.mark.slow
def test_an_agent_is_frozen_and_thawed(pair: Any, freeze: Callable[[int], None]) -> None:
    _, pool, _, worker, _, _ = pair
    job = start_job(pool)
    until(job, is_under_way)
    agent = agent_of(worker)
    freeze(agent)
    wait_for(pool, lambda: any(row["name"] == "one" and row["state"] == "lost" for row in rows(pool, "one")))
    check(job.result(LIMIT_SECONDS))
    os.kill(agent, signal.SIGCONT)
    wait_for(pool, lambda: any(row["state"] != "lost" for row in rows(pool, "one")))
    again = start_job(pool)
    check(again.result(LIMIT_SECONDS))
    assert "one" in again.stats["machines"]


@pytest.mark.slow
def test_a_hub_is_frozen_and_thawed_and_nobody_is_lost_for_that(
    connect: Any, hub_process: Callable[[], psutil.Process], freeze: Callable[[int], None], tmp_path: Path
) -> None:
    pool = connect(workers=2)
    pool.wait(slots=2, timeout=JOIN_SECONDS)
    hub = hub_process()
    begun, over, seconds = tmp_path / "begun", tmp_path / "over", FREEZE_SECONDS

    def work(x: int) -> int:
        import time
        from pathlib import Path

        if x == 0:
            Path(begun).touch()
            time.sleep(seconds)
            Path(over).touch()
        return x

    job = pool.map(work, range(1_000))
    until(job, lambda job: begun.exists())
    freeze(hub.pid)
    until(job, lambda job: over.exists())
    os.kill(hub.pid, signal.SIGCONT)
    assert job.result(LIMIT_SECONDS) == list(range(1_000))
    (row,) = pool.describe()["workers"]
    assert row["joined_seconds"] > seconds, "it was lost, and has come back"
    assert "lost" not in pool.explain(job, 0)


def rows(pool: nbdist.Pool, name: str) -> list[dict[str, Any]]:
    """What the pool says of a machine; of one that it no longer lists: that it is lost."""
    found = [row for row in pool.describe()["workers"] if row["name"] == name]
    return found or [{"name": name, "state": "lost"}]


def test_all_machines_die_and_others_come(start: Any, connect: Any, tmp_path: Path) -> None:
    hub = start.hub()
    pool = connect(hub.connect)
    first = start.worker(hub.invite, "--slots", "2", "--name", "first")
    pool.wait(slots=2, timeout=JOIN_SECONDS)
    job = start_job(pool)
    until(job, lambda job: job.progress.done > ITEMS // 10)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    start.worker(hub.invite, "--slots", "2", "--name", "second")
    check(job.result(LIMIT_SECONDS))
    assert set(job.stats["machines"]) == {"first", "second"}


def test_a_machine_leaves_politely(start: Any, connect: Any) -> None:
    hub = start.hub()
    pool = connect(hub.connect)
    for name in ("stays", "leaves"):
        worker = start.worker(hub.invite, "--slots", "1", "--name", name)
    pool.wait(workers=2, timeout=JOIN_SECONDS)
    job = start_job(pool)
    until(job, is_under_way)
    worker.popen.send_signal(signal.SIGINT)
    assert worker.wait() == 0
    worker.line("leaving as soon as running items are done")
    check(job.result(LIMIT_SECONDS))
    assert set(job.stats["machines"]) == {"stays", "leaves"}


def test_a_hub_that_was_killed_comes_back_for_the_next_job(start: Any, connect: Any) -> None:
    hub = start.hub()
    worker = start.worker(hub.invite, "--slots", "1")
    pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    assert pool.map(abs, range(100)).result(LIMIT_SECONDS) == list(range(100))
    os.kill(hub.process.pid, signal.SIGKILL)
    hub.process.wait()
    again = start.hub("--port", str(hub.address.port), folder=hub.folder)
    assert again.connect == hub.connect
    job = pool.map(abs, range(100))
    assert job.result(JOIN_SECONDS) == list(range(100))
    assert worker.popen.poll() is None
