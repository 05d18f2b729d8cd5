"""What is dealt with before the loop waits again is kept at once, and only then spoken of."""

from __future__ import annotations

from collections.abc import Callable

from nbdist.errors import NbdistError
from nbdist.hub.jobs import JobRecord
from nbdist.wire.messages import Message

RETRY_SECONDS = 1.0
"""How often a disk that takes nothing is tried again."""
TIDY_SECONDS = 0.01
"""Between two steps of tidying up others have their turn."""


class Turn:
    """Holds back what may leave the hub only once everything until now is kept.

    `flush` keeps it; `send` and `send_results` let it go; `changed(is_full, reason)` is told when the disk takes
    nothing more, and when it does again. Nothing is lost meanwhile. `tidy` does some of what there is to tidy up, and
    says whether it did: then there is something to keep again, and perhaps more to do.
    """

    def __init__(
        self,
        flush: Callable[[], None],
        send: Callable[[str, Message], None],
        send_results: Callable[[JobRecord], None],
        changed: Callable[[bool, str], None],
        tidy: Callable[[], bool],
        *,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._flush = flush
        self._send = send
        self._send_results = send_results
        self._changed = changed
        self._tidy = tidy
        self._call_soon = call_soon
        self._call_later = call_later
        self._held: list[tuple[str, Message]] = []
        self._due: dict[str, JobRecord] = {}
        self._ends = False
        self.is_full = False
        """The disk takes nothing more at present."""

    def ends(self) -> None:
        """There is something to keep at the end of this turn of the loop."""
        if not self._ends:
            self._ends = True
            self._call_soon(self.end)

    def hold(self, to: str, message: Message) -> None:
        """A message for a peer."""
        self._held.append((to, message))
        self.ends()

    def deliver(self, record: JobRecord) -> None:
        """A job may have results for its notebook; they go before the messages."""
        self._due[record.job] = record
        self.ends()

    def end(self) -> None:
        """Keeps everything, and lets go what has waited for that."""
        try:
            self._flush()
        except (NbdistError, OSError) as error:
            if not self.is_full:
                self.is_full = True
                self._changed(True, str(error))
            self._call_later(RETRY_SECONDS, self.end)
            return
        self._ends = False
        (due, self._due), (held, self._held) = (self._due, {}), (self._held, [])  # what comes now is not kept yet
        if self.is_full:
            self.is_full = False
            self._changed(False, "")
        for record in due.values():
            self._send_results(record)
        for to, message in held:
            self._send(to, message)
        if self._tidy():
            self._call_later(TIDY_SECONDS, self.ends)
