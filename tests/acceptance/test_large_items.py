"""Items of any size: each goes once, to the machine that runs it, and leaves nothing behind.

Both ways: files that are mapped on one machine, and HTTP with the credential, as between machines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import nbdist

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
COUNT = 30
VALUES = 625_000
ITEM_BYTES = 8 * VALUES
MAX_HELD_BYTES = 8 * ITEM_BYTES
"""At the hub: three items for each of two slots, one that is being written, and one that ends."""
MAX_GROWTH_BYTES = 120 * 1024 * 1024
WATCH_SECONDS = 0.01


@dataclass
class Place:
    """A pool and where its hub keeps blobs."""

    pool: nbdist.Pool
    folder: Path
    hub: psutil.Process
    workers: list[Any]

    def held(self) -> int:
        """Bytes of files in the folder."""
        sizes = []
        for part in ("blobs", "incoming"):
            for file in (self.folder / part).iterdir():
                with contextlib.suppress(FileNotFoundError):
                    sizes.append(file.stat().st_size)
        return sum(sizes)


@pytest.fixture
def mapped(connect: Callable[..., nbdist.Pool], hub_process: Callable[[], psutil.Process]) -> Place:
    """A private pool: everybody reads the hub's folder."""
    pool = connect(workers=2)
    pool.wait(slots=2)
    folder = pool._engine._connection.folder  # type: ignore[attr-defined]
    return Place(pool, folder, hub_process(), [])


@pytest.fixture
def remote(start: Any, connect: Callable[..., nbdist.Pool], tmp_path: Path) -> Place:
    """A hub whose folder nobody else can prove to read: two workers of one slot."""
    folder = tmp_path / "blobs"
    hub = start.hub("--blobs", str(folder))
    (folder / "nonce").unlink()
    workers = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        env = {"NBDIST_INVITE": hub.invite, "TMPDIR": str(tmp_path / name)}
        workers.append(start.nbdist("worker", "--slots", "1", "--name", name, env=env))
    pool = connect(hub.connect)
    pool.wait(workers=2)
    return Place(pool, folder, psutil.Process(hub.process.pid), workers)


@pytest.fixture(params=["mapped", "remote"])
def place(request: pytest.FixtureRequest) -> Place:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Place)
    found.pool.map(abs, range(1_000)).result(LIMIT_SECONDS)  # everything is imported
    return found


class Watch:
    """The most that the hub has held, on disk and on top of its memory."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._first = place.hub.memory_info().rss
        self.held = self.growth = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            self.held = max(self.held, self._place.held())
            self.growth = max(self.growth, self._place.hub.memory_info().rss - self._first)


def arrays(count: int = COUNT) -> Iterator[np.ndarray]:
    return (np.full(VALUES, index, dtype=float) for index in range(count))


ANSWER = [float(VALUES * (index + 1)) for index in range(COUNT)]


@pytest.mark.parametrize("kind", [list, iter])
def test_large_items_of_a_list_and_of_a_generator(place: Place, kind: Callable[..., Any]) -> None:
    def changed_sum(array: np.ndarray) -> float:  # of this module it would take that along, which stays at the hub
        array += 1  # the item is the function's own: it may be written to
        return float(array.sum())

    with Watch(place) as watch:
        job = place.pool.map(changed_sum, kind(arrays()))
        assert job.result(LIMIT_SECONDS) == ANSWER
    assert ITEM_BYTES <= watch.held <= MAX_HELD_BYTES
    assert place.held() == 0
    assert job.item(COUNT - 1)[0] == COUNT - 1 if kind is list else True


def test_memory_does_not_grow_with_the_bytes(place: Place) -> None:
    count = 100
    grown, first = 0, psutil.Process().memory_info().rss

    def watched() -> Iterator[np.ndarray]:
        nonlocal grown
        for array in arrays(count):
            grown = max(grown, psutil.Process().memory_info().rss - first)
            yield array

    with Watch(place) as watch:
        values = place.pool.map(lambda array: float(array[0]), watched()).result(LIMIT_SECONDS)
    assert values == list(map(float, range(count)))
    assert watch.growth < MAX_GROWTH_BYTES / 4
    assert grown < MAX_GROWTH_BYTES
    assert watch.held <= MAX_HELD_BYTES


def test_one_item_of_sixty_megabytes_among_small_ones(place: Place) -> None:
    big = os.urandom(60_000_000)
    found = place.pool.map(lambda item: (len(item), bytes(item[-9:])), iter([b"", big, b"x"])).result(LIMIT_SECONDS)
    assert found == [(0, b""), (60_000_000, big[-9:]), (1, b"x")]
    assert place.held() == 0


def test_calls_with_large_arguments_are_items_too(place: Place) -> None:
    def add(array: np.ndarray, more: float) -> float:
        return float(array.sum()) + more

    with Watch(place) as watch:
        futures = [place.pool.submit(add, np.full(250_000, i), 0.5) for i in range(50)]
        assert [future.result(LIMIT_SECONDS) for future in futures] == [250_000.0 * i + 0.5 for i in range(50)]
    assert watch.held <= 20_000_000
    assert place.held() == 0
    assert len(place.pool.jobs) == 2  # they are calls of one open job


def test_large_arguments_of_a_single_run_are_kept_by_nobody(place: Place) -> None:
    def add(array: np.ndarray, more: float) -> float:
        return float(array.sum()) + more

    assert place.pool.run(add, np.ones(VALUES), 0.5) == VALUES + 0.5
    assert place.pool.run(add, np.ones(VALUES), more=1.5) == VALUES + 1.5
    assert place.held() == 0


def test_an_item_is_sent_to_the_machine_that_runs_it_alone(remote: Place, tmp_path: Path) -> None:
    """Each worker keeps only what its slots have, and nothing in the end."""
    folders = [str(folder) for name in ("one", "two") for folder in (tmp_path / name).glob("nbdist-blobs-*")]
    assert len(folders) == 2

    def size(file: Path) -> int:
        try:
            return file.stat().st_size
        except FileNotFoundError:
            return 0  # the other slot has just done with it

    def seen(array: np.ndarray) -> list[int]:
        return [sum(map(size, Path(folder).iterdir())) for folder in folders]

    found = remote.pool.map(seen, arrays(), task_size=1).result(LIMIT_SECONDS)
    assert max(map(max, found)) <= 4 * ITEM_BYTES
    assert max(map(max, found)) >= ITEM_BYTES
    deadline = time.monotonic() + LIMIT_SECONDS
    while (left := [[file.name for file in Path(folder).iterdir()] for folder in folders]) != [["lock"], ["lock"]]:
        assert time.monotonic() < deadline, left  # the workers hear of the end when the notebook does
        time.sleep(0.02)


def test_a_machine_is_killed_in_the_middle(remote: Place, tmp_path: Path) -> None:
    pool, killed = remote.pool, tmp_path / "killed"

    def slow(array: np.ndarray) -> float:
        import time

        time.sleep(0.02)
        while array[0] >= 15 and not killed.exists():
            time.sleep(0.01)
        return float(array.sum())

    job = pool.map(slow, arrays())
    while len(job.progress.machines) < 2 or job.progress.done < 4:
        assert not job.wait(0.02)
    family = remote.workers[0].family()
    os.kill(remote.workers[0].pid, signal.SIGKILL)
    killed.touch()
    assert job.result(LIMIT_SECONDS) == [float(VALUES * index) for index in range(COUNT)]
    _, alive = psutil.wait_procs(family, timeout=LIMIT_SECONDS)
    assert not alive
    assert remote.held() == 0


def test_a_job_that_is_cancelled_leaves_nothing(place: Place) -> None:
    gate = threading.Event()

    def items() -> Iterator[np.ndarray]:
        for number, array in enumerate(arrays()):
            if number == 3:
                gate.set()
            yield array

    def stuck(array: np.ndarray) -> None:
        import time

        time.sleep(600)  # ended by the cancel

    job = place.pool.map(stuck, items())
    assert gate.wait(LIMIT_SECONDS)
    job.cancel()
    assert job.wait(LIMIT_SECONDS)
    place.pool.map(abs, range(10)).result(LIMIT_SECONDS)
    for _ in range(200):  # an upload may have been under way
        if place.held() == 0:
            break
        place.pool.run(int)
    assert place.held() == 0
