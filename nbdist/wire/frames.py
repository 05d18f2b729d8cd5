"""Frames: one message and its payload as one binary string, and back.

    4 bytes   length of the header, big endian
    header    JSON object: "m" is the message's name, the others are its fields; fields at their default are left out
    payload   the rest

`decode` trusts nothing: whatever is wrong with the bytes is a `FrameError` that names it.
"""

from __future__ import annotations

import json
import math
import struct
import types
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, TypeAlias, TypeVar

from nbdist.errors import FrameError
from nbdist.wire.messages import MESSAGES, Message

MAX_HEADER_BYTES = 64 * 1024
MAX_FRAME_BYTES = 1024 * 1024
MAX_INLINE_PAYLOAD_BYTES = 256 * 1024
"""What is larger becomes a blob; a frame has room for more so that blocks of items may be cut generously."""
MAX_FAILED_PER_PART = 1_000
MAX_INTEGER = 2**63
"""Integers in messages are smaller than this in size."""

Payload: TypeAlias = bytes | bytearray | memoryview
Check: TypeAlias = Callable[[Any], Any]
M = TypeVar("M", bound=Message)

_LENGTH = struct.Struct(">I")
_encode_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def encode(message: Message, payload: Payload = b"") -> bytes:
    """The frame of a message.

    Raises FrameError if header or frame are over their bounds, which is a mistake of the caller: bounds on what goes
    into a message are kept where it is made.
    """
    header = _encode_json(_encoder(type(message))(message)).encode("ascii")
    size = len(header)
    if size > MAX_HEADER_BYTES:
        raise FrameError(f"the header of {type(message).__name__} has {size} bytes, {MAX_HEADER_BYTES} are allowed")
    if 4 + size + len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"the payload of {type(message).__name__} has {len(payload)} bytes: too many for a frame")
    return b"".join((_LENGTH.pack(size), header, payload))


def decode(frame: bytes | bytearray | memoryview) -> tuple[Message, memoryview]:
    """The message and a view of the payload. Raises FrameError, and nothing else, on anything that is no frame."""
    view = memoryview(frame)
    if not 4 <= len(view) <= MAX_FRAME_BYTES:
        raise FrameError(f"a frame has 4 to {MAX_FRAME_BYTES} bytes, this one has {len(view)}")
    size: int = _LENGTH.unpack_from(view)[0]
    if size > MAX_HEADER_BYTES or 4 + size > len(view):
        raise FrameError(f"a header of {size} bytes in a frame of {len(view)}")
    try:
        header = _decode_json(str(view[4 : 4 + size], "utf-8"))
    except (ValueError, RecursionError) as error:
        raise FrameError(f"the header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError("the header is no JSON object")
    name = header.get("m")
    cls = _BY_NAME.get(name) if isinstance(name, str) else None
    if cls is None:
        raise FrameError(f"unknown message {str(name)[:80]!r}; the other end may be newer: upgrade nbdist here")
    try:
        return _decoder(cls)(header), view[4 + size :]
    except FrameError as error:
        raise FrameError(f"{name}: {error}") from None


def to_json(message: Message) -> str:
    """A message as text, without its name; of any size."""
    return _encode_json(_encoder(type(message))(message))


def from_json(kind: type[M], text: str) -> M:
    """The message of this kind. Raises FrameError, and nothing else, on anything that is no such text."""
    try:
        data = _decode_json(text)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"no JSON: {error}") from None
    found: M = _decoder(kind)(data)
    return found


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


_decode_json = json.JSONDecoder(parse_constant=_no_constant).decode


# --- encoders and checks, made once from the annotations --------------------------------------------------------------


def _make_encoder(cls: type) -> Callable[[Any], dict[str, Any]]:
    plan = [(f.name, MISSING if f.default is MISSING else f.default, _plain(_hints(cls)[f.name])) for f in fields(cls)]
    tag = cls.__name__ if issubclass(cls, Message) else None

    def encoder(record: Any) -> dict[str, Any]:
        out: dict[str, Any] = {} if tag is None else {"m": tag}
        for name, default, convert in plan:
            value = getattr(record, name)
            if default is not MISSING and value == default:
                continue
            out[name] = value if convert is None or value is None else convert(value)
        return out

    return encoder


def _plain(hint: Any) -> Callable[[Any], Any] | None:
    """How a value of this type becomes plain JSON data; None: it is already."""
    if is_dataclass(hint) and isinstance(hint, type):
        return _make_encoder(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            inner = _plain(arguments[0])
            return None if inner is None else lambda values: [inner(value) for value in values]
        inners = [_plain(argument) for argument in arguments]
        if any(inner is not None for inner in inners):
            return lambda values: [v if i is None else i(v) for i, v in zip(inners, values, strict=True)]
        return None
    if origin in (types.UnionType, typing.Union):
        return next((plain for plain in map(_plain, arguments) if plain is not None), None)
    return None


def _make_decoder(cls: type) -> Callable[[Any], Any]:
    hints = _hints(cls)
    plan = [(f.name, f.default, _check(hints[f.name])) for f in fields(cls)]

    def decoder(data: Any) -> Any:
        if not isinstance(data, dict):
            raise FrameError(f"{cls.__name__} is no JSON object")
        values = []
        for name, default, check in plan:
            value = data.get(name, MISSING)
            if value is MISSING:
                if default is MISSING:
                    raise FrameError(f"field {name} is missing")
                values.append(default)
                continue
            try:
                values.append(check(value))
            except FrameError as error:
                raise FrameError(f"field {name}: {error}") from None
        return cls(*values)

    return decoder


def _check(hint: Any) -> Check:
    """The function that checks a value of this type and returns it, with lists turned into tuples and records."""
    simple = {int: _check_int, float: _check_float, bool: _check_bool, str: _check_str}.get(hint)
    if simple is not None:
        return simple
    if is_dataclass(hint) and isinstance(hint, type):
        return _make_decoder(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return _check_literal(arguments)
    if origin is tuple:
        return _check_tuple(arguments)
    if origin in (types.UnionType, typing.Union) and len(arguments) == 2 and type(None) in arguments:
        inner = _check(next(argument for argument in arguments if argument is not type(None)))
        return lambda value: None if value is None else inner(value)
    raise TypeError(f"no check for {hint!r} in a message")


def _check_int(value: Any) -> int:
    if type(value) is not int:
        raise FrameError("not an integer")
    if not -MAX_INTEGER < value < MAX_INTEGER:
        raise FrameError("the integer is too large")
    return value


def _check_float(value: Any) -> float:
    if type(value) is not float and type(value) is not int:
        raise FrameError("not a number")
    try:
        value = float(value)
    except OverflowError:
        raise FrameError("the number is too large") from None
    if not math.isfinite(value):
        raise FrameError("the number is not finite")
    return float(value)


def _check_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise FrameError("not true or false")
    return value


def _check_str(value: Any) -> str:
    if type(value) is not str:
        raise FrameError("not a string")
    if value.isascii():
        return value
    return value.encode("utf-8", "replace").decode("utf-8")  # a lone surrogate would break whoever writes it out


def _check_literal(allowed: tuple[Any, ...]) -> Check:
    def check(value: Any) -> Any:
        if type(value) is not str or value not in allowed:
            raise FrameError(f"not one of {', '.join(map(repr, allowed))}")
        return value

    return check


def _check_tuple(arguments: tuple[Any, ...]) -> Check:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        inner = _check(arguments[0])

        def check_many(value: Any) -> tuple[Any, ...]:
            if type(value) is not list:
                raise FrameError("not a list")
            return tuple(map(inner, value))

        return check_many
    inners = [_check(argument) for argument in arguments]

    def check_exactly(value: Any) -> tuple[Any, ...]:
        if type(value) is not list or len(value) != len(inners):
            raise FrameError(f"not a list of {len(inners)}")
        return tuple(inner(item) for inner, item in zip(inners, value, strict=True))

    return check_exactly


def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


_BY_NAME: dict[str, type[Message]] = {cls.__name__: cls for cls in MESSAGES}
_encoders: dict[type[Any], Callable[[Any], dict[str, Any]]] = {}
_decoders: dict[type[Any], Callable[[Any], Any]] = {}
"""Made at the first message of a kind: making all of them takes longer than a process may take to start."""


def _encoder(cls: type[Any]) -> Callable[[Any], dict[str, Any]]:
    found = _encoders.get(cls)
    if found is None:
        found = _encoders[cls] = _make_encoder(cls)
    return found


def _decoder(cls: type[Any]) -> Callable[[Any], Any]:
    found = _decoders.get(cls)
    if found is None:
        found = _decoders[cls] = _make_decoder(cls)
    return found
