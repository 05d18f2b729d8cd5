"""What items write leaves their slot with the part that has their results, and nothing stays behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nbdist.execution.task import Task
from nbdist.filing.left import Left
from nbdist.packing import pack_part, pack_run, tail_of, unpack_part
from nbdist.wire import messages as m
from nbdist.wire.messages.slots import LOST
from nbdist.worker.fileparts import FileParts
from nbdist.worker.workplace import Workplace


def part(stop: int, *failed: int) -> m.Part:
    return m.Part("j", (1, 1), 0, stop, 0.0, final=False, failed=failed)


def run_items(files: FileParts, position: list[int], work: Any, count: int) -> None:
    """As a slot does."""
    function = files.watched(Task(work)).function
    with files.given():
        for position[0] in range(count):
            try:
                function(position[0])
            except ValueError:
                continue


def write(i: int) -> None:
    from nbdist.filing import written

    (written.files() / f"{i}.txt").write_text(f"item {i}")
    if i == 1:
        raise ValueError("one")


def test_files_leave_with_the_part_of_their_items(tmp_path: Path) -> None:
    position = [0]
    files = FileParts(Workplace(tmp_path / "work"), "j", position, are_wanted=True)
    run_items(files, position, write, 4)
    taken = files.take(part(3, 2))  # the value of item 2 could not be packed
    assert taken is not None
    assert [(file.item, file.name) for file in taken.files] == [(0, "0.txt")]
    assert Left.decode(taken.tail) == Left(2, ("1.txt", "2.txt"))
    sent = taken.post(part(3, 2), [b"payload"])
    assert sent.part.files_at == 7
    data = Path(sent.path).read_bytes()
    assert data.startswith(b"payload")
    assert data.endswith(b"item 0")
    assert sent.part.blob is not None
    assert sent.part.blob.size == len(data)
    taken.remove()
    assert [path.name for path in (tmp_path / "work" / "files").iterdir()] == ["3"]
    again = files.take(part(4))
    assert again is not None
    assert [file.item for file in again.files] == [3]
    assert files.take(part(5)) is None


def test_what_nobody_wants_is_counted_and_goes(tmp_path: Path) -> None:
    position = [0]
    files = FileParts(Workplace(tmp_path / "work"), "j", position, are_wanted=False)
    run_items(files, position, write, 5)
    taken = files.take(part(5))
    assert taken is not None
    assert not taken.files
    assert Left.decode(taken.tail) == Left(5, ("0.txt", "1.txt", "2.txt"))
    taken.remove()
    assert list((tmp_path / "work" / "files").iterdir()) == []


def test_a_part_that_cannot_be_written_says_why(tmp_path: Path) -> None:
    position = [0]
    place = Workplace(tmp_path / "work")
    files = FileParts(place, "j", position, are_wanted=True)
    run_items(files, position, write, 1)
    taken = files.take(part(1))
    assert taken is not None
    Path(taken.files[0].path).write_text("another")
    sent = taken.post(part(1), [b"payload"])
    assert sent.path == (
        f"{LOST}the files of item 0 cannot be sent: the file 0.txt of item 0 was changed after the item had ended"
    )
    assert not list(place.parts().iterdir())


def test_a_try_again_begins_with_an_empty_folder(tmp_path: Path) -> None:
    from nbdist.filing import written

    position = [7]
    files = FileParts(Workplace(tmp_path / "work"), "j", position, are_wanted=True)
    seen = []

    def work(i: int) -> None:
        folder = written.files()
        seen.append(sorted(path.name for path in folder.iterdir()))
        (folder / f"try-{len(seen)}").touch()
        if len(seen) < 3:
            raise ValueError("again")

    function = files.watched(Task(work)).function
    with files.given():
        for _ in range(3):
            try:
                function(7)
            except ValueError:
                continue
    assert seen == [[], [], []]
    taken = files.take(part(8))
    assert taken is not None
    assert [file.name for file in taken.files] == ["try-3"]


def test_a_tail_is_behind_the_runs_and_changes_none_of_them() -> None:
    from nbdist.execution.run import Run

    runs = [pack_run(Run(0, 2, 0.5, [1, "two"])), pack_run(Run(2, 3, 0.1, failures=[(2, ValueError("x"))], kept=[]))]
    plain, tailed = b"".join(pack_part(runs)), b"".join(pack_part(runs, b"tail"))
    assert tail_of(plain) == b""
    assert tail_of(tailed) == b"tail"
    assert [run.values for run in unpack_part(tailed)] == [run.values for run in unpack_part(plain)]
    assert tail_of(b"") == tail_of(b"\xff" * 10) == b""


def test_what_is_left_is_told_in_one_line() -> None:
    left = Left.of(["b", "a", "d" * 500, "c"]) + Left.of(["e"])
    assert Left.decode(left.encode()) == left
    assert left.story("lab-2", are_wanted=False).startswith("5 files were left on lab-2 and removed: a, b, c, …; write")
    assert Left.of(["a"]).story("lab-2", are_wanted=True).startswith("1 file was left on lab-2 and removed: a; only")
    assert Left.of([]).encode() == b""
    for nonsense in (b"x", b"7", b"[1]", b"{}", json.dumps(["a", []]).encode(), b"\xff"):
        assert Left.decode(nonsense) == Left()


def look_at(sent: m.SlotPart) -> None:
    data = Path(sent.path).read_bytes()
    assert data[sent.part.files_at :].endswith(f"item {sent.part.stop - 1}".encode())


def test_a_slot_sends_files_and_keeps_nothing(slot: Any, packed: Any, tmp_path: Path) -> None:
    def work(i: int) -> int:
        import nbdist

        (nbdist.files() / f"{i}").write_text(f"item {i}")
        return i

    async def test(bench: Any) -> None:
        bench.run(packed(work), 0, 5, files=True)
        assert await bench.to_end() == list(range(5))
        parts = [message for message, _ in bench.passed if isinstance(message, m.SlotPart)]
        assert parts
        for sent in parts:
            look_at(sent)
        bench.host.send(m.ForgetJob("j"))
        bench.run(packed(lambda i: i), 0, 1, attempt=(1, 2))  # once it is done, the slice before is over for good
        await bench.until(m.Part)
        assert [path for path in (tmp_path / "slot-0.work").rglob("*") if path.is_file()] == []

    slot(test)
