"""A setup cell: from its text to a function that binds, where it runs, the names that later cells use.

Its statements stand in a function whose names are all global: so the cell means what it means in the notebook, and
travels as any function does.
"""

from __future__ import annotations

import ast
import symtable
from collections.abc import Callable, Container
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from nbdist.notebook import function as functions
from nbdist.notebook import names
from nbdist.notebook.body import Refusals, no_python, parse_lines
from nbdist.notebook.options import Parts, split
from nbdist.notebook.text import Source, logical_line, not_too_deep

CELL_MAGIC = "%%distribute "
TOGETHER = frozenset({"setup", "name"})
"""The options of such a cell."""


@dataclass(frozen=True)
class SetupCell:
    """A setup cell that has been read."""

    source: Source
    parts: Parts
    statements: tuple[ast.stmt, ...]
    defines: tuple[str, ...]
    """The names that it binds or deletes."""
    reads_first: frozenset[str]
    """Those that it reads before it binds them."""
    code: str
    """What it does: its text without comments and layout."""

    @property
    def name(self) -> str | None:
        """The name that the person gave it."""
        return self.parts.word("name", self.source.text)

    def function(self, namespace: dict[str, Any], filename: str) -> FunctionType:
        """Compiles it over the notebook's names."""
        declared: list[ast.stmt] = [ast.Global(list(self.defines))] if self.defines else []
        with not_too_deep():
            definition = names.make_function(functions.CELL, [], [*declared, *self.statements])
            made = functions.compile_function(definition, namespace, filename, "setup")
        assert isinstance(made, FunctionType)
        return made


def parse_setup(
    line: str, cell: str, transform: Callable[[str], str], known_names: Container[str] = ()
) -> SetupCell | None:
    """Reads a setup cell; None if it is another one. `line` and the others as of `cell.parse`. Raises CellError."""
    if "--setup" not in f"{line}\n{cell}":
        return None
    source = Source(f"{CELL_MAGIC}{line}\n{cell}")
    first = logical_line(source, len(CELL_MAGIC))
    parts = split(source, len(CELL_MAGIC), first, known_names)
    if "setup" not in parts.options:
        return None
    _refuse_parts(source, parts)
    first_line = source.text.count("\n", 0, first.end) + 2
    tree, _ = parse_lines(source, first_line, transform)
    if not tree.body:
        todo = "Write below the first line what each slot does once; `%distribute setup --clear` forgets all setups."
        raise source.refuse((1, 0), "the cell has no body", todo)
    with not_too_deep():
        _check(source, tree, first_line)
        code = ast.unparse(tree)
        defines = _bound(code)
        reads_first = names.read_first(tree.body) & set(defines)
        statements = tuple(_Inside().visit(statement) for statement in tree.body)
    return SetupCell(source, parts, statements, defines, frozenset(reads_first), code)


def _refuse_parts(source: Source, parts: Parts) -> None:
    """Raises CellError for what has no place on the first line of a setup cell."""
    if parts.head is not None:
        raise source.refuse(parts.head.start, "a setup cell has no items", "Leave out the head, or --setup.")
    if parts.target is not None:
        todo = "The names that the cell binds are those that later cells use."
        raise source.refuse(0, f"a setup cell has no value for `-> {parts.target}`", todo)
    other = sorted(parts.options.keys() - TOGETHER)
    if other:
        todo = "It takes --name; write the others at the cells that have items."
        raise source.refuse(0, f"--{other[0]} and --setup do not go together", todo)


def _check(source: Source, tree: ast.Module, first_line: int) -> None:
    """Raises CellError for what no cell may have, and for what cannot be done in a slot."""
    try:
        compile(tree, "<setup>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        found = error if isinstance(error, SyntaxError) else SyntaxError(str(error))
        raise no_python(source, found, first_line) from None
    _SetupRefusals(source).check(tree.body)


def _bound(code: str) -> tuple[str, ...]:
    """The names that code binds in its globals, in alphabetical order."""
    tables: list[symtable.SymbolTable] = [symtable.symtable(code, "<setup>", "exec")]
    found: set[str] = set()
    while tables:
        table = tables.pop()
        is_top = table.get_type() == "module"
        found |= {
            symbol.get_name()
            for symbol in table.get_symbols()
            if (symbol.is_assigned() or symbol.is_imported()) and (is_top or symbol.is_declared_global())
        }
        tables += table.get_children()
    return tuple(sorted(found))


class _SetupRefusals(Refusals):
    """Of what a distributed body must not have, what a setup must not have either."""

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        """All its names are global."""

    visit_Nonlocal = visit_Global


class _Inside(ast.NodeTransformer):
    """What would be no Python inside a function that declares all these names as global."""

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        if not isinstance(node.target, ast.Name):
            return node
        plain = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.copy_location(plain, node)

    def visit_Global(self, node: ast.Global) -> ast.stmt:
        return ast.copy_location(ast.Pass(), node)

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = _leave
