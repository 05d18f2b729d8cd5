"""How much of what a job takes along has gone to the hub, and what is worth a warning. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from nbdist.engines.base import PackedBlob, Sending, Weight
from nbdist.wire.units import size_text

REPORT_SECONDS = 0.1
"""Between two reports; what has gone after so long is not reported at all."""
WARN_BYTES = 100_000_000
"""A captured value of which more than this is to be sent is named."""
MAX_WARNINGS = 5
"""So many of them, the largest."""


class Uploads:
    """The blobs of one job on their way. A blob that broke off begins anew."""

    def __init__(self, job: str) -> None:
        self._job = job
        self._sizes: dict[str, int] = {}
        self._sent: dict[str, int] = {}
        self._began = self._reported = 0.0
        self._is_told = False

    def add(self, blobs: Iterable[PackedBlob], now: float) -> None:
        """These are to be sent."""
        if not self._sizes:
            self._began = self._reported = now
        self._sizes |= {blob.name: blob.size for blob in blobs}

    def sent(self, name: str, count: int, now: float) -> list[Sending]:
        """So much of a blob has gone in this try; gives what is to be reported."""
        if name not in self._sizes:
            return []
        self._sent[name] = min(count, self._sizes[name])
        return self._report(now) if now - self._reported >= REPORT_SECONDS else []

    def arrived(self, name: str, now: float) -> list[Sending]:
        """The hub has a blob; gives what is to be reported."""
        if name not in self._sizes:
            return []
        self._sent[name] = self._sizes[name]
        if sum(self._sent.values()) < sum(self._sizes.values()):
            return self._report(now) if now - self._reported >= REPORT_SECONDS else []
        found = self._report(now) if self._is_told else []
        self._sizes.clear()
        self._sent.clear()
        self._is_told = False
        return found

    def _report(self, now: float) -> list[Sending]:
        self._reported = now
        self._is_told = True
        return [Sending(self._job, sum(self._sent.values()), sum(self._sizes.values()), now - self._began)]


def paced(tell: Callable[[int, float], None], clock: Callable[[], float]) -> Callable[[int], None]:
    """Passes on how much of a blob has gone, with the time, now and then."""
    told = clock()

    def hear(count: int) -> None:
        nonlocal told
        now = clock()
        if now - told >= REPORT_SECONDS:
            told = now
            tell(count, now)

    return hear


def warnings(weights: Sequence[Weight], wanted: Collection[PackedBlob], task: str) -> list[str]:
    """What to say of captured values of which much is to be sent now. `task`: the name of the packed task as a blob."""
    sizes = {blob.name: blob.size for blob in wanted}
    found = []
    for weight in weights:
        size = sum(sizes.get(name, 0) for name in weight.blobs) + (weight.packed_bytes if task in sizes else 0)
        if size > WARN_BYTES:
            found.append((size, weight.name))
    return [
        f"this job takes {name} along: {size_text(size)}, sent once to each machine. If an item needs a part of it, "
        "make the parts the items; if each machine can make it, let a setup or the function do that"
        for size, name in sorted(found, reverse=True)[:MAX_WARNINGS]
    ]
