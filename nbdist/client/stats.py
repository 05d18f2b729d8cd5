"""A job's figures, as plain data that can be saved."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbdist.client.activity import Activity, Doing, Spans
from nbdist.client.progress import Progress


class Stats(dict[str, Any]):
    """Figures of a job, so far; all times in seconds.

    `job`, `name`; `outcome`: how it ended, or None. `items`: done, failed ones among them; `failed`.
    `overall_seconds` (also `elapsed_seconds`): since it was submitted, and up to its end. It is the sum of
    `running_seconds`: at least one slot ran items; `sending_seconds`: none did, and its task, data or modules were on
    their way, or being prepared; `waiting_seconds`: neither (no machine, other jobs, results that nobody took).
    `busy_seconds`: execution time of all items, of all slots together.
    `machines`: of those that took part, by name, `items`, `busy_seconds`, and `running_seconds`, `sending_seconds` and
    `waiting_seconds` since each was first seen. The pool reports up to four times a second: what is shorter is told
    roughly.
    """

    @classmethod
    def of(
        cls,
        *,
        job: str,
        name: str,
        progress: Progress,
        overall_seconds: float,
        activity: Activity,
        tallies: Mapping[str, Sequence[float]],
        sending_seconds: float,
    ) -> Stats:
        """`overall_seconds`: so far; `tallies`: items and busy seconds by machine; `sending_seconds`: from here."""
        overall = progress.elapsed_seconds if progress.outcome else max(overall_seconds, progress.elapsed_seconds)
        machines = {}
        for machine in sorted({*tallies, *activity.machines.keys() - activity.left_out}):
            items, busy = tallies.get(machine, (0, 0.0))
            spans = activity.machines.get(machine, Spans())
            times = _settled(spans, overall, busy / activity.slots.get(machine, 1), fills=False)
            machines[machine] = {"items": int(items), "busy_seconds": busy} | times
        longest = max((row["running_seconds"] for row in machines.values()), default=0.0)
        return cls(
            job=job,
            name=name,
            outcome=progress.outcome,
            items=progress.done,
            failed=progress.failed,
            overall_seconds=overall,
            elapsed_seconds=overall,
            **_settled(activity.job, overall, longest, sending_seconds),
            busy_seconds=sum(row["busy_seconds"] for row in machines.values()),
            machines=machines,
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes them as JSON, at once in place of a file that was there."""
        file = Path(path).expanduser()
        part = file.with_name(file.name + ".part")
        part.write_text(json.dumps(self, indent=2, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(part, file)
        return file


def _settled(spans: Spans, overall: float, ran: float, sent: float = 0.0, *, fills: bool = True) -> dict[str, float]:
    """The times, with what the reports were too rare for: it ran at least so long, and sent at least so long.

    `fills`: together they are `overall`.
    """
    seconds: dict[Doing, float] = dict(spans.seconds)
    if spans.doing is not None:
        seconds[spans.doing] += max(0.0, overall - spans.since)
    running = min(overall, max(seconds["running"], ran))
    sending = min(overall - running, max(seconds["sending"], sent))
    waiting = overall - running - sending if fills else min(overall - running - sending, seconds["waiting"])
    return {"running_seconds": running, "sending_seconds": sending, "waiting_seconds": waiting}
