"""Everything is killed, stopped and cut at random moments: each job gives the right answer, and nothing is left.

Another seed is drawn for each run and printed; NBDIST_CHAOS_SEED plays one again, NBDIST_CHAOS_ROUNDS sets how many
rounds there are.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chaos
import psutil
import pytest

import nbdist
from nbdist import embedded, folders
from nbdist.hub.statedir import OWNER_FILE, SHARED_PREFIX

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]
LIMIT_SECONDS = 60.0
BLOCKS = 5
"""Parts of a run, each with a pool of its own: three with the pool of this machine, two with machines on a network."""
PREFIXES = ("nbdist-", folders.DRAFT_PREFIX)
SHARED_MEMORY = Path("/dev/shm")


def block_rounds(block: int) -> int:
    """How many of all rounds are this block's."""
    return len(range(block, chaos.rounds(), BLOCKS))


@pytest.fixture(autouse=True)
def say_seed(capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{chaos.SEED_VARIABLE}={chaos.seed()} ", end="")


@pytest.fixture
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of this test's own; at the end nothing is left there."""
    here = tmp_path / "tmp"
    here.mkdir()
    monkeypatch.setenv("TMPDIR", str(here))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield here
    monkeypatch.setattr(folders, "YOUNG_SECONDS", 0.0)  # one that was killed while it made its folder: later starts …
    folders.sweep([here], "nothing but drafts")  # … remove that, once it is older
    assert [path.name for path in here.iterdir() if path.name.startswith(PREFIXES)] == []


def check_state(folder: Path) -> None:
    """Nothing of a job is left in a hub's directory."""
    names = {path.name for path in folder.iterdir()}
    logs = {"hub.log", "worker.log", "starting.lock", "worker.lock", "worker.left"}
    keys = {"lock", "keys.json", "access.json", "epoch.json", "ports.json", "shared-memory.json", "journal.sqlite3"}
    certificates = {name for name in names if name.startswith("hub-cert") or name == "hub-key.pem"}
    assert names - logs - keys - certificates == {"results"}
    assert list((folder / "results").iterdir()) == []
    with contextlib.closing(sqlite3.connect(folder / "journal.sqlite3")) as journal:
        assert journal.execute("select kind, job from records where kind != 'WorkerHere'").fetchall() == []


def wait_gone(processes: list[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=LIMIT_SECONDS)
    assert left == []


# --- the pool of this machine -----------------------------------------------------------------------------------------


class Embedded:
    """The embedded pool of a test."""

    def __init__(self) -> None:
        self.folder = embedded.state_folder()
        self._held: set[Path] = set()
        """Folders of its agents so far."""

    def left_in_shared_memory(self) -> list[Path]:
        """What its hubs and agents have left there; others on this computer have folders there too."""
        found = [path for path in self._held if path.exists()]
        for owner in SHARED_MEMORY.glob(f"{SHARED_PREFIX}*/{OWNER_FILE}"):
            with contextlib.suppress(OSError):
                if owner.read_text() == str(self.folder.resolve()):
                    found.append(owner.parent)
        return found

    def _note_folders(self, agent: psutil.Process) -> None:
        """Those that it holds by their locks."""
        with contextlib.suppress(OSError):
            for handle in Path(f"/proc/{agent.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    file = handle.readlink()
                    if file.name == folders.LOCK_FILE:
                        self._held.add(file.parent)

    def processes(self, role: str) -> list[psutil.Process]:
        """Its hub, or its worker's agent."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                is_ours = role in words[:6] and any(str(self.folder) in word for word in words)
                if is_ours and process.status() != psutil.STATUS_ZOMBIE and "forkserver" not in " ".join(words):
                    found.append(process)
        return found

    def agent(self) -> psutil.Process | None:
        """The agent: the one whose parent is no agent itself."""
        found = self.processes("worker")
        ids = {process.pid for process in found}
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.ppid() not in ids:
                    return process
        return None

    def faults(self) -> dict[str, chaos.Fault]:
        return {
            "a slot is killed": self._kill_slot,
            "the agent is killed": self._kill_agent,
            chaos.HUB_IS_KILLED: self._kill_hub,
            "the agent stands still": lambda chance: self._stand_still("worker", chance),
            "the hub stands still": lambda chance: self._stand_still("hub", chance),
        }

    def end(self) -> list[psutil.Process]:
        """Ends it as `nbdist stop` and a logout do; gives what there was."""
        agent = self.agent()
        family = [*self.processes("hub"), *([agent, *agent.children(recursive=True)] if agent is not None else [])]
        embedded.end()
        if agent is not None:
            self._note_folders(agent)
            for _ in range(2):
                with contextlib.suppress(psutil.NoSuchProcess):
                    agent.terminate()
        return family

    def _kill_slot(self, chance: random.Random) -> None:
        agent = self.agent()
        slots = [] if agent is None else chaos.slots_below(agent)
        if slots:
            chaos.kill(chance.choice(slots))

    def _kill_agent(self, chance: random.Random) -> None:
        agent = self.agent()
        if agent is not None:
            self._note_folders(agent)
            chaos.kill(agent)
            embedded.ensure_hub()  # as whoever connects next does

    def _kill_hub(self, chance: random.Random) -> None:
        for hub in self.processes("hub"):
            chaos.kill(hub)

    def _stand_still(self, role: str, chance: random.Random) -> None:
        found = self.agent() if role == "worker" else next(iter(self.processes(role)), None)
        if found is not None:
            chaos.stand_still(found.pid, chance)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(3))
def test_the_pool_of_this_machine(block: int, own_folders: Path, own_pool: None, connect: Any) -> None:
    pool: nbdist.Pool = connect()
    pool.wait(workers=1, timeout=LIMIT_SECONDS)
    world = Embedded()
    chaos.play(pool, world.faults(), f"embedded {block}", block_rounds(block))
    nbdist.client.pool.last_job = None
    pool.clear()
    pool.close()
    wait_gone(world.end())
    assert world.left_in_shared_memory() == []
    check_state(world.folder)


# --- machines on a network --------------------------------------------------------------------------------------------


class Network:
    """A hub and two workers with one slot each, each on a machine of its own; the notebook is on this one."""

    def __init__(self, start: Any, lan: Any, folder: Path) -> None:
        self._start = start
        self._hosts = {name: lan.host(name, seed=chaos.seed()) for name in ("hub", "one", "two")}
        self._blobs = folder / "blobs"  # a program that is started again here has other shared memory
        self.folder = folder / "state"
        self.hub = self._start_hub()
        self._workers = {name: self._start_worker(name) for name in ("one", "two")}

    def faults(self) -> dict[str, chaos.Fault]:
        return {
            "a slot is killed": self._kill_slot,
            "an agent is killed": self._kill_agent,
            chaos.HUB_IS_KILLED: self._kill_hub,
            "an agent stands still": lambda chance: chaos.stand_still(self._agent(self._any(chance)).pid, chance),
            "the hub stands still": lambda chance: chaos.stand_still(self.hub.process.pid, chance),
            "a cable is cut": self._cut,
            "packets are lost": self._lose,
        }

    def end(self) -> list[psutil.Process]:
        """Ends everything as a person does; gives what there was."""
        family = [each for running in (*self._workers.values(), self.hub.process) for each in running.family()]
        for running in (*self._workers.values(), self.hub.process):
            running.end()
        return family

    def _start_hub(self, *options: str) -> Any:
        words = ("--lan", "--blobs", str(self._blobs), *options)
        return self._start.hub(*words, host=self._hosts["hub"], folder=self.folder)

    def _start_worker(self, name: str) -> Any:
        return self._start.worker(self.hub.invite, "--slots", "1", host=self._hosts[name])

    def _any(self, chance: random.Random) -> str:
        return chance.choice(list(self._workers))

    def _agent(self, name: str) -> psutil.Process:
        return psutil.Process(self._workers[name].pid)  # the programs that prepare its machine have become it

    def _kill_slot(self, chance: random.Random) -> None:
        slots = chaos.slots_below(self._agent(self._any(chance)))
        if slots:
            chaos.kill(chance.choice(slots))

    def _kill_agent(self, chance: random.Random) -> None:
        name = self._any(chance)
        self._workers[name].popen.kill()
        self._workers[name].wait()
        self._workers[name] = self._start_worker(name)

    def _kill_hub(self, chance: random.Random) -> None:
        self.hub.process.popen.send_signal(signal.SIGKILL)
        self.hub.process.wait()
        self.hub = self._start_hub()

    def _cut(self, chance: random.Random) -> None:
        host = self._hosts[chance.choice(list(self._hosts))]
        host.pull_cable()
        try:
            chaos.pause(chance, 0.1, 3.0)
        finally:
            host.plug_cable()

    def _lose(self, chance: random.Random) -> None:
        host = self._hosts[chance.choice(list(self._hosts))]
        with host.bad.spoiled():
            chaos.pause(chance, 0.5, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(3, BLOCKS))
def test_machines_on_a_network(block: int, own_folders: Path, start: Any, lan: Any, connect: Any) -> None:
    world = Network(start, lan, own_folders.parent)
    pool: nbdist.Pool = connect(world.hub.connect)
    pool.wait(workers=2, timeout=LIMIT_SECONDS)
    chaos.play(pool, world.faults(), f"network {block}", block_rounds(block), world.hub.connect)
    nbdist.client.pool.last_job = None
    pool.clear()
    pool.close()
    wait_gone(world.end())
    check_state(world.folder)
    assert list((own_folders.parent / "blobs" / "blobs").iterdir()) == []
    assert list((own_folders.parent / "blobs" / "incoming").iterdir()) == []
