"""The machines and jobs of a pool, as lists that read as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from nbdist.client.progress import seconds_text

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One machine of a pool."""

    name: str
    slots: int
    busy: int
    """Slots that run something."""
    state: str
    """idle, busy or leaving."""
    relative_speed: float | None
    """1.0 is the mean of the pool; None: not known yet."""
    done: int
    """Items that it has finished."""
    host: str
    python: str
    cores: int
    fit: str = ""
    """Whether it fits the job that the pool was given last, or why not and what to do; empty: there was none."""

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> WorkerInfo:
        """From a row of `Engine.describe`."""
        machine = row.get("machine", {})
        return cls(
            name=row["name"],
            slots=row["slots"],
            busy=row.get("busy", 0),
            state=row.get("state", ""),
            relative_speed=row.get("relative_speed"),
            done=row.get("done", 0),
            host=machine.get("hostname", ""),
            python=machine.get("python", ""),
            cores=machine.get("cores", 0),
            fit=row.get("fit", ""),
        )

    def cells(self) -> dict[str, str]:
        """The row of the table."""
        speed = "" if self.relative_speed is None else f"{self.relative_speed:.2f}"
        return {"machine": self.name, "slots": f"{self.busy}/{self.slots} busy", "state": self.state, "speed": speed,
                "done": f"{self.done:,}", "python": self.python, "fit (last job)": self.fit}  # fmt: skip


@dataclass(frozen=True, slots=True)
class JobInfo:
    """One job of a pool."""

    id: str
    name: str
    state: str
    """How it ended, or what it is at."""
    done: int
    total: int | None
    failed: int
    items_per_second: float
    elapsed_seconds: float
    reason: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> JobInfo:
        """From a row of `Engine.describe`."""
        return cls(
            id=row["id"],
            name=row["name"],
            state=row["state"],
            done=row.get("done", 0),
            total=row.get("total"),
            failed=row.get("failed", 0),
            items_per_second=row.get("items_per_second", 0.0),
            elapsed_seconds=row.get("elapsed_seconds", 0.0),
            reason=row.get("reason", ""),
        )

    def cells(self) -> dict[str, str]:
        """The row of the table."""
        of = f"{self.done:,}" + (f" of {self.total:,}" if self.total is not None else "")
        return {"job": self.id, "name": self.name, "state": self.state, "done": of, "failed": f"{self.failed:,}",
                "time": seconds_text(self.elapsed_seconds)}  # fmt: skip


class Table(list[Row], Generic[Row]):
    """A list of rows that reads as a table."""

    def __repr__(self) -> str:
        if not self:
            return "(none)"
        rows: Sequence[dict[str, str]] = [row.cells() for row in self]  # type: ignore[attr-defined]
        widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
        lines = ["  ".join(name.ljust(width) for name, width in widths.items())]
        lines += ["  ".join(row[name].ljust(width) for name, width in widths.items()) for row in rows]
        return "\n".join(line.rstrip() for line in lines)
