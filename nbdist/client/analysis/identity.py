"""Keys of jobs: two jobs with the same key give the same values, in whichever kernel and whenever they were made.

A key is a hash of what the job's functions do, of everything that they refer to, of the items and of those options that
change values. Code counts as it was compiled, but for where it stands: comments, blank lines, layout and the number of
the cell make no difference, and what a function does is known even if its file has changed since. Without a key: what
has no canonical form, one-shot iterators and generators of random numbers above all.
"""

from __future__ import annotations

import dis
import enum
import sys
import types
import weakref
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from nbdist.client.analysis import names, origins
from nbdist.client.analysis.canonical import Form, NoFormError
from nbdist.client.analysis.files import named_in
from nbdist.execution.task import SKIP, Task
from nbdist.packing import is_by_value, without_names

KEY_FORMAT = 1
"""Grows when the same job gets another key, or gives other values."""
MAX_ITEM_BYTES = 256 * 1024 * 1024
"""An array of more bytes has no key as items."""

_PYTHON = (KEY_FORMAT, sys.implementation.name, sys.version_info[:2], sys.flags.optimize)
_POSITIONS = frozenset({"__firstlineno__", "__dict__", "__weakref__", "__module__", "_abc_impl"})
"""Of a class, what is no part of what it does."""
_VIEWS: tuple[type, ...] = (type({}.keys()), type({}.values()), type({}.items()))
_AT_HAND: tuple[type[Iterable[Any]], ...] = (list, tuple, dict, set, frozenset, deque, *_VIEWS)
"""What has its elements in memory."""
_NAMELESS = {type(None): "None", type(...): "Ellipsis", type(NotImplemented): "NotImplemented"}
_SLOTS = (types.MemberDescriptorType, types.GetSetDescriptorType)


@dataclass(frozen=True)
class Made:
    """Items that a function makes of others when they are read: the tuples of nested loops."""

    function: Callable[[Any], Iterable[Any]]
    source: Any


def job_key(
    task: Task,
    items: Any,
    *,
    filters: bool = False,
    stop_when: bool = False,
    task_size: int | None = None,
    on_error: str = "stop",
    seed: int | None = None,
    files: bool = False,
    of_items: str | None = None,
) -> str | None:
    """The key of a job, or None. `items`: as `items_key` takes them, and `of_items` what that gave, if it is known; the
    others as `Pool.run_task` does."""
    of_items = of_items or items_key(items)
    if of_items is None:
        return None
    size = task_size if task.reduce is not None else None  # folds of floats depend on it
    options = (filters, stop_when, size, on_error, seed, *(("files",) if files else ()))
    set_up = {name for setup in task.setups for name in setup.defines}
    functions = (without_names(task.function, set_up), task.keep_if, task.stop_when, task.reduce)
    setups = tuple(setup.function for setup in task.setups)
    around = (setups, dict(task.env)) if setups or task.env else ()
    try:
        given = named_in(*functions, *setups)
    except OSError:
        return None  # to submit the job says what is missing
    around = (*around, given) if given else around
    return _hashed(lambda form: form.add_all("job", of_items, options, task.star, functions, *around))


def items_key(items: Any) -> str | None:
    """The key of items: a tuple of ranges (their product), `Made` ones, or any iterable; None if they have none.

    Nothing is taken from a one-shot iterator: it has no key.
    """
    return _hashed(lambda form: _add_items(form, items))


def _hashed(fill: Callable[[WholeForm], None]) -> str | None:
    form = WholeForm()
    try:
        form.add(_PYTHON)
        fill(form)
        form.finish()
        form.add(origins.describe(form.modules | origins.inside(form.modules, form.mentioned)))
    except Exception:  # noqa: BLE001 - what objects say of themselves for pickling is their own code, and raises anything
        return None
    return form.hexdigest()


def _add_items(form: Form, items: Any) -> None:
    if isinstance(items, Made):
        form.add_all("made", items.function)
        _add_items(form, items.source)
    elif isinstance(items, _AT_HAND):
        form.add_all("items", list(items))  # in their order: results come in it
    elif getattr(items, "nbytes", 0) > MAX_ITEM_BYTES:
        raise NoFormError
    else:
        form.add_all("iterable", items)


class WholeForm(Form):
    """A form for functions, classes and modules too: for what they do, not for their names."""

    def __init__(self, *, is_element: bool = False, depth: int = 0) -> None:
        super().__init__(is_element=is_element, depth=depth)
        self.modules: set[str] = set()
        """Those that were met."""
        self.mentioned: set[str] = set()
        """All names in the code that was met: some may be of sub-modules."""
        self._waiting: deque[types.FunctionType | type] = deque()
        """Their numbers were taken; what they are made of comes afterwards, so that chains of calls may be long."""

    def finish(self) -> None:
        """Takes what the functions and classes that were met are made of, and those that these refer to."""
        while self._waiting:
            found = self._waiting.popleft()
            if isinstance(found, type):
                self._class(found)
            else:
                self._function(found)

    def element(self) -> Form:
        """A form for one of a set."""
        form = WholeForm(is_element=True, depth=self._depth)
        form.modules, form.mentioned = self.modules, self.mentioned
        return form

    def special(self, value: Any) -> bool:
        """Takes functions, classes, methods, modules, and what there is only one of."""
        kind = type(value)
        if value is SKIP:
            self.put("skip")
        elif kind is types.FunctionType or issubclass(kind, type):
            if not self._by_name(value) and self.begin(value, may_hold_itself=True):
                self.put("new")
                self._waiting.append(value)
        elif issubclass(kind, types.ModuleType):
            self._module(value)
        elif kind is types.CodeType:
            self.put("code", _code(value))
        elif issubclass(kind, enum.Enum):
            self.add_all("member", kind, value.name, value.value)
        elif kind is types.MethodType:
            self.add_all("method", value.__func__, value.__self__)
        elif kind in (staticmethod, classmethod):
            self.add_all(kind.__name__, value.__func__)
        elif kind is property:
            self.add_all("property", value.fget, value.fset, value.fdel)
        elif kind.__module__ == "typing" or issubclass(kind, types.GenericAlias):
            self.put("typing", repr(value).encode("utf-8", "surrogatepass"))
        else:
            return False
        return True

    def named(self, value: Any, name: str) -> None:
        """Takes an object that is pickled as the name of a global."""
        for module in (getattr(value, "__module__", None), type(value).__module__):
            if isinstance(module, str) and _looked_up(module, name) is value:
                self._refer(module, name)
                return
        raise NoFormError

    def _by_name(self, value: Any) -> bool:
        """Takes what travels as the name of something in a module that the other side imports."""
        module, name = value.__module__, value.__qualname__
        if value in _NAMELESS:
            self.put("type of", _NAMELESS[value].encode())
            return True
        is_there = isinstance(module, str) and module != "__main__" and _looked_up(module, name) is value
        if not is_there or is_by_value(module):
            return False
        self._refer(module, name)
        return True

    def _refer(self, module: str, name: str) -> None:
        self.modules.add(module)
        self.put("global", f"{module} {name}".encode())

    def _module(self, module: types.ModuleType) -> None:
        if module.__name__ == "__main__" or is_by_value(module.__name__):
            raise NoFormError
        self.modules.add(module.__name__)
        self.put("module", module.__name__.encode())

    def _function(self, function: types.FunctionType) -> None:
        code = function.__code__
        self.put("function", _code(code))
        self.add_all(
            "held", function.__name__, function.__qualname__, function.__defaults__, function.__kwdefaults__,
            vars(function) or None, function.__annotations__,
        )  # fmt: skip
        for cell in function.__closure__ or ():
            try:
                self.add_all("cell", cell.cell_contents)
            except ValueError:
                self.put("empty cell")
        uses = _uses(code)
        self.mentioned |= uses.names
        for name in uses.globals:
            if name in function.__globals__:
                self.put("name", name.encode())
                self.add(function.__globals__[name])
        self._note_imports(uses.imports, function.__globals__.get("__package__") or "")

    def _note_imports(self, imports: Iterable[tuple[str, int, tuple[str, ...]]], package: str) -> None:
        for module, level, parts in imports:
            full = origins.absolute(module, level, package)
            self.modules.add(full)
            if not origins.is_standard(full.partition(".")[0]):
                inner = (f"{full}.{part}" for part in parts)
                self.modules |= {name for name in inner if origins.is_here(name)}

    def _class(self, kind: type) -> None:
        self.add_all("class", kind.__name__, kind.__qualname__, type(kind), kind.__bases__)
        content = {name: value for name, value in vars(kind).items() if name not in _POSITIONS}
        if issubclass(kind, enum.Enum):
            members = [(name, member.value) for name, member in kind.__members__.items()]
            self.add_all("members", members)
            content = {name: value for name, value in content.items() if _is_own(kind, name, value)}
        for name, value in content.items():
            if not isinstance(value, _SLOTS):
                self.put("attribute", name.encode())
                self.add(value)


def _is_own(kind: type[enum.Enum], name: str, value: Any) -> bool:
    """Whether an enumeration's attribute was written in it: it is no member, and nothing that `enum` has put there."""
    function = getattr(value, "__func__", value)
    is_written = isinstance(function, types.FunctionType) and function.__module__ == kind.__module__
    return name not in kind.__members__ and (is_written or not (name.startswith("_") and name.endswith("_")))


def _looked_up(module: str, name: str) -> Any:
    """What a module has under a dotted name."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


# --- code -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Uses:
    globals: tuple[str, ...]
    names: frozenset[str]
    """Those, and the names of attributes."""
    imports: tuple[tuple[str, int, tuple[str, ...]], ...]
    """(module, level, what is imported from it)."""


_known_codes: weakref.WeakKeyDictionary[types.CodeType, bytes] = weakref.WeakKeyDictionary()
_known_uses: weakref.WeakKeyDictionary[types.CodeType, _Uses] = weakref.WeakKeyDictionary()


def _code(code: types.CodeType) -> bytes:
    """The hash of what code does, whatever line it stands in."""
    known = _known_codes.get(code)
    if known is None:
        form = WholeForm()
        form.add(_instructions(code))
        form.add_all(
            "code", code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars, code.co_argcount,
            code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags, code.co_name, code.co_qualname,
        )  # fmt: skip
        form.add_all("constants", *code.co_consts)
        known = _known_codes[code] = bytes.fromhex(form.hexdigest())
    return known


def _instructions(code: types.CodeType) -> list[Any]:
    """Instructions as (operation, argument), and the ranges of exception handlers; places are numbers of instructions.

    Those that do nothing are left out: which of them are there depends on where lines begin.
    """
    found = [each for each in dis.get_instructions(code) if each.opname not in ("NOP", "EXTENDED_ARG", "CACHE")]
    places: list[int] = [each.offset for each in found]

    def number(offset: int) -> int:
        return bisect_left(places, offset)

    jumps = {*dis.hasjrel, *dis.hasjabs}
    steps = [(each.opcode, number(each.argval) if each.opcode in jumps else each.arg) for each in found]
    handlers = dis._parse_exception_table(code)  # type: ignore[attr-defined]
    return [steps, [(number(h.start), number(h.end), number(h.target), h.depth, h.lasti) for h in handlers]]


def _uses(code: types.CodeType) -> _Uses:
    known = _known_uses.get(code)
    if known is None:
        read, mentioned = sorted(names.globals_read(code)), frozenset(names.global_names(code))
        known = _Uses(tuple(read), mentioned, tuple(_imports(code)))
        _known_uses[code] = known
    return known


def _imports(code: types.CodeType) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    for one in (code, *names.inner_codes(code)):
        steps = [step for step in dis.get_instructions(one) if step.opname != "EXTENDED_ARG"]
        for at, step in enumerate(steps):
            if step.opname == "IMPORT_NAME":
                level, parts = (before.argval for before in steps[at - 2 : at])
                yield step.argval, level, tuple(parts or ())
