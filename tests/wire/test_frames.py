"""Frames: every message survives the trip, and nothing but FrameError comes out of bad bytes."""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import types
import typing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdist.errors import FrameError
from nbdist.wire import frames, messages
from nbdist.wire.messages import MESSAGES, CancelJob, Message

INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(max_size=30)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """All values that a field of this type may have."""
    simple = {int: INTEGERS, float: FLOATS, bool: st.booleans(), str: TEXTS}.get(hint)
    if simple is not None:
        return simple
    if dataclasses.is_dataclass(hint):
        return records(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*map(values, arguments))
    assert origin is types.UnionType
    return st.none() | values(arguments[0])


def records(cls: Any) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: values(hints[field.name]) for field in dataclasses.fields(cls)})


def frame(header: object, payload: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack(">I", len(text)) + text + payload


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
def test_every_message_survives_the_trip(cls: type[Message]) -> None:
    @settings(max_examples=15)
    @given(records(cls), st.binary(max_size=50))
    def check(message: Message, payload: bytes) -> None:
        decoded, rest = frames.decode(frames.encode(message, payload))
        assert decoded == message
        assert type(decoded) is cls
        assert bytes(rest) == payload

    check()


def test_there_is_no_message_that_the_codec_does_not_know() -> None:
    assert len(MESSAGES) > 40
    assert set(frames._BY_NAME) == {cls.__name__ for cls in MESSAGES}


def test_lone_surrogates_are_replaced_when_they_come_in() -> None:
    sent = CancelJob("grün\U0001f600", "a\ud800b")
    assert frames.decode(frames.encode(sent))[0] == CancelJob("grün\U0001f600", "a?b")


@given(st.binary(max_size=300))
def test_random_bytes_are_a_frame_error_or_nothing(data: bytes) -> None:
    with pytest.raises(FrameError):
        frames.decode(data)


@given(st.sampled_from(MESSAGES).flatmap(records), st.data())
def test_damaged_frames_give_a_message_or_a_frame_error(message: Message, data: st.DataObject) -> None:
    whole = bytearray(frames.encode(message, b"payload"))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    for damaged in (whole, cut):
        try:
            decoded, _ = frames.decode(damaged)
        except FrameError:
            continue
        frames.encode(decoded)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(MESSAGES), st.data())
def test_headers_with_wrong_types_are_frame_errors(cls: type[Message], data: st.DataObject) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    header = {"m": cls.__name__} | {name: data.draw(JSON) for name in names if data.draw(st.booleans())}
    try:
        decoded, _ = frames.decode(frame(header))
    except FrameError:
        return
    assert frames.decode(frames.encode(decoded))[0] == decoded


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 60_000, "no JSON"),
        (b'{"m": NaN}', "no JSON"),
        ([], "no JSON object"),
        ({}, "unknown message"),
        ({"m": ["Part"]}, "unknown message"),
        ({"m": "Pickle"}, "unknown message 'Pickle'"),
        ({"m": "Message"}, "unknown message"),
        ({"m": "JobReady"}, "JobReady: field job is missing"),
        ({"m": "JobReady", "job": 3}, "JobReady: field job: not a string"),
        ({"m": "GrantItems", "job": "j", "more_bytes": True}, "not an integer"),
        ({"m": "GrantItems", "job": "j", "more_bytes": 2**63}, "too large"),
        ({"m": "GrantItems", "job": "j", "more_bytes": 1.0}, "not an integer"),
        ({"m": "TrimSlice", "attempt": [1, 2, 3], "give": 1}, "not a list of 2"),
        ({"m": "TrimSlice", "attempt": [1, 2], "give": 10**400}, "too large"),
        (b'{"m": "TrimSlice", "attempt": [1, 2], "give": 1e999}', "not finite"),
        ({"m": "Hello", "role": "king"}, "field role: not one of"),
    ],
)
def test_the_error_says_what_is_wrong(header: object, complaint: str) -> None:
    with pytest.raises(FrameError, match=complaint.replace("[", r"\[")):
        frames.decode(frame(header))


def test_unknown_fields_are_ignored_and_missing_ones_take_their_default() -> None:
    message, _ = frames.decode(frame({"m": "Notice", "job": "j", "level": "info", "text": "t", "later": {"x": 1}}))
    assert message == messages.Notice("j", "info", "t")
    message, _ = frames.decode(frame({"m": "JobRefused", "job": "j", "reason": "r"}))
    assert message == messages.JobRefused("j", "r", "")


def test_bounds_hold_in_both_directions() -> None:
    with pytest.raises(FrameError, match="header"):
        frames.encode(messages.Notice("j", "info", "x" * frames.MAX_HEADER_BYTES))
    with pytest.raises(FrameError, match="payload"):
        frames.encode(messages.JobReady("j"), bytes(frames.MAX_FRAME_BYTES))
    with pytest.raises(FrameError, match="a frame has"):
        frames.decode(bytes(frames.MAX_FRAME_BYTES + 1))
    with pytest.raises(FrameError, match="a header of"):
        frames.decode(struct.pack(">I", 2**31) + b"{}")
    with pytest.raises(FrameError, match="a header of"):
        frames.decode(struct.pack(">I", 3) + b"{}")


def test_not_a_number_cannot_be_sent() -> None:
    with pytest.raises(ValueError):
        frames.encode(messages.TrimSlice((1, 1), math.nan))
