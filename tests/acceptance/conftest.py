"""The fixtures of `tests/support/machines.py`, for the tests here."""

from __future__ import annotations

from machines import connect, freeze, hub_process, lan, notebook, own_pool, start, start_once

__all__ = ["connect", "freeze", "hub_process", "lan", "notebook", "own_pool", "start", "start_once"]
