"""One job at the hub, as its notebook sees it: what to tell the hub again after a break, which results have come."""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from nbdist.engines.base import Block, Buffer, Deliver, PackedBlob, Repack
from nbdist.engines.hub.items import ItemFeed, Parcel
from nbdist.engines.hub.portables import Answer, Portable
from nbdist.errors import NbdistError
from nbdist.wire import frames
from nbdist.wire.messages import (
    AttachJob,
    BlobRef,
    CancelJob,
    CloseItems,
    ForgetJob,
    GrantItems,
    JobFinished,
    JobKnown,
    Message,
    NeedBlobs,
    NeedPortable,
    Notice,
    Result,
    SubmitJob,
    TakeResults,
)

RESULTS_WINDOW_BYTES = 16 * 1024 * 1024
"""So much of a job's results may be here, or under way, without being consumed."""
RESULT_BYTES = 512
"""What the hub counts for a result beside its payload."""


class Hub(Protocol):
    """What a run needs of its engine."""

    def send(self, frame: bytes) -> None:
        """Sends a frame, or drops it if there is no connection."""

    def upload(self, run: HubRun, blobs: Sequence[PackedBlob]) -> None:
        """Gets blobs to the hub, on another thread; `HubRun.fail` if that cannot be done."""

    def upload_items(self, run: HubRun, parcel: Parcel) -> None:
        """Gets the blobs of a run's items to the hub, on another thread; then `ItemFeed.uploaded`, or `HubRun.fail`."""

    def discard(self, names: Iterable[str]) -> None:
        """The hub has these blobs already: copies of them are not needed."""

    def fetch(self, run: HubRun, ref: BlobRef, came: Callable[[Buffer], None]) -> None:
        """Gets a blob from the hub on another thread and calls back on the connection's; or `HubRun.fail`."""

    def answer(self, run: HubRun, portable: Portable, sent: Mapping[str, PackedBlob]) -> None:
        """Packs a task for other versions of Python, on another thread; then `HubRun.answered`."""

    def forget(self, run: HubRun, *, is_kept: bool) -> None:
        """Drops the run. `is_kept`: the hub keeps the job as long as it keeps jobs, so that it can be resumed."""


@dataclass(slots=True)
class _Arrival:
    message: Result
    payload: Buffer | None
    """None: it is being fetched."""


class HubRun:
    """A job that the hub engine has taken (`engines.base.Run`).

    The methods of `Run` may be called on any thread, the others only on the connection's.
    """

    def __init__(
        self,
        submit: SubmitJob,
        task: bytes,
        blobs: Sequence[PackedBlob],
        deliver: Deliver,
        hub: Hub,
        *,
        has_items: bool,
        may_be_resumed: bool = False,
        repack: Repack | None = None,
    ) -> None:
        self.job = submit.job
        self.finished: JobFinished | None = None
        upload = lambda parcel: hub.upload_items(self, parcel)  # noqa: E731
        self.feed = ItemFeed(submit.job, hub.send, upload=upload) if has_items else None
        self._submit = frames.encode(submit, task)
        self._blobs = {blob.name: blob for blob in blobs}
        self._portable = Portable(submit, self._submit, repack)
        self._deliver_event = deliver
        self._hub = hub
        self._asked: set[str] = set()
        """Blobs that the hub has named, while it goes on naming more."""
        self._needed: set[str] | None = None
        """Blobs that the hub still waits for; None: it has not answered yet."""
        self._cancelled: CancelJob | None = None
        self._late: CloseItems | None = None
        """Says that no more items come to a job whose notebook has gone."""
        self._received = 0
        self._consumed = 0
        self._held: deque[tuple[int, int]] = deque()
        """(number, bytes) of results that are not consumed."""
        self._consumed_bytes = 0
        """Since the hub was last told."""
        self._arrivals: deque[_Arrival] = deque()
        self._is_broken = self._is_over = self._is_retired = False
        self._is_offered = False
        """The job had ended when it was attached to, by its key: all its results come, or none count."""
        self._may_be_resumed = may_be_resumed
        self._has_failed = False
        """Some of its items have."""
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        """Holds an entry if there are events. The main thread waits here, and people interrupt it: a `threading.Event`
        can lose its lock by that, and then fails in both threads."""

    @classmethod
    def attached(cls, known: JobKnown, deliver: Deliver, hub: Hub) -> HubRun:
        """A job of an earlier notebook. Items that have not come to the hub will never come."""
        run = cls(known.spec, b"", (), deliver, hub, has_items=False, may_be_resumed=True)
        run._needed = set()
        run._late = CloseItems(run.job, known.available) if known.total is None else None
        run._is_offered = bool(known.spec.key) and known.ended_seconds is not None
        return run

    @property
    def is_complete(self) -> bool:
        """The job has ended and all its results are here."""
        return self.finished is not None and self._delivered() >= self.finished.last_seq

    def retire(self) -> None:
        """Another run of the same job takes its place: nothing is said for this one any more."""
        self._is_retired = True

    # --- Run --------------------------------------------------------------------------------------------------------

    def wait(self, timeout: float | None) -> None:
        """Returns once events were delivered since the last call, or after `timeout` seconds."""
        with contextlib.suppress(queue.Empty):
            self._bell.get(timeout=timeout)

    def consumed(self, seq: int) -> None:
        """The caller has dealt with all results up to number `seq`: credit for more."""
        while self._held and self._held[0][0] <= seq:
            self._consumed_bytes += self._held.popleft()[1]
        self._consumed = max(self._consumed, seq)
        is_last = self.finished is not None and seq >= self.finished.last_seq
        is_due = self._consumed_bytes >= RESULTS_WINDOW_BYTES // 2 or (is_last and self._consumed_bytes)
        if is_due and not self._is_retired:
            self._consumed_bytes = 0
            self._hub.send(frames.encode(TakeResults(self.job, self._consumed, RESULTS_WINDOW_BYTES)))

    def add(self, values: Sequence[Any], block: Callable[[], Block]) -> None:
        """Appends items to an open job."""
        if self.feed is None or self.finished is not None:
            raise NbdistError(f"job {self.job} takes no more items")
        self.feed.add(block())

    def close_items(self) -> None:
        """No more items come to an open job."""
        if self.feed is not None:
            self.feed.close()

    def cancel(self, reason: str) -> None:
        """Asks for the end; `JobFinished` follows when none of its code runs any more."""
        if self._is_retired:
            return
        if self.feed is not None:
            self.feed.stop()
        self._cancelled = CancelJob(self.job, reason[:1000])
        self._hub.send(frames.encode(self._cancelled))

    def forget(self) -> None:
        """The caller needs no results of the job any more."""
        if self._is_retired:
            return
        if self.feed is not None:
            self.feed.stop()
        is_kept = self._may_be_resumed and self._is_partial()
        self._hub.forget(self, is_kept=is_kept)
        if not is_kept:
            self._hub.send(frames.encode(ForgetJob(self.job)))

    def _is_partial(self) -> bool:
        """Whether it has ended with some results, but not with all."""
        if self.finished is None or not self._received:
            return False
        return self.finished.outcome in ("failed", "cancelled") or (
            self.finished.outcome == "done" and self._has_failed
        )

    # --- on the connection's thread ---------------------------------------------------------------------------------

    def begin(self) -> list[bytes]:
        """The frames with which a job starts here."""
        return [self._submit] if self._needed is None else self.again()

    def again(self) -> list[bytes]:
        """The frames that a hub must have on a new connection."""
        if self._is_over or (self.finished is not None and self._received >= self.finished.last_seq):
            return []
        self._asked.clear()
        told = [self._submit]
        if self._needed is not None:
            told = [frames.encode(AttachJob(self.job, self._consumed, RESULTS_WINDOW_BYTES, self._received))]
        if self.feed is not None:
            told += self.feed.again()
        if self._late is not None:
            told.append(frames.encode(self._late))
        if self._cancelled is not None:
            told.append(frames.encode(self._cancelled))
        return told

    def receive(self, message: Message, payload: Buffer, frame_bytes: int) -> None:
        """Takes a message about this job."""
        if isinstance(message, Result):
            self._result(message, payload, frame_bytes)
        elif isinstance(message, NeedBlobs):
            self._need(message)
        elif isinstance(message, NeedPortable):
            if self.finished is None:
                self._hub.answer(self, self._portable, dict(self._blobs))
        elif isinstance(message, GrantItems):
            if self.feed is not None:
                self.feed.grant(message.more_bytes, message.wider_bytes)
        elif isinstance(message, JobFinished):
            self.finish(message)
        else:
            self._deliver(message, payload)

    def finish(self, message: JobFinished) -> None:
        """The job has ended; told once, but for a hub that has lost its results since."""
        if self.finished is None:
            self.finished = message
            self._blobs.clear()
            self._portable.release()
            if self.feed is not None:
                self.feed.stop()
            self._deliver(message, b"")
            if self._is_broken:
                self.end_here(message.reason)
        elif message.last_seq < self.finished.last_seq:
            self.end_here(message.reason)

    def end_here(self, reason: str) -> None:
        """Ends the job with the results that are here: more will not come."""
        arrived = self._delivered()
        self._is_over = True
        self._arrivals.clear()
        if self.finished is None:
            self.finish(JobFinished(self.job, "cancelled", arrived, None, reason))
        elif self.finished.last_seq > arrived:
            self._deliver(JobFinished(self.job, "cancelled", arrived, None, reason), b"")

    def fail(self, reason: str) -> None:
        """The job cannot go on from this side: says why and ends it."""
        self._deliver(Notice(self.job, "warning", reason), b"")
        self._is_broken = True
        if self.finished is None:
            self.cancel(reason)
        else:
            self.end_here(reason)

    def uploaded(self, name: str) -> None:
        """A blob is at the hub."""
        if self._needed is not None:
            self._needed.discard(name)

    def answered(self, answer: Answer) -> None:
        """The task is packed for other versions of Python, or cannot be."""
        if self.finished is None:
            self._blobs |= {blob.name: blob for blob in answer.blobs}
            self._hub.send(answer.frame)

    def _need(self, message: NeedBlobs) -> None:
        self._asked.update(message.names)
        if message.more:
            return
        known = self._needed or set()
        self._needed, self._asked = self._asked, set()
        wanted = [self._blobs[name] for name in sorted(self._needed - known) if name in self._blobs]
        self._hub.discard(self._blobs.keys() - self._needed)
        if wanted:
            self._hub.upload(self, wanted)

    def _result(self, message: Result, payload: Buffer, frame_bytes: int) -> None:
        if message.seq <= self._received or self._is_over:
            return  # sent again after a break, or nobody waits for it
        if self._is_offered and message.seq > self._received + 1:
            self.end_here("some of its results are no longer at the hub")
            return
        self._received = message.seq
        self._has_failed = self._has_failed or bool(message.failed or message.fault)
        size = frame_bytes if message.blob is None else message.blob.size
        self._held.append((message.seq, size + RESULT_BYTES))
        if message.blob is None and not self._arrivals:
            self._deliver(message, payload)
            return
        arrival = _Arrival(message, payload if message.blob is None else None)
        self._arrivals.append(arrival)
        if message.blob is not None:

            def came(data: Buffer) -> None:
                arrival.payload = data
                self._deliver_arrived()  # without it, if the job has been ended here

            self._hub.fetch(self, message.blob, came)

    def _deliver_arrived(self) -> None:
        while self._arrivals and self._arrivals[0].payload is not None:
            arrival = self._arrivals.popleft()
            assert arrival.payload is not None
            self._deliver(arrival.message, arrival.payload)

    def _delivered(self) -> int:
        """The number of the last result that was delivered."""
        return self._arrivals[0].message.seq - 1 if self._arrivals else self._received

    def _deliver(self, message: Message, payload: Buffer) -> None:
        self._deliver_event(message, payload)
        if self._bell.empty():
            self._bell.put(None)
