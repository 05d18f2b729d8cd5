"""The pool for Prometheus, in its text format. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_GAUGES = {
    "machines": "Machines that have joined.",
    "slots": "Slots of these machines.",
    "slots_busy": "Slots that are at work.",
    "notebooks": "Notebooks that are connected.",
    "items_queued": "Items that no slot has been given yet.",
    "items_per_second": "Items that are finished each second, lately.",
    "results_bytes": "Results of jobs that this hub keeps.",
}
_STATES = ("waiting", "running", "paused", "stopping", "done", "stopped", "failed", "cancelled")


def metrics(pool: Mapping[str, Any], items_per_second: float, version: str) -> str:
    """What `scheduler.history.describe` gives, as metrics; names of machines and jobs are not among them."""
    hub, jobs = pool.get("hub", {}), pool.get("jobs", [])
    values = {
        "machines": len(pool.get("workers", [])),
        "slots": hub.get("slots", 0),
        "slots_busy": hub.get("busy", 0),
        "notebooks": hub.get("notebooks", 0),
        "items_queued": hub.get("queued", 0),
        "items_per_second": items_per_second,
        "results_bytes": hub.get("results_bytes", 0),
    }
    lines: list[str] = []
    for name, text in _GAUGES.items():
        lines += [
            f"# HELP nbdist_{name} {text}",
            f"# TYPE nbdist_{name} gauge",
            f"nbdist_{name} {_number(values[name])}",
        ]
    lines += [
        "# HELP nbdist_items_total Items that have been finished since the start of the hub.",
        "# TYPE nbdist_items_total counter",
        f"nbdist_items_total {_number(hub.get('items_done', 0))}",
        "# HELP nbdist_jobs Jobs that the hub knows, by state.",
        "# TYPE nbdist_jobs gauge",
        *(f'nbdist_jobs{{state="{_label(state)}"}} {count}' for state, count in sorted(_states(jobs).items())),
        "# HELP nbdist_info The version of this hub, and how often it was started.",
        "# TYPE nbdist_info gauge",
        f'nbdist_info{{version="{_label(version)}",start="{_number(hub.get("epoch", 0))}"}} 1',
    ]
    return "\n".join(lines) + "\n"


def _states(jobs: list[Mapping[str, Any]]) -> Counter[str]:
    """Every state is there, so that a sum does not lose its line."""
    known = dict.fromkeys(_STATES, 0)
    return Counter({**known, **Counter(str(job.get("state")) for job in jobs)})


def _number(value: object) -> str:
    return repr(value) if isinstance(value, (int, float)) else "0"


def _label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
