"""The body of a cell: a loop body, checked against the rules of code that runs once for each item somewhere else."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nbdist.errors import CellError
from nbdist.notebook.text import Source, syntax_tree


@dataclass(frozen=True)
class Body:
    """A checked loop body."""

    statements: tuple[ast.stmt, ...]
    """Without the last one, if that is the value."""
    value: ast.expr | None
    """The last expression statement."""
    quiet: bool = False
    """It ends with a semicolon: its results are not displayed."""

    @property
    def all_statements(self) -> list[ast.stmt]:
        """The statements, and the value as one."""
        return [*self.statements, *([ast.copy_location(ast.Expr(self.value), self.value)] if self.value else [])]


def parse_body(source: Source, first_line: int, transform: Callable[[str], str]) -> Body:
    """Parses the lines of a cell from `first_line` (from 1) on.

    `transform` is IPython's `transform_cell`; it is only asked when the text is no Python as it stands (it is
    indented as a whole, or has `!` or `%` lines, which are then refused). Raises CellError.
    """
    tree, text = parse_lines(source, first_line, transform)
    if not tree.body:
        raise source.refuse((1, 0), "the cell has no body", "Write below the first line what is done with each item.")
    statements, value = tree.body, None
    last = statements[-1]
    if isinstance(last, ast.Expr):
        statements, value = statements[:-1], last.value
    Refusals(source).check(tree.body)
    return Body(tuple(statements), value, _ends_with_semicolon(text))


def parse_lines(source: Source, first_line: int, transform: Callable[[str], str]) -> tuple[ast.Module, str]:
    """The tree of the lines from `first_line` on, at its true positions, and its text. Raises CellError."""
    lines = source.text.split("\n")
    text = "\n".join(lines[first_line - 1 :])
    ahead = "\n" * (first_line - 1)
    try:
        tree = syntax_tree(ahead + text)
    except SyntaxError:
        text = transform(text)
        try:
            tree = syntax_tree(ahead + text)
        except SyntaxError as error:
            raise no_python(source, error, first_line) from None
    assert isinstance(tree, ast.Module)
    return tree, text


def no_python(source: Source, error: SyntaxError, first_line: int) -> CellError:
    """The error for text that Python refuses."""
    place = (error.lineno or first_line, max(0, (error.offset or 1) - 1))
    return source.refuse(place, f"this does not parse: {error.msg}", "Write it as in Python.")


def _ends_with_semicolon(text: str) -> bool:
    skipped = (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT, tokenize.ENDMARKER, tokenize.INDENT, tokenize.DEDENT)
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    try:
        significant = [token.string for token in tokens if token.type not in skipped]
    except (tokenize.TokenError, SyntaxError):
        return False
    return bool(significant) and significant[-1] == ";"


class Refusals(ast.NodeVisitor):
    """Raises CellError for what a loop body cannot do when each of its turns runs on its own."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._inner_loops = 0

    def check(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            self.visit(statement)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for part in (*node.decorator_list, node.args):
            self.visit(part)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.visit(node.args)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in (*node.decorator_list, *node.bases):
            self.visit(part)

    def visit_For(self, node: ast.For | ast.While) -> None:
        self.visit(node.iter if isinstance(node, ast.For) else node.test)
        self._inner_loops += 1
        self.check(node.body)
        self._inner_loops -= 1
        self.check(node.orelse)

    visit_While = visit_For

    def visit_Break(self, node: ast.Break) -> None:
        if not self._inner_loops:
            todo = "End the job at the first value that meets a condition: --stop-when CONDITION (`_` is the value)."
            raise self._source.refuse(node, "`break` cannot end a loop whose turns run on many machines", todo)

    def visit_Return(self, node: ast.Return) -> None:
        todo = "Let the last line be the value; `continue` leaves an item without one."
        raise self._source.refuse(node, "`return` stands outside a function", todo)

    def visit_Yield(self, node: ast.Yield | ast.YieldFrom) -> None:
        todo = "Let the last line be the value: a list, say, if an item has several."
        raise self._source.refuse(node, "`yield` cannot stand in the body of a cell", todo)

    visit_YieldFrom = visit_Yield

    def visit_Await(self, node: ast.Await) -> None:
        self._refuse_async(node, "await")

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._refuse_async(node, "async for")

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._refuse_async(node, "async with")

    def _refuse_async(self, node: ast.AST, word: str) -> None:
        todo = "Write an `async def` in the body and call it with `asyncio.run(…)`."
        raise self._source.refuse(node, f"`{word}` cannot stand in the body: no event loop runs there", todo)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        todo = "Let the last line be the value and bind all of them with `-> NAME`, or fold them with --reduce."
        raise self._source.refuse(node, f"a worker cannot assign the notebook's `{node.names[0]}`", todo)

    visit_Nonlocal = visit_Global

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if any(alias.name == "*" for alias in node.names):
            raise self._source.refuse(node, "`import *` cannot stand in the body", "Import the names that you need.")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and node.func.id == "get_ipython":
            shown = self._source.line(node.lineno).strip()
            if "!" in shown and not shown.startswith("%"):
                what, todo = "`!` runs a shell of the notebook", "Write `subprocess.run([…], capture_output=True)`."
            elif "get_ipython" in shown:
                what, todo = "workers have no IPython", "Call it in a cell of its own."
            else:
                what, todo = "magics run in the notebook only", "Put this line into a cell of its own."
            raise self._source.refuse(node, what, todo)
        self.generic_visit(node)
