"""Classes of a notebook in a form that every version of Python reads: made empty, then given their attributes.

What a version of Python itself puts into a class is left out, and is made again by the one that loads it. A class is
the same object wherever instances of it come back to: it has an id, and who knows the id does not make it again.
"""

from __future__ import annotations

import abc
import contextlib
import operator
import os
import sys
import types
import typing
import uuid
import weakref
from collections.abc import Iterator
from typing import Any, cast

from cloudpickle.cloudpickle import (
    _DYNAMIC_CLASS_TRACKER_BY_ID,
    _get_or_create_tracker_id,
    _lookup_class_or_track,
)

from nbdist.packing import dataclassing, generated
from nbdist.packing.functions import Reduced, annotations_of

_DROPPED = frozenset(
    {
        "__annotate__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__callable_proto_members_only__",
        "__classdictcell__",
        "__dict__",
        "__firstlineno__",
        "__module__",
        "__non_callable_proto_members__",
        "__orig_bases__",
        "__protocol_attrs__",
        "__slotnames__",
        "__slots__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    }
)
"""Attributes that the version of Python makes, or that are given when the class is made."""

_TYPINGS = frozenset({"__class_getitem__", "__init__", "__subclasshook__"})
"""What `typing` gives to some classes."""
_HOOK = "__init_subclass__"
_RUN = uuid.uuid4().hex
_received: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes that were made here after one of another process."""
_unfinished: weakref.WeakSet[type] = weakref.WeakSet()
"""… and those of them that have no attributes yet."""


def reduce_class(cls: type) -> Reduced:
    """A class by value."""
    sender = _this_process()
    identity = (_get_or_create_tracker_id(cls), sender)
    if type(cls).__name__ == "PyCArrayType":
        return operator.mul, (cls._type_, cls._length_)  # type: ignore[attr-defined]
    if typing.is_typeddict(cls):
        return make_class, (identity, generated.make_typed_dict, generated.arguments_of_typed_dict(cls))
    attributes = {name: value for name, value in vars(cls).items() if not _is_made_there(cls, name, value)}
    state: dict[str, Any] = {"sender": sender, "attributes": attributes, "annotations": annotations_of(cls)}
    maker: Any
    arguments: tuple[Any, ...]
    if generated.is_enum(cls):
        maker, arguments = generated.make_enum, generated.arguments_of_enum(cls)
        state |= {"attributes": generated.own_attributes(cls, attributes), "members": generated.member_states(cls)}
    elif generated.is_namedtuple(cls):
        maker, arguments = generated.make_namedtuple, generated.arguments_of_namedtuple(cls)
        state["attributes"] = generated.own_of_namedtuple(cls, attributes)
    else:
        maker, arguments = make_plain, _arguments(cls)
    if isinstance(cls, abc.ABCMeta):
        state["registered"] = [found for ref in abc._get_dump(cls)[0] if (found := ref()) is not None]  # type: ignore[attr-defined]
    if "__dataclass_fields__" in vars(cls):
        state["attributes"] = dataclassing.own_attributes(attributes)
        # First in the state: it is a dataclass before anything that refers to it is loaded.
        state = {"head": _Dataclass(cls, sender)} | state
    return make_class, (identity, maker, arguments), state, None, None, set_class


def make_class(identity: tuple[str, str], maker: Any, arguments: tuple[Any, ...]) -> type:
    """The class of this id; if there is none yet, a new one that `set_class` is to finish."""
    known = _DYNAMIC_CLASS_TRACKER_BY_ID.get(identity[0])
    if isinstance(known, type):
        return known
    made: type = _lookup_class_or_track(identity[0], maker(*arguments))
    _received.add(made)
    _unfinished.add(made)
    return made


def set_class(cls: type, state: dict[str, Any]) -> None:
    """The attributes of a class; a class that comes home is left as it is."""
    if not _is_to_be_set(cls, state["sender"]):
        return
    is_ctypes = type(cls).__module__ == "_ctypes"  # which wants to hear of a structure's fields, and once
    for name, value in state["attributes"].items():
        if not is_ctypes:
            type.__setattr__(cls, name, value)
        elif name not in vars(cls) or name[:1] != "_":
            setattr(cls, name, value)
    if state["annotations"]:
        dataclassing.set_annotations(cls, state["annotations"])
    for name, attributes in state.get("members", {}).items():
        cls[name].__dict__.update(attributes)  # type: ignore[index]
    for subclass in state.get("registered", ()):
        cls.register(subclass)  # type: ignore[attr-defined]
    if vars(cls).get("_is_protocol"):
        _finish_protocol(cls)
    _unfinished.discard(cls)


def _is_to_be_set(cls: type, sender: str) -> bool:
    return cls in _unfinished or (cls in _received and sender != _this_process())


def _this_process() -> str:
    return f"{_RUN}-{os.getpid()}"


# --- ordinary classes -------------------------------------------------------------------------------------------------


def _arguments(cls: type) -> tuple[Any, ...]:
    namespace: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    own = vars(cls)
    if "__slots__" in own:
        slots = own["__slots__"]
        namespace["__slots__"] = slots if isinstance(slots, (str, tuple, list, dict)) else tuple(slots)
    bases = own.get("__orig_bases__", cls.__bases__)
    meta = type(cls) if type(cls).__module__ != "_ctypes" else None  # it has no name by which it could be imported
    return meta, cls.__name__, bases, namespace, "__dataclass_fields__" in own


def make_plain(
    meta: type | None, name: str, bases: tuple[Any, ...], namespace: dict[str, Any], is_dataclass: bool
) -> type:
    """A class without attributes. What its bases and metaclass did when it was defined comes with its attributes: those
    of them that were shipped too do not do it again."""
    with _without_hooks(types.resolve_bases(bases)):
        if meta is not None and meta in _received:
            made = _make_by_shipped(meta, name, bases, namespace)
        else:
            options = {} if meta is None else {"metaclass": meta}
            made = types.new_class(name, bases, options, lambda names: names.update(namespace))
    if is_dataclass:
        dataclassing.expect(made)
    return made


def _make_by_shipped(meta: type, name: str, bases: tuple[Any, ...], namespace: dict[str, Any]) -> type:
    known: Any = next(cls for cls in meta.__mro__ if cls not in _received)
    resolved = types.resolve_bases(bases)
    if resolved is not bases:
        namespace = namespace | {"__orig_bases__": bases}
    return cast(type, known.__new__(meta, name, resolved, namespace))


@contextlib.contextmanager
def _without_hooks(bases: tuple[Any, ...]) -> Iterator[None]:
    """Takes `__init_subclass__` away from shipped classes for a moment."""
    classes = {cls for base in bases for cls in base.__mro__ if cls in _received and _HOOK in vars(cls)}
    hooks = {cls: vars(cls)[_HOOK] for cls in classes}
    for cls in hooks:
        type.__delattr__(cls, _HOOK)
    try:
        yield
    finally:
        for cls, hook in hooks.items():
            type.__setattr__(cls, _HOOK, hook)


def _is_made_there(cls: type, name: str, value: Any) -> bool:
    """Whether an attribute is not the user's: the Python that loads the class makes its own."""
    is_slot = isinstance(value, types.MemberDescriptorType) or type(value).__name__ == "CField"  # of ctypes
    if name in _DROPPED or is_slot:
        return True
    code = getattr(getattr(value, "__func__", value), "__code__", None)
    return name in _TYPINGS and code is not None and code.co_filename == typing.__file__


def _finish_protocol(cls: type) -> None:
    """What a protocol knows of its members, which it had none of when it was made."""
    members = getattr(typing, "_get_protocol_attrs", None)
    if members is not None and sys.version_info >= (3, 12):
        cls.__protocol_attrs__ = members(cls)  # type: ignore[attr-defined]
    if getattr(cls, "_is_runtime_protocol", False):
        typing.runtime_checkable(cls)


# --- dataclasses ------------------------------------------------------------------------------------------------------


class _Dataclass:
    """Makes a class a dataclass when it is unpickled."""

    def __init__(self, cls: type, sender: str) -> None:
        self._arguments = (cls, sender, *dataclassing.arguments_of(cls))

    def __reduce__(self) -> Reduced:
        return make_dataclass, self._arguments


def make_dataclass(cls: type, sender: str, *arguments: Any) -> None:
    """Gives a class the methods of a dataclass."""
    if _is_to_be_set(cls, sender):
        dataclassing.apply(cls, *arguments)
