"""Environment variables for a while."""

from __future__ import annotations

import pytest

from nbdist.execution.lending import lent


def test_variables_are_what_they_were_afterwards() -> None:
    environment = {"HOME": "/home", "OLD": "1"}
    with lent(environment, {"OLD": "2", "NEW": "3"}):
        assert environment == {"HOME": "/home", "OLD": "2", "NEW": "3"}
        environment["OLD"] = "changed"
        del environment["NEW"]
    assert environment == {"HOME": "/home", "OLD": "1"}


def test_names_may_be_none() -> None:
    names: dict[str, object] = {"a": None}
    with lent(names, {"a": 1, "b": None}):
        assert names == {"a": 1, "b": None}
    assert names == {"a": None}


def test_also_if_the_code_raises() -> None:
    environment: dict[str, str] = {}
    with pytest.raises(KeyboardInterrupt), lent(environment, {"NEW": "3"}):
        raise KeyboardInterrupt
    assert environment == {}
