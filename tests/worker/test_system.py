"""What the operating system says of memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from nbdist.worker import system

pytestmark = pytest.mark.skipif(not system.WATCHES_MEMORY, reason="memory is not watched on this operating system")
HELD_BYTES = 60_000_000
HOLD = f"held = bytes([1]) * {HELD_BYTES}; print(flush=True); input()"
FORK = f"import os; held = bytes([1]) * {HELD_BYTES}; os.fork(); print(flush=True); input()"


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """One that has said that it holds what it is to hold."""
    words = [sys.executable, "-c", request.param]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as running:
        assert running.stdout is not None
        running.stdout.read(request.param.count("fork") + 1)
        yield running
        system.kill(running.pid)


@pytest.mark.parametrize("process", [HOLD], indirect=True)
def test_what_a_process_holds_is_seen(process: subprocess.Popen[bytes]) -> None:
    for enough in (0, 10**12):
        assert HELD_BYTES < system.slot_memory_bytes(process.pid, enough=enough) < 2 * HELD_BYTES


@pytest.mark.parametrize(
    "process", [f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"], indirect=True
)
def test_what_its_children_hold_counts(process: subprocess.Popen[bytes]) -> None:
    assert HELD_BYTES < system.slot_memory_bytes(process.pid, enough=10**12) < 2 * HELD_BYTES


@pytest.mark.parametrize("process", [FORK], indirect=True)
def test_shared_pages_do_not_make_it_look_worse_than_it_is(process: subprocess.Popen[bytes]) -> None:
    assert system.slot_memory_bytes(process.pid, enough=10**12) > 2 * HELD_BYTES  # each of the two counts for itself
    assert HELD_BYTES < system.slot_memory_bytes(process.pid, enough=0) < 2 * HELD_BYTES


def test_a_process_that_is_gone_uses_nothing() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert system.slot_memory_bytes(ended.pid) == 0
