"""The engine whose jobs run at a hub: routes messages to runs, moves blobs, asks questions."""

from __future__ import annotations

import atexit
import contextlib
import os
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from threading import Thread
from typing import Any

from nbdist.engines.base import Attached, Buffer, Deliver, Earlier, FilesHome, JobSpec, PackedBlob
from nbdist.engines.hub.carrier import Carrier
from nbdist.engines.hub.connection import Connection
from nbdist.engines.hub.earlier import check_python, earlier, spec_of
from nbdist.engines.hub.items import Parcel
from nbdist.engines.hub.portables import Portable, as_blob
from nbdist.engines.hub.requests import Requests
from nbdist.engines.hub.run import HubRun
from nbdist.engines.hub.tending import Tender
from nbdist.errors import NbdistError
from nbdist.wire import frames
from nbdist.wire.address import Address
from nbdist.wire.local import this_machine
from nbdist.wire.messages import (
    Answer,
    BlobRef,
    CancelJob,
    ClearPool,
    CloseInvites,
    DescribeJob,
    DescribePool,
    DescribeTimeline,
    ExplainItem,
    FindJob,
    ForgetJob,
    JobKnown,
    MakeInvite,
    MakeLogin,
    Message,
    Notice,
    Result,
    Role,
    StopWorkers,
    SubmitJob,
    Welcome,
)

FEED_ERROR_CHARACTERS = 500
FIND_SECONDS = 5.0
"""A hub that does not answer by then knows no job with a key."""
MAX_FORGOTTEN = 100
"""A hub on a new connection is told again to forget so many jobs; it has kept their results if it was away before."""


class HubEngine:
    """A connection to a hub as `engines.base.Engine`.

    `find(urgent)` gives the address to dial (see `Connection`); `release` ends what was started for this engine alone;
    `tender` looks after the worker of a pool on this machine.
    """

    def __init__(
        self,
        find: Callable[[bool], Address],
        release: Callable[[], None] = lambda: None,
        tender: Tender | None = None,
    ) -> None:
        self._runs: dict[str, HubRun] = {}
        self._forgotten: deque[str] = deque(maxlen=MAX_FORGOTTEN)
        """Jobs that the hub was told to forget, and may not have heard."""
        self._release = release
        self._error: NbdistError | None = None
        self._pid = os.getpid()
        self._machine = this_machine(os.cpu_count() or 1)
        self._connection = Connection(self, find, f"notebook-{uuid.uuid4().hex}", tender)
        self._carrier = Carrier(self._connection, lambda: self._error is not None)
        self._requests = Requests(self._ask_soon)
        self._connection.start()
        self._at_exit = _close_at_exit(self)

    @property
    def address(self) -> str:
        """The hub's address without its secret."""
        return "" if self._connection.address is None else self._connection.address.shown

    # --- Engine -----------------------------------------------------------------------------------------------------

    def submit(self, spec: JobSpec, deliver: Deliver) -> HubRun:
        """Takes a job. Raises PackingError and NbdistError; later trouble comes as an event."""
        self._check()
        message, task, parts = self._pack(spec)
        run = HubRun(
            message,
            task,
            parts,
            deliver,
            self,
            has_items=not spec.ranges and not spec.each,
            may_be_resumed=not spec.is_open,
            weights=spec.packed().weights,
            repack=spec.repack,
            files=spec.files,
        )
        self._runs[spec.job] = run
        if self._error is not None:  # it ended meanwhile, and nobody else would tell this run
            self._runs.pop(spec.job, None)
            raise self._error
        for frame in run.begin():
            self._connection.send(frame)
        self._connection.nudge_if_down()
        if spec.blocks is not None:
            Thread(target=self._feed, args=(run, spec), name="nbdist-feed", daemon=True).start()
        return run

    def attach(self, job: str) -> Attached:
        """A job of an earlier notebook, or one of this that is over, to be taken over. Raises NbdistError with the
        reason if it cannot be."""
        own = self._runs.get(job)
        if own is not None and not own.is_complete:
            raise NbdistError(f"job {job} is one of this notebook's own, and not over: its Job has what there is of it")
        self._check()
        known, task = frames.decode(self._ask(lambda number: DescribeJob(number, job)))
        assert isinstance(known, JobKnown)
        check_python(known, self._machine)
        return Attached(
            spec_of(known),
            known.available,
            lambda folder: self._carrier.get_task(known.spec, task, folder),
            lambda deliver, files=None, after=0: self._take_over(known, deliver, files, after),
            known.ended_seconds,
            self.earlier(known.spec.resumes) if known.earlier else None,
        )

    def find(self, key: str) -> str:
        """The id of a job with this key, to be attached to; empty if there is none."""
        self._check()
        return self._requests.ask_both(lambda number: FindJob(number, key), FIND_SECONDS)[0].text

    def earlier(self, job: str) -> Earlier:
        """A job that is to be resumed. Raises NbdistError if there is none."""
        known, _ = frames.decode(self._ask(lambda number: DescribeJob(number, job, to_resume=True)))
        assert isinstance(known, JobKnown)
        check_python(known, self._machine)
        return earlier(known, self._requests.ask_both, self._carrier.get_with_files)

    def _take_over(self, known: JobKnown, deliver: Deliver, files: FilesHome | None, after: int) -> HubRun:
        run = HubRun.attached(known, deliver, self, files, after)
        own = self._runs.get(run.job)
        if own is not None:
            own.retire()
        self._runs[run.job] = run
        with contextlib.suppress(ValueError):
            self._forgotten.remove(run.job)
        for frame in run.begin():
            self._connection.send(frame)
        return run

    def stage(self, view: memoryview) -> Callable[[str], None]:
        """Begins to copy a large value that a job will need, if the hub is on this machine."""
        return self._carrier.stage(view)

    def describe(self) -> dict[str, Any]:
        """The pool now: `workers`, `jobs`, `hub`."""
        found = self._ask_json(DescribePool)
        return found if isinstance(found, dict) else {}

    def timelines(self, job: str, *, around: bool) -> list[dict[str, Any]]:
        """Who worked on a job when, and on others meanwhile. Raises NbdistError."""
        found = self._ask_json(lambda number: DescribeTimeline(number, job, around))
        return found if isinstance(found, list) else []

    def explain(self, job: str, item: int) -> str:
        """Why an item is not done, as text."""
        return str(self._ask(lambda number: ExplainItem(number, job, item)), "utf-8", "replace")

    def cancel(self, job: str, reason: str) -> None:
        """Cancels any job of this pool by its id."""
        self._check()
        run = self._runs.get(job)
        if run is not None:
            run.cancel(reason)
        else:
            self._connection.send(frames.encode(CancelJob(job, reason)))

    def stop_workers(self, names: Sequence[str]) -> list[str]:
        """Lets these machines (all, if empty) finish their running items and leave; gives their names."""
        return [str(name) for name in self._ask_json(lambda number: StopWorkers(number, tuple(names))) or []]

    def invite(self, *, role: str = "worker", uses: int = 0, valid_seconds: float = 86400.0) -> dict[str, Any]:
        """Makes an invite: `url` and `lines`."""
        roles: dict[str, Role] = {"worker": "worker", "notebook": "notebook", "viewer": "viewer"}
        if role not in roles:
            raise NbdistError(f"an invite is for a worker, a notebook or a viewer, not for a {role!r}")
        found = self._ask_json(lambda number: MakeInvite(number, roles[role], uses, valid_seconds))
        return found if isinstance(found, dict) else {}

    def page_link(self, role: str = "notebook") -> str:
        """A link to the hub's page that logs a browser in, once, soon. Raises NbdistError for other roles."""
        roles: dict[str, Role] = {"notebook": "notebook", "viewer": "viewer"}
        if role not in roles:
            raise NbdistError(f"a browser logs in as a viewer or as a notebook, not as a {role!r}")
        self._check()
        path = self._requests.ask_both(lambda number: MakeLogin(number, roles[role]))[0].text
        address = self._connection.address
        if address is None:
            raise NbdistError("the hub is away; ask again when it is back")
        return f"{'https' if address.tls else 'http'}://{address.netloc}{path}"

    def close_invites(self) -> None:
        """Revokes all invites and shuts the LAN port."""
        self._ask(CloseInvites)

    def clear(self) -> None:
        """Cancels this client's jobs, forgets their results, and gives every slot a fresh process."""
        self._ask(ClearPool)
        cleared = list(self._runs.values())  # now: jobs that are submitted from here on are none of them
        self._connection.call_soon(lambda: self._end_cleared(cleared))

    def _end_cleared(self, runs: Iterable[HubRun]) -> None:
        """The hub has forgotten the jobs, and says nothing about them any more."""
        for run in runs:
            self.forget(run)
            run.end_here("the pool was cleared")

    def close(self) -> None:
        """Ends the connection, and whatever was started for this engine alone. Idempotent."""
        if self._pid != os.getpid():
            return  # a forked copy: connection and processes belong to the parent
        atexit.unregister(self._at_exit)
        self._connection.close()
        self._carrier.close()
        release, self._release = self._release, lambda: None
        release()

    # --- Hub, for the runs ------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Sends a frame, or drops it if there is no connection."""
        self._connection.send(frame)

    def upload(self, run: HubRun, blobs: Sequence[PackedBlob]) -> None:
        """Gets blobs to the hub on the transfer threads."""
        self._carrier.upload(run, blobs)

    def upload_items(self, run: HubRun, parcel: Parcel) -> None:
        """Gets the blobs of items to the hub, on threads of their own."""
        self._carrier.upload_items(run, parcel)

    def discard(self, names: Iterable[str]) -> None:
        """The hub has these blobs already."""
        self._carrier.discard(names)

    def fetch(self, run: HubRun, ref: BlobRef, came: Callable[[Buffer], None]) -> None:
        """Gets a blob from the hub on a transfer thread."""
        self._carrier.fetch(run, ref, came)

    def fetch_files(self, run: HubRun, result: Result, came: Callable[[Buffer], None]) -> None:
        """Gets a result with files on a transfer thread."""
        self._carrier.fetch_files(run, result, came)

    def answer(self, run: HubRun, portable: Portable, sent: Mapping[str, PackedBlob]) -> None:
        """Packs a task for other versions of Python. Not on the transfer threads: a large upload may be there."""

        def make() -> None:
            answer = portable.answer(sent)
            self._connection.call_soon(lambda: run.answered(answer))

        Thread(target=make, name="nbdist-repack", daemon=True).start()

    def forget(self, run: HubRun, *, is_kept: bool = False) -> None:
        """Drops the run; the hub is told again on a new connection, unless it is to keep the job."""
        self._runs.pop(run.job, None)
        if not is_kept:
            self._forgotten.append(run.job)

    # --- Owner, for the connection ----------------------------------------------------------------------------------

    def opened(self, welcome: Welcome) -> Iterable[bytes]:
        """What the hub must have on a new connection."""
        forgotten = [frames.encode(ForgetJob(job)) for job in self._forgotten.copy()]
        again = [frame for run in list(self._runs.values()) for frame in run.again()]
        return [*forgotten, *again, *self._requests.again()]

    def received(self, message: Message, payload: memoryview, frame_bytes: int) -> None:
        """Routes a message."""
        if isinstance(message, Answer):
            self._requests.answered(message, bytes(payload))
            return
        run = self._runs.get(getattr(message, "job", ""))
        if run is not None:
            run.receive(message, payload, frame_bytes)

    def lost(self, reason: str) -> None:
        """Tells the jobs that wait."""
        self.told(f"the connection to the hub at {self.address} is lost ({reason}); dialling again")

    def told(self, text: str) -> None:
        """Tells the jobs that wait."""
        for run in list(self._runs.values()):
            if run.finished is None:
                run.receive(Notice(run.job, "warning", text), b"", 0)

    def ended(self, error: NbdistError) -> None:
        """Ends everything that waits."""
        self._error = error
        for run in list(self._runs.values()):
            run.end_here(str(error))
        self._requests.fail(error)

    def is_waiting(self) -> bool:
        """Whether a job or a question waits for the hub."""
        return bool(self._requests.again()) or any(run.finished is None for run in list(self._runs.values()))

    # --- own --------------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._pid != os.getpid():
            raise NbdistError("this pool was opened before os.fork(): call nbdist.connect() in the new process")
        if self._error is not None:
            raise self._error

    def _ask(self, make: Callable[[int], Message]) -> bytes:
        self._check()
        return self._requests.ask(make)

    def _ask_json(self, make: Callable[[int], Message]) -> Any:
        self._check()
        return self._requests.ask_json(make)

    def _ask_soon(self, frame: bytes) -> None:
        self._connection.send(frame)
        self._connection.nudge_if_down()

    def _pack(self, spec: JobSpec) -> tuple[SubmitJob, bytes, list[PackedBlob]]:
        packed = spec.packed()
        parts = list(packed.blobs)
        message = SubmitJob(
            job=spec.job,
            name=spec.name,
            machine=self._machine,
            options=spec.options,
            blobs=tuple(BlobRef(blob.name, blob.size) for blob in parts),
            ranges=spec.ranges,
            total=spec.total,
            each=spec.each,
            modules=tuple(sorted({*spec.modules, *packed.modules})),
            packages=packed.packages,
            bundles=tuple(packed.bundles),
            needs=spec.needs,
            key=spec.key,
            items_key=spec.items_key,
            resumes=spec.resumes,
            code=spec.code,
            to=spec.to,
        )
        if packed.size <= frames.MAX_INLINE_PAYLOAD_BYTES:
            return message, b"".join(packed.pieces), parts
        task = as_blob(packed)
        return replace(message, task=BlobRef(task.name, task.size)), b"", [*parts, task]

    def _feed(self, run: HubRun, spec: JobSpec) -> None:
        assert run.feed is not None
        assert spec.blocks is not None
        try:
            run.feed.pump(spec.blocks)
        except BaseException as error:  # noqa: BLE001 - whatever the user's iterable raises, SystemExit too, ends the job
            run.cancel(f"the items could not be sent: {type(error).__name__}: {error}"[:FEED_ERROR_CHARACTERS])


def _close_at_exit(engine: HubEngine) -> Callable[[], None]:
    """Registers an engine to be closed when the interpreter ends, without keeping it alive."""
    ref = weakref.ref(engine)

    def close() -> None:
        found = ref()
        if found is not None:
            found.close()

    atexit.register(close)
    return close
