"""Results on disk: they survive the process, a torn end is cut off, damage is set aside."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdist.hub.resultlog import ResultLog
from nbdist.wire.messages import Result


def result(seq: int) -> Result:
    return Result("j", seq, 10 * seq, 10 * seq + 10, "w")


def filled(folder: Path, count: int, *, segment_bytes: int = 1 << 20) -> ResultLog:
    log = ResultLog(folder, "j", segment_bytes)
    for seq in range(1, count + 1):
        log.append(result(seq), b"payload %d" % seq)
    return log


def read_all(log: ResultLog) -> list[tuple[int, bytes]]:
    found = []
    spot, end = log.beginning, log.end
    while spot < end:
        message, payload, spot = log.read(spot)
        found.append((message.seq, bytes(payload)))
    return found


EXPECTED = [(seq, b"payload %d" % seq) for seq in range(1, 21)]


@pytest.mark.parametrize("segment_bytes", [1, 300, 1 << 20])
def test_what_was_appended_is_read_now_and_by_the_next_process(tmp_path: Path, segment_bytes: int) -> None:
    log = filled(tmp_path, 20, segment_bytes=segment_bytes)
    assert read_all(log) == EXPECTED
    again = ResultLog(tmp_path, "j", segment_bytes)  # without closing the first
    assert [message.seq for message in again.recover()] == list(range(1, 21))
    assert read_all(again) == EXPECTED
    again.append(result(21), b"more")
    assert read_all(again)[-1] == (21, b"more")
    assert again.size == sum(path.stat().st_size for path in tmp_path.iterdir())
    again.remove()
    assert list(tmp_path.iterdir()) == []


def test_the_oldest_files_go_when_all_in_them_is_consumed(tmp_path: Path) -> None:
    log = filled(tmp_path, 20, segment_bytes=300)
    first = log.oldest(20)
    assert [message.seq for message in first] == list(range(1, len(first) + 1))
    assert log.oldest(len(first) - 1) == []
    log.drop_oldest()
    assert read_all(log) == EXPECTED[len(first) :]
    again = ResultLog(tmp_path, "j", 300)
    assert [message.seq for message in again.recover()] == list(range(len(first) + 1, 21))
    while log.oldest(20):
        log.drop_oldest()
    assert len(list(tmp_path.iterdir())) <= 1, "the newest stays unless it is full"
    log.seal()
    while log.oldest(20):
        log.drop_oldest()
    assert list(tmp_path.iterdir()) == []
    log.append(result(21), b"on")
    assert read_all(log) == [(21, b"on")]


@settings(max_examples=60)
@given(cut=st.integers(0, 600))
def test_a_record_that_is_cut_off_was_never_spoken_of(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    folder = tmp_path_factory.mktemp("log")
    filled(folder, 5)
    (path,) = folder.iterdir()
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    log = ResultLog(folder, "j")
    found = [message.seq for message in log.recover()]
    assert found == list(range(1, len(found) + 1))
    assert len(found) == 5 or cut < len(data)
    log.append(result(len(found) + 1), b"next")
    assert [seq for seq, _ in read_all(log)] == [*found, len(found) + 1]
    assert [entry.name for entry in folder.iterdir()] == [path.name], "that is no damage"


def test_damage_is_set_aside_with_a_message_and_the_rest_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, 5)
    (path,) = tmp_path.iterdir()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    log = ResultLog(tmp_path, "j")
    with caplog.at_level(logging.WARNING):
        found = [message.seq for message in log.recover()]
    assert found == [1, 2]
    damaged = tmp_path / f"damaged-{path.name}"
    assert damaged.read_bytes() == bytes(data)
    assert str(damaged) in caplog.text
    log.append(result(3), b"again")
    assert [seq for seq, _ in read_all(log)] == [1, 2, 3]


def test_a_disk_that_is_full_adds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = filled(tmp_path, 3)
    before = log.size
    written = []

    def full(file: object, data: bytes) -> None:
        file.write(data[:7])  # type: ignore[attr-defined]
        written.append(data)
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("nbdist.hub.resultlog._write", full)
        with pytest.raises(OSError, match="no space"):
            log.append(result(4), b"payload 4")
    assert written
    assert log.size == before == next(tmp_path.iterdir()).stat().st_size
    log.append(result(4), b"payload 4")
    assert read_all(log) == EXPECTED[:4]


def test_jobs_whose_names_differ_in_case_only_do_not_share_a_file(tmp_path: Path) -> None:
    for job in ("job", "JOB", "../job"):
        ResultLog(tmp_path, job).append(result(1), b"")
    assert len({path.name.lower() for path in tmp_path.iterdir()}) == 3
