"""Items without a value, as the error that the user sees."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from nbdist.client.failures import from_fault
from nbdist.errors import ItemError, ResultError
from nbdist.wire.messages import FaultKind, ItemFault


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_each_kind_of_fault_names_item_machine_and_reason(kind: Any) -> None:
    failure = from_fault(ItemFault(7, kind, "the reason", "laptop", 3), "item")
    assert isinstance(failure.error, ItemError)
    assert all(text in str(failure.error) for text in ("item 7 = 'item'", "laptop", "the reason", "3 attempts"))


def test_a_value_that_cannot_be_brought_home_is_an_error_of_the_result() -> None:
    assert isinstance(from_fault(ItemFault(7, "unsent", "no room", "laptop", 3), None).error, ResultError)
