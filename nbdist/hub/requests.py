"""Questions of notebooks and viewers that the hub itself answers: the pool, an item, invites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from nbdist.errors import NbdistError
from nbdist.hub.access import Access, login_path
from nbdist.hub.jobs import JobRecord
from nbdist.hub.joinlines import join_lines
from nbdist.hub.peers import Peer
from nbdist.hub.ports import Ports
from nbdist.hub.refusal import RESULTS_GONE, RESULTS_MISSING
from nbdist.hub.resultlog import Spot
from nbdist.hub.switchboard import Switchboard
from nbdist.wire import frames, resuming
from nbdist.wire.frames import MAX_FRAME_BYTES
from nbdist.wire.messages import (
    Answer,
    CloseInvites,
    DescribeJob,
    DescribePool,
    DescribeTimeline,
    ExplainItem,
    FindJob,
    JobKnown,
    MakeInvite,
    MakeLogin,
    Message,
    ReadResults,
)

MAX_DESCRIPTION_BYTES = MAX_FRAME_BYTES - 64 * 1024
MAX_VALID_SECONDS = 10 * 366 * 86400.0


class Requests:
    """Answers requests; called by the switchboard. `row` describes a job; it is empty for one that is not known."""

    def __init__(self, board: Switchboard, access: Access, ports: Ports, row: Callable[[str], dict[str, Any]]) -> None:
        self._board = board
        self._row = row
        self._access = access
        self._ports = ports
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, peer: Peer, message: Message) -> None:
        """Answers now, or once a port is open."""
        if isinstance(message, DescribePool):
            peer.link.send(Answer(message.request), description(self._board.describe()))
        elif isinstance(message, ExplainItem):
            text = self._board.explain(message.job, message.item).encode()
            peer.link.send(Answer(message.request), text[:MAX_DESCRIPTION_BYTES])
        elif isinstance(message, DescribeTimeline):
            peer.link.send(*self._timelines(message))
        elif isinstance(message, DescribeJob):
            peer.link.send(*self._describe_job(peer, message))
        elif isinstance(message, FindJob):
            peer.link.send(Answer(message.request, text=self._find(peer, message.key)))
        elif isinstance(message, ReadResults):
            peer.link.send(*self._read_results(peer, message))
        elif isinstance(message, CloseInvites):
            self._access.revoke_invites()
            self._ports.close_lan()
            peer.link.send(Answer(message.request))
        elif isinstance(message, MakeLogin):
            peer.link.send(self._login(message))
        elif isinstance(message, MakeInvite):
            task = asyncio.get_running_loop().create_task(self._invite(peer, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _timelines(self, message: DescribeTimeline) -> tuple[Answer, bytes]:
        found = self._board.timelines(message.job, around=message.around)
        if not found:
            return Answer(message.request, error=resuming.unknown(message.job)), b""
        while len(data := json.dumps(found).encode()) > MAX_DESCRIPTION_BYTES and len(found) > 1:
            found.pop()
        return Answer(message.request), data

    def _login(self, message: MakeLogin) -> Answer:
        if message.role == "worker":
            return Answer(message.request, error="a browser logs in as a viewer or as a notebook")
        return Answer(message.request, text=login_path(self._access.make_login_code(message.role)))

    def _describe_job(self, peer: Peer, message: DescribeJob) -> tuple[Answer, bytes]:
        try:
            return Answer(message.request), frames.encode(*self._job_known(peer, message))
        except NbdistError as error:
            return Answer(message.request, error=str(error)), b""

    def _job_known(self, peer: Peer, message: DescribeJob) -> tuple[JobKnown, bytes]:
        """What a notebook must know to attach to a job, or to resume it. Raises NbdistError, with what to do."""
        job, stores = message.job, self._board.stores
        record = stores.attachable(job, peer.grant)
        row = self._row(job)
        if record is None or (message.to_resume and not row):
            raise NbdistError(resuming.unknown(job))
        if not message.to_resume:
            self._check_free(peer, record)
        total = row.get("total") if record.finished is None else record.finished.total
        left = row.get("left")
        known = JobKnown(
            record.submit,
            available=record.items.stop if record.items is not None else total or 0,
            total=total,
            ended_seconds=stores.ended_seconds(record),
            outcome=record.finished.outcome if record.finished is not None else _outcome_to_be(row),
            left=None if left is None else left + record.dropped.done.count,
            earlier=tuple((one.job, one.submit.code) for one in stores.chains.before(record)),
        )
        return known, b"" if message.to_resume else record.task

    def _check_free(self, peer: Peer, record: JobRecord) -> None:
        """Raises NbdistError if this notebook cannot take the job over."""
        job = record.job
        if record.peer != peer.id and self._board.peers.get(record.peer) is not None:
            raise NbdistError(f"job {job} belongs to a notebook that is still open: look there, or close that first")
        if record.dropped.seq:
            raise NbdistError(f"job {job} cannot be shown from its beginning: {RESULTS_GONE}")
        if record.finished is not None and record.results.last != record.finished.last_seq:
            raise NbdistError(f"job {job} cannot be shown: {RESULTS_MISSING}")
        if record.missing and record.results.last:
            raise NbdistError(
                f"job {job} cannot go on: its data is not at the hub any more (was its machine started anew?); cancel "
                f"it, and run its cell again with --resume {job}, which takes over what it has done"
            )
        if record.missing:
            raise NbdistError(f"job {job} has never begun: its notebook went before its data was here; run it again")

    def _find(self, peer: Peer, key: str) -> str:
        """The job of a `FindJob`."""
        is_here = lambda other: self._board.peers.get(other) is not None  # noqa: E731
        record = self._board.stores.offers.find(key, peer.grant.id, peer.id, is_here)
        if record is None or (record.finished is None and _outcome_to_be(self._row(record.job))):
            return ""
        return record.job

    def _read_results(self, peer: Peer, message: ReadResults) -> tuple[Answer, bytes]:
        try:
            record = self._board.stores.attachable(message.job, peer.grant)
            if record is None:
                raise NbdistError(resuming.unknown(message.job))
            if record.finished is None:
                raise NbdistError(f"job {message.job} still runs: its results are not read before it has ended")
            spot = record.log.beginning if message.segment < 0 else Spot(message.segment, message.offset)
            packed = bytearray()
            for result, payload, following in record.log.following(spot):
                packed += resuming.pack(result, payload)
                spot = following
                if len(packed) >= resuming.BATCH_BYTES:
                    break
            where = "" if spot >= record.log.end else f"{spot.segment} {spot.offset}"
            return Answer(message.request, text=where), bytes(packed)
        except (NbdistError, OSError) as error:
            return Answer(message.request, error=f"the results of job {message.job[:64]} cannot be read: {error}"), b""

    async def _invite(self, peer: Peer, message: MakeInvite) -> None:
        try:
            if message.uses < 0 or not 0 < message.valid_seconds <= MAX_VALID_SECONDS:
                raise NbdistError("an invite is for 0 (any number of) or more uses, and good for more than 0 seconds")
            await self._ports.open_lan()
            key = self._access.make_invite(message.role, uses=message.uses, valid_seconds=message.valid_seconds)
        except (NbdistError, OSError) as error:
            peer.link.send(Answer(message.request, error=str(error)))
            return
        certificate = self._ports.certificate
        address = self._ports.lan_address(key)
        lines = join_lines(address, certificate.key_pin if certificate else "", message.role)
        peer.link.send(Answer(message.request), json.dumps({"url": address.url, "lines": lines}).encode())


def _outcome_to_be(row: dict[str, Any]) -> str:
    return resuming.STOPPING if row.get("state") == resuming.STOPPING else ""


def description(pool: dict[str, object]) -> bytes:
    """A pool's description as JSON that fits a frame: what is too much is left out, and counted in `left_out`. Pure."""
    data = json.dumps(pool, default=str).encode()
    left_out = 0
    pool = dict(pool)
    while len(data) > MAX_DESCRIPTION_BYTES:
        name = max(("workers", "jobs"), key=lambda key: len(json.dumps(pool.get(key, []), default=str)))
        rows = pool.get(name)
        if not isinstance(rows, list) or not rows:
            return json.dumps({"workers": [], "jobs": [], "hub": {}, "left_out": left_out}).encode()
        keep = len(rows) // 2
        left_out += len(rows) - keep
        pool[name] = rows[:keep]
        data = json.dumps({**pool, "left_out": left_out}, default=str).encode()
    return data
