"""A few updates a second, in order, bounded, and nothing left out without a mark."""

from __future__ import annotations

import re

import pytest

from nbdist.client.state import OutputText
from nbdist.notebook import printed
from nbdist.notebook.printed import Printout, joined
from nbdist.wire.messages import Stream


def out(text: str, item: int = 0, stream: Stream = "stdout", cut_bytes: int = 0) -> OutputText:
    return OutputText(item, stream, "here", text, cut_bytes)


def test_the_first_text_comes_at_once_and_the_others_a_few_times_a_second() -> None:
    printout = Printout()
    written = []
    for turn in range(100):  # ten seconds
        printout.add([out(f"{turn} {number}\n") for number in range(100)])
        written.append(printout.due(turn / 10).get("stdout", ""))
    written.append(printout.rest().get("stdout", ""))
    assert written[0].startswith("0 0\n")
    assert "".join(written) == "".join(f"{turn} {number}\n" for turn in range(100) for number in range(100))
    assert sum(map(bool, written)) <= 10 / printed.UPDATE_SECONDS + 2


def test_the_streams_stay_apart() -> None:
    printout = Printout()
    printout.add([out("a"), out("A", stream="stderr"), out("b"), out("B", stream="stderr")])
    assert printout.due(0.0) == {"stdout": "ab", "stderr": "AB"}
    assert printout.rest() == {}


def test_what_was_left_out_on_the_way_is_marked_where_it_was() -> None:
    assert joined([out("a\n", 3, cut_bytes=1000), out("b\n", 4)]) == {
        "stdout": "a\n\n[1,000 bytes more, of items up to 3, left out]\nb\n"
    }


def test_a_flood_is_cut_with_a_mark_and_counted() -> None:
    printout = Printout()
    size = printed.MAX_WAITING_CHARS // 4
    written = []
    for turn in range(10):
        printout.add([out(str(turn) * size)])
        written.append(printout.due(turn / 100).get("stdout", ""))
    assert all(len(text) <= printed.UPDATE_CHARS for text in written)
    text = "".join(written) + printout.rest()["stdout"]
    (left_out,) = re.findall(r"\[([\d,]+) characters left out: they came faster", text)
    assert len(re.findall(r"\d", re.sub(r"\[.*?\]", "", text))) + int(left_out.replace(",", "")) == 10 * size


def test_a_page_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printed, "MAX_PAGE_CHARS", 10_000)
    printout = Printout()
    text = ""
    for turn in range(100):
        printout.add([out("x" * 1000)])
        text += printout.due(float(turn)).get("stdout", "")
    assert text.count("x" * 1000) == 10
    assert text.count("no more is shown under this cell") == 1
    assert "[90,000 characters left out]" in printout.rest()["stdout"]


def test_what_a_setup_wrote_has_its_name_and_its_machine_before_each_line() -> None:
    text = OutputText(3, "stdout", "laptop", "one\ntwo", 7, "model")
    mark = "[setup 'model' on laptop] "
    assert joined([text])["stdout"] == f"{mark}one\n{mark}two\n\n[7 bytes more, of setup 'model', left out]\n"
