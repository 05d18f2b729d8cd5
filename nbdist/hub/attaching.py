"""Notebooks come back to their jobs, or take over those of notebooks that have gone."""

from __future__ import annotations

from collections.abc import Callable

from nbdist.hub import refusal
from nbdist.hub.bounds import need_blobs
from nbdist.hub.jobs import JobRecord
from nbdist.hub.peers import Peer, Peers
from nbdist.hub.portables import Portables
from nbdist.hub.stores import Stores
from nbdist.hub.turns import Turn
from nbdist.scheduler import orders
from nbdist.wire import messages as m
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Message


class Attaching:
    """`receive` tells the scheduler; `blob_came` that a blob is here."""

    def __init__(
        self,
        stores: Stores,
        peers: Peers,
        receive: Callable[[str, Message], object],
        turn: Turn,
        portables: Portables,
        blob_came: Callable[[str], None],
    ) -> None:
        self._stores = stores
        self._peers = peers
        self._receive = receive
        self._turn = turn
        self._portables = portables
        self._blob_came = blob_came

    def attach(self, peer: Peer, message: m.AttachJob, payload: Payload) -> None:
        """A notebook says up to where it has the results of a job: its own, or one whose notebook has gone."""
        record = self._take_over(peer, message.job)
        if record is None:
            is_elsewhere = self._stores.get(message.job) is not None
            reason = refusal.TAKEN_OVER if is_elsewhere else "the hub does not know this job (any more)"
            peer.link.send(m.JobFinished(message.job, "cancelled", message.seq, None, reason))
            return
        if message.seq < record.dropped.seq:
            peer.link.send(m.JobFinished(message.job, "cancelled", message.seq, None, refusal.RESULTS_GONE))
            return
        if not self._stores.attach(record, message, peer.id):
            peer.link.send(m.JobFinished(message.job, "cancelled", message.seq, None, refusal.RESULTS_LOST))
            self._receive(record.peer, m.CancelJob(message.job, refusal.RESULTS_LOST))
            return
        if record.missing:
            self.ask_for_blobs(peer, record)
        self._portables.attached(record)
        if record.progress is not None:
            peer.link.send_if_room(record.progress)
        if record.finished is not None:
            self._turn.hold(peer.id, record.finished)
        else:
            self._receive(peer.id, record.submit)  # it may have ended while the notebook was away
        self._turn.deliver(record)

    def _take_over(self, peer: Peer, job: str) -> JobRecord | None:
        """The job, which is this notebook's or is so from now on: its own has gone. None if it is unknown, or was taken
        from this one. Else raises ProtocolError."""
        record = self._stores.attachable(job, peer.grant)
        if record is None or record.peer == peer.id:
            return record
        if self._peers.get(record.peer) is not None:
            return self._stores.owned(job, peer.id, peer.grant)
        record.former = {*record.former, record.peer} - {peer.id}
        record.peer = peer.id
        self._receive(orders.STORES, orders.OwnerChanged(job, peer.id))
        return record

    def ask_for_blobs(self, peer: Peer, record: JobRecord) -> None:
        """Says again which blobs are missing; a local peer may have placed some, and not been heard saying so."""
        if peer.is_local:
            for name in self._stores.adopt_blobs(record):
                self._blob_came(name)
        for need in need_blobs(record.job, record.missing):
            peer.link.send(need)
