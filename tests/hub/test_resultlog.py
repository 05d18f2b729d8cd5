"""Results on disk: they survive the process, a torn end is cut off, damage is set aside."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbdist.hub.resultlog import ENTRY_BYTES, ResultLog
from nbdist.scheduler.orders import ResultsSealed
from nbdist.wire.messages import BlobRef, Result


def result(seq: int) -> Result:
    return Result("j", seq, 10 * seq, 10 * seq + 10, "w")


def filled(folder: Path, count: int, *, segment_bytes: int = 1 << 20) -> ResultLog:
    log = ResultLog(folder, "j", segment_bytes)
    for seq in range(1, count + 1):
        log.append(result(seq), b"payload %d" % seq)
    return log


def read_all(log: ResultLog) -> list[tuple[int, bytes]]:
    found = []
    (spot, _), end = log.seek(0), log.end
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
    assert log.oldest(1) is None
    assert log.oldest(20) == 0
    remove = log.detach_oldest()
    rest = read_all(log)
    assert rest == EXPECTED[-len(rest) :]
    assert 0 < len(rest) < 20
    assert log.weight_bytes == sum(ENTRY_BYTES + len(payload) for _, payload in rest)
    again = ResultLog(tmp_path, "j", 300)
    assert len(list(again.recover())) == 20, "it goes only once the journal says so"
    remove()
    again = ResultLog(tmp_path, "j", 300)
    assert [found.seq for found in again.recover() if isinstance(found, Result)] == [seq for seq, _ in rest]
    while log.oldest(20) is not None:
        log.detach_oldest()()
    assert len(list(tmp_path.iterdir())) <= 1, "the newest stays unless it is sealed"
    log.seal()
    while log.oldest(20) is not None:
        log.detach_oldest()()
    assert list(tmp_path.iterdir()) == []
    assert log.weight_bytes == 0
    log.append(result(21), b"on")
    assert read_all(log) == [(21, b"on")]


def test_a_file_that_is_sealed_need_not_be_read_again(tmp_path: Path) -> None:
    told: list[ResultsSealed] = []
    blob = BlobRef("0" * 64, 5_000)
    log = ResultLog(tmp_path, "j", 1 << 20, told.append)
    for seq in range(1, 11):
        failed = (10 * seq,) if seq == 4 else ()
        log.append(replace(result(seq), failed=failed, blob=blob if seq == 2 else None), b"")
    assert told == []
    log.seal()
    log.seal()
    (sealed,) = told
    assert (sealed.done, sealed.last, sealed.failed_items, sealed.first_failed) == (((10, 110),), 10, 1, 40)
    assert (sealed.blobs, sealed.weight_bytes) == (((2, blob),), 10 * ENTRY_BYTES + 5_000)
    log.append(result(11), b"x")
    again = ResultLog(tmp_path, "j", 1 << 20, told.append)
    found = list(again.recover({sealed.number: sealed}))
    assert found == [sealed, result(11)]
    assert (again.weight_bytes, again.blob_bytes) == (log.weight_bytes, log.blob_bytes)
    assert [seq for seq, _ in read_all(again)] == list(range(1, 12))
    stale = replace(sealed, size=1)
    assert len(list(ResultLog(tmp_path, "j", 1 << 20).recover({0: stale}))) == 11


def test_large_results_go_with_their_file_before_it_is_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.hub.resultlog.SEGMENT_BLOB_BYTES", 1_000)
    log = ResultLog(tmp_path, "j")
    for seq in range(1, 8):
        log.append(replace(result(seq), blob=BlobRef("0" * 64, 400)), b"")
    assert log.oldest(2) is None
    assert log.oldest(3) == 0
    log.detach_oldest()
    assert log.blob_bytes == 1_600
    assert log.oldest(5) is None
    assert log.oldest(6) == 1


@pytest.mark.parametrize("seq", range(22))
def test_the_place_behind_a_result_is_found_and_what_is_left_from_there(tmp_path: Path, seq: int) -> None:
    log = filled(tmp_path, 20, segment_bytes=300)
    spot, left = log.seek(seq)
    assert left == sum(ENTRY_BYTES + len(payload) for _, payload in EXPECTED[seq:])
    assert (spot == log.end) is (seq >= 20)
    if seq < 20:
        assert log.read(spot)[0].seq == seq + 1


def test_behind_damage_nothing_is_used(tmp_path: Path) -> None:
    filled(tmp_path, 20, segment_bytes=300)
    path = next(path for path in tmp_path.iterdir() if path.name.endswith("-1"))
    path.write_bytes(bytes(len(path.read_bytes())))
    log = ResultLog(tmp_path, "j", 300)
    found = [message.seq for message in log.recover() if isinstance(message, Result)]
    assert found == list(range(1, len(found) + 1))
    assert [seq for seq, _ in read_all(log)] == found
    assert len(found) < 10
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("damaged-")]) >= 2


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
    (damaged,) = tmp_path.glob(f"damaged-*-{path.name}")
    assert damaged.read_bytes() == bytes(data)
    assert str(damaged) in caplog.text
    log.append(result(3), b"again")
    assert [seq for seq, _ in read_all(log)] == [1, 2, 3]


def test_noise_is_not_taken_for_a_record_that_was_cut_off(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, 5)
    (path,) = tmp_path.iterdir()
    noise = b"\xff" * path.stat().st_size
    path.write_bytes(noise)
    assert list(ResultLog(tmp_path, "j").recover()) == []
    (aside,) = tmp_path.glob(f"damaged-*-{path.name}")
    assert aside.read_bytes() == noise
    assert str(aside) in caplog.text


def test_what_is_no_file_is_set_aside_and_other_names_are_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, 5)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / f"{path.name}~")
    path.mkdir()
    (path / "something").touch()
    log = ResultLog(tmp_path, "j")
    assert list(log.recover()) == []
    (aside,) = tmp_path.glob(f"damaged-*-{path.name}")
    assert (aside / "something").exists()
    assert str(aside) in caplog.text
    log.append(result(1), b"again")
    assert [seq for seq, _ in read_all(log)] == [1]
    assert (tmp_path / f"{path.name}~").exists()


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


def test_behind_a_file_that_is_missing_nothing_is_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path, 20, segment_bytes=300)
    next(path for path in tmp_path.iterdir() if path.name.endswith("-1")).unlink()
    log = ResultLog(tmp_path, "j", 300)
    found = [message.seq for message in log.recover() if isinstance(message, Result)]
    assert found == list(range(1, len(found) + 1))
    assert len(found) < 10
    assert "damaged-" in caplog.text
    assert not [path for path in tmp_path.iterdir() if path.name.endswith("-2") and "damaged" not in path.name]
