"""What goes to notebooks once it is kept: their results, and what they should hear of the room that these take."""

from __future__ import annotations

import logging
from collections.abc import Callable

from nbdist.errors import NbdistError
from nbdist.hub import refusal
from nbdist.hub.jobs import JobRecord
from nbdist.hub.peers import Peer, Peers
from nbdist.hub.stores import Stores
from nbdist.scheduler import orders
from nbdist.wire import messages as m
from nbdist.wire.messages import Message

log = logging.getLogger("nbdist.hub")


class Outgoing:
    """The way out. `receive(peer, message)` tells the scheduler."""

    def __init__(self, stores: Stores, peers: Peers, receive: Callable[[str, Message], None]) -> None:
        self._stores = stores
        self._peers = peers
        self._receive = receive

    def notebook(self, record: JobRecord) -> Peer | None:
        """The notebook of a job, if it is connected and has said how far it has come."""
        return self._peers.get(record.peer) if record.attached else None

    def send_results(self, record: JobRecord) -> None:
        """Sends what the notebook has room for; tells the scheduler what waits."""
        peer = self.notebook(record)
        if peer is not None:
            try:
                for result, payload in record.results.sendable():
                    peer.link.send(result, payload)
            except (NbdistError, OSError) as error:
                log.error("results of job %s cannot be read: %s", record.job, error)
                self.give_up(record, peer, refusal.RESULTS_LOST)
        waiting = self._stores.keeping.waiting(record)
        if waiting is not None:
            self._receive(orders.STORES, waiting)

    def give_up(self, record: JobRecord, peer: Peer, reason: str) -> None:
        """Results that a notebook waits for are gone: the job ends, here and there."""
        record.attached = False
        peer.link.send(m.JobFinished(record.job, "cancelled", record.results.consumed, None, reason))
        self._receive(record.peer, m.CancelJob(record.job, reason))

    def keeping(self, is_full: bool, reason: str) -> None:
        """The disk takes nothing more, or something again."""
        if is_full:
            self._stores.make_room()
        log.error("%s", f"{reason}; jobs wait until there is room" if is_full else "there is room again: jobs go on")
        self._receive(orders.STORES, orders.StoresFull(is_full))
        full = f"the hub cannot keep results: {reason}; make room there, your job waits and loses nothing"
        self._notify_all(full if is_full else "the hub has room again: your job goes on")

    def expire(self) -> bool:
        """Forgets jobs that were over a long time ago; whether there were any."""
        expired = self._stores.expired()
        for job in expired:
            record = self._stores.get(job)
            peer = None if record is None else self.notebook(record)
            if record is not None and peer is not None and not record.results.is_consumed:
                peer.link.send(m.JobFinished(job, "cancelled", record.results.consumed, None, refusal.RESULTS_EXPIRED))
            self._stores.forget(job)
        return bool(expired)

    def _notify_all(self, text: str) -> None:
        for peer in list(self._peers):
            for record in self._stores.of_peer(peer.id):
                if record.attached and record.finished is None:
                    peer.link.send(m.Notice(record.job, "warning", text))
