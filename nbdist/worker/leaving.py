"""How a worker leaves: it finishes what runs, hands its results over, and does not wait for a hub for ever. Pure."""

from __future__ import annotations

from nbdist.wire.messages import Message
from nbdist.worker.orders import Quit, Say
from nbdist.worker.records import WorkerPolicy


class Departure:
    """Whether the worker leaves, why, and how long it waits for its hub."""

    def __init__(self, policy: WorkerPolicy) -> None:
        self._policy = policy
        self._gone_at: float | None = None
        """Since when the hub is away."""
        self.reason: str | None = None
        """Why the worker leaves; None: it does not."""
        self.has_quit = False

    def begin(self, reason: str, now: float, *, is_connected: bool) -> None:
        """The worker takes no more."""
        self.reason = reason
        if self._gone_at is None and not is_connected:
            self._gone_at = now

    def hub_came(self) -> None:
        """The hub is there: it is waited for as long as it takes."""
        self._gone_at = None

    def hub_lost(self, now: float, *, was_connected: bool) -> None:
        """The hub is away, or still is."""
        if was_connected or self._gone_at is None:
            self._gone_at = now

    def give_up_at(self) -> float | None:
        """When a worker that leaves waits no longer for its hub."""
        if self.reason is None or self.has_quit or self._gone_at is None:
            return None
        return self._gone_at + self._policy.hub_gone_seconds

    def tell(self, results: int, busy_slots: int) -> list[Message]:
        """What the worker waits for, if it leaves and its hub is away."""
        if self.give_up_at() is None or not (results or busy_slots):
            return []
        held = [_counted(results, "result") + " kept for it"] if results else []
        held += [_counted(busy_slots, "item") + " still running"] if busy_slots else []
        return [
            Say(
                f"the hub is gone: waiting up to {self._policy.hub_gone_seconds:g} s for it to come back, with "
                f"{' and '.join(held)}; Ctrl-C again leaves at once and loses what it has not taken"
            )
        ]

    def settle(self, now: float, results: int, *, is_idle: bool) -> list[Message]:
        """Quits if the worker leaves and nothing holds it any more, or it has waited long enough."""
        if self.reason is None or self.has_quit:
            return []
        if is_idle:
            return self.quit(self.reason, 0)
        give_up_at = self.give_up_at()
        return self.quit(self.reason, results) if give_up_at is not None and give_up_at <= now else []

    def quit(self, reason: str, results: int) -> list[Message]:
        """The worker is done, whatever it still holds: so many results that the hub has not taken."""
        if self.has_quit:
            return []
        self.has_quit = True
        if not results:
            return [Quit(reason)]
        return [Say(f"{_counted(results, 'result')} did not reach the hub: those items run again"), Quit(reason)]


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
