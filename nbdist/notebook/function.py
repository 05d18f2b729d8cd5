"""Makes the function that runs one item: the head's `if`s, the body, `--keep-if` and `--stop-when` in one.

    def cell(ITEM):
        TARGET = ITEM
        if not CONDITION: return SKIP          the head's ifs
        …                                      the body; `continue` is `return SKIP`
        value = LAST EXPRESSION
        if not KEEP_IF: return SKIP
        if STOP_WHEN: return StopHere(value)
        return value

Its globals are the notebook's names, so that what it captures is what the notebook holds when the job starts. `SKIP`
and `StopHere` are variables of an enclosing function: no name of the notebook is hidden by them.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from nbdist.execution.task import SKIP, StopHere
from nbdist.notebook.body import Body
from nbdist.notebook.names import make_function
from nbdist.packing import remember_tree, rename_code

_ITEM = "__nbdist_item__"
_VALUE = "__nbdist_value__"
_SKIP = "__nbdist_skip__"
_STOP = "__nbdist_stop__"
CELL = "__nbdist_cell__"


@dataclass(frozen=True)
class Rules:
    """What runs for each item besides the body."""

    target: ast.expr | None = None
    """What the item is assigned to; None: the function takes no item."""
    conditions: Sequence[ast.expr] = ()
    keep_if: ast.expr | None = None
    stop_when: ast.expr | None = None


def define(rules: Rules, body: Body) -> ast.FunctionDef:
    """The function as a tree."""
    parameters, opening = _opening(rules)
    statements = [
        *opening,
        *(_skip_unless(condition) for condition in rules.conditions),
        *(_Continues().visit(statement) for statement in body.statements),
        *_ending(rules, body.value),
    ]
    return make_function(CELL, parameters, statements)


def compile_function(
    definition: ast.FunctionDef, namespace: dict[str, Any], filename: str, name: str = "cell"
) -> Callable[..., Any]:
    """Compiles the definition over the notebook's names; tracebacks show the lines of `filename`, in `name`."""
    maker = make_function("__nbdist_make__", [_SKIP, _STOP], [definition, ast.Return(ast.Name(CELL, ast.Load()))])
    code = compile(ast.Module([maker], []), filename, "exec", dont_inherit=True)
    made: dict[str, Any] = {}
    exec(code, namespace, made)
    function = made["__nbdist_make__"](SKIP, StopHere)
    assert isinstance(function, FunctionType)
    _rename(function, name)
    # Under the name that it has now: the cell's text does not have this function, so it goes elsewhere as this tree.
    remember_tree(function.__code__, _renamed(definition, name))
    return function


def _rename(function: FunctionType, name: str) -> None:
    """Gives it the name that tracebacks show; in the tree it has one that no body uses."""
    code: CodeType = function.__code__
    function.__code__ = rename_code(code, code.co_qualname, name).replace(co_name=name)
    function.__name__ = function.__qualname__ = name
    function.__module__ = "__main__"


def _renamed(definition: ast.FunctionDef, name: str) -> ast.FunctionDef:
    fields = {field: getattr(definition, field) for field in definition._fields if hasattr(definition, field)}
    return ast.copy_location(ast.FunctionDef(**fields | {"name": name}), definition)


def _opening(rules: Rules) -> tuple[list[str], list[ast.stmt]]:
    """The function's parameters, and the statements that unpack the item."""
    if rules.target is None:
        return [], []
    if isinstance(rules.target, ast.Name):
        return [rules.target.id], []
    assign = ast.Assign([rules.target], ast.Name(_ITEM, ast.Load()))
    return [_ITEM], [_at(rules.target, assign)]


def _skip_unless(condition: ast.expr) -> ast.stmt:
    test = ast.copy_location(ast.UnaryOp(ast.Not(), condition), condition)
    return _at(condition, ast.If(test, [_at(condition, _return_skip())], []))


def _ending(rules: Rules, value: ast.expr | None) -> list[ast.stmt]:
    result = value or ast.Constant(None)
    if rules.keep_if is None and rules.stop_when is None:
        return [_at(result, ast.Return(result))] if value else []
    ending = [_at(result, ast.Assign([ast.Name(_VALUE, ast.Store())], result))]
    if rules.keep_if is not None:
        ending.append(_skip_unless(_with_value(rules.keep_if)))
    if rules.stop_when is not None:
        test = _with_value(rules.stop_when)
        stop = ast.Call(ast.Name(_STOP, ast.Load()), [ast.Name(_VALUE, ast.Load())], [])
        ending.append(_at(test, ast.If(test, [_at(test, ast.Return(stop))], [])))
    return [*ending, _at(result, ast.Return(ast.Name(_VALUE, ast.Load())))]


def _with_value(expression: ast.expr) -> ast.expr:
    """The expression with `_` read as the value.

    A body's own `_` (a loop variable that nobody reads, as a rule) must not be hidden, and the notebook's `_` must
    stay readable in the body: so the value has a name of its own.
    """
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and node.id == "_":
            node.id = _VALUE
    return expression


def _return_skip() -> ast.stmt:
    return ast.Return(ast.Name(_SKIP, ast.Load()))


def _at(place: ast.AST, statement: ast.stmt) -> ast.stmt:
    """The statement, and all in it that has no place yet, located at another node."""
    ast.copy_location(statement, place)
    for node in ast.walk(statement):
        if "lineno" in node._attributes and not hasattr(node, "lineno"):
            ast.copy_location(node, place)
    return statement


class _Continues(ast.NodeTransformer):
    """Makes each `continue` of the distributed loop a `return SKIP`, and leaves those of inner loops alone."""

    def visit_Continue(self, node: ast.Continue) -> ast.stmt:
        return _at(node, _return_skip())

    def visit_For(self, node: ast.For | ast.While) -> ast.AST:
        node.orelse = [self.visit(statement) for statement in node.orelse]
        return node

    visit_While = visit_For

    def _leave(self, node: ast.AST) -> ast.AST:
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Lambda = _leave
