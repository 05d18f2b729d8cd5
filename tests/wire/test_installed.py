"""Lists of what is installed: one hash for one list, and messages that fit."""

from __future__ import annotations

import pytest

from nbdist.wire import frames
from nbdist.wire.installed import MAX_MODULES, MAX_NAME_CHARS, MAX_PACKAGES, Installed, is_plain, normal


@pytest.mark.parametrize("name", ["Scikit_Learn", "scikit.learn", "scikit-learn", "SCIKIT--learn"])
def test_all_spellings_of_a_name_are_one(name: str) -> None:
    assert normal(name) == "scikit-learn"


def test_other_lists_have_other_hashes() -> None:
    lists = [
        Installed(),
        Installed((("a", "1"),)),
        Installed((("a", "2"),)),
        Installed((), ("a",)),
        Installed((), ("b",)),
    ]
    assert len({each.digest for each in lists}) == len(lists)
    assert Installed((("a", "1"),), ("a",)).digest == Installed((("a", "1"),), ("a",)).digest


@pytest.mark.parametrize(("packages", "modules"), [(0, 0), (1, 0), (0, 1), (151, 401), (MAX_PACKAGES, MAX_MODULES)])
def test_a_list_goes_in_messages_that_fit(packages: int, modules: int) -> None:
    wide = "x" * (MAX_NAME_CHARS - 6)
    installed = Installed(
        tuple((f"{wide}{number:06}", f"{wide}{number:06}") for number in range(packages)),
        tuple(f"{wide}{number:06}" for number in range(modules)),
    )
    sent = [frames.decode(frames.encode(message))[0] for message in installed.messages()]
    assert tuple(pair for message in sent for pair in message.packages) == installed.packages  # type: ignore[attr-defined]
    assert tuple(name for message in sent for name in message.modules) == installed.modules  # type: ignore[attr-defined]
    assert [message.more for message in sent] == [True] * (len(sent) - 1) + [False]  # type: ignore[attr-defined]
    assert {message.digest for message in sent} == {installed.digest}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "is_so"),
    [("numpy", True), ("2.4.6+cu12", True), ("", False), ("a" * 101, False), ("é", False), ("a\nb", False)],
)
def test_what_can_be_told(text: str, is_so: bool) -> None:
    assert is_plain(text) is is_so
