"""Dataclasses: their generated methods are left out, and generated again from the fields."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import weakref
from typing import Any, ClassVar, TypeAlias

from nbdist.packing.functions import annotations_of

_GENERATED = frozenset(
    {
        "__delattr__",
        "__eq__",
        "__ge__",
        "__gt__",
        "__hash__",
        "__init__",
        "__le__",
        "__lt__",
        "__replace__",
        "__repr__",
        "__setattr__",
    }
)
_FIELDS = "__dataclass_fields__"
_DERIVED = frozenset({_FIELDS, "__dataclass_params__"})
_FILES = ("<string>", dataclasses.__file__, reprlib.__file__)
_POST_INIT = "__post_init__"
_PARAMETERS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_OPTIONS = ("default", "default_factory", "init", "repr", "hash", "compare", "kw_only")

_CLASS_VARIABLE: str = dataclasses._FIELD_CLASSVAR.name  # type: ignore[attr-defined]
_ANNOTATIONS: dict[str, Any] = {
    dataclasses._FIELD.name: object,  # type: ignore[attr-defined]
    dataclasses._FIELD_INITVAR.name: dataclasses.InitVar[object],  # type: ignore[attr-defined]
    _CLASS_VARIABLE: ClassVar[object],
}
"""Kind of field -> an annotation that makes one."""
Own: TypeAlias = tuple[str, dict[str, Any]]
"""A field: its kind and the options of `dataclasses.field`."""

_expected: weakref.WeakSet[type] = weakref.WeakSet()
"""Classes that are about to become dataclasses."""
_waiting: dict[type, list[tuple[Any, ...]]] = {}
"""Such a class -> the arguments of `apply` for those that inherit from it."""


def expect(cls: type) -> None:
    """Announces that the class is to be a dataclass: its fields may refer to classes that inherit from it."""
    _expected.add(cls)


def own_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a dataclass that nobody generates."""
    return {name: value for name, value in attributes.items() if name not in _DERIVED and not is_generated(name, value)}


def is_generated(name: str, value: Any) -> bool:
    return name in _GENERATED and isinstance(value, types.FunctionType) and value.__code__.co_filename in _FILES


def arguments_of(cls: Any) -> tuple[dict[str, Any], dict[str, Own], bool]:
    """What `dataclass` was called with, the fields of its own, and whether there is a `__post_init__`."""
    parameters = {name: getattr(cls.__dataclass_params__, name) for name in _PARAMETERS}
    parameters["match_args"] = "__match_args__" in vars(cls)
    inherited = [base.__dict__.get(_FIELDS, {}) for base in cls.__mro__[1:]]
    own = {}
    for name, field in vars(cls)[_FIELDS].items():
        if not any(fields.get(name) is field for fields in inherited):
            options = {option: getattr(field, option) for option in _OPTIONS}
            given = {option: value for option, value in options.items() if value is not dataclasses.MISSING}
            own[name] = field._field_type.name, given | ({"metadata": dict(field.metadata)} if field.metadata else {})
    return parameters, own, hasattr(cls, _POST_INIT)


def apply(cls: type, parameters: dict[str, Any], fields: dict[str, Own], has_post_init: bool) -> None:
    """Makes a class a dataclass, once those that it inherits from are. It need not have its methods yet."""
    base = next((base for base in cls.__mro__[1:] if base in _expected), None)
    if base is not None:
        _waiting.setdefault(base, []).append((cls, parameters, fields, has_post_init))
        return
    for name in [name for name, value in vars(cls).items() if is_generated(name, value)]:
        type.__delattr__(cls, name)  # it is loaded a second time
    slots = {name: value for name, value in vars(cls).items() if isinstance(value, types.MemberDescriptorType)}
    annotations = annotations_of(cls)
    # Text of annotations is looked up in the class's module, which need not be there.
    cls.__annotations__ = {name: _ANNOTATIONS[kind] for name, (kind, _) in fields.items()}
    for name, (kind, options) in fields.items():
        if kind != _CLASS_VARIABLE:
            type.__setattr__(cls, name, dataclasses.field(**options))
    _apply(cls, parameters, has_post_init)
    for name, member in slots.items():
        type.__setattr__(cls, name, member)
    _expected.discard(cls)
    if annotations:
        set_annotations(cls, annotations)
    for waiting in _waiting.pop(cls, ()):
        apply(*waiting)


def _apply(cls: type, parameters: dict[str, Any], has_post_init: bool) -> None:
    is_announced = has_post_init and not hasattr(cls, _POST_INIT)
    if is_announced:
        type.__setattr__(cls, _POST_INIT, None)
    dataclasses.dataclass(**parameters)(cls)
    if is_announced:
        type.__delattr__(cls, _POST_INIT)


def set_annotations(cls: Any, annotations: dict[str, Any]) -> None:
    """Gives a class its annotations, and the fields of a dataclass their types."""
    cls.__annotations__ = annotations
    fields = vars(cls).get(_FIELDS, {})
    for name in annotations.keys() & fields.keys():
        fields[name].type = annotations[name]
    init = vars(cls).get("__init__")
    if fields and is_generated("__init__", init):
        init.__annotations__ |= {name: field.type for name, field in fields.items() if name in init.__annotations__}
