"""Workers behind cables that lose every fifth packet and delay the others by 200 ms, in both directions."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import chaos
import numpy as np
import pytest

import nbdist
from benchmarks import kinds

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]
LIMIT_SECONDS = 300.0
JOIN_SECONDS = 60.0
LARGE_EVERY = 20_000
LARGE_BYTES = 30_000
LISTENING = """
import pathlib, sys, nbdist
_, hub, begun, go_on = sys.argv
def wait(x):
    import pathlib, time
    pathlib.Path(begun).touch()
    while not pathlib.Path(go_on).exists():
        time.sleep(0.05)
    return x
job = nbdist.connect(hub).map(wait, range(3))
while not pathlib.Path(begun).exists():
    job.wait(0.05)
print("it runs", flush=True)
print(job.result(), flush=True)
"""
"""A notebook that waits for a job, which waits for a file."""


@pytest.fixture(scope="module")
def far(start_once: Any, lan: Any) -> Iterator[Any]:
    """(pool, workers): the hub and the notebook have good cables."""
    hub = start_once.hub("--lan", host=lan.host("hub"))
    hosts = [lan.host(name, seed=chaos.seed() + number) for number, name in enumerate(("one", "two"))]
    for host in hosts:
        host.bad.spoil()
    workers = [start_once.worker(hub.invite, "--slots", "1", host=host) for host in hosts]
    with nbdist.connect(hub.connect) as pool:
        pool.wait(workers=2, timeout=JOIN_SECONDS)
        yield pool, workers
    for host in hosts:
        host.bad.mend()


@pytest.mark.slow
def test_small_and_larger_results_all_arrive_and_nobody_is_lost(far: Any) -> None:
    pool, workers = far
    steps, every, size = kinds.MOST_STEPS, LARGE_EVERY, LARGE_BYTES

    def work(x: int) -> Any:
        import random

        return random.Random(x).randbytes(size) if x % every == 0 else (x, sum(range(x % steps)))

    values = pool.map(work, range(kinds.ITEMS)).result(LIMIT_SECONDS)
    expected: list[Any] = list(kinds.ANSWER)
    expected[::every] = [random.Random(x).randbytes(size) for x in range(0, kinds.ITEMS, every)]
    assert list(values) == expected
    assert not [worker.text for worker in workers if "no sign of life" in worker.text]


@pytest.mark.slow
def test_blobs_arrive(far: Any) -> None:
    pool, workers = far
    array = np.random.default_rng(chaos.seed()).random(60_000)

    def work(x: int) -> Any:
        return array[:40_000] * x if x % 2_000 == 0 else array[x]

    values = pool.map(work, range(4_000)).result(LIMIT_SECONDS)
    assert len(values) == 4_000
    assert all(np.array_equal(v, array[:40_000] * x if x % 2_000 == 0 else array[x]) for x, v in enumerate(values))
    assert not [worker.text for worker in workers if "report this" in worker.text]


@pytest.mark.slow
def test_who_only_listens_notices_that_the_hub_has_lost_its_power(start: Any, lan: Any, tmp_path: Any) -> None:
    """The hub says no good-bye, and the notebook has nothing to say: only probes can find out."""
    machine = lan.host("hub")
    hub = start.hub("--lan", "--blobs", str(tmp_path / "blobs"), host=machine)
    start.worker(hub.invite, "--slots", "1", host=lan.host("one"))
    begun, go_on = tmp_path / "begun", tmp_path / "go on"
    notebook = start.script(LISTENING, hub.connect, str(begun), str(go_on), host=lan.host("notebook"))
    notebook.line("it runs", JOIN_SECONDS)
    machine.pull_cable()
    hub.process.popen.kill()
    hub.process.wait()
    lan.lose_power(machine)
    start.hub("--lan", "--blobs", str(tmp_path / "blobs"), host=machine, folder=hub.folder)
    go_on.touch()
    notebook.line(r"\[0, 1, 2\]", JOIN_SECONDS)
    assert notebook.wait(JOIN_SECONDS) == 0
