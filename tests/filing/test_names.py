"""Names of files that one machine may give and another must live with."""

from __future__ import annotations

import pytest

from nbdist.filing import names


@pytest.mark.parametrize("name", ["a", "a.b", "sub/a", "…/ä", " a", "con", "a:b", "..a", "a..", "-rf"])
def test_names_that_may_be(name: str) -> None:
    assert names.why_not(name) == ""


@pytest.mark.parametrize(
    "name", ["", "/a", "a/", "../a", "a/../b", ".", "./a", "a//b", "a\0", "x" * 256, "a/" * 600 + "a", "\udcff"]
)
def test_names_that_may_not(name: str) -> None:
    assert names.why_not(name)


@pytest.mark.parametrize(
    ("name", "there"),
    [
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("sub/lpt1.csv", "sub/_lpt1.csv"),
        ("a:b", "a_b"),
        ("a\\b", "a_b"),
        ("a?.txt ", "a_.txt"),
        ("...", "_"),
        ("console", "console"),
    ],
)
def test_names_that_windows_does_not_have(name: str, there: str) -> None:
    assert names.usable_here(name, "win32") == there
    assert names.usable_here(name, "linux") == name


def test_numbers_stand_before_the_ending() -> None:
    assert names.numbered("plots/a.png", 17) == "plots/a-17.png"
    assert names.numbered("a.tar.gz", 1) == "a.tar-1.gz"
    assert names.numbered("notes", 2) == "notes-2"
    assert names.numbered(".hidden", 3) == ".hidden-3"
    assert names.numbered("a.b/c", 4) == "a.b/c-4"


def test_names_that_a_file_system_takes_for_one_have_one_key() -> None:
    assert names.key("Plot.PNG") == names.key("plot.png")
    assert names.key("a\u0308") == names.key("ä")
    assert names.key("a") != names.key("b")
