"""Workers tell what is installed on their machines, once, and again when that has changed."""

from __future__ import annotations

from dataclasses import replace

from nbdist.errors import ProtocolError
from nbdist.scheduler import shares
from nbdist.scheduler.packages import Listing
from nbdist.scheduler.records import Event, Phase, ShareState, State, WorkerRecord
from nbdist.wire.installed import MAX_MODULES, MAX_PACKAGES, Installed, is_plain
from nbdist.wire.messages import InstalledPackages


def knows(state: State, digest: str) -> bool:
    """Whether the list of this hash is here; none is needed of a machine that says nothing of it."""
    return not digest or digest in state.listings


def recall(state: State, worker: WorkerRecord) -> None:
    """Takes up what is known of a machine that has just come."""
    digest = worker.hello.machine.packages
    worker.listing = state.listings.get(digest)
    if worker.listing is not None:
        state.listings.move_to_end(digest)


def told(state: State, worker: WorkerRecord, message: InstalledPackages, now: float) -> None:
    """A list comes, in pieces. Jobs that the machine was left out of are looked at again."""
    worker.listing_parts.append(message)
    packages = [pair for part in worker.listing_parts for pair in part.packages]
    modules = [name for part in worker.listing_parts for name in part.modules]
    if len(packages) > MAX_PACKAGES or len(modules) > MAX_MODULES:
        raise ProtocolError(f"a machine with {len(packages)} packages and {len(modules)} modules")
    if not all(is_plain(name) for pair in message.packages for name in pair) or not all(map(is_plain, message.modules)):
        raise ProtocolError("a package or module without a proper name")
    if message.more:
        if not (message.packages or message.modules):
            raise ProtocolError("a list of packages that says nothing and promises more")
        return
    worker.listing_parts.clear()
    digest = Installed(tuple(packages), tuple(modules)).digest
    if digest != message.digest:
        raise ProtocolError("a list of packages with another one's hash")
    worker.listing = state.listings.pop(digest, None) or Listing(dict(packages), frozenset(modules))
    state.listings[digest] = worker.listing
    while len(state.listings) > state.policy.kept_listings:
        state.listings.popitem(last=False)
    worker.hello = replace(worker.hello, machine=replace(worker.hello.machine, packages=digest))
    if worker.stated:
        _look_again(state, worker, now)


def _look_again(state: State, worker: WorkerRecord, now: float) -> None:
    """What was missing may be there now."""
    for job in list(state.active.values()):
        share = job.shares.get(worker.id)
        if share is None or share.state is not ShareState.REFUSED or job.targets or job.phase is not Phase.RUNNING:
            continue
        del job.shares[worker.id]
        job.told_left_out = False
        job.history.append(Event(now, "has other packages now", 0, 0, worker.name))
        shares.prepare(state, job, worker, now)
        job.changed_at = now
        state.wake("progress", now)
