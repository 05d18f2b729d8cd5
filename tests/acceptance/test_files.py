"""Files that items are given and files that they write, with workers on other machines.

The hub's folder is nobody's but its own, so that everything goes by HTTP, and the notebook does not know the secret of
the workers' machine.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import psutil
import pytest

import nbdist
from nbdist.errors import ResultError
from nbdist.filing import here

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0
MAX_GROWTH_BYTES = 100 * 1024 * 1024
WATCH_SECONDS = 0.01


@pytest.fixture(scope="module", autouse=True)
def _by_value() -> Iterator[None]:
    module = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(module)
    yield
    cloudpickle.unregister_pickle_by_value(module)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the notebook, which is on a machine of its own."""
    found = tmp_path / "notebook"
    found.mkdir()
    monkeypatch.chdir(found)
    monkeypatch.setattr(here, "folder", lambda: tmp_path / "desk")
    return found


@pytest.fixture
def hub(start: Any, tmp_path: Path) -> Any:
    blobs = tmp_path / "blobs"
    found = start.hub("--blobs", str(blobs))
    (blobs / "nonce").unlink()
    return found


@pytest.fixture
def worker(start: Any, hub: Any, tmp_path: Path) -> Any:
    (tmp_path / "lab").mkdir()
    words = ("worker", "--slots", "2", "--name", "lab-2")
    return start.nbdist(*words, env={"NBDIST_INVITE": hub.invite, "TMPDIR": str(tmp_path / "lab")})


@pytest.fixture
def pool(hub: Any, worker: Any, connect: Any) -> nbdist.Pool:
    found: nbdist.Pool = connect(hub.connect)
    found.wait(workers=1, timeout=LIMIT_SECONDS)
    return found


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def files_of_worker(tmp_path: Path) -> list[str]:
    """What the worker has on its disk beside its own."""
    found = [path.name for path in (tmp_path / "lab").rglob("*") if path.is_file()]
    return sorted(name for name in found if name != "lock")


# --- where items start ------------------------------------------------------------------------------------------------


def test_elsewhere_items_start_in_an_empty_folder_and_what_they_leave_is_named(
    pool: nbdist.Pool, folder: Path, tmp_path: Path
) -> None:
    def work(i: int) -> tuple[list[str], str]:
        found = os.listdir(".")
        Path(f"out-{i}.csv").write_text("x")
        return found, os.getcwd()

    job = pool.map(work, range(2), task_size=2)
    (first, second) = job.result(LIMIT_SECONDS)
    assert (first[0], second[0]) == ([], ["out-0.csv"])
    assert tmp_path / "lab" in Path(first[1]).parents
    (notice,) = job.progress.notices
    assert notice.text == (
        "2 files were left on lab-2 and removed: out-0.csv, out-1.csv; write to nbdist.files(), and --files DIR "
        "(files=) brings them home"
    )
    pool.clear()
    assert pool.map(lambda i: os.listdir("."), range(1)).result(LIMIT_SECONDS) == [[]]


def test_a_file_that_is_only_beside_the_notebook_is_suggested(pool: nbdist.Pool, notebook: Any) -> None:
    Path("data.csv").write_text("1\n2\n")
    cell = "%%distribute i in range(2) -> lines\nlen(open({}).readlines())"
    error = notebook.fail(cell.format("'data.csv'"))
    assert isinstance(error, FileNotFoundError)
    assert "data.csv is beside the notebook but not on lab-2: use nbdist.file('data.csv')" in notebook.printed
    notebook.run("import nbdist\ndata = nbdist.file('data.csv')", cell.format("data"))
    assert notebook["lines"] == [2, 2]


# --- files that items are given ---------------------------------------------------------------------------------------


def test_files_are_sent_once_and_lie_on_the_worker(pool: nbdist.Pool, worker: Any) -> None:
    data = os.urandom(3_000_000)
    Path("data.bin").write_bytes(data)
    file = nbdist.file("data.bin")

    def read(i: int) -> tuple[bool, str]:
        return file.read_bytes() == data_there(file), os.path.basename(file)

    def data_there(path: Any) -> bytes:
        with open(path, "rb") as opened:
            return opened.read()

    sent = bytes_received(worker)
    assert pool.map(read, range(8)).result(LIMIT_SECONDS) == [(True, "data.bin")] * 8
    assert bytes_received(worker) - sent < 2 * len(data)
    sent = bytes_received(worker)
    assert pool.map(lambda i: len(file.read_bytes()), range(8)).result(LIMIT_SECONDS) == [len(data)] * 8
    assert bytes_received(worker) - sent < 500_000


def bytes_received(worker: Any) -> int:
    """What the agent has read, from wherever."""
    return psutil.Process(worker.pid).io_counters().read_chars


def test_files_as_items_go_and_leave_nothing(pool: nbdist.Pool, tmp_path: Path) -> None:
    for number in range(6):
        Path(f"{number}.bin").write_bytes(bytes([number]) * 2_000_000)
    files = [nbdist.file(f"{number}.bin") for number in range(6)]
    values = pool.map(lambda path: (path.name, path.read_bytes()[5]), files).result(LIMIT_SECONDS)
    assert values == [(f"{number}.bin", number) for number in range(6)]
    wait_until(lambda: not [name for name in files_of_worker(tmp_path) if name.endswith(".bin")])


def wait_until(condition: Any) -> None:
    limit = time.monotonic() + LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < limit
        threading.Event().wait(WATCH_SECONDS)


# --- files that items write -------------------------------------------------------------------------------------------


def test_a_cell_brings_files_home(pool: nbdist.Pool, notebook: Any, folder: Path, tmp_path: Path) -> None:
    cell = "%%distribute i in range(4) --files '{}' -> done\n(nbdist.files() / 'plot.txt').write_text(str(i))\ni"
    notebook.run("import nbdist", cell.format("my plots"))
    plots = {f"plot-{i}.txt": str(i).encode() for i in range(4)}
    assert tree(folder / "my plots") == plots
    assert "got the items' numbers: plot.txt" in notebook.printed
    notebook.run(cell.format("elsewhere"))  # the same cell: its results are known, and so are its files
    assert "not computed again" in notebook.printed
    assert tree(folder / "elsewhere") == plots
    notebook.run(cell.format("elsewhere").replace("-> done", "-> done --fresh"))
    assert tree(folder / "elsewhere") == plots
    wait_until(lambda: not [name for name in files_of_worker(tmp_path) if "plot" in name or "part" in name])
    assert "which is a file" in str(notebook.fail(cell.format("my plots/plot-0.txt")))


def test_a_large_file_is_never_in_memory(pool: nbdist.Pool, hub: Any, folder: Path) -> None:
    size = 300_000_000

    def work(i: int) -> None:
        with open(nbdist.files() / "large", "wb") as file:
            file.seek(size)
            file.write(b"end")

    processes = {process: process.memory_info().rss for process in [psutil.Process(), *hub.process.family()]}
    peaks = dict.fromkeys(processes, 0)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(WATCH_SECONDS):
            for process, before in processes.items():
                peaks[process] = max(peaks[process], process.memory_info().rss - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        pool.map(work, range(1), files="out").result(LIMIT_SECONDS)
    finally:
        over.set()
        watcher.join()
    assert (folder / "out" / "large").stat().st_size == size + 3
    assert all(growth < MAX_GROWTH_BYTES for growth in peaks.values()), peaks


def test_files_come_once_whatever_dies(pool: nbdist.Pool, folder: Path, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()

    def work(i: int) -> int:
        target = nbdist.files()
        (target / f"{i}.txt").write_text(f"{i}")
        if i % 10 == 3 and not (marks / str(i)).exists():
            (marks / str(i)).touch()
            (target / f"half-{i}").write_text("half")
            os._exit(1)
        return i

    job = pool.map(work, range(40), files="out")
    assert job.result(LIMIT_SECONDS) == list(range(40))
    assert tree(folder / "out") == {f"{i}.txt": str(i).encode() for i in range(40)}
    assert sorted(job.files) == list(range(40))


def test_a_resumed_job_has_all_files(pool: nbdist.Pool, folder: Path, tmp_path: Path) -> None:
    mended = tmp_path / "mended"

    def work(i: int) -> int:
        (nbdist.files() / f"{i}.txt").write_text(f"{i}")
        if i == 7 and not mended.exists():
            raise ValueError("seven")
        return i

    first = pool.map(work, range(12), on_error="keep", files="out")
    first.wait(LIMIT_SECONDS)
    assert sorted(first.files) == [i for i in range(12) if i != 7]
    mended.touch()
    again = pool.map(work, range(12), files="whole", resume=first)
    assert again.result(LIMIT_SECONDS) == list(range(12))
    assert tree(folder / "whole") == {f"{i}.txt": str(i).encode() for i in range(12)}


def test_a_job_that_is_attached_to_brings_its_files_too(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> int:
        (nbdist.files() / f"{i}.txt").write_text(f"{i}")
        return i

    job = pool.map(work, range(5), files="out")
    assert job.result(LIMIT_SECONDS) == list(range(5))
    again = pool.attach(job.id, files="later")
    assert again.result(LIMIT_SECONDS) == list(range(5))
    assert tree(folder / "later") == tree(folder / "out")
    assert pool.attach(job.id).result(LIMIT_SECONDS) == list(range(5))


def test_a_worker_whose_disk_is_full_says_so(pool: nbdist.Pool, folder: Path) -> None:
    def work(i: int) -> int:
        from nbdist.filing import archive

        def full(self: Any, data: bytes) -> None:
            raise OSError(28, "No space left on device")

        archive.SparseWriter.write = full  # type: ignore[method-assign]
        (nbdist.files() / "a").write_text("x")
        return i

    with pytest.raises(
        ResultError, match=r"item 0.*from lab-2 \(the files of item 0 cannot be sent: No space left on device"
    ):
        pool.map(work, range(1), files="out").result(LIMIT_SECONDS)
