"""Real websockets to a real hub: who is let in, what is let through, what happens to everything else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hubs import WithHub, job
from websockets.exceptions import InvalidStatus

from nbdist.hub import doors
from nbdist.wire import blocks, frames
from nbdist.wire.messages import (
    AddItems,
    Answer,
    AttachJob,
    CancelJob,
    CloseItems,
    DescribePool,
    Heartbeat,
    JobFinished,
    JobReady,
    NeedBlobs,
    Part,
    PrepareJob,
    Refused,
    Result,
    RunSlice,
    SubmitJob,
    TakeResults,
    Welcome,
)

pytestmark = pytest.mark.real
LIMIT_SECONDS = 60.0


async def answer_slices(worker: Any, until: int) -> None:
    """A worker that is ready at once and answers each slice with its range as the payload."""
    done = 0
    while done < until:
        message, _ = await worker.next()
        if isinstance(message, PrepareJob):
            await worker.send(JobReady(message.job))
        elif isinstance(message, RunSlice):
            text = f"{message.start}-{message.stop}".encode()
            await worker.send(Part(message.job, message.attempt, message.start, message.stop, 0.001, final=True), text)
            done += message.stop - message.start


def test_a_job_with_ranges_from_submit_to_the_last_result(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook, hub.worker("w1") as worker:
            assert isinstance(notebook.log[0][0], Welcome)
            await notebook.send(job("j1", ranges=((0, 20, 1),)), b"the packed task")
            need, _ = await notebook.until(NeedBlobs)
            assert need.names == ()
            await answer_slices(worker, 20)
            finished, _ = await notebook.until(JobFinished)
            assert finished.outcome == "done"
            results = [(m, p) for m, p in notebook.log if isinstance(m, Result)]
            assert len(results) == finished.last_seq
            assert sorted(i for m, _ in results for i in range(m.start, m.stop)) == list(range(20))
            assert all(payload == f"{m.start}-{m.stop}".encode() for m, payload in results)
            prepared = [(m, p) for m, p in worker.log if isinstance(m, PrepareJob)]
            assert [payload for _, payload in prepared] == [b"the packed task"]

    with_hub(scenario)


def test_items_travel_as_blocks_and_are_cut_for_slices(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook, hub.worker("w1") as worker:
            await notebook.send(job("j1", total=4), b"task")
            await notebook.send(AddItems("j1", 0, 4), blocks.join([(2, b"ab"), (2, b"cd")]))
            await notebook.send(CloseItems("j1", 4))
            await answer_slices(worker, 4)
            await notebook.until(JobFinished)
            for message, payload in worker.log:
                if isinstance(message, RunSlice):
                    first = int.from_bytes(payload[:8], "big")
                    chunks = blocks.split(payload[8:], first)
                    assert chunks[0].start <= message.start
                    assert chunks[-1].stop >= message.stop
                    assert {bytes(chunk.data) for chunk in chunks} <= {b"ab", b"cd"}

    with_hub(scenario)


def test_results_wait_for_credit_and_come_again_after_a_reconnect(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.worker("w1") as worker:
            async with hub.client("notebook", "n1") as notebook:
                await notebook.send(job("j1", ranges=((0, 6, 1),)), b"")
                await notebook.send(TakeResults("j1", 0, 0))
                await answer_slices(worker, 6)
                finished, _ = await notebook.until(JobFinished)
                assert finished.last_seq > 1
                first, _ = notebook.log[-1] if isinstance(notebook.log[-1][0], Result) else await first_result(notebook)
                assert first.seq == 1
            async with hub.client("notebook", "n1") as notebook:
                await notebook.send(AttachJob("j1", 1, 1 << 20))
                again, _ = await notebook.until(JobFinished)
                assert again == finished
                seqs = [message.seq for message, _ in notebook.log if isinstance(message, Result)]
                assert seqs == list(range(2, finished.last_seq + 1))

    async def first_result(notebook: Any) -> Any:
        found = [entry for entry in notebook.log if isinstance(entry[0], Result)]
        return found[0] if found else await notebook.until(Result)

    with_hub(scenario)


def test_a_job_that_ended_while_the_notebook_was_away_says_so_on_its_return(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.worker("w1") as worker:
            async with hub.client("notebook", "n1") as notebook:
                await notebook.send(job("j1", ranges=((0, 3, 1),)), b"")
                await notebook.until(NeedBlobs)
            await answer_slices(worker, 3)
            async with hub.client("notebook", "n1") as notebook:
                await notebook.send(AttachJob("j1", 0, 1 << 20))
                finished, _ = await notebook.until(JobFinished)
                assert finished.outcome == "done"

    with_hub(scenario)


def test_an_unknown_job_is_reported_as_over(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(AttachJob("gone", 7, 1 << 20))
            finished, _ = await notebook.until(JobFinished)
            assert (finished.outcome, finished.last_seq) == ("cancelled", 7)
            assert "does not know" in finished.reason

    with_hub(scenario)


@pytest.mark.parametrize(
    ("key", "part"),
    [("", "no credential"), ("wrong", "wrong or was revoked")],
)
def test_a_wrong_credential_is_refused_in_words(with_hub: WithHub, key: str, part: str) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1", key=key) as notebook:
            refused = notebook.log[0][0]
            assert isinstance(refused, Refused)
            assert refused.code == "access"
            assert part in refused.reason
            assert refused.reason.count("ask for a new invite") == 1
            assert not refused.todo  # the reason says it already
            await notebook.closed()

    with_hub(scenario)


def test_a_workers_invite_must_be_traded(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("worker", "w1", key=hub.hub.keys.invite) as worker:
            assert worker.log[0][0].code == "access"
            assert "/join" in worker.log[0][0].reason

    with_hub(scenario)


@pytest.mark.parametrize("message", [job("j1", ranges=((0, 3, 1),)), CancelJob("j1"), DescribePool(1)])
def test_a_workers_credential_cannot_do_what_a_notebook_may(with_hub: WithHub, message: Any) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.worker("w1") as worker:
            await worker.send(message)
            refused, _ = await worker.until(Refused)
            assert refused.code == "access"
            assert type(message).__name__ in refused.reason
            await worker.closed()

    with_hub(scenario)


def test_a_workers_credential_cannot_say_that_it_is_a_notebook(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "w1", key=hub.worker_key("w1")) as client:
            assert client.log[0][0].code == "access"
            assert "worker's" in client.log[0][0].reason

    with_hub(scenario)


def test_a_viewer_may_look_and_nothing_else(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        key = hub.hub.rooms.access.make_invite("viewer")
        async with hub.client("viewer", "v1", key=key) as viewer:
            await viewer.send(DescribePool(5))
            answer, payload = await viewer.until(Answer)
            assert answer.request == 5
            assert b'"workers"' in payload
            await viewer.send(CancelJob("j1"))
            assert (await viewer.until(Refused))[0].code == "access"

    with_hub(scenario)


def test_another_version_is_told_the_line_that_upgrades_it(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1", nbdist="0.0.1") as client:
            refused = client.log[0][0]
            assert refused.code == "version"
            assert "0.0.1" in refused.reason
            assert refused.todo.startswith("python -m pip install nbdist==")
        async with hub.client("notebook", "n1", protocol_min=7, protocol_max=9) as client:
            assert client.log[0][0].code == "version"

    with_hub(scenario)


def test_a_second_connection_replaces_the_first(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        key = hub.worker_key("w1")
        gone, board = asyncio.Event(), hub.hub.board
        board.changed = lambda: gone.set() if board.peers.get("w1") is None else None
        async with hub.client("worker", "w1", key=key, name="laptop") as first:
            async with hub.client("worker", "w1", key=key, name="laptop") as second:
                assert (await first.until(Refused))[0].code == "replaced"
                await first.closed()
                assert second.log[0][0].name == "laptop"
                async with hub.client("worker", "w2", name="laptop") as other:
                    assert other.log[0][0].name == "laptop-2"
                assert hub.hub.board.peers.get("w1") is not None
            assert await gone.wait()

    with_hub(scenario)


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"}])
def test_web_pages_of_other_sites_are_turned_away(with_hub: WithHub, headers: dict[str, str]) -> None:
    async def scenario(hub: Any) -> None:
        with pytest.raises(InvalidStatus) as caught:
            async with hub.dial(hub.hub.keys.notebook, headers=headers):
                pass
        assert caught.value.response.status_code == 403

    with_hub(scenario)


def _broken_frames() -> list[bytes | str]:
    good = frames.encode(Heartbeat())
    return [b"", b"abc", good[:-1], b"\xff" * 40, b"\x00\x00\x00\x02{}", b"\x7f\xff\xff\xff{}", "text", good]


@pytest.mark.parametrize("data", _broken_frames())
def test_a_broken_first_frame_is_refused(with_hub: WithHub, data: bytes | str) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.dial(hub.hub.keys.notebook) as socket:
            await socket.send(data)
            refused, _ = frames.decode(await asyncio.wait_for(socket.recv(), 10))
            assert refused.code == "protocol"

    with_hub(scenario)


def test_an_oversized_frame_ends_its_connection_and_nothing_else(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as good, hub.client("notebook", "n2") as bad:
            await bad.socket.send(b"x" * (frames.MAX_FRAME_BYTES + 1))
            await bad.closed()
            await good.send(DescribePool(1))
            await good.until(Answer)

    with_hub(scenario)


def test_random_bytes_after_the_greeting_harm_only_their_sender(with_hub: WithHub) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    async def scenario(hub: Any) -> None:
        examples: list[bytes] = []
        good = frames.encode(job("j1", ranges=((0, 3, 1),)), b"payload")
        cuts = st.integers(0, len(good) - 1).map(lambda at: good[:at])
        flips = st.tuples(st.integers(0, 60), st.integers(1, 255)).map(
            lambda pair: good[: pair[0]] + bytes([good[pair[0]] ^ pair[1]]) + good[pair[0] + 1 :]
        )

        @settings(max_examples=60, database=None, suppress_health_check=list(HealthCheck))
        @given(st.one_of(st.binary(max_size=200), cuts, flips))
        def collect(data: bytes) -> None:
            examples.append(data)

        collect()
        async with hub.client("notebook", "good") as witness:
            for number, data in enumerate(examples):
                async with hub.client("notebook", f"n{number}") as client:
                    await client.socket.send(data)
                    await client.send(DescribePool(1))
                    message, _ = await client.until((Answer, Refused))
                    assert well_formed(data) or message.code in ("protocol", "access")
            await witness.send(DescribePool(2))
            await witness.until(Answer)

    def well_formed(data: bytes) -> bool:
        try:
            return isinstance(frames.decode(data)[0], SubmitJob)
        except frames.FrameError:
            return False

    with_hub(scenario)


def test_a_hub_that_cannot_unpickle_completes_a_job(with_hub: WithHub, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    def forbidden(*args: Any, **options: Any) -> Any:
        raise AssertionError("the hub has unpickled something")

    for name in ("loads", "load", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    test_a_job_with_ranges_from_submit_to_the_last_result(with_hub)


@pytest.mark.parametrize("tls", [False, True])
def test_pieces_of_a_message_show_that_its_sender_lives(
    with_hub: WithHub, monkeypatch: pytest.MonkeyPatch, tls: bool
) -> None:
    monkeypatch.setattr(doors, "BREATH_SECONDS", 0.0)

    async def scenario(hub: Any) -> None:
        loop = asyncio.get_running_loop()

        def heard_at() -> float:
            return loop.time() - float(hub.hub.board.describe()["workers"][0]["heard_seconds"])

        def load() -> float:
            return float(hub.hub.board.describe()["workers"][0]["load"])

        async def until(condition: Callable[[], bool]) -> None:
            while not condition():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

        async with hub.worker("w1") as worker, asyncio.timeout(LIMIT_SECONDS):
            worker.socket.protocol.send_binary(frames.encode(Heartbeat((), 0.5, 0)))
            frame, wire = b"".join(worker.socket.protocol.data_to_send()), worker.socket.transport
            if tls:  # one record, of which the other end sees nothing before the last byte is there
                inner = wire._ssl_protocol
                inner._sslobj.write(frame)
                frame, wire = inner._outgoing.read(), inner._transport
            for piece in (frame[:-2], frame[-2:-1]):
                before = heard_at()
                await until(lambda before=before: loop.time() > before + 0.2)  # type: ignore[misc]
                wire.write(piece)
                await until(lambda before=before: heard_at() > before + 0.1)  # type: ignore[misc]
            assert load() != 0.5, "the message was not yet complete"
            wire.write(frame[-1:])
            await until(lambda: load() == 0.5)

    with_hub(scenario, lan=tls)
