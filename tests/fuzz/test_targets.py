"""Each target of `make fuzz` for a moment: bytes that nearly make sense raise nothing but what is declared."""

from __future__ import annotations

import fuzzing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize("name", fuzzing.TARGETS)
def test_bytes_that_make_sense_are_understood(name: str) -> None:
    for seed in fuzzing.TARGETS[name].seeds:
        fuzzing.TARGETS[name].run(seed)


@pytest.mark.parametrize("name", fuzzing.TARGETS)
@settings(max_examples=300)
@given(data=st.data())
def test_nothing_but_the_declared_error_is_raised(name: str, data: st.DataObject) -> None:
    target = fuzzing.TARGETS[name]
    target.run(data.draw(fuzzing.mutations(target.seeds)))
