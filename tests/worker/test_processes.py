"""How slots are started, whatever becomes of who starts them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nbdist.worker import processes, system
from nbdist.worker.claim import AgentClaim
from nbdist.worker.setup import SlotSetup

pytestmark = pytest.mark.real

Limited = Callable[[Any], None]


def setup_of(folder: Path, number: int = 0) -> SlotSetup:
    claim = folder / f"{number}.claim"
    AgentClaim(claim).close()
    return SlotSetup(claim=str(claim), spool=str(folder), output=str(folder / str(number)), cwd=str(folder))


def test_slots_leave_the_threads_of_the_loop_to_others(limited: Limited, tmp_path: Path) -> None:
    async def test() -> None:
        launcher = processes.Spawner(processes.slot_environment(1), tmp_path / "start.log")
        try:
            for number in range(system.cores() + 5):  # the pool of the loop has four more threads than cores
                await launcher.start(setup_of(tmp_path, number))
            assert await asyncio.to_thread(lambda: "there is one")
        finally:
            launcher.close()

    limited(test)


@pytest.mark.skipif(not system.CAN_FORK, reason="this operating system has no fork server")
def test_a_fork_server_that_died_is_started_again(limited: Limited, tmp_path: Path) -> None:
    async def test() -> None:
        launcher = processes.ForkServer(processes.slot_environment(1), tmp_path / "start.log")
        try:
            slot = await launcher.start(setup_of(tmp_path))
            system.kill(launcher._server.pid)
            assert await slot.ended == "the process that starts slots is gone"
            again = await launcher.start(setup_of(tmp_path))
            assert again.pid != slot.pid
        finally:
            launcher.close()

    limited(test)
