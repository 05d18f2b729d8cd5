"""Folders that are held while their process lives, and swept after it was killed. Real processes where it counts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbdist import folders
from nbdist.folders import DRAFT_PREFIX, HeldFolder, sweep
from nbdist.worker import places

ROOT = Path(folders.__file__).parent.parent
HOLD = "import sys; from pathlib import Path; from nbdist.folders import HeldFolder\n"
HOLD += "print(HeldFolder(Path(sys.argv[1]), 'x-').path, flush=True); sys.stdin.read()"
WORKER = """
import asyncio, os, signal, sys
from nbdist.worker.agent import Agent
from nbdist.worker.config import WorkerConfig

async def main():
    agent = Agent(WorkerConfig(slots=1, invite="ws://127.0.0.1:9/#key=x"), lambda text: None)
    print(agent._folder, agent._held[1].path, flush=True)
    await agent.run()

asyncio.run(main())
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a Python program whose temporary folders are below this test's, and ends it with the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_folder_is_private_and_goes(tmp_path: Path) -> None:
    folder = HeldFolder(tmp_path, "x-")
    assert folder.path.name.startswith("x-")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    (folder.path / "file").touch()
    folder.close()
    folder.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_use_or_nobody_knows_is_left_alone(tmp_path: Path) -> None:
    mine, other = HeldFolder(tmp_path, "x-"), HeldFolder(tmp_path, "y-")
    for name in ("x-without-a-lock", f"{DRAFT_PREFIX}young"):
        (tmp_path / name).mkdir()
    (tmp_path / "x-file").touch()
    sweep([tmp_path, tmp_path / "no such folder"], "x-")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {mine.path.name, other.path.name, "x-without-a-lock", f"{DRAFT_PREFIX}young", "x-file"}
    mine.close()
    other.close()


def test_a_folder_that_never_got_its_name_goes_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{DRAFT_PREFIX}old").mkdir()
    monkeypatch.setattr(folders, "YOUNG_SECONDS", -1.0)
    sweep([tmp_path], "x-")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_locked_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int) -> None:
        raise OSError("no locks on this file system")

    monkeypatch.setattr(folders, "lock", no_locks)
    with pytest.raises(OSError, match="no locks"):
        HeldFolder(tmp_path, "x-")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.real
def test_only_the_folder_of_the_process_that_was_killed_is_swept(
    tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    killed, living = start(HOLD, str(tmp_path)), start(HOLD, str(tmp_path))
    paths = [Path(line(process)) for process in (killed, living)]
    sweep([tmp_path], "x-")
    assert all(path.is_dir() for path in paths)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    sweep([tmp_path], "x-")
    assert [path.is_dir() for path in paths] == [False, True]


@pytest.mark.real
def test_a_worker_sweeps_what_one_that_was_killed_has_left_and_nothing_else(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    killed, living = start(WORKER), start(WORKER)
    left, used = ([Path(word) for word in line(process).split()] for process in (killed, living))
    assert [path.name.rpartition("-")[0] + "-" for path in left] == [places.SPOOL_PREFIX, places.BLOBS_PREFIX]
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert all(path.is_dir() for path in (*left, *used))
    line(start(WORKER))
    assert not any(path.exists() for path in left)
    assert all(path.is_dir() for path in used)
