"""A real worker and a hub by hand."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from nbdist.errors import AccessError, VersionError
from nbdist.packing import item_chunk, pack_item, unpack_part
from nbdist.wire import blocks
from nbdist.wire import messages as m
from nbdist.wire.blobs import blob_name
from nbdist.worker.agent import Agent
from nbdist.worker.config import WorkerConfig

pytestmark = pytest.mark.real

Pack = Callable[..., bytes]
OnWorker = Callable[[Any], None]


def items_of(payload: bytes) -> list[Any]:
    return [value for run in unpack_part(payload) for value in run.values]


def test_a_worker_trades_its_invite_and_runs_slices(joined: OnWorker, packed: Pack) -> None:
    async def test(worker: Any) -> None:
        talk = await worker.talk()
        assert worker.hub.keys == ["credential"]
        assert await talk.until(m.WorkerFacts) == m.WorkerFacts()
        await talk.prepare(packed(lambda x: x * x))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 4))
        await talk.say(m.RunSlice("j", (1, 2), 1, 4, 6))
        parts = [await talk.until(m.Part), await talk.until(m.Part)]
        assert {part.attempt: (part.start, part.stop, part.final) for part in parts} == {
            (1, 1): (0, 4, True),
            (1, 2): (4, 6, True),
        }
        values = sorted(items_of(data) for message, data in talk.said if isinstance(message, m.Part))
        assert values == [[0, 1, 4, 9], [16, 25]]

    joined(test)


def test_results_that_were_not_acknowledged_come_again(joined: OnWorker, packed: Pack) -> None:
    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.prepare(packed(lambda x: x))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 4))
        await talk.until(m.Part)
        talk.line.abort()
        talk = await worker.talk()
        assert await talk.until(m.WorkerFacts) == m.WorkerFacts((), ("j",))
        part = await talk.until(m.Part)
        assert (part.start, part.stop) == (0, 4)
        assert items_of(talk.said[-1][1]) == [0, 1, 2, 3]
        await talk.say(m.Acknowledge((((1, 1), 4),)))
        await talk.say(m.PrepareJob("j", m.JobOptions()))
        await talk.until(m.JobReady)
        talk.line.abort()
        talk = await worker.talk()
        await talk.say(m.PrepareJob("j", m.JobOptions()))
        await talk.until(m.JobReady)
        assert not [message for message, _ in talk.said if isinstance(message, m.Part)]

    joined(test)


def test_a_slice_runs_on_while_the_hub_is_away(joined: OnWorker, packed: Pack, tmp_path: Path) -> None:
    def function(item: int) -> int:
        import time
        from pathlib import Path

        print("begun")
        while not Path(gate).exists():
            time.sleep(0.01)
        return item

    gate = str(tmp_path / "gate")
    open_gate = (tmp_path / "gate").touch

    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.prepare(packed(function))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 3))
        await talk.until(m.Output)
        talk.line.abort()
        talk = await worker.talk()
        facts = await talk.until(m.WorkerFacts)
        assert facts.held == (m.HeldAttempt("j", (1, 1), 0, 0, 3, True),)
        open_gate()
        while not (await talk.until(m.Part)).final:
            continue
        parts = [data for message, data in talk.said if isinstance(message, m.Part)]
        assert [value for data in parts for value in items_of(data)] == [0, 1, 2]

    joined(test)


def test_a_crash_is_told_and_the_slot_goes_on(joined: OnWorker, packed: Pack) -> None:
    def function(item: int) -> int:
        import os
        import signal

        if item == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return item

    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.prepare(packed(function))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 4))
        await talk.say(m.RunSlice("j", (1, 2), 0, 4, 6))
        crash = await talk.until(m.SlotCrashed)
        assert (crash.attempt, crash.item) == ((1, 1), 2)
        assert crash.reason.startswith("killed by SIGKILL")
        part = await talk.until(m.Part)
        assert part.attempt == (1, 2)

    joined(test)


def test_a_job_whose_data_is_on_its_way_says_how_much_of_it_has_come(joined: OnWorker, packed: Pack) -> None:
    data = b"x" * 4 * 1024**2

    async def test(worker: Any) -> None:
        ref = m.BlobRef(blob_name([data]), len(data))
        worker.hub.blobs[ref.name] = [data]
        worker.hub.go_on = asyncio.Event()
        talk = await worker.talk()
        await talk.say(m.PrepareJob("j", m.JobOptions(), blobs=(ref,), ranges=((0, 9, 1),)), packed(lambda x: x))
        assert await talk.until(m.Preparing, m.JobReady) == m.Preparing("j", "fetching 2.1 MB of 4.2 MB")
        worker.hub.go_on.set()
        await talk.until(m.JobReady)

    joined(test)


def test_a_cancelled_slice_ends(joined: OnWorker, packed: Pack) -> None:
    def function(item: int) -> None:
        import time

        print("begun")
        time.sleep(60)

    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.prepare(packed(function))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 4))
        await talk.until(m.Output)
        await talk.say(m.CancelAttempt((1, 1)))
        assert await talk.until(m.SliceEnded, m.Part) == m.SliceEnded((1, 1), "cancelled")

    joined(test)


def test_a_missing_module_is_named_with_the_line_to_type(joined: OnWorker, packed: Pack) -> None:
    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.say(m.PrepareJob("j", m.JobOptions(), modules=("json", "no_such_module")), packed(len))
        refused = await talk.until(m.JobRefused, m.JobReady)
        assert "no_such_module" in refused.reason
        assert refused.todo.endswith("-m pip install no_such_module")

    joined(test)


def test_leaving_finishes_the_running_item_and_gives_back_the_rest(joined: OnWorker, packed: Pack) -> None:
    def function(item: int) -> int:
        import time

        print("begun")
        time.sleep(0.1)
        return item

    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.prepare(packed(function))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 500))
        await talk.until(m.Output)
        worker.agent.leave("Ctrl-C")
        await talk.until(m.Leaving)
        cut = await talk.until(m.SliceCut)
        while not isinstance(end := await talk.until(m.Part, m.SliceEnded), m.SliceEnded) and not end.final:
            continue
        stops = [message.stop for message, _ in talk.said if isinstance(message, m.Part)]
        assert max(stops) == cut.stop < 500
        await talk.say(m.Acknowledge((((1, 1), cut.stop),)))
        assert await worker.work == "Ctrl-C"

    joined(test)


def test_a_worker_leaves_nothing_behind(joined: OnWorker, packed: Pack) -> None:
    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await talk.prepare(packed(lambda x: print("begun") or __import__("time").sleep(60)))
        await talk.say(m.RunSlice("j", (1, 1), 0, 0, 1))
        await talk.until(m.Output)
        mine = psutil.Process().children(recursive=True)
        assert len(mine) >= 2
        worker.agent.leave("now")
        worker.agent.leave("now")
        await worker.work
        _, alive = psutil.wait_procs(mine, timeout=60)
        assert alive == []

    joined(test)


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        (m.Refused("version", "the hub is newer", "python -m pip install nbdist==9"), VersionError),
        (m.Refused("access", "this credential was revoked", "ask for a new invite"), AccessError),
    ],
)
def test_a_worker_that_is_refused_at_first_says_why_and_ends(
    fake_hub: Any, limited: Any, refusal: m.Refused, error: type[Exception]
) -> None:
    async def test() -> None:
        hub = fake_hub(refusal=refusal)
        hub.open()
        try:
            agent = Agent(WorkerConfig(slots=1, invite=hub.invite), lambda text: None)
            with pytest.raises(error, match=refusal.todo):
                await agent.run()
        finally:
            await hub.close()

    limited(test)


def test_an_invite_that_has_expired_ends_the_worker(fake_hub: Any, limited: Any) -> None:
    async def test() -> None:
        hub = fake_hub()
        hub.open()
        try:
            agent = Agent(WorkerConfig(slots=1, invite=hub.invite.replace("=invite", "=old")), lambda text: None)
            with pytest.raises(AccessError, match="this invite has expired"):
                await agent.run()
        finally:
            await hub.close()

    limited(test)


def test_a_worker_waits_for_a_hub_that_is_not_there_yet(fake_hub: Any, limited: Any) -> None:
    async def test() -> None:
        first = fake_hub()
        first.open()
        invite, port = first.invite, first.port
        await first.close()
        said = asyncio.Event()
        agent = Agent(WorkerConfig(slots=1, invite=invite), lambda text: said.set())
        work = asyncio.ensure_future(agent.run())
        await said.wait()
        hub = fake_hub()
        hub.open(port)
        await hub.lines.get()
        agent.leave("enough")
        assert await work == "enough"
        await hub.close()

    limited(test)


def test_a_credential_that_the_hub_has_lost_is_traded_for_again(joined: OnWorker) -> None:
    async def test(worker: Any) -> None:
        talk = await worker.talk()
        await worker.hub.trades.get()
        worker.hub.refusal = m.Refused("access", "the credential is wrong or was revoked", "")
        talk.line.abort()
        await worker.hub.trades.get()
        worker.hub.refusal = None
        await worker.talk()

    joined(test)


# --- items whose data lies in blobs ---


def large_item(value: bytes) -> tuple[m.BlobRef, bytes, bytes]:
    """The blob of a large item, its bytes, and the payload of the slice that has it as item 3."""
    (entry,) = pack_item(value)
    ref = m.BlobRef(blob_name([entry]), len(entry))
    return ref, bytes(entry), (3).to_bytes(8, "big") + blocks.join([(1, item_chunk([entry], [ref.name]))])


def test_a_large_item_is_fetched_with_patience_and_then_run(
    joined: OnWorker, packed: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbdist.worker.agent.FETCH_PAUSE_SECONDS", 0.01)

    async def test(worker: Any) -> None:
        ref, data, payload = large_item(bytes(400_000))
        worker.hub.blobs[ref.name] = [503, 500, data]
        talk = await worker.talk()
        await talk.say(m.PrepareJob("j", m.JobOptions()), packed(len))
        await talk.until(m.JobReady)
        await talk.say(m.RunSlice("j", (1, 1), 0, 3, 4, (ref,)), payload)
        assert await talk.until(m.SliceBegun, m.Part) == m.SliceBegun((1, 1))
        await talk.until(m.Part)
        assert items_of(talk.said[-1][1]) == [400_000]
        assert [path.name for path in worker.agent._blob_folder.iterdir() if path.is_file()] == ["lock"]

    joined(test)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (404, m.SlotCrashed((1, 1), 3, "", kind="unfetched")),
        (403, m.SlotCrashed((1, 1), 3, "", kind="unfetched")),
        (b"damaged", m.SlotCrashed((1, 1), 3, "", kind="unfetched")),
        (503, m.JobRefused("j", "")),
    ],
)
def test_a_large_item_that_does_not_come_goes_back(
    joined: OnWorker, packed: Pack, monkeypatch: pytest.MonkeyPatch, answer: Any, expected: Any
) -> None:
    monkeypatch.setattr("nbdist.worker.agent.FETCH_PAUSE_SECONDS", 0.01)

    async def test(worker: Any) -> None:
        ref, _, payload = large_item(bytes(400_000))
        worker.hub.blobs[ref.name] = [answer]
        talk = await worker.talk()
        await talk.say(m.PrepareJob("j", m.JobOptions()), packed(len))
        await talk.until(m.JobReady)
        await talk.say(m.RunSlice("j", (1, 1), 0, 3, 4, (ref,)), payload)
        said = await talk.until(m.SlotCrashed, m.JobRefused, m.Part)
        assert ref.name[:12] in said.reason
        assert dataclasses.replace(said, reason="") == expected
        if isinstance(said, m.JobRefused):
            assert (await talk.until(m.SliceEnded)).attempt == (1, 1)

    joined(test)


def test_a_fetch_outlasts_a_lost_hub(joined: OnWorker, packed: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.worker.agent.FETCH_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr("nbdist.worker.agent.ITEM_TRIES", 10**6)

    async def test(worker: Any) -> None:
        ref, data, payload = large_item(bytes(400_000))
        worker.hub.blobs[ref.name] = [503]
        talk = await worker.talk()
        await talk.say(m.PrepareJob("j", m.JobOptions()), packed(len))
        await talk.until(m.JobReady)
        await talk.say(m.RunSlice("j", (1, 1), 0, 3, 4, (ref,)), payload)
        await talk.say(m.PrepareJob("j", m.JobOptions()))
        await talk.until(m.JobReady)  # it has the slice by now
        talk.line.abort()
        talk = await worker.talk()
        facts = await talk.until(m.WorkerFacts)
        assert facts.held == (m.HeldAttempt("j", (1, 1), 0, 3, 4, True, True),)
        worker.hub.blobs[ref.name] = [data]
        await talk.until(m.SliceBegun)
        await talk.until(m.Part)
        assert items_of(talk.said[-1][1]) == [400_000]

    joined(test)
