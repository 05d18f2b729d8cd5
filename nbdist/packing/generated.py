"""Classes that Python makes of a list of names (enums, named tuples, typed dicts): they are made again there."""

from __future__ import annotations

import collections
import enum
import types
import typing
from typing import Any

from nbdist.packing.dataclassing import is_generated

_NAMED_TUPLE = frozenset(
    {
        "__getnewargs__",
        "__match_args__",
        "__new__",
        "__replace__",
        "__repr__",
        "__slots__",
        "_asdict",
        "_field_defaults",
        "_fields",
        "_make",
        "_replace",
    }
)


# --- enums ------------------------------------------------------------------------------------------------------------


def is_enum(cls: type) -> bool:
    return isinstance(cls, enum.EnumMeta)


class _Given:
    """A member of an enum that is a subclass of another type: the arguments of that, and the member's value."""

    def __init__(self, arguments: tuple[Any, ...], value: Any) -> None:
        self.arguments, self.value = arguments, value

    def __reduce__(self) -> tuple[Any, ...]:
        return _Given, (self.arguments, self.value)


def arguments_of_enum(cls: Any) -> tuple[Any, ...]:
    """The arguments of `make_enum`."""
    data = getattr(cls, "_member_type_", object)
    members = [
        (name, member._value_ if data is object else _Given(_arguments_of_data(data, member), member._value_))
        for name, member in cls.__members__.items()
    ]
    options = {"boundary": vars(cls)["_boundary_"]} if members and issubclass(cls, enum.Flag) else {}
    return type(cls), cls.__name__, cls.__bases__, members, cls.__module__, cls.__qualname__, options


def _arguments_of_data(data: Any, member: Any) -> tuple[Any, ...]:
    """What `data.__new__` makes such a member of, whatever the enum's own `__new__` takes."""
    if hasattr(data, "__getnewargs__"):
        return tuple(data.__getnewargs__(member))
    if data.__reduce__ is not object.__reduce__:  # a date, a fraction
        return tuple(data.__reduce__(member)[1])
    return ()  # its state is in its `__dict__`


def make_enum(
    meta: Any,
    name: str,
    bases: tuple[type, ...],
    members: list[tuple[str, Any]],
    module: str,
    qualname: str,
    options: dict[str, Any],
) -> type:
    """An enum with its members, without its methods."""
    namespace = meta.__prepare__(name, bases)
    namespace["__module__"], namespace["__qualname__"] = module, qualname
    is_given = any(isinstance(value, _Given) for _, value in members)
    if is_given:
        namespace["__new__"], namespace["__init__"] = _new_member, _init_member
    for member, value in members:
        namespace[member] = enum.member(value)  # a function too
    made: type = meta(name, bases, namespace, **options)
    if is_given:
        del made.__init__  # type: ignore[misc]
    return made


def _new_member(cls: Any, given: Any) -> Any:
    (found,) = given if isinstance(given, tuple) else (given,)  # of a tuple's members
    made = cls._member_type_.__new__(cls, *found.arguments)
    made._value_ = found.value
    return made


def _init_member(self: Any, *_: Any) -> None:
    """Its attributes come with the state of the class."""


def own_attributes(cls: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an enum that its class statement gave it."""
    return {
        name: value
        for name, value in attributes.items()
        if name == "__doc__" or (name not in cls.__members__ and (_is_users(name, value) or name[:1] != "_"))
    }


def _is_users(name: str, value: Any) -> bool:
    function = getattr(value, "__func__", value)
    if isinstance(function, property) and type(function) is property:
        return True
    if not isinstance(function, types.FunctionType) or is_generated(name, function) or name == "_value_repr_":
        return False
    return function.__code__.co_filename != enum.__file__


def member_states(cls: Any) -> dict[str, dict[str, Any]]:
    """What members have besides their names and values."""
    states = {}
    for name, member in cls.__members__.items():
        if member._name_ == name:
            states[name] = {key: value for key, value in member.__dict__.items() if not _is_internal(key)}
    return {name: state for name, state in states.items() if state}


def _is_internal(name: str) -> bool:
    return name == "__objclass__" or (name.startswith("_") and name.endswith("_"))


# --- named tuples -----------------------------------------------------------------------------------------------------


def is_namedtuple(cls: type) -> bool:
    new = getattr(vars(cls).get("__new__"), "__func__", None)
    is_made = isinstance(new, types.FunctionType) and new.__code__.co_filename.startswith("<")
    return cls.__bases__[:1] == (tuple,) and "_fields" in vars(cls) and is_made


def arguments_of_namedtuple(cls: Any) -> tuple[Any, ...]:
    defaults = tuple(cls._field_defaults.values())
    bases = cls.__bases__, getattr(cls, "__orig_bases__", None)
    return cls.__name__, cls._fields, defaults, cls.__module__, cls.__qualname__, bases


def make_namedtuple(
    name: str,
    fields: tuple[str, ...],
    defaults: tuple[Any, ...],
    module: str,
    qualname: str,
    bases: tuple[tuple[type, ...], Any],
) -> Any:
    """A named tuple without its methods. `bases`: those that it has, and as they were written."""
    make: Any = collections.namedtuple
    made = make(name, fields, rename=True, defaults=defaults or None, module=module)
    made.__qualname__ = qualname
    if bases[0] != (tuple,):
        made.__bases__, made.__orig_bases__ = bases
    return made


def own_of_namedtuple(cls: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a named tuple that its class statement gave it."""
    names = _NAMED_TUPLE.union(cls._fields)
    return {name: value for name, value in attributes.items() if name not in names or _is_written(name, value)}


def _is_written(name: str, value: Any) -> bool:
    is_function = isinstance(value, types.FunctionType) and value.__code__.co_filename != collections.__file__
    return is_function and name != "__new__"


# --- typed dicts ------------------------------------------------------------------------------------------------------


def arguments_of_typed_dict(cls: Any) -> tuple[Any, ...]:
    hints = {}
    for name, hint in cls.__annotations__.items():
        given = typing.get_origin(hint) in (typing.Required, typing.NotRequired)
        wrapper: Any = typing.Required if name in cls.__required_keys__ else typing.NotRequired
        hints[name] = hint if given else wrapper[hint]
    return cls.__name__, hints, cls.__module__, cls.__qualname__


def make_typed_dict(name: str, hints: dict[str, Any], module: str, qualname: str) -> Any:
    make: Any = typing.TypedDict
    made = make(name, hints)
    made.__module__, made.__qualname__ = module, qualname
    return made
