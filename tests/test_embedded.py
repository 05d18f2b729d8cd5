"""The pool of this machine: found, started once, private ones that leave nothing behind. Real hubs."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import psutil
import pytest
from machines import own_hub

import nbdist
from nbdist import embedded
from nbdist.engines.hub import open_engine
from nbdist.errors import AddressError, ConnectionFailedError, JobCancelledError

LIMIT_SECONDS = 60.0
pytestmark = pytest.mark.real


@pytest.fixture(autouse=True)
def own_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test has an embedded pool of its own, and ends it."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    yield tmp_path
    folder = str(embedded.state_folder())
    mine = [process for process in psutil.process_iter() if any(folder in word for word in command(process))]
    for process in mine:
        process.terminate()
    psutil.wait_procs(mine, timeout=LIMIT_SECONDS)


def command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def hubs() -> list[int]:
    """The process ids of the hubs on this test's folder."""
    folder = str(embedded.state_folder())
    found = [process for process in psutil.process_iter() if {"hub", folder} <= set(command(process))]
    return [process.pid for process in found if process.status() != psutil.STATUS_ZOMBIE]


def ready_file() -> dict[str, object]:
    data: dict[str, object] = json.loads((embedded.state_folder() / embedded.READY_FILE).read_text())
    return data


def test_looking_starts_nothing() -> None:
    assert embedded.running() is None
    with pytest.raises(ConnectionFailedError):
        embedded.find(urgent=False)
    assert not embedded.state_folder().exists()


def test_it_is_started_once_and_found_again() -> None:
    address = embedded.ensure_hub()
    assert embedded.running() == address
    assert embedded.ensure_hub() == address
    assert len(hubs()) == 1
    engine = open_engine(None, None)
    assert engine.address == address.shown
    assert engine.describe()["hub"]
    engine.close()


@pytest.mark.skipif(sys.platform == "win32", reason="a user's own folders are private there")
def test_nobody_else_can_read_its_secrets() -> None:
    embedded.ensure_hub()
    folder = embedded.state_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / embedded.READY_FILE).stat().st_mode) == 0o600


def test_no_secret_stands_in_arguments_or_environment() -> None:
    address = embedded.ensure_hub()
    for process in psutil.process_iter():
        words = command(process)
        if any(str(embedded.state_folder()) in word for word in words):
            assert not any(address.key in text for text in (*words, *process.environ().values()))


def test_two_that_start_it_at_once_get_the_same() -> None:
    code = "from nbdist import embedded; print(embedded.ensure_hub().url)"
    starters = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    urls = {starter.communicate(timeout=LIMIT_SECONDS)[0] for starter in starters}
    assert len(urls) == 1
    assert len(hubs()) == 1


def test_one_that_was_killed_is_started_again_at_the_same_address() -> None:
    address = embedded.ensure_hub()
    hub = psutil.Process(hubs()[0])
    hub.kill()
    psutil.wait_procs([hub], timeout=LIMIT_SECONDS)
    assert embedded.ensure_hub() == address
    assert len(hubs()) == 1


def test_a_stale_file_is_not_believed() -> None:
    folder = embedded.state_folder()
    folder.mkdir(parents=True)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale = {"connect": "ws://127.0.0.1:9/#key=x", "invite": "", "pid": gone.pid, "version": nbdist.__version__}
    (folder / embedded.READY_FILE).write_text(json.dumps(stale))
    assert embedded.running() is None
    assert embedded.ensure_hub().port != 9


def test_a_file_is_stale_when_its_lock_is_free_whoever_has_its_process_id_and_port_by_now() -> None:
    folder = embedded.state_folder()
    folder.mkdir(parents=True)
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"ws://127.0.0.1:{server.getsockname()[1]}/#key=x"
        stale = {"connect": url, "invite": "", "pid": other.pid, "version": nbdist.__version__}
        (folder / "lock").touch()
        (folder / embedded.READY_FILE).write_text(json.dumps(stale))
        assert embedded.running() is None
        embedded.end()
        assert other.poll() is None
        assert embedded.ensure_hub().url != url
    other.communicate()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": "x", "connect": 3}'])
def test_a_damaged_file_is_not_believed(text: str) -> None:
    folder = embedded.state_folder()
    folder.mkdir(parents=True)
    (folder / embedded.READY_FILE).write_text(text)
    assert embedded.running() is None


def test_a_hub_that_does_not_start_shows_its_log() -> None:
    folder = embedded.state_folder()
    folder.mkdir(parents=True)
    (folder / "results").write_text("where the hub wants a folder")
    with pytest.raises(ConnectionFailedError, match=r"ended with code[\s\S]*results is no directory"):
        embedded.ensure_hub()


def test_it_can_be_ended() -> None:
    embedded.ensure_hub()
    (hub,) = [psutil.Process(pid) for pid in hubs()]
    embedded.end()
    assert embedded.running() is None
    assert not psutil.wait_procs([hub], timeout=LIMIT_SECONDS)[1]
    embedded.end()


def test_a_private_pool_leaves_nothing_behind() -> None:
    pool = embedded.start_private(1)
    processes = [psutil.Process(process.pid) for process in pool._processes]
    folder = pool._folder
    assert embedded.running() is None
    engine = open_engine(pool.wait().url, None)
    engine.close()
    pool.close()
    pool.close()
    assert not any(process.is_running() for process in processes)
    assert not folder.exists()


def test_a_private_pool_ends_when_its_process_is_killed() -> None:
    code = (
        "import sys; from nbdist import embedded; pool = embedded.start_private(1); pool.wait();"
        "print(*[process.pid for process in pool._processes], flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    processes = [psutil.Process(int(pid)) for pid in owner.stdout.readline().split()]
    owner.kill()
    owner.communicate()
    _, alive = psutil.wait_procs(processes, timeout=LIMIT_SECONDS)
    assert processes
    assert not alive


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children()}


def wait_gone(pids: set[int]) -> None:
    """The processes have ended and were reaped."""
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            psutil.Process(pid).wait(LIMIT_SECONDS)


def test_a_cell_that_connects_again_ends_the_pool_before() -> None:
    before = children()
    names: dict[str, object] = {}
    cell = "import nbdist; pool = nbdist.connect(workers=1); got = pool.map(abs, [-1]).result(60)"
    exec(cell, names)
    first = children() - before
    exec(cell, names)
    second = children() - before - first
    assert (len(first), len(second)) == (2, 2)
    wait_gone(first)
    assert names["got"] == [1]
    assert second <= children()
    names["pool"].close()  # type: ignore[attr-defined]


def test_a_pool_that_is_held_lives_beside_another() -> None:
    with nbdist.connect(workers=1) as first, nbdist.connect(workers=1) as second:
        gc.collect()
        assert first.map(abs, [-1]).result(LIMIT_SECONDS) == [1]
        assert second.map(abs, [-2]).result(LIMIT_SECONDS) == [2]


@pytest.mark.parametrize("kind", ["job", "dropped job", "call"])
def test_what_is_not_over_holds_its_pool(tmp_path: Path, kind: str) -> None:
    gate, told = tmp_path / "gate", tmp_path / "told"

    def wait_for(path: str, told: str) -> None:
        import os
        import time

        while not os.path.exists(path):
            time.sleep(0.01)
        open(told, "w").close()

    before = children()
    pool = nbdist.connect(workers=1)
    if kind == "call":
        held: object = pool.submit(wait_for, str(gate), str(told))
    else:
        held = pool.starmap(wait_for, [(str(gate), str(told))])
    if kind == "dropped job":
        held = None
    first = children() - before
    del pool
    with nbdist.connect("inline") as other:
        other.run(abs, 1)  # another job is nbdist.last_job
        gc.collect()
        assert first <= children()
        gate.touch()
        if isinstance(held, (nbdist.Job, Future)):
            held.result(LIMIT_SECONDS)
        wait_gone(first)
        assert told.exists()


def age(folder: Path) -> None:
    """Makes a folder look as if it had been there for an hour."""
    os.utime(folder, (time.time() - 3600, time.time() - 3600))


def test_folders_of_private_pools_that_were_killed_go_with_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    living = embedded.start_private(1)
    living.wait()
    left, young, other = (tmp_path / name for name in ("nbdist-pool-left", "nbdist-pool-young", "nbdist-other"))
    for folder in (left, young, other):
        folder.mkdir()
        (folder / embedded.OWNER_LOCK).touch()
    (tmp_path / "nbdist-pool-link").symlink_to(other)
    for folder in (left, other, living._folder):
        age(folder)
    embedded.start_private(1).close()
    assert not left.exists()
    assert young.exists()
    assert other.exists()
    assert living._folder.exists()
    living._hub.kill()  # its log is what its owner will show
    living._hub.wait()
    age(living._folder)
    embedded.sweep_private()
    assert living._folder.exists()
    living.close()
    assert not living._folder.exists()


@pytest.mark.parametrize("workers", [0, -1, 2.5, True, "2", 5000])
def test_a_number_of_slots_that_makes_no_sense_is_refused(workers: object) -> None:
    with pytest.raises(AddressError, match="number of slots"):
        embedded.start_private(workers)  # type: ignore[arg-type]


def test_a_lock_is_held_by_one_and_let_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with embedded.only_one(path) as first, embedded.only_one(path) as second:
        assert (first, second) == (True, False)
    with embedded.only_one(path) as third:
        assert third


def test_a_large_log_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / "hub.log").write_bytes(b"x" * (embedded.MAX_LOG_BYTES + 1))
    embedded._log(tmp_path, "hub").close()
    assert (tmp_path / "hub.log").stat().st_size == 0
    assert (tmp_path / "hub.log.old").stat().st_size > embedded.MAX_LOG_BYTES


def test_kernel_and_hub_are_killed_and_the_job_goes_on_by_itself() -> None:
    """The worker starts the hub again, which takes up the job; the next notebook finds it done."""
    code = """
import json, os, signal, time
from nbdist import embedded
import nbdist
pool = nbdist.connect()
job = pool.map(lambda x: time.sleep(0.02) or x, range(200))
while job.progress.done < 20:
    job.wait(0.02)
os.kill(json.loads((embedded.state_folder() / "ready.json").read_text())["pid"], signal.SIGKILL)
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=LIMIT_SECONDS).returncode == -9
    deadline = time.monotonic() + LIMIT_SECONDS
    while embedded.running() is None:
        assert time.monotonic() < deadline, "nobody has started the hub again"
        time.sleep(0.02)
    with nbdist.connect() as pool:
        while (row := pool.jobs[0]).state != "done":
            assert time.monotonic() < deadline, row
            time.sleep(0.02)
        assert row.done == 200


@pytest.mark.filterwarnings("ignore:the connection to the hub")
def test_a_private_pool_whose_hub_was_killed_goes_on() -> None:
    with nbdist.connect(workers=1) as pool:
        job = pool.map(lambda x: time.sleep(0.05) or x, range(40))
        while job.progress.done < 5:
            job.wait(0.02)
        hub = own_hub()
        hub.kill()
        assert job.result(LIMIT_SECONDS) == list(range(40))
        assert own_hub().pid != hub.pid
        assert pool.map(abs, [-1]).result(LIMIT_SECONDS) == [1]


@pytest.mark.filterwarnings("ignore:the connection to the hub")
def test_a_private_pool_whose_hub_ends_again_and_again_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "MAX_RESTARTS", 0)
    with nbdist.connect(workers=1) as pool:
        job = pool.map(time.sleep, [60])
        own_hub().kill()
        with pytest.raises(JobCancelledError, match="private pool has ended 0 times"):
            job.result(LIMIT_SECONDS)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_forked_copy_of_a_private_pool_leaves_the_parents_alone() -> None:
    code = """
import os, sys
from nbdist import embedded
pool = embedded.start_private(1)
pool.wait()
child = os.fork()
if child == 0:
    pool.close()
    os._exit(0)
os.waitpid(child, 0)
assert pool._folder.exists()
pool.wait()
pool.close()
assert not pool._folder.exists()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=LIMIT_SECONDS)


def workers() -> list[psutil.Process]:
    """The agents on this test's folder: those that are not below another."""
    lock = str(embedded.state_folder() / embedded.WORKER_LOCK)
    found = [process for process in psutil.process_iter() if lock in command(process)]
    ids = {process.pid for process in found}
    return [process for process in found if process.ppid() not in ids]


def test_a_worker_that_was_killed_is_started_again_by_whoever_connects_next() -> None:
    address = embedded.ensure_hub()
    with nbdist.connect() as pool:
        pool.wait(workers=1, timeout=LIMIT_SECONDS)
    (agent,) = workers()
    agent.kill()
    psutil.wait_procs([agent], timeout=LIMIT_SECONDS)
    with nbdist.connect() as pool:
        assert pool.map(abs, range(100)).result(LIMIT_SECONDS) == list(range(100))
    assert embedded.running() == address
    assert len(hubs()) == 1


def test_a_worker_that_was_killed_is_started_again_while_a_job_waits() -> None:
    with nbdist.connect() as pool:
        pool.wait(workers=1, timeout=LIMIT_SECONDS)
        job = pool.map(lambda x: time.sleep(0.02) or x, range(200))
        while job.progress.done < 20:
            job.wait(0.02)
        (agent,) = workers()
        agent.kill()
        with pytest.warns(RuntimeWarning, match="was gone, and was started again"):
            assert job.result(LIMIT_SECONDS) == list(range(200))


def test_a_worker_that_was_told_to_leave_stays_away_until_somebody_connects() -> None:
    with nbdist.connect() as pool:
        pool.wait(workers=1, timeout=LIMIT_SECONDS)
        agents = workers()
        pool.stop_workers()
        assert not psutil.wait_procs(agents, timeout=LIMIT_SECONDS)[1]
        assert not embedded.is_worker_gone()
    with nbdist.connect() as pool:
        assert pool.map(abs, range(100)).result(LIMIT_SECONDS) == list(range(100))
        (agent,) = workers()
        agent.kill()
        psutil.wait_procs([agent], timeout=LIMIT_SECONDS)
        assert embedded.is_worker_gone()


def test_the_worker_of_a_private_pool_is_started_again_while_a_job_waits() -> None:
    with nbdist.connect(workers=1) as pool:
        job = pool.map(lambda x: time.sleep(0.02) or x, range(100))
        while job.progress.done < 5:
            job.wait(0.02)
        hub = own_hub().pid
        (agent,) = [child for child in psutil.Process().children() if child.pid != hub and "worker" in command(child)]
        agent.kill()
        with pytest.warns(RuntimeWarning, match="was gone, and was started again"):
            assert job.result(LIMIT_SECONDS) == list(range(100))


@pytest.mark.parametrize(("value", "sleeps"), [("1", True), ("0", False), ("", False)])
def test_a_pool_that_starts_by_itself_may_let_its_machine_sleep(
    value: str, sleeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NBDIST_ALLOW_SLEEP", value)
    with nbdist.connect(workers=1) as pool:
        assert pool.map(abs, [-1]).result(LIMIT_SECONDS) == [1]
        roles = [command(child) for child in psutil.Process().children()]
        assert ["--allow-sleep" in words for words in roles if "nbdist" in words] == [sleeps] * 2


def test_the_environment_says_how_long_and_how_much_it_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NBDIST_KEEP", "7d")
    monkeypatch.setenv("NBDIST_RESULTS_LIMIT", "1GB")
    with nbdist.connect(workers=1) as pool:
        hub = pool.describe()["hub"]
    assert (hub["keep_seconds"], hub["results_limit_bytes"]) == (7 * 86_400, 10**9)
    monkeypatch.setenv("NBDIST_KEEP", "soon")
    with pytest.raises(ConnectionFailedError, match=r"environment variable NBDIST_KEEP: 'soon' is no time: write 90s"):
        embedded.ensure_hub()
