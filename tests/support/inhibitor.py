"""A `systemd-inhibit` that runs its command as the real one does, and keeps a record instead of a lock."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import psutil
import pytest

LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.01


class Inhibitor:
    """The program, first on the PATH."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        programs = folder / "bin"
        programs.mkdir()
        self.record = folder / "record"
        self.record.touch()
        self.program = programs / "systemd-inhibit"
        self.program.write_text(
            f'#!/bin/sh\necho "$$ $*" >>{self.record}\nwhile [ "${{1#--}}" != "$1" ]; do shift; done\nexec "$@"\n'
        )
        self.program.chmod(self.program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def lines(self) -> list[str]:
        """What has happened: `start WORDS` of all, `end WORDS` of those that have ended, however they did."""
        found = [line.partition(" ") for line in self.record.read_text().splitlines()]
        starts = [f"start {words}" for _, _, words in found]
        return starts + [f"end {words}" for pid, _, words in found if _is_gone(int(pid))]

    def wait(self, word: str, who: str = "") -> list[str]:
        """What has happened, once there is a line with this first word, for this user of it."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            if any(line.startswith(word) and f"--who={who}" in line for line in self.lines()):
                return self.lines()
            time.sleep(POLL_SECONDS)
        pytest.fail(f"no {word!r} of {who!r} in {self.lines()}")


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
