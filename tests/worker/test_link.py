"""Frames on a stream socket."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import FrameError
from nbdist.wire import frames
from nbdist.wire.messages import ForgetJob, SlotReady
from nbdist.worker.link import BlockingLink, Splitter, pack


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 200), min_size=1))
def test_frames_come_out_as_they_went_in_however_they_are_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(pack(ForgetJob(str(i)), payload) for i, payload in enumerate(payloads))
    splitter = Splitter()
    found = []
    while stream:
        size = cuts[len(found) % len(cuts)] if found else cuts[0]
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    decoded = [frames.decode(frame) for frame in found]
    assert [(message.job, bytes(payload)) for message, payload in decoded if isinstance(message, ForgetJob)] == [
        (str(i), payload) for i, payload in enumerate(payloads)
    ]


def test_a_length_that_no_frame_has_is_refused() -> None:
    with pytest.raises(FrameError, match="between agent and slot"):
        Splitter().feed(b"\xff\xff\xff\xff")


def test_a_closed_socket_ends_the_messages() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        BlockingLink(ours).send(SlotReady(7))
        ours.close()
        link = BlockingLink(theirs)
        received = link.receive()
        assert received is not None
        assert received[0] == SlotReady(7)
        assert link.receive() is None
