"""Classes that Python makes of a list of names (enums, named tuples, typed dicts): they are made again there."""

from __future__ import annotations

import collections
import enum
import types
import typing
from typing import Any

from nbdist.errors import PackingError

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


def arguments_of_enum(cls: Any) -> tuple[Any, ...]:
    """The arguments of `make_enum`. Raises PackingError where the members cannot be made from their values."""
    data = getattr(cls, "_member_type_", object)
    new = cls.__dict__.get("__new_member__") or cls.__dict__.get("_new_member_")
    if data is not object and (data.__module__ != "builtins" or _is_users(new)):
        raise PackingError(
            f"the enum {cls.__qualname__!r} makes its members of {data.__qualname__} in a way of its own, which cannot "
            "go to another version of Python: put it into a module that is installed there"
        )
    members = [(name, member._value_) for name, member in cls.__members__.items()]
    options = {"boundary": vars(cls)["_boundary_"]} if members and issubclass(cls, enum.Flag) else {}
    return type(cls), cls.__name__, cls.__bases__, members, cls.__module__, cls.__qualname__, options


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
    for member, value in members:
        namespace[member] = enum.member(value)  # a function too
    made: type = meta(name, bases, namespace, **options)
    return made


def own_attributes(cls: Any, attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an enum that its class statement gave it."""
    return {
        name: value
        for name, value in attributes.items()
        if (name not in cls.__members__ and (_is_users(value) or not name.startswith("_"))) or name == "__doc__"
    }


def _is_users(value: Any) -> bool:
    function = getattr(value, "__func__", value)
    if isinstance(function, property) and type(function) is property:
        return True
    return isinstance(function, types.FunctionType) and function.__code__.co_filename != enum.__file__


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
