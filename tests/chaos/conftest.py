"""The fixtures of `tests/support/machines.py`, for the tests here."""

from __future__ import annotations

from machines import connect, lan, own_pool, start

__all__ = ["connect", "lan", "own_pool", "start"]
