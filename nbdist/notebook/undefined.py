"""Names that a cell is certain to read and that nobody has defined: told before anything runs.

Only what is read whenever the body runs counts: what stands behind a condition, in `try`, in a loop or in a function
may never be read.
"""

from __future__ import annotations

import ast
import builtins
import dis
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from nbdist.client.analysis.names import functions_in, inner_codes
from nbdist.notebook.body import Body
from nbdist.notebook.text import Source

_FIRST_ONLY: dict[type[ast.AST], tuple[str, ...]] = {
    ast.If: ("test",),
    ast.IfExp: ("test",),
    ast.While: ("test",),
    ast.Assert: ("test",),
    ast.For: ("iter",),
    ast.Match: ("subject",),
    ast.With: ("items",),
    ast.FunctionDef: ("decorator_list",),
    ast.AsyncFunctionDef: ("decorator_list",),
    ast.ClassDef: ("decorator_list", "bases"),
    ast.AnnAssign: ("value",),
    ast.Lambda: (),
    ast.Try: (),
    ast.TryStar: (),
    ast.Global: (),
}
"""What of these is evaluated in any case."""
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def refuse_undefined(
    source: Source, body: Body, function: Any, captured: AbstractSet[str], namespace: Mapping[str, Any]
) -> None:
    """Raises CellError for the first name among `captured` that the body of the cell's function must read in vain."""
    missing = {name for name in captured if name not in namespace and not hasattr(builtins, name)}
    if not missing:
        return
    missing -= _made_by_functions(function)
    for node in _certain_names(list(body.all_statements)):
        if node.id in missing and not node.id.startswith("__"):
            what = f"`{node.id}` is not defined in this notebook, or not yet"
            raise source.refuse(node, what, "Run the cell that defines it first, or import it in this one.")


def _made_by_functions(function: Any) -> set[str]:
    """The globals that the function, or one that it calls, may bind while it runs."""
    return {
        instruction.argval
        for each in functions_in(function)
        for code in (each.__code__, *inner_codes(each.__code__))
        for instruction in dis.get_instructions(code)
        if instruction.opname in ("STORE_GLOBAL", "STORE_NAME")
    }


def _certain_names(statements: Sequence[ast.stmt]) -> Iterator[ast.Name]:
    """The names that these statements read in any case, in order."""
    for statement in statements:
        yield from _names(statement)
        if _may_leave(statement):
            return


def _may_leave(node: ast.AST) -> bool:
    """Whether what follows may not run."""
    if isinstance(node, ast.Continue | ast.Return | ast.Raise):
        return True
    return not isinstance(node, _INNER) and any(map(_may_leave, ast.iter_child_nodes(node)))


def _names(node: ast.AST) -> Iterator[ast.Name]:
    if isinstance(node, ast.Name):
        if isinstance(node.ctx, ast.Load):
            yield node
        return
    for child in _evaluated(node):
        yield from _names(child)


def _evaluated(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of a node that are evaluated in any case."""
    if isinstance(node, ast.BoolOp):
        yield node.values[0]
    elif isinstance(node, ast.Compare):
        yield from (node.left, node.comparators[0])
    elif isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        yield node.generators[0].iter
    elif type(node) in _FIRST_ONLY:
        for field in _FIRST_ONLY[type(node)]:
            found = getattr(node, field)
            yield from found if isinstance(found, list) else [found] if found is not None else []
    else:
        yield from ast.iter_child_nodes(node)
