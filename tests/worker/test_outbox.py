"""Which parts leave a slot, and when."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import pytest

from nbdist.execution.run import Run
from nbdist.packing import unpack_part
from nbdist.wire.blobs import blob_name
from nbdist.wire.frames import MAX_FAILED_PER_PART
from nbdist.wire.messages import Part, SlotPart
from nbdist.worker import outbox
from nbdist.worker.outbox import PART_SECONDS, Outbox


class Sent:
    """An outbox with its clock, and what has left it."""

    def __init__(self, spool: Path, **options: Any) -> None:
        self.now = 0.0
        self.parts: list[tuple[Any, bytes]] = []
        settings: dict[str, Any] = {"failures_apart": False, "reduce": None, **options}
        self.box = Outbox(
            lambda message, payload: self.parts.append((message, bytes(payload))),
            lambda: self.now,
            job="j",
            attempt=(1, 1),
            start=0,
            spool=str(spool),
            **settings,
        )

    def ranges(self) -> list[tuple[int, int, bool]]:
        heads = [message.part if isinstance(message, SlotPart) else message for message, _ in self.parts]
        return [(part.start, part.stop, part.final) for part in heads]

    def values(self) -> list[Any]:
        return [value for _, payload in self.parts for run in unpack_part(payload) for value in run.values]


def test_quick_runs_travel_together_in_the_final_part(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    for start in range(0, 30, 10):
        sent.box.add(Run(start, start + 10, 0.5, list(range(start, start + 10))))
    assert sent.parts == []
    assert sent.box.finish()
    assert sent.ranges() == [(0, 30, True)]
    assert sent.parts[0][0].seconds == pytest.approx(1.5)
    assert sent.values() == list(range(30))


def test_nothing_left_is_said(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    assert not sent.box.finish()
    assert sent.parts == []


def test_results_do_not_wait_longer_than_they_may(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    sent.box.add(Run(0, 1, 0.1, [0]))
    sent.now = PART_SECONDS - 0.01
    sent.box.send_due()
    assert sent.ranges() == []
    sent.now = PART_SECONDS
    sent.box.send_due()
    assert sent.ranges() == [(0, 1, False)]


def test_a_failure_that_matters_is_a_part_of_its_own_and_leaves_at_once(tmp_path: Path) -> None:
    sent = Sent(tmp_path, failures_apart=True)
    sent.box.add(Run(0, 3, 0.1, [0, 1, 2]))
    sent.box.add(Run(3, 4, 0.1, failures=[(3, ValueError("bad"))], kept=[]))
    assert sent.ranges() == [(0, 3, False), (3, 4, False)]
    assert sent.parts[1][0].failed == (3,)


def test_a_value_that_cannot_be_packed_is_a_part_of_its_own_too(tmp_path: Path) -> None:
    sent = Sent(tmp_path, failures_apart=True)
    sent.box.add(Run(0, 4, 0.1, [0, 1, (i for i in ()), 3]))
    sent.box.finish()
    assert sent.ranges() == [(0, 2, False), (2, 3, False), (3, 4, True)]
    assert sent.parts[1][0].failed == (2,)


def test_the_value_that_was_looked_for_leaves_at_once(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    sent.box.add(Run(0, 3, 0.1, [0, 1, 2], stopped_at=2))
    assert [(part.start, part.stop, part.stopped_at) for part, _ in sent.parts] == [(0, 3, 2)]


def test_a_part_names_no_more_failures_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "PART_BYTES", 10**9)
    sent = Sent(tmp_path)
    for item in range(MAX_FAILED_PER_PART + 5):
        sent.box.add(Run(item, item + 1, 0.0, failures=[(item, ValueError())], kept=[]))
    sent.box.finish()
    assert [len(part.failed) for part, _ in sent.parts] == [MAX_FAILED_PER_PART, 5]


def test_a_large_payload_lies_in_a_file_with_its_name(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    sent.box.add(Run(0, 1, 0.1, [bytes(range(256)) * 2000]))
    ((message, payload),) = sent.parts
    assert isinstance(message, SlotPart)
    assert payload == b""
    data = Path(message.path).read_bytes()
    assert message.part.blob is not None
    assert (message.part.blob.name, message.part.blob.size) == (blob_name([data]), len(data))
    assert unpack_part(data)[0].values == [bytes(range(256)) * 2000]


def test_folded_runs_are_joined_before_they_leave(tmp_path: Path) -> None:
    sent = Sent(tmp_path, reduce=sum)
    for start in range(5):
        sent.box.add(Run(start, start + 1, 0.1, [10]))
    sent.box.finish()
    assert sent.ranges() == [(0, 5, True)]
    assert sent.values() == [50]


def test_folded_runs_that_do_not_join_leave_side_by_side(tmp_path: Path) -> None:
    sent = Sent(tmp_path, reduce=operator.add)
    sent.box.add(Run(0, 1, 0.1, [1]))
    sent.box.add(Run(1, 2, 0.1, ["x"]))
    sent.box.finish()
    assert sent.ranges() == [(0, 2, True)]
    assert sent.values() == [1, "x"]


def test_an_attempt_that_is_abandoned_has_no_final_part(tmp_path: Path) -> None:
    sent = Sent(tmp_path)
    sent.box.add(Run(0, 1, 0.1, [0]))
    sent.box.abandon()
    assert sent.ranges() == [(0, 1, False)]
    assert isinstance(sent.parts[0][0], Part)


@pytest.mark.parametrize("portable", [False, True])
def test_what_goes_to_another_version_of_python_has_no_bytecode(tmp_path: Path, portable: bool) -> None:
    sent = Sent(tmp_path, portable=portable)
    sent.box.add(Run(0, 1, 0.1, [lambda x: x + 1]))
    sent.box.add(Run(1, 2, 0.1, [], [], [(1, ValueError(lambda x: x))]))
    assert sent.box.finish()
    packed = b"".join(payload for _, payload in sent.parts)
    assert (b"CodeType" in packed) is not portable
    assert sent.values()[0](1) == 2
