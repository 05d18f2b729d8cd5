"""The fixtures of `tests/support/machines.py`, for the tests here."""

from __future__ import annotations

from machines import connect, lan, own_pool, start, start_once

__all__ = ["connect", "lan", "own_pool", "start", "start_once"]
