"""Questions of notebooks and viewers that the hub itself answers: the pool, an item, invites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

from nbdist.errors import NbdistError
from nbdist.hub.access import Access
from nbdist.hub.joinlines import join_lines
from nbdist.hub.peers import Peer
from nbdist.hub.ports import Ports
from nbdist.hub.refusal import RESULTS_GONE
from nbdist.hub.switchboard import Switchboard
from nbdist.wire import frames
from nbdist.wire.frames import MAX_FRAME_BYTES
from nbdist.wire.messages import (
    Answer,
    CloseInvites,
    DescribeJob,
    DescribePool,
    ExplainItem,
    FindJob,
    JobKnown,
    MakeInvite,
    Message,
)

MAX_DESCRIPTION_BYTES = MAX_FRAME_BYTES - 64 * 1024
MAX_VALID_SECONDS = 10 * 366 * 86400.0


class Requests:
    """Answers requests; called by the switchboard. `total` knows how many items a job has."""

    def __init__(self, board: Switchboard, access: Access, ports: Ports, total: Callable[[str], int | None]) -> None:
        self._board = board
        self._total = total
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
        elif isinstance(message, DescribeJob):
            peer.link.send(*self._describe_job(peer, message))
        elif isinstance(message, FindJob):
            peer.link.send(Answer(message.request, text=self._find(peer, message.key)))
        elif isinstance(message, CloseInvites):
            self._access.revoke_invites()
            self._ports.close_lan()
            peer.link.send(Answer(message.request))
        elif isinstance(message, MakeInvite):
            task = asyncio.get_running_loop().create_task(self._invite(peer, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _describe_job(self, peer: Peer, message: DescribeJob) -> tuple[Answer, bytes]:
        try:
            return Answer(message.request), frames.encode(*self._job_known(peer, message.job))
        except NbdistError as error:
            return Answer(message.request, error=str(error)), b""

    def _job_known(self, peer: Peer, job: str) -> tuple[JobKnown, bytes]:
        """What a notebook must know to attach to a job. Raises NbdistError, with what to do."""
        record = self._board.stores.attachable(job, peer.grant)
        if record is None:
            raise NbdistError(f"no job {job[:64]!r} is known here: `%distribute jobs` lists those that are")
        if record.peer != peer.id and self._board.peers.get(record.peer) is not None:
            raise NbdistError(f"job {job} belongs to a notebook that is still open: look there, or close that first")
        if record.dropped.seq:
            raise NbdistError(f"job {job} cannot be shown from its beginning: {RESULTS_GONE}")
        if record.missing:
            raise NbdistError(f"job {job} has never begun: its notebook went before its data was here; run it again")
        total = self._total(job) if record.finished is None else record.finished.total
        available = record.items.stop if record.items is not None else total or 0
        return JobKnown(record.submit, available, total, self._board.stores.ended_seconds(record)), record.task

    def _find(self, peer: Peer, key: str) -> str:
        """The job of a `FindJob`."""
        is_here = lambda other: self._board.peers.get(other) is not None  # noqa: E731
        record = self._board.stores.offers.find(key, peer.grant.id, peer.id, is_here)
        if record is None or (record.finished is None and self._is_stopping(record.job)):
            return ""
        return record.job

    def _is_stopping(self, job: str) -> bool:
        """Whether the job is on its way to an early end."""
        return any(row["id"] == job and row["state"] == "stopping" for row in self._board.describe()["jobs"])

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
