"""The hub engine against a hub that does what the test says."""

from __future__ import annotations

import json
import os
import queue
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nbdist.engines.base import Attached, Block, JobSpec, PackedBlob, PackedTask
from nbdist.engines.hub.engine import HubEngine
from nbdist.engines.hub.run import RESULTS_WINDOW_BYTES, TOLD_BYTES
from nbdist.errors import AccessError, ConnectionFailedError, NbdistError, VersionError
from nbdist.wire import frames
from nbdist.wire.blobs import blob_name
from nbdist.wire.blocks import ITEMS_WINDOW_BYTES
from nbdist.wire.local import this_machine
from nbdist.wire.messages import (
    AddItems,
    Answer,
    AttachJob,
    BlobPlaced,
    BlobRef,
    CancelJob,
    ClearPool,
    CloseItems,
    DescribeJob,
    DescribePool,
    FindJob,
    ForgetJob,
    GrantItems,
    JobFinished,
    JobKnown,
    JobOptions,
    JobProgress,
    Message,
    NeedBlobs,
    NeedPortable,
    Notice,
    PortableTask,
    ProveLocal,
    Refused,
    Result,
    StopWorkers,
    SubmitJob,
    TakeResults,
)

LIMIT_SECONDS = 60.0


def spec(packed: PackedTask | None = None, **fields: Any) -> JobSpec:
    task = packed or PackedTask([b"the ", b"task"])
    if not fields.keys() & {"blocks", "is_open", "ranges"}:
        fields["ranges"] = ((0, 10, 1),)
    return JobSpec(job="j1", name="job", options=JobOptions(), task=None, packed=lambda: task, **fields)


def result(seq: int, **fields: Any) -> Result:
    return Result("j1", seq, seq - 1, seq, "w", **fields)


class TestGreeting:
    def test_the_secret_travels_in_the_header_and_is_not_shown(self, hub: Any, engine: HubEngine) -> None:
        assert hub.headers == ["Bearer the-key"]
        assert hub.hellos[0].role == "notebook"
        assert hub.hellos[0].machine.pid == os.getpid()
        assert engine.address == f"ws://127.0.0.1:{hub.port}/"

    @pytest.mark.parametrize(
        ("code", "error"), [("access", AccessError), ("version", VersionError), ("replaced", ConnectionFailedError)]
    )
    def test_a_refusal_says_why_and_what_to_do(
        self, hub: Any, code: Any, error: type[Exception], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("nbdist.engines.hub.connection.FIRST_LIMIT_SECONDS", 0.1)
        hub.refusal = Refused(code, "the reason", "type this")
        with pytest.raises(error, match="the reason; type this"):
            HubEngine(lambda urgent: hub.address)

    def test_a_hub_that_refuses_what_it_is_sent_again_and_again_ends_the_jobs(
        self, hub: Any, engine: HubEngine, events: Any
    ) -> None:
        engine.submit(spec(), events)
        for _ in range(3):
            hub.expect(SubmitJob)
            hub.send(Refused("protocol", "a job that makes no sense", "upgrade"))
        for _ in range(3):  # the first two breaks are told as notices
            message, _ = events.next(Message)
        assert message.outcome == "cancelled"
        assert "a job that makes no sense" in message.reason

    def test_no_hub_is_told_with_the_address(self, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("nbdist.engines.hub.connection.REFUSED_LIMIT_SECONDS", 0.1)
        address = hub.address
        hub.close()
        with pytest.raises(ConnectionFailedError, match=f"no hub listens at ws://127.0.0.1:{address.port}/"):
            HubEngine(lambda urgent: address)

    def test_what_finding_the_hub_raises_is_raised(self) -> None:
        def find(urgent: bool) -> Any:
            raise AccessError("no way")

        with pytest.raises(AccessError, match="no way"):
            HubEngine(find)

    def test_it_proves_to_be_local_if_it_can_read_the_folder(self, local_hub: Any, engine: HubEngine) -> None:
        assert local_hub.expect(ProveLocal)[0].nonce == "proof"


class TestJob:
    def test_from_submission_to_the_end(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(), events)
        submitted, task = hub.expect(SubmitJob)
        assert (submitted.job, submitted.ranges, task) == ("j1", ((0, 10, 1),), b"the task")
        hub.send(NeedBlobs("j1", ()))
        hub.send(result(1), b"one")
        hub.send(JobProgress("j1", 0.1, 10, 1, 0, 9, 2, 10.0))
        hub.send(JobFinished("j1", "done", 1, 10))
        run.wait(LIMIT_SECONDS)
        assert events.next(Result) == (result(1), b"one")
        assert events.next(JobProgress)[0].done == 1
        assert events.next(JobFinished)[0].outcome == "done"
        run.forget()
        hub.expect(ForgetJob)

    def test_wait_returns_for_an_event_that_came_before(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(result(1))
        events.next(Result)
        waiting = threading.Thread(target=run.wait, args=(None,))
        waiting.start()
        waiting.join(LIMIT_SECONDS)
        assert not waiting.is_alive()

    def test_messages_about_forgotten_jobs_are_dropped(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), events).forget()
        hub.expect(SubmitJob)
        hub.expect(ForgetJob)
        hub.send(result(1))
        hub.send(Answer(99, "nobody asked"))
        answer = self.ask(hub, engine)
        assert answer == {"workers": []}
        assert events.empty()

    def test_credit_is_given_for_each_quarter_of_the_window(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(), events)
        hub.expect(SubmitJob)
        size = 200_000
        for seq in range(1, TOLD_BYTES // size + 2):
            hub.send(result(seq), bytes(size))
            events.next(Result)
            assert not hub.heard()
            run.consumed(seq)
        taken, _ = hub.expect(TakeResults)
        assert (taken.window_bytes, taken.seq) == (RESULTS_WINDOW_BYTES, seq)

    def test_the_last_results_of_a_job_are_said_to_be_taken(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(result(1), b"x")
        events.next(Result)
        run.consumed(1)
        assert not hub.heard()
        hub.send(JobFinished("j1", "done", 1, 10))
        events.next(JobFinished)
        for _ in range(2):
            run.consumed(1)
        assert hub.expect(TakeResults)[0].seq == 1
        run.forget()
        hub.expect(ForgetJob)

    def test_a_cancelled_job_says_so_again_after_a_break(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(), events)
        run.cancel("enough")
        hub.expect(SubmitJob)
        assert hub.expect(CancelJob)[0].reason == "enough"
        hub.drop()
        hub.expect(SubmitJob)
        assert hub.expect(CancelJob)[0].reason == "enough"

    @staticmethod
    def ask(hub: Any, engine: HubEngine) -> Any:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(engine.describe)
            hub.send(Answer(hub.expect(DescribePool)[0].request), b'{"workers": []}')
            return asked.result(LIMIT_SECONDS)


class TestBreak:
    def test_a_job_that_was_not_answered_is_submitted_again(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.drop()
        assert hub.expect(SubmitJob)[1] == b"the task"
        assert events.next(Notice)[0].level == "warning"

    def test_results_continue_after_the_last_consumed_and_come_once(
        self, hub: Any, engine: HubEngine, events: Any
    ) -> None:
        run = engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(NeedBlobs("j1", ()))
        for seq in (1, 2, 3):
            hub.send(result(seq))
            events.next(Result)
        run.consumed(1)
        hub.drop()
        attached, _ = hub.expect(AttachJob)
        assert attached.seq == 1
        events.next(Notice)
        for seq in (2, 3, 4):
            hub.send(result(seq))
        assert events.next(Result)[0].seq == 4

    def test_what_is_sent_while_much_is_told_again_is_not_lost(
        self, hub: Any, engine: HubEngine, events: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        many = [Block(1, bytes(500_000)) for _ in range(16)]
        engine.submit(spec(blocks=iter(many)), events)
        hub.expect(SubmitJob)
        for _ in many:
            hub.expect(AddItems)
        hub.expect(CloseItems)
        opened = engine.opened

        def opened_and_asked(welcome: Any) -> Any:
            told = list(opened(welcome))
            # comes to the loop once that has begun to send: the frames are more than the connection takes at once
            engine._connection.call_soon(lambda: engine.send(frames.encode(CancelJob("j9", "meanwhile"))))
            return told

        monkeypatch.setattr(engine, "opened", opened_and_asked)
        hub.drop()
        hub.expect(SubmitJob)
        for _ in many:
            hub.expect(AddItems)
        hub.expect(CloseItems)
        assert hub.expect(CancelJob)[0].job == "j9"

    def test_results_that_a_new_hub_does_not_have_are_not_waited_for(
        self, hub: Any, engine: HubEngine, events: Any
    ) -> None:
        run = engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(NeedBlobs("j1", ()))
        hub.send(result(1))
        hub.send(JobFinished("j1", "done", 5, 10, ""))
        events.next(Result)
        assert events.next(JobFinished)[0].last_seq == 5
        run.consumed(1)
        hub.drop()
        attached, _ = hub.expect(AttachJob)
        hub.send(JobFinished("j1", "cancelled", attached.seq, None, "the hub does not know this job"))
        finished, _ = events.next(JobFinished)
        assert (finished.outcome, finished.last_seq) == ("cancelled", 1)

    def test_a_hub_that_was_away_hears_again_what_it_may_forget(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(JobFinished("j1", "done", 0, 10))
        events.next(JobFinished)
        run.forget()
        hub.expect(ForgetJob)
        hub.drop()
        assert hub.expect(ForgetJob)[0] == ForgetJob("j1")

    def test_the_same_peer_comes_back(self, hub: Any, engine: HubEngine) -> None:
        hub.drop()
        hub.welcomed.get(timeout=LIMIT_SECONDS)
        assert len({hello.peer for hello in hub.hellos}) == 1

    def test_a_question_is_asked_again(self, hub: Any, engine: HubEngine) -> None:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(engine.stop_workers, ["a"])
            first, _ = hub.expect(StopWorkers)
            hub.drop()
            again, _ = hub.expect(StopWorkers)
            assert again == first
            hub.send(Answer(again.request), json.dumps(["a"]).encode())
            assert asked.result(LIMIT_SECONDS) == ["a"]

    def test_garbage_from_the_hub_breaks_the_connection_only(self, hub: Any, engine: HubEngine) -> None:
        hub.welcomed.get(timeout=LIMIT_SECONDS)
        hub.send_raw(b"\x00\x00\x00\x05garbage")
        hub.welcomed.get(timeout=LIMIT_SECONDS)

    def test_a_revoked_credential_ends_what_waits(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(Refused("access", "revoked", "ask for a new one"))
        finished, _ = events.next(JobFinished)
        assert (finished.outcome, finished.reason) == ("cancelled", "revoked; ask for a new one")
        with pytest.raises(AccessError, match="revoked"):
            engine.submit(spec(), events)


class TestItems:
    def test_blocks_are_sent_and_closed(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(blocks=iter([Block(2, b"ab"), Block(3, b"cde")])), events)
        hub.expect(SubmitJob)
        assert hub.expect(AddItems) == (AddItems("j1", 0, 2), b"ab")
        assert hub.expect(AddItems) == (AddItems("j1", 2, 3), b"cde")
        assert hub.expect(CloseItems)[0].total == 5

    def test_no_more_than_the_window_is_under_way(self, hub: Any, engine: HubEngine, events: Any) -> None:
        size = 500_000
        engine.submit(spec(blocks=(Block(1, bytes(size)) for _ in range(100))), events)
        hub.expect(SubmitJob)
        for _ in range(ITEMS_WINDOW_BYTES // size):
            hub.expect(AddItems)
        TestJob.ask(hub, engine)  # what was sent before has come
        hub.send(GrantItems("j1", size))
        hub.expect(AddItems)
        hub.send(JobFinished("j1", "cancelled", 0, None))

    def test_what_is_unfinished_is_sent_again_after_a_break(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = engine.submit(spec(is_open=True), events)
        hub.expect(SubmitJob)
        hub.send(NeedBlobs("j1", ()))
        for data in (b"a", b"b"):
            run.add([data], lambda data=data: Block(1, data))  # type: ignore[misc]
            hub.expect(AddItems)
        hub.send(GrantItems("j1", 1))
        hub.send(result(1))
        events.next(Result)
        hub.drop()
        hub.expect(AttachJob)
        assert hub.expect(AddItems) == (AddItems("j1", 1, 1), b"b")

    def test_an_iterable_that_exits_cancels_too(self, hub: Any, engine: HubEngine, events: Any) -> None:
        def blocks() -> Iterator[Block]:
            yield Block(1, b"one")
            raise SystemExit("enough")

        engine.submit(spec(blocks=blocks()), events)
        hub.expect(SubmitJob)
        hub.expect(AddItems)
        assert "enough" in hub.expect(CancelJob)[0].reason

    def test_an_iterable_that_raises_cancels_with_the_reason(self, hub: Any, engine: HubEngine, events: Any) -> None:
        def broken() -> Iterator[Block]:
            yield Block(1, b"a")
            raise KeyError("ouch")

        engine.submit(spec(blocks=broken()), events)
        hub.expect(SubmitJob)
        hub.expect(AddItems)
        assert "KeyError: 'ouch'" in hub.expect(CancelJob)[0].reason


class TestBlobs:
    def test_only_what_the_hub_needs_is_placed(self, local_hub: Any, engine: HubEngine, events: Any) -> None:
        local_hub.expect(ProveLocal)
        blobs = []
        for data in (b"first" * 100, os.urandom(20_000_000)):
            blobs.append(PackedBlob(blob_name([data]), len(data), [data[:7], data[7:]]))
        engine.submit(spec(PackedTask([b"task"], blobs)), events)
        submitted, _ = local_hub.expect(SubmitJob)
        assert [ref.name for ref in submitted.blobs] == [blob.name for blob in blobs]
        local_hub.send(NeedBlobs("j1", (blobs[1].name,)))
        assert local_hub.expect(BlobPlaced)[0].blob == BlobRef(blobs[1].name, blobs[1].size)
        (path,) = (Path(local_hub.folder) / "blobs").iterdir()
        assert path.read_bytes() == b"".join(map(bytes, blobs[1].pieces))
        assert not list((Path(local_hub.folder) / "incoming").iterdir())

    def test_needs_that_come_in_several_messages_are_one(self, local_hub: Any, engine: HubEngine, events: Any) -> None:
        local_hub.expect(ProveLocal)
        blobs = [PackedBlob(blob_name([data := bytes([number]) * 300_000]), 300_000, [data]) for number in range(3)]
        run = engine.submit(spec(PackedTask([b"task"], blobs)), events)
        local_hub.expect(SubmitJob)
        local_hub.send(NeedBlobs("j1", (blobs[1].name,), more=True))
        local_hub.send(Notice("j1", "info", "in between"))
        events.next(Notice)
        assert run._needed is None  # type: ignore[attr-defined]
        local_hub.send(NeedBlobs("j1", (blobs[2].name,)))
        placed = {local_hub.expect(BlobPlaced)[0].blob.name for _ in range(2)}
        assert placed == {blobs[1].name, blobs[2].name}

    def test_a_large_task_is_a_blob_itself(self, local_hub: Any, engine: HubEngine, events: Any) -> None:
        local_hub.expect(ProveLocal)
        data = bytes(300 * 1024)
        engine.submit(spec(PackedTask([data])), events)
        submitted, payload = local_hub.expect(SubmitJob)
        assert submitted.task == BlobRef(blob_name([data]), len(data))
        assert payload == b""
        assert submitted.blobs == ()
        local_hub.send(NeedBlobs("j1", (submitted.task.name,)))
        local_hub.expect(BlobPlaced)

    def test_results_that_are_blobs_are_mapped_and_keep_their_order(
        self, local_hub: Any, engine: HubEngine, events: Any
    ) -> None:
        local_hub.expect(ProveLocal)
        data = os.urandom(300_000)
        ref = BlobRef(blob_name([data]), len(data))
        (Path(local_hub.folder) / "blobs" / ref.name).write_bytes(data)
        engine.submit(spec(), events)
        local_hub.expect(SubmitJob)
        local_hub.send(result(1, blob=ref))
        local_hub.send(result(2), b"small")
        assert events.next(Result) == (result(1, blob=ref), data)
        assert events.next(Result) == (result(2), b"small")

    def test_a_result_that_is_gone_ends_the_job_with_the_reason(
        self, local_hub: Any, engine: HubEngine, events: Any
    ) -> None:
        local_hub.expect(ProveLocal)
        engine.submit(spec(), events)
        local_hub.expect(SubmitJob)
        local_hub.send(result(1, blob=BlobRef("0" * 64, 5)))
        assert "gone" in events.next(Notice)[0].text
        assert "gone" in local_hub.expect(CancelJob)[0].reason
        local_hub.send(result(2))
        local_hub.send(JobFinished("j1", "cancelled", 2, 10, "gone"))
        while (last := events.next(JobFinished)[0].last_seq) > 0:  # first as the hub says it, then as it is here
            assert last == 2


class TestEnd:
    def test_after_close_everything_says_so(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.close()
        engine.close()
        for call in (engine.describe, engine.clear, lambda: engine.submit(spec(), events), engine.invite):
            with pytest.raises(NbdistError, match="closed"):
                call()

    def test_close_ends_waiting_jobs_and_releases(self, hub: Any, events: Any) -> None:
        released: list[int] = []
        engine = HubEngine(lambda urgent: hub.address, lambda: released.append(1))
        engine.submit(spec(), events)
        hub.expect(SubmitJob)
        engine.close()
        engine.close()
        assert events.next(JobFinished)[0].outcome == "cancelled"
        assert released == [1]

    def test_what_was_sent_before_close_arrives(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), events).forget()
        engine.close()
        hub.expect(SubmitJob)
        hub.expect(ForgetJob)

    def test_an_error_in_an_answer_is_raised(self, hub: Any, engine: HubEngine) -> None:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(engine.clear)
            hub.send(Answer(hub._inbox.get(timeout=LIMIT_SECONDS)[0].request, "no such luck"))
            with pytest.raises(NbdistError, match="no such luck"):
                asked.result(LIMIT_SECONDS)

    def test_clear_ends_the_jobs_that_the_hub_has_forgotten(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), events)
        hub.expect(SubmitJob)
        with ThreadPoolExecutor(1) as threads:
            cleared = threads.submit(engine.clear)
            hub.send(result(1))
            hub.send(Answer(hub.expect(ClearPool)[0].request))
            cleared.result(LIMIT_SECONDS)
        events.next(Result)
        finished, _ = events.next(JobFinished)
        assert (finished.outcome, finished.last_seq) == ("cancelled", 1)

    def test_clear_leaves_later_jobs_alone(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), lambda message, payload: None)
        hub.expect(SubmitJob)
        with ThreadPoolExecutor(1) as threads:
            cleared = threads.submit(engine.clear)
            request = hub.expect(ClearPool)[0].request
            has_cleared, goes_on = threading.Event(), threading.Event()
            engine._connection.call_soon(lambda: (has_cleared.set(), goes_on.wait(LIMIT_SECONDS)))
            assert has_cleared.wait(LIMIT_SECONDS)
            engine._requests.answered(Answer(request), b"")
            cleared.result(LIMIT_SECONDS)
            run = engine.submit(replace(spec(), job="j2"), events)
            goes_on.set()
        hub.expect(SubmitJob)
        hub.send(Result("j2", 1, 0, 1, "w"))
        events.next(Result)
        assert list(engine._runs.values()) == [run]

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
    def test_a_forked_copy_refuses_and_leaves_the_parents_connection_alone(
        self, hub: Any, engine: HubEngine, events: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engine, "_pid", os.getpid() + 1)
        with pytest.raises(NbdistError, match="fork"):
            engine.submit(spec(), events)
        engine.close()
        monkeypatch.undo()
        assert TestJob.ask(hub, engine) == {"workers": []}


class TestOtherVersionsOfPython:
    def test_the_task_is_packed_once_when_it_is_needed_and_told_again(
        self, hub: Any, engine: HubEngine, events: Any
    ) -> None:
        packed: list[bytes] = []

        def repack(data: Any, sent: Any) -> PackedTask:
            packed.append(bytes(data))
            return PackedTask([b"source"])

        engine.submit(spec(repack=repack), events)
        hub.expect(SubmitJob)
        assert packed == []
        for _ in range(2):
            hub.send(NeedPortable("j1"))
            answer, payload = hub.expect(PortableTask)
            assert (answer, bytes(payload)) == (PortableTask("j1"), b"source")
        assert packed == [b"the task"]

    def test_what_the_task_captured_is_let_go_when_the_job_ends(self, hub: Any, engine: HubEngine, events: Any) -> None:
        def repack(data: Any, sent: Any) -> PackedTask:
            return PackedTask([b"source"])

        held = weakref.ref(repack)
        run = engine.submit(spec(repack=repack), events)
        del repack
        assert held() is not None
        hub.send(JobFinished("j1", "done", 0, 10))
        events.next(JobFinished)
        assert (held(), run.job) == (None, "j1")

    def test_its_new_blobs_are_sent_if_the_hub_needs_them(self, local_hub: Any, engine: HubEngine, events: Any) -> None:
        hub = local_hub
        hub.expect(ProveLocal)
        large = bytes(frames.MAX_INLINE_PAYLOAD_BYTES + 1)
        engine.submit(spec(repack=lambda data, sent: PackedTask([large])), events)
        hub.expect(SubmitJob)
        hub.send(NeedPortable("j1"))
        answer, _ = hub.expect(PortableTask)
        assert answer.task == BlobRef(blob_name([large]), len(large))
        hub.send(NeedBlobs("j1", (answer.task.name,)))
        placed, _ = hub.expect(BlobPlaced)
        assert placed.blob == answer.task


class TestAttachingToWhatTheSameCellHasDone:
    KEY = "a" * 64

    def known(self, **fields: Any) -> bytes:
        submit = SubmitJob("j1", "job", this_machine(1), JobOptions(), ranges=((0, 2, 1),), key=self.KEY)
        return frames.encode(JobKnown(submit, 2, 2, **({"ended_seconds": 60.0} | fields)), b"the task")

    def attach(self, hub: Any, engine: HubEngine) -> Attached:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(engine.attach, "j1")
            question, _ = hub.expect(DescribeJob)
            hub.send(Answer(question.request), self.known())
            return asked.result(LIMIT_SECONDS)

    def ended(self, hub: Any, engine: HubEngine, events: Any) -> Any:
        """An own job that has ended, and whose results are here."""
        run = engine.submit(spec(key=self.KEY, items_key="b" * 64), events)
        submitted, _ = hub.expect(SubmitJob)
        assert (submitted.key, submitted.items_key) == (self.KEY, "b" * 64)
        hub.send(result(1), b"one")
        hub.send(result(2), b"two")
        hub.send(JobFinished("j1", "done", 2, 2))
        for kind in (Result, Result, JobFinished):
            events.next(kind)
        return run

    @pytest.mark.parametrize("changes", [{"python": "3.99.0"}, {"implementation": "pypy"}])
    def test_a_job_of_another_version_of_python_is_left_alone(
        self, hub: Any, engine: HubEngine, changes: dict[str, str]
    ) -> None:
        submit = SubmitJob("j1", "job", replace(this_machine(1), **changes), JobOptions(), ranges=((0, 2, 1),))
        for ask in (engine.attach, engine.earlier):
            with ThreadPoolExecutor(1) as threads:
                asked = threads.submit(ask, "j1")  # type: ignore[arg-type]
                question, _ = hub.expect(DescribeJob)
                hub.send(Answer(question.request), frames.encode(JobKnown(submit, 2, 2), b"the task"))
                with pytest.raises(NbdistError, match=r"job j1 was submitted by .* use a kernel of the other"):
                    asked.result(LIMIT_SECONDS)

    def test_a_job_is_asked_for_by_its_key(self, hub: Any, engine: HubEngine) -> None:
        for found in ("j7", ""):
            with ThreadPoolExecutor(1) as threads:
                asked = threads.submit(engine.find, self.KEY)
                question, _ = hub.expect(FindJob)
                assert question.key == self.KEY
                hub.send(Answer(question.request, text=found))
                assert asked.result(LIMIT_SECONDS) == found

    def test_an_own_job_that_is_over_gives_its_place_to_another_run_of_it(
        self, hub: Any, engine: HubEngine, events: Any
    ) -> None:
        old = self.ended(hub, engine, events)
        attached = self.attach(hub, engine)
        assert attached.ended_seconds == 60.0
        again: queue.Queue[Any] = queue.Queue()
        run = attached.take_over(lambda message, payload: again.put((message, bytes(payload))), None)
        assert hub.expect(AttachJob)[0].seq == 0
        old.consumed(2)
        old.cancel("old")
        old.forget()
        hub.send(result(1), b"one")
        hub.send(result(2), b"two")
        hub.send(JobFinished("j1", "done", 2, 2))
        came = [again.get(timeout=LIMIT_SECONDS) for _ in range(3)]
        assert [payload for _, payload in came] == [b"one", b"two", b""]
        run.forget()
        assert hub.expect(ForgetJob)[0] == ForgetJob("j1")  # nothing was said for the old run

    def test_a_job_that_was_forgotten_and_attached_to_again_is_not_forgotten_on_a_new_connection(
        self, hub: Any, engine: HubEngine, events: Any
    ) -> None:
        self.ended(hub, engine, events).forget()
        hub.expect(ForgetJob)
        self.attach(hub, engine).take_over(events, None)
        hub.expect(AttachJob)
        hub.drop()
        assert hub.expect(AttachJob)[0].job == "j1"

    def test_an_own_job_that_goes_on_cannot_be_attached_to(self, hub: Any, engine: HubEngine, events: Any) -> None:
        engine.submit(spec(), events)
        hub.expect(SubmitJob)
        hub.send(JobFinished("j1", "done", 1, 2))
        events.next(JobFinished)
        with pytest.raises(NbdistError, match="own, and not over"):
            engine.attach("j1")

    def test_results_with_a_gap_do_not_count(self, hub: Any, engine: HubEngine, events: Any) -> None:
        run = self.attach(hub, engine).take_over(events, None)
        hub.expect(AttachJob)
        hub.send(result(2), b"two")
        hub.send(JobFinished("j1", "done", 2, 2))
        finished, _ = events.next(JobFinished)
        assert (finished.outcome, finished.last_seq) == ("cancelled", 0)
        assert "no longer at the hub" in finished.reason
        assert run.is_complete
