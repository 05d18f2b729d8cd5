"""A hub keeps what a later job has taken over, and gives it to whoever asks with the right credential."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hubs import WithHub, job

from nbdist.hub.access import Grant
from nbdist.hub.archive import KEEP_SECONDS, Archive
from nbdist.hub.blobs import BlobStore
from nbdist.hub.limits import Limits
from nbdist.hub.stores import Stores
from nbdist.scheduler.orders import JobEnded, JobTaken
from nbdist.wire import frames, resuming
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import (
    Answer,
    AttachJob,
    ClearPool,
    DescribeJob,
    ForgetJob,
    JobFinished,
    JobKnown,
    JobOptions,
    JobReady,
    Machine,
    Part,
    PrepareJob,
    ReadResults,
    Result,
    RunSlice,
    SubmitJob,
    TakeResults,
)
from nbdist.wire.messages import BlobRef as Ref

GRANT = Grant("notebooks", "notebook")
MACHINE = Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")


class Place:
    """The stores of one hub after another on a directory, whose jobs have ten items, five of them done."""

    def __init__(self, folder: Path, limits: Limits | None = None) -> None:
        self.folder = folder
        self.limits = limits
        self.now = 1_000_000.0
        self.start()

    def start(self) -> None:
        self.blobs = BlobStore(self.folder / "blobs")
        archive = Archive(self.folder, clock=lambda: self.now, wall_clock=lambda: self.now)
        self.stores = Stores(self.blobs, archive, self.limits)
        _, self.kept, _ = self.stores.restore()

    def ended(
        self, name: str, resumes: str = "", results: int = 5, first: int = 0, folds: bool = False, **fields: Any
    ) -> None:
        spec = SubmitJob(name, name, MACHINE, JobOptions(reduce=folds), ranges=((0, 10, 1),), resumes=resumes)
        record = self.stores.submit("n1", GRANT, spec, b"the task")
        self.stores.keep_job(JobTaken("n1", spec))
        for seq in range(1, results + 1):
            self.stores.keep_result(Result(name, seq, first + seq - 1, first + seq, "w", **fields), bytes(1_000))
        self.stores.keep_end(record, JobEnded(JobFinished(name, "cancelled", results, 10)))
        self.stores.flush()

    def known(self) -> set[str]:
        return {name for name in "abc" if self.stores.get(name) is not None}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_a_later_job_needs_is_forgotten_with_that(place: Place) -> None:
    place.ended("a")
    place.ended("b", "a", first=5, results=2)
    place.ended("c", "b", first=7, results=1)
    for name in "ab":
        place.stores.forget(name)
        place.stores.release(name)
    assert place.known() == {"a", "b", "c"}
    place.stores.forget("c")
    place.stores.flush()
    assert place.known() == set()
    assert list((place.folder / "results").iterdir()) == []


def test_two_jobs_may_resume_the_same_one(place: Place) -> None:
    place.ended("a")
    place.ended("b", "a", results=0)
    place.ended("c", "a", results=0)
    place.stores.forget("a")
    place.stores.forget("c")
    assert place.known() == {"a", "b"}
    place.stores.forget("b")
    assert place.known() == set()


def test_a_job_that_was_not_to_be_forgotten_outlives_the_one_that_resumes_it(place: Place) -> None:
    place.ended("a")
    place.ended("b", "a", results=0)
    place.stores.forget("b")
    assert place.known() == {"a"}


def test_it_does_not_expire_before_the_later_job_does_and_a_restart_changes_nothing(place: Place) -> None:
    place.ended("a")
    place.now += KEEP_SECONDS / 2
    place.ended("b", "a", first=5, results=2)
    place.now += KEEP_SECONDS / 2 + 1
    place.start()
    for name in place.stores.expired():
        place.stores.forget(name)
    assert place.known() == {"a", "b"}
    (b,) = [kept for kept in place.kept if kept.spec.job == "b"]
    assert b.done == ((0, 7),)
    place.now += KEEP_SECONDS / 2
    for name in place.stores.expired():
        place.stores.forget(name)
    assert place.known() == set()


@pytest.mark.parametrize("folds", [False, True])
def test_after_a_restart_it_is_known_what_failed(place: Place, folds: bool) -> None:
    place.ended("a", results=1, failed=(0,), folds=folds)
    place.ended("b", "a", results=1, first=1, folds=folds)
    place.start()
    (b,) = [kept for kept in place.kept if kept.spec.job == "b"]
    assert b.done == ((1, 2),)


def drop_what_may_go(place: Place) -> None:
    place.stores.keeping.changed()
    while place.stores.keeping.step():
        place.stores.flush()


def test_its_results_are_not_dropped_for_room(tmp_path: Path) -> None:
    place = Place(tmp_path, Limits(kept_bytes=2_000))
    place.ended("a")
    place.ended("b", "a", results=0)
    record = place.stores.get("a")
    assert record is not None
    place.stores.attach(record, AttachJob("a", 0, 1 << 30), "n1")
    assert len(list(record.results.sendable())) == 5
    place.stores.take(record, TakeResults("a", 5, 1 << 30))
    drop_what_may_go(place)
    assert record.dropped.seq == 0
    place.stores.forget("b")
    drop_what_may_go(place)
    assert record.dropped.seq > 0
    resumption = place.stores.chains.resumption(SubmitJob("c", "c", MACHINE, JobOptions(), resumes="a"), GRANT.id)
    assert resumption.lost == ((0, record.dropped.seq),)


def test_only_so_many_jobs_resume_each_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "MAX_CHAIN", 3)
    before = ""
    for name in "abc":
        place.ended(name, before, results=0)
        before = name
    spec = SubmitJob("d", "d", MACHINE, JobOptions(), resumes="b")
    assert place.stores.chains.resumption(spec, GRANT.id).problem == ""
    spec = SubmitJob("d", "d", MACHINE, JobOptions(), resumes="c")
    assert "the last of 3 jobs that resume each other" in place.stores.chains.resumption(spec, GRANT.id).problem
    assert (
        "no job 'b' is known here"
        in place.stores.chains.resumption(SubmitJob("d", "d", MACHINE, JobOptions(), resumes="b"), "another").problem
    )


async def run(worker: Any, count: int, failing: frozenset[int] = frozenset(), blob: Ref | None = None) -> list[int]:
    """A worker that runs so many items; gives them in the order in which it was given them."""
    ran: list[int] = []
    while len(ran) < count:
        message, _ = await worker.next()
        if isinstance(message, PrepareJob):
            await worker.send(JobReady(message.job))
        elif isinstance(message, RunSlice):
            for item in range(message.start, message.stop):
                failed = (item,) if item in failing else ()
                final = item == message.stop - 1
                part = Part(message.job, message.attempt, item, item + 1, 0.001, final, failed=failed, blob=blob)
                await worker.send(part, b"" if blob else b"value %d" % item + bytes(50_000))
                ran.append(item)
    return ran


async def ask(notebook: Any, message: Any) -> tuple[Answer, bytes]:
    await notebook.send(message)
    found: tuple[Answer, bytes] = await notebook.until(Answer)
    return found


@pytest.mark.real
def test_only_what_is_missing_runs_and_the_rest_can_be_read(with_hub: WithHub) -> None:
    keep = JobOptions(on_error="keep")

    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook, hub.worker("w1") as worker:
            await notebook.send(job("a", ranges=((0, 12, 1),), options=keep), b"task")
            await run(worker, 12, frozenset({3, 8}))
            await notebook.until(JobFinished)
            _, payload = await ask(notebook, DescribeJob(1, "a", to_resume=True))
            known, task = frames.decode(payload)
            assert isinstance(known, JobKnown)
            assert (known.outcome, known.left, known.earlier, bytes(task)) == ("done", 2, (), b"")
            await notebook.send(job("b", ranges=((0, 12, 1),), options=keep, resumes="a", code="x"), b"task")
            assert await run(worker, 2, frozenset({8})) == [3, 8]
            finished, _ = await notebook.until(JobFinished)
            assert (finished.job, finished.outcome) == ("b", "done")
            await notebook.send(ForgetJob("a"))
            await notebook.send(job("c", ranges=((0, 12, 1),), options=keep, resumes="b"), b"task")
            assert await run(worker, 1) == [8]
            _, payload = await ask(notebook, DescribeJob(2, "c", to_resume=True))
            known, _ = frames.decode(payload)
            assert isinstance(known, JobKnown)
            assert (known.left, known.earlier) == (0, (("b", "x"), ("a", "")))
            values = {}
            for name in "cba":
                values.update({i: v for i, v in await read(notebook, name) if v is not None and i not in values})
            assert values == {item: b"value %d" % item for item in range(12)}
            await ask(notebook, ClearPool(3))
            answer, _ = await ask(notebook, ReadResults(4, "a"))
            assert "no job 'a' is known here" in answer.error

    async def read(notebook: Any, name: str) -> list[tuple[int, bytes | None]]:
        found: list[tuple[int, bytes | None]] = []
        place, answers = (-1, 0), 0
        while True:
            answer, data = await ask(notebook, ReadResults(9, name, *place))
            answers += 1
            for result, payload in resuming.split(data):
                found.append((result.start, None if result.failed else bytes(payload).rstrip(b"\0")))
            if not answer.text:
                assert answers >= len(found) // 3
                return found
            segment, offset = answer.text.split()
            place = (int(segment), int(offset))

    with_hub(scenario)


@pytest.mark.real
def test_what_cannot_be_read_or_resumed_is_told(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        stranger = hub.hub.rooms.access.make_invite("notebook", uses=0, valid_seconds=60)
        async with hub.client("notebook", "n1") as notebook, hub.worker("w1") as worker:
            await notebook.send(job("a", ranges=((0, 3, 1),)), b"task")
            answer, _ = await ask(notebook, ReadResults(1, "a"))
            assert "still runs" in answer.error
            await run(worker, 3)
            await notebook.until(JobFinished)
            for segment, offset in ((7, 0), (0, 1), (0, -5), (0, 2**62), (2**62, 0)):
                answer, _ = await ask(notebook, ReadResults(2, "a", segment, offset))
                assert "cannot be read" in answer.error or (answer.text, answer.error) == ("", "")
            await notebook.send(job("b", ranges=((0, 3, 1),), resumes="a"), b"task")
            finished, _ = await notebook.until(JobFinished)
            assert finished.outcome == "refused"
            assert "has nothing left to do" in finished.reason
            async with hub.client("notebook", "n2", key=stranger) as other:
                answer, _ = await ask(other, ReadResults(3, "a"))
                assert "submitted" in answer.error or "another" in answer.error
                await other.send(job("c", ranges=((0, 3, 1),), resumes="a"), b"task")
                finished, _ = await other.until(JobFinished)
                assert (finished.outcome, "no job 'a' is known here" in finished.reason) == ("refused", True)

    with_hub(scenario)


def test_a_result_that_is_a_blob_stays_readable(place: Place) -> None:
    data = b"large result"
    name = blob_name([data])
    incoming = place.blobs.incoming(name, len(data))
    incoming.write(data)
    incoming.finish()
    place.ended("a", results=1, blob=Ref(name, len(data)))
    place.ended("b", "a", results=0)
    place.stores.forget("a")
    assert place.stores.may_get(GRANT, name)
    place.stores.forget("b")
    place.stores.flush()
    assert not place.blobs.has(name)
