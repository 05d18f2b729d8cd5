"""Real hubs, workers, scripts and machines: started here, watched by what they print, ended by their ids."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from cables import Cable

import nbdist
from nbdist.wire.address import Address
from notebooks import Notebook, open_notebook

LIMIT_SECONDS = 60.0
"""For anything that is waited for."""
END_SECONDS = 1.0
"""After being told once to end."""
ROOT = Path(__file__).resolve().parents[2]
NAMESPACE_PREFIX = "nbd"
OWN_MACHINE = 'echo "$1" >/proc/sys/kernel/hostname && mount -t tmpfs tmpfs /dev/shm && shift && exec "$@"'
"""What a namespace does not separate: the host's name, and the shared memory that proves two ends to be on one host."""


class Running:
    """A process of a test, and the lines that it has printed so far on both streams."""

    def __init__(self, words: Sequence[str], **options: Any) -> None:
        self.lines: list[str] = []
        self._told = threading.Condition()
        self._ended = False
        self.popen = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def text(self) -> str:
        """All that it has printed."""
        with self._told:
            return "".join(self.lines)

    def line(self, pattern: str, limit_seconds: float = LIMIT_SECONDS) -> re.Match[str]:
        """The first line that matches, as soon as it is printed."""
        seen = 0

        def found() -> re.Match[str] | None:
            nonlocal seen
            for text in self.lines[seen:]:
                seen += 1
                match = re.search(pattern, text)
                if match:
                    return match
            return None

        match = None

        def is_over() -> bool:
            nonlocal match
            match = found()
            return match is not None or self._ended

        with self._told:
            self._told.wait_for(is_over, limit_seconds)
        assert match is not None, f"no line {pattern!r} in:\n{self.text}"
        return match

    def wait(self, limit_seconds: float = LIMIT_SECONDS) -> int:
        """Its exit code, once it has ended and all that it printed is here."""
        code = self.popen.wait(limit_seconds)
        self._reader.join(limit_seconds)
        return code

    def family(self) -> list[psutil.Process]:
        """The process and all that descend from it."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            return [process, *process.children(recursive=True)]
        return []

    def end(self) -> None:
        """Ends it as a person would, and by force if that does not help."""
        family = self.family()
        if self.popen.poll() is None:
            with contextlib.suppress(psutil.Error):
                psutil.Process(self.pid).resume()
            for _ in range(2):  # a worker that is told twice leaves at once
                self.popen.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.popen.wait(END_SECONDS)
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, timeout=60)
        self.popen.wait()
        assert self.popen.stdin is not None
        with contextlib.suppress(OSError):
            self.popen.stdin.close()
        self._reader.join(LIMIT_SECONDS)
        assert self.popen.stdout is not None
        self.popen.stdout.close()

    def _read(self) -> None:
        assert self.popen.stdout is not None
        for line in self.popen.stdout:
            with self._told:
                self.lines.append(line)
                self._told.notify_all()
        with self._told:
            self._ended = True
            self._told.notify_all()


@dataclass
class Host:
    """A machine: this one, or a network namespace with an address, a name and shared memory of its own."""

    name: str = ""
    namespace: str = ""
    address: str = "127.0.0.1"
    cable: str = ""
    """The end of its cable at the switch."""
    bad: Cable | None = None

    def command(self, words: Sequence[str]) -> list[str]:
        if not self.namespace:
            return list(words)
        entry = ["ip", "netns", "exec", self.namespace, "unshare", "--uts", "sh", "-c", OWN_MACHINE, "sh", self.name]
        return [*entry, *words]

    def pull_cable(self) -> None:
        ip("link", "set", self.cable, "down")

    def plug_cable(self) -> None:
        ip("link", "set", self.cable, "up")


@dataclass
class Hub:
    """A hub's process with the two lines that it printed."""

    process: Running
    connect: str
    invite: str
    folder: Path

    @property
    def address(self) -> Address:
        return Address.parse(self.connect)

    @property
    def netloc(self) -> str:
        return self.address.netloc


@dataclass
class Starter:
    """Starts processes, and ends them all."""

    folder: Path
    started: list[Running] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(
        self, *words: str | Path, host: Host | None = None, env: dict[str, str] | None = None, cwd: Path | None = None
    ) -> Running:
        """Any program."""
        command = (host or Host()).command([str(word) for word in words])
        # a private pool of another test may be found by no name
        process = Running(command, env={**os.environ, **(env or {})}, cwd=cwd or self.folder)
        self.started.append(process)
        return process

    def nbdist(self, *words: str | Path, **options: Any) -> Running:
        """The installed command."""
        options["env"] = {"PYTHONPATH": str(ROOT), **(options.get("env") or {})}
        return self.run(sys.executable, "-P", "-m", "nbdist", *words, **options)

    def hub(self, *options: str, host: Host | None = None, folder: Path | None = None) -> Hub:
        """A hub, once it is ready."""
        folder = folder or self.folder / f"hub-{next(self._numbers)}"
        process = self.nbdist("hub", "--state", folder, *options, host=host)
        connect, invite = process.line(r"^connect (\S+)")[1], process.line(r"^invite (\S+)")[1]
        return Hub(process, connect, invite, folder)

    def worker(self, invite: str, *options: str, host: Host | None = None) -> Running:
        """A worker; `pool.wait` waits until it is there."""
        return self.nbdist("worker", *options, host=host, env={"NBDIST_INVITE": invite})

    def script(self, text: str, *words: str, host: Host | None = None) -> Running:
        """A Python script of a user's, in a file of its own."""
        path = self.folder / f"script-{next(self._numbers)}.py"
        path.write_text(text)
        return self.run(sys.executable, path, *words, host=host, env={"PYTHONPATH": str(ROOT)})

    def end(self) -> None:
        for process in reversed(self.started):
            process.end()
        self.started.clear()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Starter]:
    """Starts processes that end with the test."""
    starter = Starter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def start_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts processes that the tests of a module share."""
    starter = Starter(tmp_path_factory.mktemp("processes"))
    yield starter
    starter.end()


@pytest.fixture
def connect() -> Iterator[Callable[..., nbdist.Pool]]:
    """`nbdist.connect`; what it opens is closed with the test."""
    with contextlib.ExitStack() as pools:
        yield lambda *words, **options: pools.enter_context(nbdist.connect(*words, **options))


@pytest.fixture
def own_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The embedded pool of this test alone; it is ended with it."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    yield
    mine = [process for process in psutil.process_iter() if _names(process, str(tmp_path / "runtime"))]
    for process in mine:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(mine, timeout=LIMIT_SECONDS)
    for process in stubborn:
        process.kill()


def own_hub() -> psutil.Process:
    """The hub of the private pool that this process has. What has ended and is not yet reaped is none."""
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if {"nbdist", "hub"} <= set(process.cmdline()):
                return process
    raise AssertionError("this process has started no hub")


@pytest.fixture
def hub_process() -> Callable[[], psutil.Process]:
    """`own_hub`, for modules whose functions a slot imports: there is no `machines` there."""
    return own_hub


def _names(process: psutil.Process, folder: str) -> bool:
    try:
        return any(folder in word for word in process.cmdline())
    except psutil.Error:
        return False


# --- several machines -------------------------------------------------------------------------------------------------


class Lan:
    """A switch, this machine at address .1, and machines that are plugged in."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(2)
        self.switch = f"{NAMESPACE_PREFIX}{self.id}"
        self.net = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        self._hosts: list[Host] = []
        self._removals = contextlib.ExitStack()

    def set_up(self) -> None:
        ip("link", "add", self.switch, "type", "bridge")
        self._removals.callback(ip, "link", "del", self.switch)
        ip("address", "add", f"{self.net}.1/24", "dev", self.switch)
        ip("link", "set", self.switch, "up")

    def host(self, name: str, *, seed: int | None = None) -> Host:
        """One more machine. `seed`: its cable can be made to lose and delay packets (`Host.bad`)."""
        number = len(self._hosts) + 2
        host = Host(name, f"{self.switch}-{number}", f"{self.net}.{number}", f"{self.switch}-{number}")
        self._hosts.append(host)
        self._removals.callback(lambda: ip("netns", "del", host.namespace))
        if seed is not None:
            host.bad = Cable(host.cable, seed)
            self._removals.callback(host.bad.close)
        self._begin(host)
        return host

    def lose_power(self, host: Host) -> None:
        """The machine begins anew. Its processes must have been killed, after its cable was pulled: nobody hears."""
        ip("link", "del", host.cable)  # with a namespace it would go a while later
        ip("netns", "del", host.namespace)
        self._begin(host)

    def _begin(self, host: Host) -> None:
        namespace = host.namespace
        ip("netns", "add", namespace)
        if host.bad is None:
            ip("link", "add", host.cable, "type", "veth", "peer", "name", "eth0", "netns", namespace)
        else:
            ip("link", "set", host.bad.far, "netns", namespace, "name", "eth0")
        ip("link", "set", host.cable, "master", self.switch, "up")
        ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        hardware = f"02:00:{':'.join(f'{int(part):02x}' for part in host.address.split('.'))}"  # the same next time
        ip("-n", namespace, "link", "set", "eth0", "address", hardware)
        ip("-n", namespace, "link", "set", "eth0", "up")

    def route(self, host: Host) -> None:
        """The machine has this one as its router."""
        ip("-n", host.namespace, "route", "replace", "default", "via", f"{self.net}.1")

    def forget(self, host: Host) -> None:
        """The machine has heard of no other for a while."""
        ip("-n", host.namespace, "neighbour", "flush", "all")

    def close(self) -> None:
        self._removals.close()


def ip(*words: str) -> None:
    """Debian's iproute2."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")


def _why_no_lan() -> str:
    """Why this machine cannot play several; empty if it can."""
    missing = [name for name in ("ip", "unshare", "curl", "openssl") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)} not installed (Debian: iproute2, util-linux, curl, openssl)"
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux and root"
    return ""


@pytest.fixture(scope="module")
def lan() -> Iterator[Lan]:
    """A network of machines, each a namespace of this one."""
    reason = _why_no_lan()
    network = Lan()
    try:
        if not reason:
            network.set_up()
    except OSError as error:
        reason = f"no network namespaces here: {error}"
    if reason:
        network.close()
        pytest.skip(reason)
    yield network
    network.close()


# --- notebooks --------------------------------------------------------------------------------------------------------


@pytest.fixture
def notebook(capsys: pytest.CaptureFixture[str]) -> Iterator[Notebook]:
    """A notebook; what is connected in its test is its pool."""
    with open_notebook(capsys) as opened:
        yield opened


def descendants(pid: int) -> list[psutil.Process]:
    """All processes below one, now."""
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


@pytest.fixture
def freeze() -> Iterator[Callable[[int], None]]:
    """Stops processes as a closed lid does; they go on with the end of the test at the latest."""
    frozen: list[int] = []

    def stop(pid: int) -> None:
        frozen.append(pid)
        os.kill(pid, signal.SIGSTOP)

    yield stop
    for pid in frozen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
