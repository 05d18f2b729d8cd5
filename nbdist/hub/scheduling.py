"""The scheduler, as the rooms of the hub see it."""

from __future__ import annotations

from typing import Any, Protocol

from nbdist.driver import PureMachine


class Looking(Protocol):
    """What the pages ask."""

    def look_at_job(self, job: str, now: float) -> dict[str, Any]:
        """All that can be shown of one job; empty if it is not known."""

    def look_at_worker(self, worker: str, now: float) -> dict[str, Any]:
        """All that can be shown of one machine; empty if it is not here."""

    def events(self, now: float) -> list[dict[str, Any]]:
        """What has happened in the pool lately."""

    def totals(self) -> tuple[int, int, int]:
        """Items done since the start, busy slots, slots."""


class SchedulingMachine(PureMachine, Looking, Protocol):
    """The scheduler, as the hub uses it."""

    def describe(self, now: float) -> dict[str, Any]:
        """The pool now, as JSON data."""

    def timelines(self, job: str, now: float, *, around: bool) -> list[dict[str, Any]]:
        """Who worked on a job when, and on others meanwhile; empty if it is not known."""

    def explain(self, job: str, item: int, now: float) -> str:
        """Why an item is not done."""

    def row(self, job: str, now: float) -> dict[str, Any]:
        """What `describe` says of one job; empty if it is not known."""

    def knows_packages(self, digest: str) -> bool:
        """Whether a list of what is installed on a machine is here."""
