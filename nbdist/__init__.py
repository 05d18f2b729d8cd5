"""Run a notebook cell on every computer in the room.

The public names are imported when they are first used, so that `import nbdist` is cheap in a worker's slot.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_HOMES: dict[str, str] = {
    "ItemFailure": "nbdist.client.failures",
    "Job": "nbdist.client.job",
    "NbdistError": "nbdist.errors",
    "Pool": "nbdist.client.pool",
    "RemoteTraceback": "nbdist.errors",
    "ResultFile": "nbdist.client.tofile.opened",
    "Values": "nbdist.client.values",
    "connect": "nbdist.client.pool",
    "file": "nbdist.filing.inputs",
    "files": "nbdist.filing.written",
    "last_job": "nbdist.client.pool",
    "rng": "nbdist.execution.random",
}
"""Public name -> the module that holds it."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'nbdist' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext nbdist`: registers `%distribute` and `%%distribute`."""
    from nbdist.notebook.magics import load

    load(shell)
