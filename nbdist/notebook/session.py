"""What one notebook is at: its pool, its cells, its last job."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import nbdist
from nbdist.client.analysis.sources import sources_of
from nbdist.client.job import Job
from nbdist.client.options import checked_env
from nbdist.client.pool import current
from nbdist.client.tofile.target import checked_target
from nbdist.engines.hub.names import save as save_address
from nbdist.errors import CellError, NbdistError
from nbdist.notebook import again, rehearsal, resumable, trouble
from nbdist.notebook.again import NO_KEYS, Keys, is_nothing
from nbdist.notebook.cell import Cell, CellJob, parse, parse_expression
from nbdist.notebook.debug import debug_item, item_to_debug
from nbdist.notebook.follow import Follower
from nbdist.notebook.forms import PlotSpec
from nbdist.notebook.plots import LivePlot
from nbdist.notebook.setupcell import SetupCell, parse_setup
from nbdist.notebook.setups import Setups
from nbdist.notebook.widget import view_for

INLINE = "inline"
"""The address of a pool that keeps no results."""
NO_MATPLOTLIB = "--plot needs matplotlib in the notebook: %pip install matplotlib"


class Session:
    """Runs the cells of one IPython shell on its pool."""

    def __init__(self, shell: Any) -> None:
        self._shell = shell
        self._rehearses = False
        self.setups = Setups()

    @property
    def pool(self) -> Any:
        """The pool that the notebook is connected to; it connects to the embedded one if there is none."""
        return current() or nbdist.connect()

    def connect(self, address: str | None, save_as: str | None = None) -> None:
        """Connects to another pool, and saves its address under a name. Raises NbdistError."""
        if save_as is not None:
            if address is None:
                raise NbdistError("--as saves an address: write `%distribute connect ADDRESS --as NAME`")
            save_address(save_as, address)
        nbdist.connect(address)

    def describe(self) -> dict[str, Any]:
        """The pool as plain data (`engines.base.Engine.describe`)."""
        description: dict[str, Any] = self.pool.describe()
        return description

    def jobs(self) -> list[dict[str, Any]]:
        """The jobs that the pool knows, newest first."""
        return list(self.describe().get("jobs", ()))

    def run_cell(self, line: str, text: str) -> Any:
        """Runs a cell; gives what it displays."""
        setup = parse_setup(line, text, self._shell.transform_cell, self._shell.user_ns)
        if setup is not None:
            self._add_setup(setup)
            return None
        cell = parse(line, text, self._shell.transform_cell, self._shell.user_ns)
        job = self._build(cell)
        if cell.rehearsed_items:
            self._rehearse(job, cell.rehearsed_items)
            return None
        if cell.is_background:
            return self._in_background(cell, job)
        result = self._result(self._run(cell, job))
        if cell.runs_once:
            result = result[0] if result else None
        if cell.target is not None:
            self._shell.user_ns[cell.target] = result
        return result if cell.shows_result and not is_nothing(result) else None

    def run_expression(self, line: str) -> Any:
        """Runs a comprehension; gives its value, of the type that Python would give."""
        cell = parse_expression(line, self._shell.user_ns)
        job = self._build(cell)
        if cell.rehearsed_items:
            self._rehearse(job, cell.rehearsed_items)
            return None
        if cell.is_background:
            return self._start(cell, job)
        is_one = "reduce" in cell.parts.options or "to" in cell.parts.options
        if cell.container == "generator" and not is_one:
            return iter(self._start(cell, job))
        result = self._result(self._run(cell, job))
        if is_one:
            return result
        return {"set": set, "dict": dict}.get(cell.container, lambda values: values)(result)

    def attach(self, job_id: str, to: str | None = None) -> Any:
        """Takes over a job whose notebook has gone: its view, and then its result, in a file if it has one."""
        try:
            job = self.pool.attach(job_id, to=to)
        except ValueError as error:
            raise CellError(str(error)) from None
        return self._result(self._follow(job, job.name))

    def debug(self, wanted: int | None) -> Any:
        """Runs one item of the last job again under the debugger."""
        job = nbdist.last_job
        if job is None:
            raise NbdistError("no job has run yet: there is no item to debug")
        debugger: Any = self._shell.debugger_cls()
        return debug_item(job, item_to_debug(job, wanted), debugger)

    # --- inside -----------------------------------------------------------------------------------------------------

    def _add_setup(self, cell: SetupCell) -> None:
        """Takes a setup cell; nothing runs until a slot is to run items."""
        told = self.setups.add(
            cell, self._shell.user_ns, self._file_of(cell), number=self._number, cell_id=self._cell_id
        )
        print(told)

    def _build(self, cell: Cell) -> CellJob:
        try:
            job = cell.build(self._shell.user_ns, self._file_of(cell), self.setups.names)
        except NameError as error:
            if error.name not in self.setups.names:
                raise
            raise CellError(
                f"the head and the options are read in the notebook, where {error.name!r} is not defined: the setup "
                "that defines it runs in slots only. Use it in the cell's body, or run the setup's code here too"
            ) from error
        options = dict(job.options)
        try:
            env = checked_env(options.pop("env", ()))
        except ValueError as error:
            raise CellError(f"--env: {error}") from None
        try:
            checked_target(options.get("to"))
        except ValueError as error:
            raise CellError(f"--{error}") from None
        if cell.resumes is not None:
            options["resume"] = self._to_resume(cell, job)
        for warning in job.warnings:
            print(f"Warning: {warning}")
        sources = sources_of(job.task.function, job.task.reduce) | self.setups.sources | dict(job.task.sources)
        task = replace(job.task, sources=sources, setups=self.setups.all, env=env)
        return replace(job, task=task, options=options)

    def _file_of(self, cell: Cell | SetupCell) -> str:
        """The file name under which the cell's text is known."""
        text = cell.source.text
        filename: str = self._shell.compile.cache(text, self._number, raw_code=text)
        return filename

    @property
    def _cell_id(self) -> str:
        """The cell that runs, by the id that it keeps in the notebook; empty if the front end does not tell it."""
        parent = getattr(self._shell, "parent_header", None)
        metadata = parent.get("metadata") if isinstance(parent, dict) else None
        return str((metadata or {}).get("cellId") or "")

    def _to_resume(self, cell: Cell, job: CellJob) -> str:
        """The id of the job that a cell resumes. Raises CellError."""
        if cell.resumes:
            return resumable.with_id(self.jobs(), cell.resumes)
        last = nbdist.last_job
        name = job.options.get("name", self._name(cell))
        found = resumable.newest(self.jobs(), name, job.total, None if last is None else last.id)
        print(f"Resuming job {found['id']} ({found['name']}).")
        return str(found["id"])

    @property
    def _number(self) -> int:
        """The number of the cell that runs: IPython's own counter may already be one ahead."""
        return len(self._shell.history_manager.input_hist_parsed) - 1

    def _name(self, cell: Cell) -> str:
        return cell.target or f"cell {self._number}"

    def _start(self, cell: Cell, job: CellJob) -> Job:
        """Submits the job of a cell, or attaches to one that computes, or has computed, the same."""
        keys = again.keys_of(cell, job)
        may_be_known = keys.key and not cell.is_fresh and cell.resumes is None
        found = again.find(self.pool, job, keys.key) if may_be_known else None
        if found is None:
            return self._submit(job, self._name(cell), keys)
        print(again.story(found))
        return found.job

    def _submit(self, job: CellJob, name: str, keys: Keys = NO_KEYS) -> Job:
        options = {"name": name, **keys._asdict(), **job.options}
        submitted: Job = self.pool.run_task(
            job.task,
            ranges=job.ranges or None,
            iterable=job.iterable,
            total=job.total,
            loop_names=job.loop_names,
            **options,
        )
        return submitted

    def _in_background(self, cell: Cell, job: CellJob) -> Job | None:
        submitted = self._start(cell, job)
        if cell.target is None:
            return submitted
        self._shell.user_ns[cell.target] = submitted
        return None

    def _run(self, cell: Cell, job: CellJob) -> Job:
        """Starts the job of a cell and follows it to its end."""
        figure = None if cell.plot is None else _live_plot(job, cell.plot)
        return self._follow(self._start(cell, job), job.options.get("name", self._name(cell)), figure)

    def _follow(self, submitted: Job, name: str, figure: LivePlot | None = None) -> Job:
        view = view_for(name, self._shell)
        try:
            Follower(submitted, view, figure, lonely_note=self._lonely_note).follow()
        except KeyboardInterrupt as error:
            is_over = submitted.outcome is not None
            trouble.show_interrupt(error, len(submitted.values), confirmed=is_over, hint=self._hint(submitted))
            raise
        return submitted

    def _result(self, job: Job) -> Any:
        """The job's result; its exception looks as if the cell had raised it."""
        try:
            return job.result()
        except Exception as error:
            trouble.show_remotely(error, self._cell_label, len(job.values), self._hint(job))
            raise

    def _hint(self, job: Job) -> str:
        """What one can do about the items that are missing; empty if that is nothing."""
        progress = job.progress
        can_be_resumed = job.total != 1 and not job.is_each and self.pool.address != INLINE
        return trouble.RESUME if can_be_resumed and not self._rehearses and progress.done > progress.failed else ""

    def _rehearse(self, job: CellJob, count: int) -> None:
        self._rehearses = True
        try:
            tried = rehearsal.rehearsal_of(job, count)
            rehearsed = self._follow(self._submit(tried, "rehearsal"), tried.options.get("name", "rehearsal"))
            self._result(rehearsed)
        finally:
            self._rehearses = False
        print(rehearsal.report(rehearsal.tried(rehearsed), job.total, self._slots()))

    def _slots(self) -> int:
        return sum(worker.get("slots", 0) for worker in self.describe().get("workers", ()))

    def _cell_label(self, filename: str) -> str:
        found = self._shell.compile.format_code_name(filename)
        return filename if found is None else " ".join(found)

    def _lonely_note(self) -> str:
        return "no machine is here: `%distribute invite` shows the line that adds one"


def _live_plot(job: CellJob, kind: str) -> LivePlot | None:
    """The plot of a job; without matplotlib one line says what is missing, and the job runs all the same."""
    spec = PlotSpec(kind, job.loop_names, job.ranges, filters=bool(job.options.get("filters")))
    try:
        return LivePlot(spec)
    except ImportError:
        print(NO_MATPLOTLIB)
        return None
