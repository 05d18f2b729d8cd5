"""The head of a cell: what follows `for` in a comprehension, and the items that it stands for.

The iterables are evaluated in the notebook; the `if`s run where the body runs, except those that guard an iterable
of a later `for` which depends on the loops before it.
"""

from __future__ import annotations

import ast
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, MappingView, Sequence, Set
from dataclasses import dataclass
from typing import Any

from nbdist.client.analysis.identity import Made
from nbdist.errors import CellError
from nbdist.notebook.options import Span
from nbdist.notebook.text import Source, not_too_deep
from nbdist.packing import remember_tree

MAX_ITEMS = 2**63 - 1
"""More items than that cannot be numbered on the wire."""
MAX_NUMBER = 2**62
"""Ranges of larger numbers travel item by item."""

_FIRST = "__nbdist_first__"
_LEADING_FOR = re.compile(r"for(?![\w=])\s*")


@dataclass(frozen=True)
class Loop:
    """One `for TARGET in ITERABLE if CONDITION…` of a head."""

    target: ast.expr
    iterable: ast.expr
    conditions: tuple[ast.expr, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names that the loop binds, from left to right."""
        return tuple(node.id for node in ast.walk(self.target) if isinstance(node, ast.Name))


@dataclass(frozen=True)
class Items:
    """What a head stands for: ranges as numbers, or any iterable, with its length where that is known."""

    ranges: tuple[range, ...] = ()
    iterable: Iterable[Any] | None = None
    total: int | None = None
    source: Any = None
    """What they come from, as `analysis.identity.items_key` takes it."""


def parse_head(source: Source, span: Span) -> tuple[Loop, ...]:
    """The loops of a head. Raises CellError."""
    start, end = span.start, span.end
    leading = _LEADING_FOR.match(source.text, start, end)
    if leading:
        start = leading.end()
    if source.text[start:end].endswith(":"):  # a `for` line that was made a head
        end = start + len(source.text[start : end - 1].rstrip())
    if not re.search(r"\bin\b", source.text[start:end]):
        raise source.refuse(start, "this is no head", "Write what follows `for`: n in range(100)")
    tree = source.parse(start, end, before="[0 for ", after="]")
    if not isinstance(tree, ast.ListComp):
        raise source.refuse(start, "this is no head", "Write what follows `for`: n in range(100)")
    return loops_of(source, tree.generators)


def loops_of(source: Source, generators: Sequence[ast.comprehension]) -> tuple[Loop, ...]:
    """The loops of a comprehension. Raises CellError for what cannot be distributed."""
    for generator in generators:
        if generator.is_async:
            raise source.refuse(generator.target, "`async for` cannot be distributed", "Make a list of it first.")
        for node in ast.walk(generator.target):
            if isinstance(node, (ast.Attribute, ast.Subscript)):
                raise source.refuse(node, "a loop variable must be a plain name", "Assign it in the body.")
        for part in (generator.iter, *generator.ifs):
            refuse_awaits(source, part)
    return tuple(Loop(each.target, each.iter, tuple(each.ifs)) for each in generators)


def refuse_awaits(source: Source, part: ast.AST) -> None:
    """Raises CellError when an expression awaits or yields."""
    for node in ast.walk(part):
        if isinstance(node, (ast.Await, ast.Yield, ast.YieldFrom)):
            word = "await" if isinstance(node, ast.Await) else "yield"
            raise source.refuse(node, f"`{word}` cannot stand here", "Compute it in a cell before this one.")


def conditions_here(loops: Sequence[Loop]) -> int:
    """How many of the loops have their `if`s evaluated in the notebook: those before the last dependent iterable."""
    return max((i for i in range(1, len(loops)) if _depends(loops[i], loops[:i])), default=0)


def conditions_there(loops: Sequence[Loop]) -> list[ast.expr]:
    """The `if`s that run on the workers, in order."""
    return list(itertools.chain.from_iterable(loop.conditions for loop in loops[conditions_here(loops) :]))


def target_of(loops: Sequence[Loop]) -> ast.expr:
    """What an item is assigned to: the target itself, or a tuple of the targets of several loops."""
    if len(loops) == 1:
        return loops[0].target
    return ast.copy_location(ast.Tuple([loop.target for loop in loops], ast.Store()), loops[0].target)


def evaluate(source: Source, loops: Sequence[Loop], namespace: dict[str, Any], filename: str) -> Items:
    """Evaluates a head's iterables in the notebook's names: the items.

    Raises CellError when something is no iterable, and whatever the expressions themselves raise.
    """
    first = _evaluate(loops[0].iterable, namespace, filename)
    _refuse_no_iterable(source, loops[0].iterable, first)
    factors = _factors(loops, first, namespace, filename)
    ranges = tuple(factor for factor in factors if isinstance(factor, range))
    if len(ranges) == len(loops):
        total = _count(source, loops[0].iterable, ranges)
        if all(map(_travels_as_numbers, ranges)):
            return Items(ranges=ranges, total=total, source=ranges)
    if len(loops) == 1:
        length = _length(first)
        return Items(iterable=iter(first) if length is None else first, total=length, source=first)
    sizes = [size for size in map(_length, factors) if size is not None]
    known = math.prod(sizes) if len(sizes) == len(loops) else None
    tuples = _tuples(loops, namespace, filename)
    return Items(iterable=tuples(first), total=known, source=Made(tuples, first))


def _travels_as_numbers(each: range) -> bool:
    return max(abs(each.start), abs(each.stop), abs(each.step)) < MAX_NUMBER


def _length(iterable: Any) -> int | None:
    """How many elements a loop over it has, where `len` says so: of a data frame, it does not."""
    if isinstance(iterable, range):
        return range_length(iterable)
    is_array = type(iterable).__module__ == "numpy" or getattr(iterable, "ndim", None) == 1
    if isinstance(iterable, (Sequence, Set, Mapping, MappingView)) or (is_array and hasattr(iterable, "__len__")):
        return len(iterable)
    return None


def _factors(loops: Sequence[Loop], first: Any, namespace: dict[str, Any], filename: str) -> list[Any]:
    """The iterables of a product as far as they can be looked at without an effect; shorter when one cannot."""
    factors = [first]
    for number, loop in enumerate(loops[1:], start=1):
        if _depends(loop, loops[:number]) or not _is_harmless(loop.iterable):
            break
        factors.append(_evaluate(loop.iterable, namespace, filename))
    return factors


def _depends(loop: Loop, before: Sequence[Loop]) -> bool:
    bound = set(itertools.chain.from_iterable(each.names for each in before))
    return any(isinstance(node, ast.Name) and node.id in bound for node in ast.walk(loop.iterable))


def _is_harmless(node: ast.expr) -> bool:
    """Whether evaluating it a second time changes nothing: a name, or `range` of names, numbers and sums."""
    if isinstance(node, ast.Call):
        is_range = isinstance(node.func, ast.Name) and node.func.id == "range"
        return is_range and not node.keywords and all(map(_is_harmless, node.args))
    if isinstance(node, ast.BinOp):
        return _is_harmless(node.left) and _is_harmless(node.right)
    if isinstance(node, (ast.Tuple, ast.List)):
        return all(map(_is_harmless, node.elts))
    return isinstance(node, (ast.Name, ast.Constant))


def _tuples(loops: Sequence[Loop], namespace: dict[str, Any], filename: str) -> Any:
    """A function that makes, of the first iterable, an iterator of tuples with an element for each loop."""
    here = conditions_here(loops)
    generators = [
        ast.comprehension(
            target=loop.target,
            iter=ast.Name(_FIRST, ast.Load()) if number == 0 else loop.iterable,
            ifs=list(loop.conditions) if number < here else [],
            is_async=0,
        )
        for number, loop in enumerate(loops)
    ]
    item = ast.Tuple([_as_value(loop.target) for loop in loops], ast.Load())
    arguments = ast.arguments(posonlyargs=[], args=[ast.arg(_FIRST)], kwonlyargs=[], kw_defaults=[], defaults=[])
    function = ast.Lambda(arguments, ast.GeneratorExp(item, generators))
    return _evaluate(ast.copy_location(function, loops[0].target), namespace, filename)


def _as_value(target: ast.expr) -> ast.expr:
    """An expression that gives back what was unpacked into a target."""
    if isinstance(target, (ast.Tuple, ast.List)):
        return ast.Tuple([_as_value(element) for element in target.elts], ast.Load())
    if isinstance(target, ast.Starred):
        return ast.Starred(_as_value(target.value), ast.Load())
    assert isinstance(target, ast.Name)
    return ast.Name(target.id, ast.Load())


def _evaluate(node: ast.expr, namespace: dict[str, Any], filename: str) -> Any:
    with not_too_deep():
        code = compile(ast.fix_missing_locations(ast.Expression(node)), filename, "eval", dont_inherit=True)
        remember_tree(code, node)
    return eval(code, namespace)


def _count(source: Source, where: ast.expr, ranges: Sequence[range]) -> int:
    count = math.prod(range_length(each) for each in ranges)
    if count > MAX_ITEMS:
        raise source.refuse(where, f"{count:,} items are more than can be numbered", "Let an item do more.")
    return count


def range_length(each: range) -> int:
    """The length of a range of any size; `len` fails above `sys.maxsize`."""
    return max(0, (each.stop - each.start + each.step - (1 if each.step > 0 else -1)) // each.step)


def _refuse_no_iterable(source: Source, where: ast.expr, value: Any) -> None:
    if isinstance(value, (Iterable, Iterator)) or hasattr(type(value), "__getitem__"):
        return
    raise _no_iterable(source, where, value)


def _no_iterable(source: Source, where: ast.expr, value: Any) -> CellError:
    kind = type(value).__name__
    with not_too_deep():
        text = ast.unparse(where)
    if isinstance(value, int):
        return source.refuse(where, f"`{text}` is a number, not something to loop over", f"Write `range({text})`.")
    if hasattr(type(value), "__aiter__"):
        return source.refuse(where, f"`{text}` ({kind}) needs `async for`", "Make a list of it first.")
    return source.refuse(where, f"`{text}` is of type {kind}, not something to loop over", "Give it a list, say.")
