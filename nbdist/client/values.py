"""The results of a job: a list that also knows the items, the times and the machines that its values come from."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from nbdist.client.assembly import Segment
from nbdist.errors import NbdistError

if TYPE_CHECKING:
    from nbdist.client.job import Job

ENDS = 3
"""So many values are shown from the beginning and from the end."""
MAX_VALUE_CHARS = 60


class Origin(Protocol):
    """What a job tells of its values."""

    @property
    def segments(self) -> Sequence[Segment]: ...
    @property
    def loop_names(self) -> tuple[str, ...]: ...
    def item(self, index: int) -> Any: ...


class Values(list[Any]):
    """The values of a job's items, in order: a list, and pickled as one.

    Slices and sums of it are plain lists; what is below is known of the whole only, and as long as it is not changed.
    """

    job: Job | None = None
    """The job that they come from."""
    is_changed = False
    """Somebody has put, taken away or moved values: which item each belongs to is no longer known."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return list, (list(self),)

    def __repr__(self) -> str:
        count = len(self)
        shown = [_short(value) for value in (self if count <= 2 * ENDS else self[:ENDS])]
        if count > 2 * ENDS:
            shown += ["…", *map(_short, self[-ENDS:])]
        return f"<Values: {count:,} item{'' if count == 1 else 's'} [{', '.join(shown)}]>"

    def array(self) -> Any:
        """The values as a NumPy array: one number each gives one axis, arrays of one shape are stacked."""
        return _library("numpy", "Values.array()").array(list(self))

    def dict(self) -> dict[Any, Any]:
        """The values by their items. Raises NbdistError if those are no longer known, TypeError if they are no keys."""
        job = self._origin()
        return {job.item(index): value for index, value in zip(self.indices(), self, strict=True)}

    def indices(self) -> Iterator[int]:
        """The index of the item of each value."""
        for segment in self._origin().segments:
            yield from segment.indices

    def frame(self) -> Any:
        """A pandas DataFrame, a row a value.

        Columns: `index`, the item by the names of the loop (or `item`), `value` or its fields (of dicts, named tuples,
        dataclasses; `value_0`, … of tuples), `seconds` (execution time) and `machine`.
        """
        pandas = _library("pandas", "Values.frame()")
        job = self._origin()
        columns: dict[str, list[Any]] = {"index": list(self.indices())}
        columns.update(_item_columns([_known_item(job, index) for index in columns["index"]], job.loop_names))
        columns.update(_value_columns(self))
        seconds: list[float] = []
        machines: list[str] = []
        for segment in job.segments:
            seconds += [segment.seconds / (segment.stop - segment.start)] * segment.count
            machines += [segment.worker] * segment.count
        columns.update(seconds=seconds, machine=machines)
        return pandas.DataFrame(columns)

    def _origin(self) -> Origin:
        job = self.job
        if self.is_changed:
            raise NbdistError(
                "these values were sorted or changed in place: which item each belongs to is no longer known; "
                "call dict() or frame() first, or sort a copy (`sorted(values)`)"
            )
        if job is None or sum(segment.count for segment in job.segments) != len(self):
            raise NbdistError("these values no longer belong to a job: a copy knows values only")
        return job


def _noting(name: str) -> Callable[..., Any]:
    """A method of lists that takes note of the change."""
    method = getattr(list, name)

    @functools.wraps(method)
    def change(self: Values, *arguments: Any, **options: Any) -> Any:
        self.is_changed = True
        return method(self, *arguments, **options)

    return change


for _name in ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"):
    setattr(Values, _name, _noting(_name))
for _name in ("__delitem__", "__iadd__", "__imul__", "__setitem__"):
    setattr(Values, _name, _noting(_name))


def _known_item(job: Origin, index: int) -> Any:
    try:
        return job.item(index)
    except NbdistError:
        return None


def _item_columns(items: list[Any], names: tuple[str, ...]) -> dict[str, list[Any]]:
    if len(names) > 1 and all(isinstance(item, tuple) and len(item) == len(names) for item in items):
        return {name: [item[at] for item in items] for at, name in enumerate(names)}
    return {names[0] if len(names) == 1 else "item": items}


def _value_columns(values: Sequence[Any]) -> dict[str, list[Any]]:
    first = values[0] if values else None
    kind = type(first)
    if any(type(value) is not kind for value in values):
        return {"value": list(values)}
    if isinstance(first, dict):
        names = dict.fromkeys(str(name) for value in values for name in value)
        rows = [{str(name): inner for name, inner in value.items()} for value in values]
        return {name: [row.get(name) for row in rows] for name in names}
    if dataclasses.is_dataclass(kind):
        return {f.name: [getattr(value, f.name) for value in values] for f in dataclasses.fields(kind)}
    if isinstance(first, tuple) and len({len(value) for value in values}) == 1:
        titles: Iterable[str] = getattr(first, "_fields", [f"value_{at}" for at in range(len(first))])
        return {name: [value[at] for value in values] for at, name in enumerate(titles)}
    return {"value": list(values)}


def _library(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NbdistError(f"{what} needs {name}: python -m pip install {name}") from error


def _short(value: Any) -> str:
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - a user's __repr__ may raise anything
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
