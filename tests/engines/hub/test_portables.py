"""What a notebook answers when a hub asks for a job's task for other versions of Python."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from nbdist.engines.base import Buffer, PackedBlob, PackedTask, Repack
from nbdist.engines.hub.portables import GONE, MAX_REFUSAL_CHARACTERS, Portable
from nbdist.errors import PackingError
from nbdist.wire import frames
from nbdist.wire import messages as m
from nbdist.wire.blobs import blob_name
from nbdist.wire.local import this_machine

ARRAY, MODULES = b"an array", b"a bundle"
BLOBS = {blob_name([data]): PackedBlob(blob_name([data]), len(data), [data]) for data in (ARRAY, MODULES)}
NAME, BUNDLE = BLOBS


def portable(repack: Repack | None, payload: bytes = b"the task", **fields: Any) -> Portable:
    refs = tuple(m.BlobRef(blob.name, blob.size) for blob in BLOBS.values())
    bundles = (m.Bundle(BUNDLE, ("helper",)),)
    spec = m.SubmitJob("j", "j", this_machine(1), m.JobOptions(), blobs=refs, bundles=bundles, **fields)
    return Portable(spec, frames.encode(spec, payload), repack)


def told(answer: Any) -> tuple[m.PortableTask, bytes]:
    message, payload = frames.decode(answer.frame)
    assert isinstance(message, m.PortableTask)
    return message, bytes(payload)


def test_it_is_made_of_what_was_submitted_once() -> None:
    seen: list[tuple[bytes, dict[str, bytes]]] = []

    def repack(data: Buffer, sent: Mapping[str, Buffer]) -> PackedTask:
        seen.append((bytes(data), {name: bytes(value) for name, value in sent.items()}))
        return PackedTask([b"so", b"urce"], [BLOBS[NAME]])

    one = portable(repack)
    for _ in range(2):
        message, payload = told(one.answer(BLOBS))
        assert (message.refusal, message.task, payload) == ("", None, b"source")
        assert {ref.name for ref in message.blobs} == {NAME, BUNDLE}
    assert seen == [(b"the task", {NAME: ARRAY})]


def test_a_large_one_is_a_blob() -> None:
    large = bytes(frames.MAX_INLINE_PAYLOAD_BYTES + 1)
    answer = portable(lambda data, sent: PackedTask([large])).answer(BLOBS)
    message, payload = told(answer)
    assert message.task == m.BlobRef(blob_name([large]), len(large))
    assert payload == b""
    assert [blob.name for blob in answer.blobs] == [blob_name([large])]


def test_a_large_task_that_has_changed_since_is_not_packed() -> None:
    large = bytearray(b"task" * 1000)
    blob = PackedBlob(blob_name([large]), len(large), [large])
    one = portable(lambda data, sent: PackedTask([bytes(data)]), b"", task=m.BlobRef(blob.name, blob.size))
    large[0] += 1
    message, _ = told(one.answer({**BLOBS, blob.name: blob}))
    assert "has changed in the notebook since the job was submitted" in message.refusal


@pytest.mark.parametrize("error", [PackingError("a lambda " * 1000), ValueError("of a class of the user's")])
def test_what_cannot_be_packed_is_told(error: Exception) -> None:
    def repack(data: Buffer, sent: Mapping[str, Buffer]) -> PackedTask:
        raise error

    message, payload = told(portable(repack).answer(BLOBS))
    assert str(error)[:50] in message.refusal
    assert len(message.refusal) < MAX_REFUSAL_CHARACTERS + 10
    assert payload == b""


def test_what_was_captured_is_let_go_with_the_end_of_the_job() -> None:
    class Captured:
        def __call__(self, data: Buffer, sent: Mapping[str, Buffer]) -> PackedTask:
            return PackedTask([b"source"])

    captured = Captured()
    held = weakref.ref(captured)
    one = portable(captured)
    one.answer(BLOBS)
    one.release()
    del captured
    assert held() is None


def test_who_did_not_submit_it_cannot() -> None:
    assert told(portable(None).answer({}))[0].refusal == GONE
