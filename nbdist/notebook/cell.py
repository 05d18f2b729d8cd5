"""From the text of a cell to a job: `parse` reads it, `Cell.build` makes it a job in the notebook's names.

Nothing here draws, waits or talks to a pool.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Container, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Literal

from nbdist.errors import CellError
from nbdist.execution.task import Task
from nbdist.notebook import body as bodies
from nbdist.notebook import function as functions
from nbdist.notebook import head as heads
from nbdist.notebook import names
from nbdist.notebook.body import Body
from nbdist.notebook.head import Loop
from nbdist.notebook.options import Parts, refuse_together, split
from nbdist.notebook.text import Source, logical_line, not_too_deep
from nbdist.notebook.undefined import refuse_undefined
from nbdist.packing import remember_tree
from nbdist.wire import needs

CELL_MAGIC = "%%distribute "
LINE_MAGIC = "%distribute "
ONCE = "__nbdist_once__"
"""Takes the one item of a cell that has none."""
REHEARSED_ITEMS = 3
"""How many items `--try` runs when it is not told."""

Container_ = Literal["list", "set", "dict", "generator"]


@dataclass(frozen=True)
class CellJob:
    """A job, ready to be handed to `Pool.run_task`, and what is to be done with it."""

    task: Task
    ranges: tuple[range, ...]
    iterable: Iterable[Any] | None
    total: int | None
    loop_names: tuple[str, ...]
    options: dict[str, Any]
    """Keyword arguments of `Pool.run_task`: those of `Pool.map` that the person gave, `filters` and `stop_when`."""
    warnings: tuple[str, ...] = ()
    source: Any = None
    """What the items come from, for their key."""


@dataclass(frozen=True)
class Cell:
    """A cell (or an expression) that has been read."""

    source: Source
    loops: tuple[Loop, ...]
    """Empty: the body runs without an item."""
    body: Body
    parts: Parts
    container: Container_ = "list"
    """What an expression's result is."""

    @property
    def target(self) -> str | None:
        """The name that the result is bound to."""
        return self.parts.target

    @property
    def each(self) -> str:
        return self.parts.word("each", self.source.text) or ""

    @property
    def plot(self) -> str | None:
        """The kind of plot that is wanted; None: no plot."""
        return self.parts.word("plot", self.source.text, "auto") if "plot" in self.parts.options else None

    @property
    def rehearsed_items(self) -> int:
        """How many items `--try` runs; 0: it is the job itself that runs."""
        if "try" not in self.parts.options:
            return 0
        return max(1, int(self.parts.word("try", self.source.text) or REHEARSED_ITEMS))

    @property
    def resumes(self) -> str | None:
        """The job whose missing items it runs, by the beginning of its id; empty: the newest; None: it begins anew."""
        return self.parts.word("resume", self.source.text, "") if "resume" in self.parts.options else None

    @property
    def is_background(self) -> bool:
        return "background" in self.parts.options

    @property
    def is_fresh(self) -> bool:
        """It is computed, although the results of the same cell may be known."""
        return "fresh" in self.parts.options

    @property
    def runs_once(self) -> bool:
        """It has neither items nor `--each`: its body runs one time, on one slot."""
        return not self.loops and not self.each

    @property
    def shows_result(self) -> bool:
        return self.target is None and self.body.value is not None and not self.body.quiet

    def build(self, namespace: dict[str, Any], filename: str, set_up: AbstractSet[str] = frozenset()) -> CellJob:
        """Compiles the function, evaluates the iterables and the options in the notebook's names.

        `set_up` names are defined where the items run, whatever the notebook has for them. Raises CellError, and
        whatever the expressions of the head raise.
        """
        rules = functions.Rules(
            target=self._item_target(),
            conditions=heads.conditions_there(self.loops),
            keep_if=self._expression("keep-if"),
            stop_when=self._expression("stop-when"),
        )
        with not_too_deep():
            definition = functions.define(rules, self.body)
            captured = names.captured_names(definition)
        options = self._options(namespace, filename)
        reduce = options.pop("reduce", None)
        with not_too_deep():
            function = functions.compile_function(definition, namespace, filename)
            refuse_undefined(self.source, self.body, function, captured - set_up, namespace)
            warnings = names.mutation_warnings(self.source, self.body, captured - set_up, namespace)
        items = heads.evaluate(self.source, self.loops, namespace, filename) if self.loops else self._no_items()
        return CellJob(
            task=Task(function, reduce=reduce, sources={filename: self.source.text}),
            ranges=items.ranges,
            iterable=items.iterable,
            total=items.total,
            loop_names=tuple(dict.fromkeys(name for loop in self.loops for name in loop.names)),
            options=options | {"filters": _filters(rules, definition), "stop_when": rules.stop_when is not None},
            warnings=tuple(warnings),
            source=items.source,
        )

    def _item_target(self) -> ast.expr | None:
        if self.loops:
            return heads.target_of(self.loops)
        return ast.Name(ONCE, ast.Store()) if self.runs_once else None

    def _no_items(self) -> heads.Items:
        """What a cell without a head runs over: one item that it does not see, or nothing at all."""
        return heads.Items(ranges=(range(1),), total=1) if self.runs_once else heads.Items()

    def _expression(self, option: str) -> ast.expr | None:
        span = self.parts.options.get(option)
        if span is None:
            return None
        tree = self.source.parse(span.start, span.end)
        heads.refuse_awaits(self.source, tree)
        return tree

    def _options(self, namespace: dict[str, Any], filename: str) -> dict[str, Any]:
        """The options of `Pool.run_task` that the person gave, as values."""
        options: dict[str, Any] = {}
        for option in ("task-size", "retries", "seed"):
            if option in self.parts.options:
                options[option.replace("-", "_")] = self._number(option, namespace, filename)
        if "time-limit" in self.parts.options:
            options["time_limit"] = self._seconds("time-limit", namespace, filename)
        if "reduce" in self.parts.options:
            options["reduce"] = self._reducer(namespace, filename)
        if "needs" in self.parts.options:
            options["needs"] = self._needs()
        if "env" in self.parts.options:
            options["env"] = self._env()
        for option in ("on-error", "name", "each", "files", "to"):
            if option in self.parts.options:
                options[option.replace("-", "_")] = self.parts.word(option, self.source.text)
        if "stats" in self.parts.options:
            options["stats"] = True
        return options

    def _evaluated(self, option: str, namespace: dict[str, Any], filename: str) -> Any:
        tree = self._expression(option)
        assert tree is not None
        with not_too_deep():
            code = compile(ast.Expression(tree), filename, "eval", dont_inherit=True)
            remember_tree(code, tree)
        return eval(code, namespace)

    def _number(self, option: str, namespace: dict[str, Any], filename: str) -> int:
        value = self._evaluated(option, namespace, filename)
        least = 1 if option == "task-size" else 0
        if isinstance(value, bool) or not hasattr(type(value), "__index__") or value < least:
            raise self._wrong(option, f"takes a whole number from {least} on, not {value!r:.80}")
        return int(value)

    def _seconds(self, option: str, namespace: dict[str, Any], filename: str) -> float:
        value = self._evaluated(option, namespace, filename)
        if isinstance(value, bool) or not hasattr(type(value), "__float__") or not 0 < float(value) < math.inf:
            raise self._wrong(option, f"takes a number of seconds above 0, not {value!r:.80}")
        return float(value)

    def _needs(self) -> str:
        text = self.parts.word("needs", self.source.text) or ""
        try:
            needs.parse(text)
        except ValueError as error:
            raise self._wrong("needs", f"cannot be read: {error}") from None
        return text

    def _env(self) -> tuple[str, ...]:
        text = self.parts.word("env", self.source.text) or ""
        return tuple(name.strip() for name in text.split(",") if name.strip())

    def _reducer(self, namespace: dict[str, Any], filename: str) -> Callable[..., Any]:
        value = self._evaluated("reduce", namespace, filename)
        if not callable(value):
            raise self._wrong("reduce", f"takes a function of two values, not {type(value).__name__}")
        return value  # type: ignore[no-any-return]

    def _wrong(self, option: str, what: str) -> CellError:
        span = self.parts.options[option]
        assert span is not None
        return self.source.refuse(span.start, f"--{option} {what}", "`%%distribute --help` shows all options.")


def _filters(rules: functions.Rules, definition: ast.FunctionDef) -> bool:
    """Whether items may end without a value."""
    return "__nbdist_skip__" in {node.id for node in ast.walk(definition) if isinstance(node, ast.Name)}


@not_too_deep()
def parse(line: str, cell: str, transform: Callable[[str], str] = str, known_names: Container[str] = ()) -> Cell:
    """Reads a cell: `line` is what follows `%%distribute` on its first line, `cell` the lines below.

    `transform` is IPython's `transform_cell`, `known_names` are the names of the notebook. Raises CellError.
    """
    source = Source(f"{CELL_MAGIC}{line}\n{cell}")
    first = logical_line(source, len(CELL_MAGIC))
    parts = split(source, len(CELL_MAGIC), first, known_names)
    loops = heads.parse_head(source, parts.head) if parts.head else ()
    body = bodies.parse_body(source, source.text.count("\n", 0, first.end) + 2, transform)
    parsed = Cell(source, loops, body, parts)
    names.refuse_early_reads(source, body, [name for loop in loops for name in loop.names])
    _refuse_combinations(parsed)
    return parsed


@not_too_deep()
def parse_expression(line: str, known_names: Container[str] = ()) -> Cell:
    """Reads the expression form: a comprehension, with options before or after it. Raises CellError."""
    source = Source(f"{LINE_MAGIC}{line}")
    parts = split(source, len(LINE_MAGIC), logical_line(source, len(LINE_MAGIC)), known_names)
    if parts.target is not None:
        raise source.refuse(0, "`->` has no place in an expression", "Write `NAME = %distribute […]`.")
    if "setup" in parts.options:
        raise source.refuse(0, "--setup stands on a cell", "Write %%distribute --setup, and the code below it.")
    span = parts.head
    tree = source.parse(span.start, span.end) if span else None
    if isinstance(tree, ast.DictComp):
        pair = ast.copy_location(ast.Tuple([tree.key, tree.value], ast.Load()), tree.key)
        return _comprehension(source, tree.generators, pair, parts, "dict")
    if isinstance(tree, ast.ListComp):
        return _comprehension(source, tree.generators, tree.elt, parts, "list")
    if isinstance(tree, ast.SetComp):
        return _comprehension(source, tree.generators, tree.elt, parts, "set")
    if isinstance(tree, ast.GeneratorExp):
        return _comprehension(source, tree.generators, tree.elt, parts, "generator")
    where = span.start if span else 0
    raise source.refuse(where, "this is no comprehension", "Write `xs = %distribute [f(x) for x in xs]`.")


def _comprehension(
    source: Source, generators: list[ast.comprehension], element: ast.expr, parts: Parts, container: Container_
) -> Cell:
    heads.refuse_awaits(source, element)
    parsed = Cell(source, heads.loops_of(source, generators), Body((), element), parts, container)
    _refuse_combinations(parsed)
    return parsed


def _refuse_combinations(cell: Cell) -> None:
    """Raises CellError for options, head and target that do not go together."""
    source, parts = cell.source, cell.parts
    if cell.target is not None and cell.body.value is None:
        last = cell.body.statements[-1]
        what = f"there is no value for `-> {cell.target}`: the last line is no expression"
        raise source.refuse(last, what, "Let the last line be the value of an item.")
    if parts.options.keys() & {"keep-if", "stop-when", "reduce"} and cell.body.value is None:
        raise source.refuse(cell.body.statements[-1], "the last line is no expression", "Let it be an item's value.")
    if not cell.loops:
        for option in ("reduce", "keep-if", "stop-when", "task-size", "try", "plot", "resume", "to"):
            if option in parts.options:
                todo = "Write a head: %%distribute n in range(100)"
                raise source.refuse(0, f"--{option} needs items, and there is no head", todo)
    elif cell.each:
        raise source.refuse(0, "--each runs the cell once on each, without items", "Leave out the head, or --each.")
    if "stats" in parts.options and "to" not in parts.options:
        raise source.refuse(
            0, "--stats goes with --to", "Write --to FILE.csv --stats; nbdist.last_job.stats has them too."
        )
    for first, second, why in (
        ("reduce", "stop-when", "The result of --stop-when is the value that met it."),
        ("background", "try", "A rehearsal is over at once."),
        ("resume", "try", "A rehearsal begins anew."),
        ("reduce", "plot", "A fold has one value only."),
        ("reduce", "to", "A fold has one value only."),
        ("stop-when", "to", "The result of --stop-when is one value only."),
        ("plot", "to", "The values are in the file, not here: draw them from its .frame()."),
    ):
        error = refuse_together(source, parts, first, second, why)
        if error is not None:
            raise error
