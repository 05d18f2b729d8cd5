"""A hub whose disk is full, or whose files are damaged, of another version or in use, says so and loses nothing."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nbdist
from nbdist.errors import JobCancelledError, JobRefusedError, NbdistError

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
JOIN_SECONDS = 60.0
SMALL_BYTES = 2 * 1024**2
LARGE_BYTES = 64 * 1024**2
RESULT_BYTES = 4_000
JOURNAL = "journal.sqlite3"


def make_results() -> Any:
    """A function of an item whose results are not small, and cannot be told beforehand."""
    size = RESULT_BYTES

    def work(x: int) -> tuple[int, bytes]:
        import random
        import time

        time.sleep(0.0005)
        return x, random.Random(x).randbytes(size)

    return work


def check(values: Any, count: int) -> None:
    assert list(values) == [(x, random.Random(x).randbytes(RESULT_BYTES)) for x in range(count)]


def kill(hub: Any) -> None:
    os.kill(hub.process.pid, signal.SIGKILL)
    hub.process.wait()


def half_done(job: nbdist.Job) -> None:
    """Returns once results are at the hub."""
    while not job.wait(0.02):
        if job.progress.done > 100:
            return
    pytest.fail("the job was over too soon")


# --- full -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A directory on a disk of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small disk needs Linux and root")
    made = mount(folder, SMALL_BYTES)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=JOIN_SECONDS)


def mount(folder: Path, size: int, *more: str) -> subprocess.CompletedProcess[str]:
    options = ",".join([*more, f"size={size}"])
    words = ["mount", "-t", "tmpfs", "-o", options, "nbdist-test", str(folder)]
    return subprocess.run(words, capture_output=True, text=True, timeout=JOIN_SECONDS, check=False)


def test_a_full_disk_holds_the_job_up_and_loses_nothing(small_disk: Path, start: Any, connect: Any) -> None:
    hub = start.hub(folder=small_disk / "state")
    start.worker(hub.invite, "--slots", "2")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    job = pool.map(make_results(), range(2_000))
    hub.process.line("jobs wait until there is room", LIMIT_SECONDS)
    told = threading.Event()
    while not job.wait(0.05) and not told.is_set():
        if any("make room there" in notice.text for notice in job.progress.notices):
            told.set()
    assert told.is_set(), "the notebook was not told"
    assert job.outcome is None
    with pytest.raises(JobRefusedError, match="the hub's disk is full"):
        pool.map(abs, range(3)).result(LIMIT_SECONDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert mount(small_disk, LARGE_BYTES, "remount").returncode == 0
        hub.process.line("there is room again", LIMIT_SECONDS)
        check(job.result(LIMIT_SECONDS), 2_000)


def test_a_hub_that_is_killed_while_its_disk_is_full_loses_nothing_either(
    small_disk: Path, start: Any, connect: Any
) -> None:
    hub = start.hub(folder=small_disk / "state")
    start.worker(hub.invite, "--slots", "2")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    job = pool.map(make_results(), range(2_000))
    hub.process.line("jobs wait until there is room", LIMIT_SECONDS)
    kill(hub)
    assert mount(small_disk, LARGE_BYTES, "remount").returncode == 0
    start.hub(folder=hub.folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(job.result(LIMIT_SECONDS), 2_000)


def test_a_hub_that_has_no_room_to_start_names_the_file(small_disk: Path, start: Any) -> None:
    hub = start.hub(folder=small_disk / "state")
    hub.process.end()
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", 0) as filler:
        while True:
            filler.write(bytes(4096))
    refused = start.nbdist("hub", "--state", hub.folder)
    assert refused.wait() == 2
    assert "No space left on device" in refused.text or "disk is full" in refused.text
    (small_disk / "filler").unlink()
    assert start.hub(folder=hub.folder).connect == hub.connect


def test_a_file_of_results_waits_for_room_and_loses_nothing(small_disk: Path, start: Any, connect: Any) -> None:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "2")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    path = small_disk / "values.csv"
    job = pool.map(lambda x: f"{x:0500}", range(20_000), to=path)
    while not any("waits for room on its disk" in notice.text for notice in job.progress.notices):
        assert not job.wait(0.05)
    assert mount(small_disk, LARGE_BYTES, "remount").returncode == 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert job.result(LIMIT_SECONDS).rows == 20_000
    assert path.read_text() == "index,item,value\n" + "".join(f"{x},{x},{x:0500}\n" for x in range(20_000))
    assert list(small_disk.iterdir()) == [path]
    assert any("there is room again" in notice.text for notice in job.progress.notices)


# --- damaged ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool_and_hub(start: Any, connect: Any) -> tuple[nbdist.Pool, Any]:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "2")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    return pool, hub


def still_works(pool: nbdist.Pool) -> None:
    assert pool.map(abs, range(200)).result(LIMIT_SECONDS) == list(range(200))


def is_kept_aside(named: str, pool: nbdist.Pool, job: nbdist.Job) -> None:
    """The damaged bytes are where the hub says, its job is told to be over, and it works."""
    assert set(Path(named).read_bytes()) == {0xFF}
    with pytest.raises(JobCancelledError, match="does not know this job"):
        job.result(LIMIT_SECONDS)
    still_works(pool)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_damaged_journal_is_kept_aside_and_named(pool_and_hub: tuple[nbdist.Pool, Any], start: Any) -> None:
    pool, hub = pool_and_hub
    job = pool.map(make_results(), range(5_000))
    half_done(job)
    kill(hub)
    journal, before = hub.folder / JOURNAL, set((hub.folder / "results").iterdir())
    for path in (journal, journal.with_name(f"{JOURNAL}-wal")):
        path.write_bytes(b"\xff" * path.stat().st_size)
    again = start.hub(folder=hub.folder)
    named = again.process.line(r"the journal of jobs is damaged .*: it is kept as (\S+),")[1]
    is_kept_aside(named, pool, job)
    assert len(list((hub.folder / "results").iterdir())) >= len(before), "something was deleted"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_damaged_wal_beside_a_good_journal_is_kept_aside_and_named(
    pool_and_hub: tuple[nbdist.Pool, Any], start: Any
) -> None:
    pool, hub = pool_and_hub
    job = pool.map(make_results(), range(5_000))
    half_done(job)
    kill(hub)
    wal, before = hub.folder / f"{JOURNAL}-wal", set((hub.folder / "results").iterdir())
    wal.write_bytes(b"\xff" * wal.stat().st_size)
    again = start.hub(folder=hub.folder)
    named = again.process.line(rf"{wal} is damaged: a copy is kept as (\S+); .* is lost")[1]
    is_kept_aside(named, pool, job)
    assert len(list((hub.folder / "results").iterdir())) >= len(before), "something was deleted"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["numbers", "items"])
def test_damaged_results_are_kept_aside_and_named_and_never_give_a_wrong_answer(
    pool_and_hub: tuple[nbdist.Pool, Any], start: Any, kind: str
) -> None:
    pool, hub = pool_and_hub
    items: Any = range(3_000) if kind == "numbers" else (x for x in range(3_000))
    job = pool.map(make_results(), items)
    half_done(job)
    kill(hub)
    (results,) = (hub.folder / "results").iterdir()
    data = bytearray(results.read_bytes())
    data[len(data) // 3] ^= 0xFF
    results.write_bytes(data)
    again = start.hub(folder=hub.folder)
    named = again.process.line(r"a file with results is damaged .* a copy is kept as (\S+);")[1]
    assert Path(named).read_bytes() == bytes(data)
    with pytest.raises(JobCancelledError, match="damaged"):  # it has results that the hub has no more
        job.result(LIMIT_SECONDS)
    still_works(pool)


@pytest.mark.parametrize("how", ["gone", "emptied"])
def test_a_job_that_is_over_and_whose_results_are_lost_says_so_to_who_wants_them(start: Any, how: str) -> None:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "2")
    with nbdist.connect(hub.connect) as pool:
        job = pool.map(make_results(), range(300))
        check(job.result(LIMIT_SECONDS), 300)
    kill(hub)
    (results,) = (hub.folder / "results").iterdir()
    if how == "gone":
        results.unlink()
    else:
        results.write_bytes(b"")
    start.hub(folder=hub.folder)
    with nbdist.connect(hub.connect) as pool:
        with pytest.raises(NbdistError, match=rf"job {job.id} cannot be shown: a file with its results is damaged, or"):
            pool.attach(job.id)
        check(pool.map(make_results(), range(300), resume=job.id).result(LIMIT_SECONDS), 300)


def test_a_job_that_is_over_and_whose_results_are_damaged_says_so_when_they_are_read(start: Any) -> None:
    hub = start.hub()
    start.worker(hub.invite, "--slots", "2")
    with nbdist.connect(hub.connect) as pool:
        job = pool.map(make_results(), range(300))
        check(job.result(LIMIT_SECONDS), 300)
    kill(hub)
    (results,) = (hub.folder / "results").iterdir()
    results.write_bytes(b"\xff" * results.stat().st_size)
    again = start.hub(folder=hub.folder)
    with nbdist.connect(hub.connect) as pool:
        attached = pool.attach(job.id)
        with pytest.raises(JobCancelledError, match="a file with its results is damaged"):
            attached.result(LIMIT_SECONDS)
        again.process.line(rf"results of job {job.id} cannot be read: {results}, byte 0")
        still_works(pool)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("when", ["the hub starts", "it is sent"])
def test_a_damaged_blob_is_set_aside_and_asked_for_again(start: Any, connect: Any, tmp_path: Path, when: str) -> None:
    blobs, go_on = tmp_path / "blobs", tmp_path / "go on"
    hub = start.hub("--blobs", str(blobs))
    (blobs / "nonce").unlink()  # nobody maps what is there
    first = start.worker(hub.invite, "--slots", "1")
    pool: nbdist.Pool = connect(hub.connect)
    pool.wait(workers=1, timeout=JOIN_SECONDS)
    array = np.arange(100_000)

    def work(x: int) -> int:
        import time

        while x >= 200 and not go_on.exists():
            time.sleep(0.01)
        return int(array[x * 100])

    job = pool.map(work, range(400))
    half_done(job)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    if when == "the hub starts":
        kill(hub)
    (file,) = (blobs / "blobs").iterdir()
    damaged = b"\xff" * file.stat().st_size
    file.write_bytes(damaged)
    if when == "the hub starts":
        hub = start.hub("--blobs", str(blobs), folder=hub.folder)
        (blobs / "nonce").unlink()
    go_on.touch()
    start.worker(hub.invite, "--slots", "1")
    named = hub.process.line(rf"blob {file} is damaged: it is kept as (\S+), and is to be sent again", LIMIT_SECONDS)[1]
    assert job.result(LIMIT_SECONDS) == [100 * x for x in range(400)]
    assert Path(named).read_bytes() == damaged


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_job_whose_data_is_lost_can_be_resumed_with_what_it_has_done(start: Any, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    hub = start.hub("--blobs", str(blobs))
    start.worker(hub.invite, "--slots", "2")
    array = np.arange(100_000)

    def work(x: int) -> int:
        import time

        time.sleep(0.01)
        return int(array[x])

    with nbdist.connect(hub.connect) as pool:
        job = pool.map(work, range(400))
        half_done(job)
        kill(hub)
    shutil.rmtree(blobs)
    start.hub("--blobs", str(blobs), folder=hub.folder)
    with nbdist.connect(hub.connect) as pool:
        with pytest.raises(NbdistError, match=rf"its data is not at the hub any more .* --resume {job.id}"):
            pool.attach(job.id)
        pool.cancel(job.id)
        again = pool.map(work, range(400), resume=job.id)
        assert again.result(LIMIT_SECONDS) == list(range(400))
        assert again.resumed is not None
        assert again.resumed.items > 100


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_journal_of_a_newer_version_is_refused_and_not_touched(
    pool_and_hub: tuple[nbdist.Pool, Any], start: Any
) -> None:
    pool, hub = pool_and_hub
    job = pool.map(make_results(), range(3_000))
    half_done(job)
    kill(hub)
    with contextlib.closing(sqlite3.connect(hub.folder / JOURNAL)) as journal:
        journal.execute("pragma user_version = 99")
    before = {path: path.read_bytes() for path in (hub.folder / "results").iterdir()}
    refused = start.nbdist("hub", "--state", hub.folder)
    assert refused.wait() == 2
    refused.line(rf"{JOURNAL} was written by a newer nbdist .*--state DIR")
    assert {path: path.read_bytes() for path in (hub.folder / "results").iterdir()} == before
    with contextlib.closing(sqlite3.connect(hub.folder / JOURNAL)) as journal:
        journal.execute("pragma user_version = 1")
    start.hub(folder=hub.folder)
    check(job.result(LIMIT_SECONDS), 3_000)


def test_of_two_hubs_on_one_directory_the_second_says_so_and_the_first_goes_on(
    pool_and_hub: tuple[nbdist.Pool, Any], start: Any
) -> None:
    pool, hub = pool_and_hub
    job = pool.map(make_results(), range(1_000))
    second = start.nbdist("hub", "--state", hub.folder)
    assert second.wait() == 3
    second.line(rf"another hub already runs on {hub.folder}")
    check(job.result(LIMIT_SECONDS), 1_000)
