"""What a job's events have made of it so far. It only takes events: no thread, no engine, no clock of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nbdist.client.activity import Activity
from nbdist.client.assembly import FoldAssembly, ListAssembly, Piece, Segment, part_of, place
from nbdist.client.failures import ItemFailure, add_note, from_failure, from_fault
from nbdist.client.homecoming import Homecoming
from nbdist.client.items import Items
from nbdist.client.options import Reduction
from nbdist.client.progress import ProgressTracker
from nbdist.client.resuming import Resumed, story, without
from nbdist.engines.base import Buffer, Sending
from nbdist.errors import JobCancelledError, JobError, PackingError
from nbdist.filing.left import Left
from nbdist.packing import UnpackedRun, tail_of, unpack_part
from nbdist.wire.messages import JobFinished, JobOptions, JobProgress, Message, Notice, Output, Result, Stream
from nbdist.wire.resuming import again

MAX_OUTPUT_CHARS = 4 * 1024 * 1024
"""Text that items wrote is kept up to this; the oldest goes."""
OUTPUT_CHARS = 100
"""What a text counts in addition: many short ones take more memory than their characters."""


@dataclass(frozen=True, slots=True)
class OutputText:
    """What one item wrote."""

    item: int
    stream: Stream
    machine: str
    text: str
    cut_bytes: int = 0
    """So many bytes after this text were left out."""
    setup: str = ""
    """It was written by this setup, before the item."""


@dataclass(frozen=True, slots=True)
class StoppedBy:
    """The item whose value met `stop_when`; it unpacks like the tuple (index, item, value)."""

    index: int
    item: Any
    """The item itself; None in the rare case that a generator was so far ahead that it was not remembered."""
    value: Any

    def __iter__(self) -> Any:
        return iter((self.index, self.item, self.value))


class JobState:
    """A job, as far as its events tell. `apply` may see an event twice."""

    def __init__(
        self,
        items: Items,
        options: JobOptions,
        reduction: Reduction | None,
        values: list[Any],
        elapsed_seconds: Callable[[], float],
        *,
        keeps_places: bool = False,
        home: Homecoming | None = None,
    ) -> None:
        self.items = items
        self.options = options
        self.list = ListAssembly(values) if reduction is None else None
        self.fold = FoldAssembly(reduction.fold, is_strict=bool(options.task_size)) if reduction is not None else None
        self.progress = ProgressTracker(items.total)
        self.activity = Activity()
        self.failures: list[ItemFailure] = []
        self.finish: JobFinished | None = None
        self.error: BaseException | None = None
        """What went wrong on this side: with the items, with unpacking, or in the reduce function."""
        self.output: deque[OutputText] = deque()
        self.output_dropped = 0
        """Texts that are no longer in `output`."""
        self.seq = 0
        self.resumed: Resumed | None = None
        self.places: dict[int, tuple[str, int]] | None = {} if keeps_places else None
        """Of a job for each machine or slot: the (machine, slot) that ran each item."""
        self.machines: dict[str, list[float]] = {}
        """Of each machine: how many items it has finished, and the execution time of these in seconds."""
        self.home = home
        """Where the files go that its items write."""
        self.left: dict[str, Left] = {}
        """Machine -> the files that items have left there."""
        self._output_chars = 0
        self._elapsed_seconds = elapsed_seconds
        self._stop: StoppedBy | None = None
        self._done = 0

    @property
    def is_complete(self) -> bool:
        """The job has ended and all its results are in."""
        return self.finish is not None and (self.seq >= self.finish.last_seq or self.error is not None)

    @property
    def segments(self) -> list[Segment]:
        """Where each value comes from."""
        if self.list is not None:
            return self.list.segments
        return self.fold.segments if self.fold is not None else []

    @property
    def stopped_by(self) -> StoppedBy | None:
        """The lowest item among those received whose value met `stop_when`."""
        return self._stop

    def item(self, index: int) -> Any:
        """Item `index`, or None if it is no longer known."""
        try:
            return self.items.at(index)
        except LookupError:
            return None

    def apply(self, message: Message, payload: Buffer) -> None:
        """Takes one event."""
        match message:
            case Result():
                if message.seq > self.seq:
                    self._result(message, payload)
                    self.seq = message.seq
            case JobProgress():
                self.progress.reported(message)
                self.activity.reported(message)
            case Sending():
                self.progress.sent(message)
            case JobFinished():
                self.finish = message
                self.activity.finished()
                self.progress.finished(message, self._elapsed_seconds())
            case Notice():
                self.progress.noticed(message)
            case Output():
                self._text(message, payload)
        if self.is_complete:
            self._close()

    def take_over(self, result: Result, payload: Buffer, resumed: Resumed) -> Resumed:
        """Takes what an earlier job has done, but for items that are run again; gives the count with this."""
        ranges = again(result, folds=self.fold is not None)
        before = self._done
        if ranges != ((result.start, result.stop),):
            try:
                runs = unpack_part(payload)
            except Exception as error:  # noqa: BLE001 - unpickling runs user code, which may raise anything
                self._broken(result, error)
                runs = []
            for run in runs:
                whole = Piece(run.start, run.stop, run.values, run.kept, result.worker, run.seconds)
                for start, stop in without(run.start, run.stop, ranges):
                    is_whole = (start, stop) == (run.start, run.stop)
                    self._add_piece(whole if is_whole else part_of(whole, start, stop), [], is_own=False)
        self.resumed = replace(resumed, items=resumed.items + self._done - before)
        self.progress.taken_over(self.resumed.items)
        return self.resumed

    def _result(self, message: Result, payload: Buffer) -> None:
        if self.places is not None:
            self.places[message.start] = (message.worker, message.slot)
        if message.fault is not None:
            failure = from_fault(message.fault, self.item(message.fault.item))
            self._add(message.start, message.stop, [], (), [failure], message.worker, 0.0)
            return
        try:
            runs = unpack_part(payload)
        except Exception as error:  # noqa: BLE001 - unpickling runs user code, which may raise anything
            self._broken(message, error)
            return
        for run in runs:
            self._run(run, message.worker)
        if tail := tail_of(payload):
            self.left[message.worker] = self.left.get(message.worker, Left()) + Left.decode(tail)

    def _run(self, run: UnpackedRun, worker: str) -> None:
        failures = [from_failure(failure, self.item(failure.index), worker) for failure in run.failures]
        at = run.stopped_at
        if at is not None and run.values and (self._stop is None or at < self._stop.index):
            self._stop = StoppedBy(at, self.item(at), run.values[-1])  # now: items of a stream are soon forgotten
        self._add(run.start, run.stop, run.values, run.kept, failures, worker, run.seconds)

    def _add(
        self,
        start: int,
        stop: int,
        values: list[Any],
        kept: Any,
        failures: list[ItemFailure],
        worker: str,
        seconds: float,
    ) -> None:
        if self.list is not None and failures and self.options.on_error == "keep":
            values, kept = place(start, stop, values, kept, [(failure.index, failure) for failure in failures])
        self._add_piece(Piece(start, stop, values, kept, worker, seconds), failures)

    def _add_piece(self, piece: Piece, failures: list[ItemFailure], *, is_own: bool = True) -> None:
        assembly = self.list or self.fold
        assert assembly is not None
        try:
            taken = assembly.add(piece)
        except Exception as error:  # noqa: BLE001 - the user's reduce function may raise anything
            self._fold_failed(error)
            return
        except BaseException:  # an interrupt: whether the values are in by now, and whole, nobody knows
            self.error = self.error or JobCancelledError("putting the results together was interrupted")
            raise
        if taken:
            self.failures += failures
            self._done += piece.stop - piece.start
            if is_own:
                tally = self.machines.setdefault(piece.worker, [0, 0.0])
                tally[0] += piece.stop - piece.start
                tally[1] += piece.seconds
            self.items.finished(assembly.reached)
            self.progress.received(self._done, len(self.failures))

    def _broken(self, message: Result, error: Exception) -> None:
        last = f" to {message.stop - 1}" if message.stop - message.start > 1 else ""
        broken = PackingError(
            f"the results of items {message.start}{last} from {message.worker} cannot be unpacked here: "
            f"{type(error).__name__}: {error}; this Python may lack a module that the worker has"
        )
        broken.__cause__ = error
        self.error = self.error or broken

    def _close(self) -> None:
        assembly = self.list or self.fold
        assert assembly is not None
        try:
            assembly.close()
        except Exception as error:  # noqa: BLE001 - the user's reduce function may raise anything
            self._fold_failed(error)
        if self.resumed is not None:
            self._tell_what_is_new(self.resumed)
        self._tell_of_files()

    def _tell_of_files(self) -> None:
        finish, wanted = self.finish, self.home is not None
        assert finish is not None
        told = [left.story(machine, are_wanted=wanted) for machine, left in sorted(self.left.items()) if left.count]
        for text in [*(self.home.stories() if self.home is not None else ()), *told]:
            self.progress.noticed(Notice(finish.job, "info", text))

    def _tell_what_is_new(self, resumed: Resumed) -> None:
        finish = self.finish
        assert finish is not None
        if finish.outcome == "done" and finish.total is not None and self._done < finish.total and self.error is None:
            missing = f"the results of {finish.total - self._done:,} items are no longer at the hub"
            self.error = JobError(f"{missing}, from job {resumed.job}: run it anew, without --resume")
        noun = "values" if self.list is not None and not self.options.filters else "items"
        self.progress.noticed(Notice(finish.job, "info", story(self._done, resumed, noun)))

    def _fold_failed(self, error: Exception) -> None:
        add_note(error, "raised by the job's reduce function, which makes one value of two")
        self.error = self.error or error

    def _text(self, message: Output, payload: Buffer) -> None:
        text = bytes(payload).decode("utf-8", "replace")
        self.output.append(
            OutputText(message.item, message.stream, message.worker, text, message.cut_bytes, message.setup)
        )
        self._output_chars += len(text) + OUTPUT_CHARS
        while self._output_chars > MAX_OUTPUT_CHARS and len(self.output) > 1:
            self._output_chars -= len(self.output.popleft().text) + OUTPUT_CHARS
            self.output_dropped += 1
