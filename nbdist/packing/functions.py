"""Functions in a form that every version of Python reads: their code as a recipe, and the values that they captured."""

from __future__ import annotations

import builtins
import contextlib
import dis
import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Collection, Iterator
from functools import lru_cache
from types import CellType, CodeType, FunctionType
from typing import Any, TypeAlias

from cloudpickle.cloudpickle import _find_imported_submodules

from nbdist.packing.mentions import mentioned_names

Reduced: TypeAlias = tuple[Any, ...]
"""What `__reduce__` gives: function, arguments, state, None, None, function that sets the state."""

_GLOBAL_OPS = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_MODULE_NAMES = ("__package__", "__name__", "__path__", "__file__")
_ATTRIBUTES = ("__name__", "__qualname__", "__kwdefaults__", "__defaults__", "__module__", "__doc__")
MAX_CODES = 4096
"""The global names of so many codes are kept."""


# --- functions --------------------------------------------------------------------------------------------------------


def reduce_function(function: FunctionType, bases: dict[int, dict[str, Any]], hidden: Collection[str] = ()) -> Reduced:
    """A function by value, without the global names that are `hidden`.

    `bases`: id of the globals -> what stands for them, so that they are shared there too.
    """
    code, names = function.__code__, function.__globals__
    base = bases.get(id(names))
    if base is None:
        base = bases[id(names)] = {name: names[name] for name in _MODULE_NAMES if name in names}
    used = {name: names[name] for name in global_names(code) if name in names and name not in hidden}
    closure = function.__closure__ or ()
    state = {
        "attributes": {name: getattr(function, name) for name in _ATTRIBUTES},
        "annotations": annotations_of(function),
        "dict": dict(function.__dict__),
        "globals": used,
        "submodules": _find_imported_submodules(code, [*used.values(), *_contents(closure)]),
    }
    return make_function, (code, base, code.co_freevars, closure), state, None, None, set_function


def make_function(
    code: CodeType, names: dict[str, Any], free: tuple[str, ...], closure: tuple[CellType, ...]
) -> FunctionType:
    """A function without what `set_function` gives it. `closure` has the cells of `free`, in that order."""
    names["__builtins__"] = builtins
    cells = dict(zip(free, closure, strict=True))
    return FunctionType(code, names, None, None, tuple(cells[name] for name in code.co_freevars))


def set_function(function: FunctionType, state: dict[str, Any]) -> None:
    """The second half of `make_function`: what may refer to the function itself."""
    function.__globals__.update(state["globals"])
    for name, value in state["attributes"].items():
        setattr(function, name, value)
    function.__annotations__ = state["annotations"]
    function.__dict__.update(state["dict"])


def reduce_cell(cell: CellType) -> Reduced:
    """A variable that functions share, which they then share there too."""
    contents = _contents((cell,))
    return (CellType, (), tuple(contents), None, None, set_cell) if contents else (CellType, ())


def set_cell(cell: CellType, contents: tuple[Any, ...]) -> None:
    """The second half of a cell."""
    (cell.cell_contents,) = contents


def _contents(cells: tuple[CellType, ...]) -> list[Any]:
    found = []
    for cell in cells:
        try:
            found.append(cell.cell_contents)
        except ValueError:
            continue  # empty
    return found


def annotations_of(annotated: Any) -> dict[str, Any]:
    """The annotations of a function, or a class's own; as text where they cannot be evaluated (yet)."""
    try:
        return dict(inspect.get_annotations(annotated))
    except Exception:
        if sys.version_info < (3, 14):
            raise
        library = importlib.import_module("annotationlib")
        return dict(library.get_annotations(annotated, format=library.Format.STRING))


@lru_cache(MAX_CODES)
def global_names(code: CodeType) -> tuple[str, ...]:
    """The names that code, and the code inside it, looks up in its globals."""
    return tuple(dict.fromkeys([*_global_names(code), *sorted(mentioned_names(code))]))


def _global_names(code: CodeType) -> Iterator[str]:
    for each in dis.get_instructions(code):
        if each.opname in _GLOBAL_OPS:
            yield each.argval
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _global_names(inner)


# --- what decorators of the standard library make ---------------------------------------------------------------------


def reduce_decorated(function: FunctionType) -> Reduced | None:
    """What a decorator of the standard library made of a function: it is applied again there. None: it was none."""
    for decorator, code in _decorators():
        if function.__code__ is code:
            inner = function.__wrapped__  # type: ignore[attr-defined]
            if decorator is functools.singledispatch:
                return decorator, (inner,), dict(function.registry), None, None, set_registry  # type: ignore[attr-defined]
            return decorator, (inner,)
    return None


def _unused() -> Iterator[None]:
    yield


@lru_cache(1)
def _decorators() -> list[tuple[Callable[..., Any], CodeType]]:
    """Decorators, each with the code of what it makes."""
    known: list[Callable[..., Any]] = [
        contextlib.contextmanager,
        contextlib.asynccontextmanager,
        functools.singledispatch,
    ]
    return [(decorator, decorator(_unused).__code__) for decorator in known]


def set_registry(function: Any, registry: dict[type, Any]) -> None:
    """The implementations of a single-dispatch function."""
    for kind, implementation in registry.items():
        if kind is not object:
            function.register(kind, implementation)


def reduce_cached(cached: Any) -> Reduced:
    """A function with `functools.lru_cache`: it begins with an empty cache there."""
    parameters = cached.cache_parameters()
    return make_cached, (cached.__wrapped__, parameters["maxsize"], parameters["typed"])


def make_cached(function: Callable[..., Any], maxsize: int | None, typed: bool) -> Any:
    return lru_cache(maxsize, typed)(function)


def reduce_cached_property(cached: functools.cached_property[Any]) -> Reduced:
    return make_cached_property, (cached.func, cached.attrname, cached.__doc__)


def make_cached_property(function: Callable[[Any], Any], name: str | None, doc: str | None) -> Any:
    made = functools.cached_property(function)
    made.attrname, made.__doc__ = name, doc
    return made


def reduce_method_dispatcher(dispatcher: functools.singledispatchmethod[Any]) -> Reduced:
    return make_method_dispatcher, (dispatcher.func, dispatcher.dispatcher)


def make_method_dispatcher(function: Callable[..., Any], dispatcher: Any) -> Any:
    made = functools.singledispatchmethod(function)
    made.dispatcher = dispatcher
    return made
