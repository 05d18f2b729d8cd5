"""Where messages meet: peers on one side, the scheduler and the stores on the other.

Synchronous, without sockets and clocks of its own: what comes in is dealt with, and what it leads to is handed to the
links before the call returns. The scheduler is given headers; payloads go past it, into and out of the stores.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

from nbdist.driver import Driver
from nbdist.errors import BlobError, NbdistError, ProtocolError
from nbdist.hub import refusal
from nbdist.hub.access import Grant
from nbdist.hub.attaching import Attaching
from nbdist.hub.bounds import MAX_OUTPUT_BYTES, check_size, fit_frame, need_blobs
from nbdist.hub.items import size_of
from nbdist.hub.outgoing import Outgoing
from nbdist.hub.peers import Link, Peer, Peers
from nbdist.hub.portables import Portables
from nbdist.hub.roles import ALLOWED
from nbdist.hub.scheduling import SchedulingMachine
from nbdist.hub.stores import Stores
from nbdist.hub.turns import Turn
from nbdist.scheduler import orders
from nbdist.scheduler.jobs import broken
from nbdist.scheduler.orders import BlobsReady, BytesCame, Disconnect, DropItems, PeerClosed
from nbdist.wire import messages as m
from nbdist.wire.frames import Payload
from nbdist.wire.messages import Message

log = logging.getLogger("nbdist.hub")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this hub is."""

    hub: str
    """Its id: the same after a restart on the same state directory."""
    epoch: int
    version: str


class Switchboard:
    """The hub without its sockets.

    `requests(peer, message)` answers what neither scheduler nor stores know (`requests.py`); `changed()` is called
    when peers have come or gone and when jobs have begun or ended.
    """

    def __init__(
        self,
        identity: Identity,
        machine: SchedulingMachine,
        stores: Stores,
        *,
        clock: Callable[[], float],
        call_at: Callable[[float, Callable[[], None]], Callable[[], None]],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.identity = identity
        self.stores = stores
        self.peers = Peers()
        self.requests: Callable[[Peer, Message], None] = _no_requests
        self.changed: Callable[[], None] = _nothing
        self.printed: Callable[[str, str, int, Payload], None] = lambda job, worker, item, text: None
        """Told what jobs print: job, machine, item, the text in UTF-8."""
        self._machine = machine
        self._clock = clock
        self._call_soon = call_soon
        self._driver = Driver(machine, clock=clock, send=self._send, call_at=call_at)
        self._portables = Portables(stores, self._driver.receive)
        self._outgoing = Outgoing(stores, self.peers, self._driver.receive)
        self._turn = Turn(
            stores.flush,
            self._send_held,
            self._outgoing.send_results,
            self._outgoing.keeping,
            stores.tidy,
            call_soon=call_soon,
            call_later=lambda seconds, callback: call_at(clock() + seconds, callback),
        )
        self._attaching = Attaching(
            stores, self.peers, self._driver.receive, self._turn, self._portables, self.blob_came
        )
        self._inputs = self._handlers()
        self._outputs: dict[type[Message], Callable[[Peer, Any], None]] = {
            m.PrepareJob: lambda peer, message: peer.link.send(message, stores.for_prepare(peer.id, message)),
            m.RunSlice: lambda peer, message: peer.link.send(message, stores.for_slice(peer.id, message)),
            m.GrantItems: self._grant_items,
            m.Answer: _answer,
            Disconnect: lambda peer, message: peer.link.refuse(_refused(message)),
        }

    def _handlers(self) -> dict[type[Message], Callable[[Peer, Any, Payload], None]]:
        """What is dealt with here, before the scheduler hears of it or instead."""
        return {
            m.ProveLocal: self._prove_local,
            m.BlobPlaced: self._blob_placed,
            m.SubmitJob: self._submit,
            m.PortableTask: self._portables.taken,
            m.AddItems: self._add_items,
            m.CloseItems: self._close_items,
            m.ForgetJob: self._forget,
            m.TakeResults: self._take_results,
            m.AttachJob: self._attaching.attach,
            m.Part: self._part,
            m.Output: self._output,
            m.DescribePool: self._ask,
            m.ExplainItem: self._ask,
            m.DescribeTimeline: self._ask,
            m.DescribeJob: self._ask,
            m.FindJob: self._ask,
            m.ReadResults: self._ask,
            m.MakeInvite: self._ask,
            m.MakeLogin: self._ask,
            m.CloseInvites: self._ask,
        }

    # --- keeping ----------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Takes up the jobs of the hub that ran here before."""
        records, jobs, workers = self.stores.restore()
        for kept in jobs:
            self._driver.receive(orders.STORES, kept)
        for record in records:
            if record.finished is None and not record.missing:
                self._driver.receive(orders.STORES, BlobsReady(record.job))
            self._outgoing.send_results(record)  # nobody is here; the scheduler hears what waits
        self._driver.receive(orders.STORES, orders.Restarted(tuple(workers)))

    def _send_held(self, to: str, message: Message) -> None:
        peer = self.peers.get(to)
        if peer is not None:
            self._outputs.get(type(message), _pass_on)(peer, message)

    # --- peers ------------------------------------------------------------------------------------------------------

    def greet(self, hello: m.Hello, grant: Grant, link: Link) -> Peer:
        """Lets a peer in and welcomes it. Raises NbdistError if it may not come in."""
        protocol = refusal.check_version(hello, self.identity.version)
        refusal.check_role(hello, grant.role)
        peer, before = self.peers.add(hello, grant, link)
        if before is not None:
            before.link.refuse(m.Refused("replaced", "the same peer has opened another connection", "nothing to do"))
            self._detach(before)
        folder = "" if link.is_remote or peer.role == "viewer" else str(self.stores.blobs.folder)
        who = self.identity
        knows = self._machine.knows_packages(hello.machine.packages)
        link.send(m.Welcome(protocol, who.hub, who.epoch, peer.name, who.version, folder, knows_packages=knows))
        if peer.role != "viewer":
            self._driver.receive(peer.id, replace(hello, name=peer.name))
        self.changed()
        return peer

    def closed(self, peer: Peer, reason: str = "") -> None:
        """A peer's connection is gone. Does nothing if it was replaced by a new one."""
        if self.peers.remove(peer):
            self._gone(peer, reason)
            self.changed()

    def receive(self, peer: Peer, message: Message, payload: Payload) -> None:
        """Deals with a message of a peer. Raises NbdistError if the peer may not send it."""
        kind = type(message)
        if kind not in ALLOWED[peer.role]:
            raise refusal.wrong_role(peer.role, kind.__name__)
        handle = self._inputs.get(kind)
        if handle is not None:
            handle(peer, message, payload)
            return
        self._driver.receive(peer.id, message, payload)

    def bytes_came(self, peer: Peer) -> None:
        """A piece of a message has come, whose end is not here yet."""
        self._driver.receive(peer.id, BytesCame())

    def blob_came(self, name: str) -> None:
        """A blob is complete: jobs that waited for it go on."""
        for record in self.stores.blob_came(name):
            self._driver.receive(record.peer, BlobsReady(record.job))
        self._portables.blob_came(name)

    def blob_damaged(self, name: str) -> None:
        """The bytes of a blob are not what they were: the notebooks of the jobs that need it are asked for it again."""
        for record in self.stores.blob_damaged(name):
            if (peer := self.peers.get(record.peer)) is not None:
                peer.link.send(m.NeedBlobs(record.job, (name,)))

    def expire(self) -> None:
        """Forgets jobs that were over a long time ago."""
        if self._outgoing.expire():
            self._turn.ends()

    def describe(self) -> dict[str, Any]:
        """The pool now: `workers`, `jobs` and `hub`."""
        pool = self._machine.describe(self._clock())
        return {**pool, "hub": {**pool.get("hub", {}), **self.stores.keeping.describe()}}

    def timelines(self, job: str, *, around: bool) -> list[dict[str, Any]]:
        """Who worked on a job when, and on others meanwhile; empty if it is not known."""
        return self._machine.timelines(job, self._clock(), around=around)

    def explain(self, job: str, item: int) -> str:
        """Why an item is not done, as text."""
        return self._machine.explain(job, item, self._clock())

    def order(self, message: orders.StopJob | orders.StopWorker) -> None:
        """Does what somebody wants who looks at the hub's pages."""
        self._driver.receive(orders.STORES, message)

    def stop(self) -> None:
        """Says good-bye to everybody and stops the timer."""
        self._driver.stop()
        self._turn.end()
        for peer in list(self.peers):
            peer.link.refuse(m.Refused("stopped", "the hub was stopped", "start it again: nbdist hub"))

    def _gone(self, peer: Peer, reason: str) -> None:
        self._detach(peer)
        if peer.role != "viewer":
            self._driver.receive(peer.id, PeerClosed(reason))

    def _detach(self, peer: Peer) -> None:
        """Results wait until the notebook says how far it has come."""
        for record in self.stores.of_peer(peer.id):
            record.attached = False

    # --- in ---------------------------------------------------------------------------------------------------------

    def _prove_local(self, peer: Peer, message: m.ProveLocal, payload: Payload) -> None:
        if peer.link.is_remote or not self.stores.blobs.proves_local(message.nonce):
            raise refusal.RefusalError("access", "the proof of being on this machine is wrong", "connect without it")
        peer.is_local = True

    def _blob_placed(self, peer: Peer, message: m.BlobPlaced, payload: Payload) -> None:
        if not peer.is_local:
            raise ProtocolError("a blob was said to be in the hub's folder by a peer that did not prove to be local")
        self.stores.blobs.placed(message.blob)
        self.blob_came(message.blob.name)

    def _submit(self, peer: Peer, message: m.SubmitJob, payload: Payload) -> None:
        check_size(payload)
        if self._turn.is_full and self.stores.get(message.job) is None:
            peer.link.send(m.JobFinished(message.job, "refused", 0, None, refusal.DISK_FULL))
            return
        record = self.stores.submit(peer.id, peer.grant, message, payload)
        record.attached = True
        for need in need_blobs(record.job, record.missing):
            self._turn.hold(peer.id, need)
        resumption = self.stores.chains.resumption(message, peer.grant.id) if message.resumes else message
        self._driver.receive(peer.id, resumption, payload)
        if not record.missing:
            self._driver.receive(peer.id, BlobsReady(record.job))
        self.changed()

    def _add_items(self, peer: Peer, message: m.AddItems, payload: Payload) -> None:
        record = self.stores.owned(message.job, peer.id, peer.grant)
        if record is None or record.finished is not None:
            for file in message.files if peer.is_local else ():
                self.stores.blobs.discard(file)
            return
        try:
            is_new = self.stores.add_items(record, message, payload, is_local=peer.is_local)
        except BlobError as error:
            order = m.CancelJob(record.job, f"the data of item {message.start} is not at the hub: {error}")
            self._driver.receive(peer.id, order)
            return
        except ProtocolError as error:
            self._driver.receive(peer.id, m.CancelJob(message.job, broken(str(error))))
            return
        if is_new:
            self._driver.receive(peer.id, message, payload)
        elif record.items is not None and record.items.is_past(message.start):
            # it is finished, and was sent again because the word of that was lost with a connection
            self._grant_items(peer, m.GrantItems(message.job, size_of(payload, message.blobs)))

    def _close_items(self, peer: Peer, message: m.CloseItems, payload: Payload) -> None:
        if self.stores.owned(message.job, peer.id, peer.grant) is not None:
            self._driver.receive(peer.id, message)

    def _forget(self, peer: Peer, message: m.ForgetJob, payload: Payload) -> None:
        record = self.stores.owned(message.job, peer.id, peer.grant)
        if record is None:
            return
        if not self.stores.leave(record):
            self._driver.receive(peer.id, message)
            self.stores.forget(message.job)  # the scheduler may have forgotten it before
        self._turn.ends()
        self.changed()

    def _take_results(self, peer: Peer, message: m.TakeResults, payload: Payload) -> None:
        record = self.stores.owned(message.job, peer.id, peer.grant)
        if record is not None:
            self.stores.take(record, message)
            self._turn.deliver(record)

    def _part(self, peer: Peer, message: m.Part, payload: Payload) -> None:
        check_size(payload)
        if message.blob is None:
            self._driver.receive(peer.id, message, payload)
        elif not self.stores.blobs.has(message.blob.name):
            self._driver.receive(peer.id, m.SliceEnded(message.attempt, "the blob with its results did not arrive"))
        else:
            holder = f"part of {peer.id}"
            self.stores.blobs.pin(message.blob.name, holder, keep=False)
            self._driver.receive(peer.id, message, payload)
            self.stores.blobs.unpin(message.blob.name, holder)

    def _output(self, peer: Peer, message: m.Output, payload: Payload) -> None:
        record = self.stores.get(message.job)
        notebook = None if record is None else self._outgoing.notebook(record)
        if record is not None:
            self.printed(message.job, peer.name, message.item, payload)
        if notebook is not None:
            cut = max(0, len(payload) - MAX_OUTPUT_BYTES)
            named = replace(message, worker=peer.name, cut_bytes=max(0, message.cut_bytes) + cut)
            notebook.link.send_if_room(named, payload[:MAX_OUTPUT_BYTES])

    def _ask(self, peer: Peer, message: Message, payload: Payload) -> None:
        self.requests(peer, message)

    # --- out --------------------------------------------------------------------------------------------------------

    def _send(self, to: str, message: Message, payload: Payload) -> None:
        try:
            if to == orders.STORES:
                self._store(message, payload)
            elif isinstance(message, orders.AFTER_KEEPING):
                self._turn.hold(to, message)
            elif isinstance(message, (m.JobProgress, m.Notice)):
                self._tell_notebook(message)
            else:
                peer = self.peers.get(to)
                if peer is not None:
                    self._outputs.get(type(message), _pass_on)(peer, message)
        except (NbdistError, OSError) as error:
            self._cannot_send(to, message, error)

    def _store(self, message: Message, payload: Payload) -> None:
        self._turn.ends()
        if isinstance(message, m.Result):
            kept = b"" if message.fault is not None or message.blob is not None else payload
            record = self.stores.keep_result(message, kept)
            if record is not None:
                self._turn.deliver(record)
        elif isinstance(message, DropItems):
            self.stores.drop_items(message)
        elif isinstance(message, orders.ReleaseJob):
            self.stores.release(message.job)
        elif isinstance(message, m.ForgetJob):
            self.stores.forget(message.job)
            self.changed()
        elif isinstance(message, orders.JobTaken):
            self.stores.keep_job(message)
        elif isinstance(message, orders.JobEnded):
            self._job_ended(message)
        else:
            self.stores.keep(message, payload)

    def _job_ended(self, message: orders.JobEnded) -> None:
        record = self.stores.get(message.finished.job)
        if record is not None:
            self.stores.keep_end(record, message)
            self.changed()

    def _tell_notebook(self, message: m.JobProgress | m.Notice) -> None:
        record = self.stores.get(message.job)
        if record is None:
            return
        peer = self._outgoing.notebook(record)
        if isinstance(message, m.JobProgress):
            record.progress = message = fit_frame(message)
            if peer is not None:
                peer.link.send_if_room(message)
            return
        if peer is not None:
            peer.link.send(message)

    def _grant_items(self, peer: Peer, message: m.GrantItems) -> None:
        record = self.stores.get(message.job)
        if record is not None and record.items is not None:
            record.items.grant(message.more_bytes + message.wider_bytes)
        peer.link.send(message)

    def _cannot_send(self, to: str, message: Message, error: NbdistError | OSError) -> None:
        """A message cannot be put together: its job ends with the reason, everything else goes on."""
        log.error("%s to %s: %s", type(message).__name__, to, error)
        record = self.stores.get(getattr(message, "job", ""))
        if record is not None:
            order = m.CancelJob(record.job, f"the hub could not send {type(message).__name__}: {error}")
            self._call_soon(lambda: self._driver.receive(record.peer, order))


def _answer(peer: Peer, message: m.Answer) -> None:
    """The scheduler's answers are lines of text; engines read JSON, as from all other answers."""
    peer.link.send(message, json.dumps(message.text.splitlines()).encode() if message.text else b"")


def _pass_on(peer: Peer, message: Message) -> None:
    peer.link.send(message)


def _refused(message: Disconnect) -> m.Refused:
    known: list[refusal.Code] = [code for code in get_args(refusal.Code) if code == message.code]
    return m.Refused(known[0] if known else "protocol", message.reason, message.todo)


def _no_requests(peer: Peer, message: Message) -> None:
    peer.link.send(m.Answer(getattr(message, "request", 0), "this hub does not answer that"))


def _nothing() -> None:
    """Until somebody wants to know."""
