"""What a job's events have made of a file so far: `JobState` for results that are not kept in memory."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nbdist.client.assembly import ListAssembly, Piece
from nbdist.client.homecoming import Homecoming
from nbdist.client.items import MAX_REMEMBERED_ITEMS, Items, RangeItems, UnknownItems
from nbdist.client.resuming import Resumed, without
from nbdist.client.state import JobState
from nbdist.client.tofile.arrays import ArrayRows
from nbdist.client.tofile.columns import Rows
from nbdist.client.tofile.parquet import ParquetRows
from nbdist.client.tofile.part import Part
from nbdist.client.tofile.texts import CsvRows, JsonRows
from nbdist.engines.base import Buffer
from nbdist.errors import JobError, NbdistError
from nbdist.packing import UnpackedRun, pack_part, pack_run, unpack_part
from nbdist.wire import frames
from nbdist.wire.messages import JobOptions, Message, Result
from nbdist.wire.resuming import again

MAX_FAILURES = 1_000
"""So many failed items are in `Job.failures`; the file has them all."""

COPIED_BYTES = 16 * 1024 * 1024
"""A checkpoint is due when results of so many bytes have come from the notes, so that these need not be there twice."""


class RowAssembly(ListAssembly):
    """Turns pieces, which come in order, into rows of the file."""

    def __init__(self, write: Callable[[Piece], None]) -> None:
        super().__init__()
        self._write = write
        self.written = 0
        """All items below this are in the file."""

    @property
    def reached(self) -> int:
        """The first item that is missing."""
        return self.written

    def add(self, piece: Piece) -> bool:
        """Writes the rows."""
        self._write(piece)
        self.written = piece.stop
        return True

    def close(self) -> None:
        """What waits behind a gap is in the notes, and stays there."""


class FileState(JobState):
    """A job whose values go to a file, in order, as far as its events tell."""

    def __init__(
        self,
        items: Items,
        options: JobOptions,
        part: Part,
        loop_names: Sequence[str],
        elapsed_seconds: Callable[[], float],
        *,
        home: Homecoming | None = None,
    ) -> None:
        super().__init__(items, options, None, [], elapsed_seconds, home=home)
        self.part = part
        self.rows = 0
        """Of the file."""
        self.list = self._assembly = RowAssembly(self._write)
        self._seen = 0
        """Items below this have come, but if they are not written, none of them says which columns there are."""
        self._item_names = (tuple(loop_names) or ("item",)) if _are_known(items) else ()
        self._copied_bytes = 0
        """From the notes, since the last checkpoint."""
        self._is_closed = self._may_be_behind = False
        self.is_settled = False
        """Nothing is written any more."""
        self._load(part.facts)
        if "written" not in part.facts:
            self.checkpoint()  # who attaches to the job must know the names of the columns

    @property
    def has_all(self) -> bool:
        """The job has ended, and all its results have come."""
        return super().is_complete

    @property
    def is_complete(self) -> bool:
        """… and the file is whole, or will not be."""
        return self.is_settled and self.has_all

    def apply(self, message: Message, payload: Buffer) -> None:
        """Takes one event. Raises OSError and sqlite3.Error."""
        super().apply(message, payload)
        if self.has_all:
            self._close()

    def _load(self, facts: dict[str, Any]) -> None:
        """Stands where the last checkpoint was."""
        self.seq = facts.get("seq", 0)
        self.rows, self.failed = facts.get("rows", 0), facts.get("failed", 0)
        self._done = facts.get("done", 0)
        self._assembly.written = self._seen = facts.get("written", 0)
        self._item_names = tuple(facts.get("item_names", self._item_names))
        self.machines = {name: list(tally) for name, tally in facts.get("machines", {}).items()}
        self.progress.received(self._done, self.failed)
        is_kept = self.options.on_error == "keep"
        columns = facts.get("columns")
        self._format: CsvRows | JsonRows | ArrayRows | ParquetRows
        match self.part.target.format:
            case "csv":
                self._format = CsvRows(self._item_names, has_errors=is_kept, facts=columns)
            case "jsonl":
                self._format = JsonRows(self._item_names)
            case "npy":
                self._format = ArrayRows(facts=columns)
            case _:
                self._format = ParquetRows(self._item_names, has_errors=is_kept, facts=columns)
        self._may_be_behind = True

    @property
    def _facts(self) -> dict[str, Any]:
        return {
            **self.part.facts,
            "seq": self.seq,
            "rows": self.rows,
            "failed": self.failed,
            "done": self._done,
            "written": self._assembly.written,
            "item_names": self._item_names,
            "machines": self.machines,
            "columns": self._format.facts,
            "listed": len(self.failures),
            "stats": self.part.target.stats,
        }

    # --- what counts ------------------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """All until now counts. Raises OSError and sqlite3.Error."""
        self.part.checkpoint(self._facts)
        self._copied_bytes = 0

    def restore(self) -> None:
        """Nothing counts that came after the last checkpoint: it must come again."""
        facts = self.part.restore()
        del self.failures[facts.get("listed", 0) :]
        self.error, self._is_closed = None, False
        self._load(facts)

    def give_up(self, error: BaseException) -> None:
        """Because of this error nothing is written any more."""
        with contextlib.suppress(OSError, sqlite3.Error):  # it may be what is wrong
            self.restore()
        self.error, self._is_closed = error, True

    def whole(self) -> None:
        """Makes the part the file. Raises OSError and sqlite3.Error."""
        if not self.rows and isinstance(self._format, CsvRows):
            self._format.decide(None)
            self.part.append(self._format.encode(Rows([], None if not self._item_names else [], [])))
        self.part.finish(self._format, self._facts)

    # --- results ----------------------------------------------------------------------------------------------------

    def _result(self, message: Result, payload: Buffer) -> None:
        if self.error is not None or not self._takes(message.start, message.stop):
            return  # once a row could not be made, none may follow
        self._catch_up()
        failed = bool(message.failed or message.fault)
        if message.start != self._seen or not self._are_columns_known(message, payload):
            self.part.put(message.start, message.stop, frames.to_json(message), payload, failed=failed)
            if message.start == self._seen:
                self._see_further()
            return
        self._write_from_notes()
        super()._result(message, payload)
        self._seen = message.stop
        self._write_what_follows()

    def take_over(self, result: Result, payload: Buffer, resumed: Resumed) -> Resumed:
        """Takes what an earlier job has done, but for items that are run again; gives the count with this."""
        ranges = again(result, folds=False)
        count = 0
        if ranges != ((result.start, result.stop),):
            try:
                runs = unpack_part(payload)
            except Exception as error:  # noqa: BLE001 - unpickling runs user code, which may raise anything
                self._broken(result, error)
                runs = []
            for run in runs:
                for start, stop in without(run.start, run.stop, ranges):
                    count += stop - start
                    part = Result(result.job, 0, start, stop, result.worker)
                    self._result(part, b"".join(pack_part([pack_run(_Cut.of(run, start, stop))])))
        self.resumed = Resumed(resumed.job, resumed.items + count, resumed.is_older_code)
        self.progress.taken_over(self.resumed.items)
        return self.resumed

    def _takes(self, start: int, stop: int) -> bool:
        return start >= self._seen and not self.part.has(start, stop)

    def _are_columns_known(self, message: Result, payload: Buffer) -> bool:
        """Whether the columns of the file are known by now: this result, whose turn it is, may tell them."""
        if not self._format.waits:
            return True
        if message.fault is not None:
            return False
        try:
            values = [value for run in unpack_part(payload) for value in run.values if value is not None]
        except Exception:  # noqa: BLE001 - what cannot be unpacked is told when it is written
            values = [None]
        if values:
            self._format.decide(values[0])
        return bool(values)

    def _catch_up(self) -> None:
        """After a checkpoint in the midst of it: what follows on what is written may be in the notes already."""
        if self._may_be_behind:
            self._see_further()
            self._may_be_behind = False

    def _see_further(self) -> None:
        """Results in the notes may follow on what has been seen: as soon as one tells the columns, all are written."""
        while (stop := self.part.stop_of(self._seen)) is not None:
            head, payload = self.part.get(self._seen)
            if self._are_columns_known(frames.from_json(Result, head), payload):
                self._write_from_notes()
                self._write_what_follows()
                return
            self._seen = stop

    def _write_from_notes(self) -> None:
        """Writes what has been seen and waits for the columns to be known."""
        while self._assembly.written < self._seen and self.error is None:
            self._write_waiting()

    def _write_what_follows(self) -> None:
        while self.error is None and self.part.stop_of(self._seen) is not None:
            self._write_waiting()
            self._seen = self._assembly.written

    def _write_waiting(self) -> None:
        start = self._assembly.written
        head, payload = self.part.get(start)
        message = frames.from_json(Result, head)
        super()._result(message, payload)
        if self.error is not None:
            return
        self._assembly.written = message.stop
        self.part.drop(start)
        self._copied_bytes += len(payload)
        if self._copied_bytes >= COPIED_BYTES:
            self.checkpoint()

    def _add_piece(self, piece: Piece, failures: Any, *, is_own: bool = True) -> None:
        self.failed += len(failures)
        super()._add_piece(piece, failures[: max(0, MAX_FAILURES - len(self.failures))], is_own=is_own)
        self.progress.received(self._done, self.failed)

    def _write(self, piece: Piece) -> None:
        indices = range(piece.start, piece.stop) if piece.kept is None else piece.kept
        if indices:
            self.part.append(self._format.encode(Rows(indices, self._items(indices), piece.values)))
            self.rows += len(indices)

    def _items(self, indices: Sequence[int]) -> Sequence[Any] | None:
        if not self._item_names:
            return None
        if isinstance(self.items, RangeItems) and len(self.items.ranges) == 1:
            numbers = range(*self.items.ranges[0])
            if isinstance(indices, range):
                return numbers[indices.start : indices.stop]
            return [numbers[index] for index in indices]
        return [self.item(index) for index in indices]

    def _close(self) -> None:
        if self._is_closed:
            return
        finish = self.finish
        self._catch_up()
        if self.error is None and finish is not None and finish.outcome == "done":
            if self._format.waits:
                self._format.decide(None)
            self._write_from_notes()
            missing = 0 if finish.total is None else finish.total - self._assembly.written
            if missing and self.error is None:
                self.error = JobError(f"the results of {missing:,} items are no longer at the hub: run the job anew")
        for start in self.part.failed():  # nobody waits for the items before them any more
            head, payload = self.part.get(start)
            self._note_failures(frames.from_json(Result, head), payload)
        super()._close()
        self._is_closed = True

    def _note_failures(self, message: Result, payload: Buffer) -> None:
        other = JobState(self.items, self.options, None, [], self._elapsed_seconds)
        other._result(message, payload)
        known = {failure.index for failure in self.failures}
        self.failures += [failure for failure in other.failures if failure.index not in known]

    def _fold_failed(self, error: Exception) -> None:
        """Rows could not be written: what a value is to blame for ends the job, the rest is dealt with elsewhere."""
        if isinstance(error, (OSError, sqlite3.Error)):
            raise error
        if not isinstance(error, NbdistError):  # an integer of more digits than Python makes text of, for one
            error = JobError(f"values cannot be written to {self.part.target.path.name}: {error}")
        self.error = self.error or error


def _are_known(items: Items) -> bool:
    """Whether each item is still known when its value is written, whenever that is: columns are never half empty."""
    if items.is_stream:
        return items.total is not None and items.total <= MAX_REMEMBERED_ITEMS
    return not isinstance(items, UnknownItems)


@dataclass(frozen=True)
class _Cut:
    """Some of the items of a run, to be packed again."""

    start: int
    stop: int
    seconds: float
    values: list[Any]
    kept: list[int] | None
    failures: list[tuple[int, BaseException]]
    stopped_at: int | None = None

    @classmethod
    def of(cls, run: UnpackedRun, start: int, stop: int) -> _Cut:
        indices = range(run.start, run.stop) if run.kept is None else run.kept
        chosen = [(item, value) for item, value in zip(indices, run.values, strict=False) if start <= item < stop]
        kept = None if len(chosen) == stop - start else [item for item, _ in chosen]
        seconds = run.seconds * (stop - start) / (run.stop - run.start)
        return cls(start, stop, seconds, [value for _, value in chosen], kept, [])
