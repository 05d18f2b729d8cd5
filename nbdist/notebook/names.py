"""The names of a cell's body: its own, those it takes from the notebook, and what it must not do with them."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from types import ModuleType
from typing import Any

from nbdist.errors import CellError
from nbdist.notebook.body import Body
from nbdist.notebook.text import Source

_MUTATORS = frozenset(
    [
        "add",
        "append",
        "appendleft",
        "clear",
        "difference_update",
        "discard",
        "extend",
        "extendleft",
        "insert",
        "intersection_update",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "reverse",
        "rotate",
        "setdefault",
        "sort",
        "symmetric_difference_update",
        "update",
    ]
)
_CONTAINERS = (MutableSequence, MutableMapping, MutableSet)
_REDUCERS = {ast.Add: "sum", ast.Mult: "operator.mul", ast.BitOr: "operator.or_", ast.BitAnd: "operator.and_"}


def refuse_early_reads(source: Source, body: Body, bound: Sequence[str]) -> None:
    """Raises CellError when a name of the body's own is read before it can have a value, as in `total += x`.

    `bound`: the names that the head binds.
    """
    reads = _Reads(set(bound))
    for statement in body.all_statements:
        reads.visit(statement)
    for name, node in reads.early:
        if name in reads.own:
            raise _early_read(source, name, node)


def _early_read(source: Source, name: str, node: ast.AST) -> CellError:
    if isinstance(node, ast.AugAssign):
        reducer = _REDUCERS.get(type(node.op), "F")
        what = f"the notebook's `{name}` cannot grow here: each item runs on its own, somewhere"
        value = ast.unparse(node.value)
        return source.refuse(node, what, f"Let `{value}` be the last line, and write --reduce {reducer} -> {name}.")
    what = f"`{name}` is read before this cell gives it a value: it does not keep one from item to item"
    return source.refuse(node, what, "Use another name for what is assigned, or fold values with --reduce.")


def read_first(statements: Sequence[ast.stmt]) -> set[str]:
    """The names that these statements read where they cannot have bound them yet, not counting inner functions."""
    reads = _Reads(set())
    for statement in statements:
        reads.visit(statement)
    return {name for name, _ in reads.early}


def make_function(name: str, parameters: Sequence[str], statements: Sequence[ast.stmt]) -> ast.FunctionDef:
    """A function definition, as a tree: positional parameters and a body."""
    function = ast.parse("def f(): pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    function.name = name
    function.args.args = [ast.arg(parameter) for parameter in parameters]
    function.body = list(statements) or [ast.Pass()]
    return ast.fix_missing_locations(function)


def captured_names(function: ast.FunctionDef) -> set[str]:
    """The names that a function takes from the notebook (or from the builtins), nested functions included."""
    tables: list[symtable.SymbolTable] = [_function_table(function)]
    names: set[str] = set()
    while tables:
        table = tables.pop()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        tables += table.get_children()
    return names


def _function_table(function: ast.FunctionDef) -> symtable.Function:
    module = symtable.symtable(ast.unparse(function), "<cell>", "exec")
    return next(table for table in module.get_children() if isinstance(table, symtable.Function))


class _Reads(ast.NodeVisitor):
    """Walks in the order of execution and notes the names that are read where nothing can have bound them."""

    def __init__(self, bound: set[str]) -> None:
        self._bound = bound
        self.own: set[str] = set()
        """The names that the statements bind or delete anywhere: the function's own, as Python sees it."""
        self.early: list[tuple[str, ast.AST]] = []

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._bind(node.id)
            return
        if isinstance(node.ctx, ast.Del):
            self.own.add(node.id)
        if node.id not in self._bound:
            self.early.append((node.id, node))

    def _bind(self, *names: str) -> None:
        self._bound.update(names)
        self.own.update(names)

    def visit_Assign(self, node: ast.Assign) -> None:
        self._in_order(node.value, *node.targets)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._in_order(node.value, node.target if node.value else None)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._in_order(node.value, node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.visit(node.value)
        if not isinstance(node.target, ast.Name):
            self.visit(node.target)
            return
        self.own.add(node.target.id)
        if node.target.id not in self._bound:
            self.early.append((node.target.id, node))

    def visit_For(self, node: ast.For) -> None:
        self.visit(node.iter)
        self._expect(node.body)
        self._in_order(node.target, *node.body, *node.orelse)

    def visit_While(self, node: ast.While) -> None:
        self._expect(node.body)
        self._in_order(node.test, *node.body, *node.orelse)

    def visit_With(self, node: ast.With) -> None:
        self._in_order(*node.items, *node.body)

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        outside, own = set(self._bound), set(self.own)
        for generator in node.generators:
            self._in_order(generator.iter, generator.target, *generator.ifs)
        parts = (node.key, node.value) if isinstance(node, ast.DictComp) else (node.elt,)
        self._in_order(*parts)
        self._bound, self.own = outside, own
        self._bind(*_walrus_names(node))

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._in_order(*node.decorator_list, *node.args.defaults, *node.args.kw_defaults)
        self._bind(node.name)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._in_order(*node.args.defaults, *node.args.kw_defaults)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._in_order(*node.decorator_list, *node.bases)
        self._bind(node.name)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self._bind(*(alias.asname or alias.name.partition(".")[0] for alias in node.names))

    visit_ImportFrom = visit_Import

    def generic_visit(self, node: ast.AST) -> None:
        name = getattr(node, "name", None) or getattr(node, "rest", None)  # except … as, case patterns
        if isinstance(node, (ast.ExceptHandler, ast.pattern)) and isinstance(name, str):
            self._bind(name)
        super().generic_visit(node)

    def _in_order(self, *nodes: ast.AST | None) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def _expect(self, statements: Sequence[ast.stmt]) -> None:
        """What a loop's body assigns plainly may have a value from an earlier turn of that loop."""
        augmented = {id(node.target) for s in statements for node in ast.walk(s) if isinstance(node, ast.AugAssign)}
        for statement in statements:
            for node in ast.walk(statement):
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and id(node) not in augmented:
                    self._bound.add(node.id)


def _walrus_names(node: ast.AST) -> set[str]:
    walruses = (each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr))
    return {target.id for target in walruses if isinstance(target, ast.Name)}


def mutation_warnings(source: Source, body: Body, captured: set[str], namespace: Mapping[str, Any]) -> list[str]:
    """A warning for each captured container that the body changes: only the worker's copy changes."""
    warnings: dict[str, str] = {}
    for node in (node for statement in body.all_statements for node in ast.walk(statement)):
        name = _mutated(node, captured, namespace)
        if name is not None and name not in warnings:
            line: int = node.lineno  # type: ignore[attr-defined]
            warnings[name] = (
                f"line {line}: this changes a worker's copy of `{name}`; the notebook's stays as it is.\n"
                f"    {source.line(line).strip()}\n"
                "Let the last line be the value and bind all values with -> NAME."
            )
    return list(warnings.values())


def _mutated(node: ast.AST, captured: set[str], namespace: Mapping[str, Any]) -> str | None:
    """The captured container that this node changes, if it does."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _MUTATORS:
        name = _root(node.func.value)
        return name if name in captured and isinstance(namespace.get(name), _CONTAINERS) else None
    if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
        name = _root(node.value)
        known = name in captured and name in namespace
        return name if known and not isinstance(namespace[name or ""], ModuleType) else None
    return None


def _root(node: ast.expr) -> str | None:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
