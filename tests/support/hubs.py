"""What the tests of the hub say to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from nbdist.wire.messages import JobOptions, Machine, SubmitJob

MACHINE = Machine("host", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
WithHub: TypeAlias = Callable[..., None]
"""The fixture `with_hub`."""


def job(name: str, **fields: Any) -> SubmitJob:
    """A job whose name is its id."""
    return SubmitJob(name, name, MACHINE, fields.pop("options", JobOptions()), **fields)
