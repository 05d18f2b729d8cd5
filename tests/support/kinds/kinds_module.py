"""What a person keeps beside a notebook; cells of `pool_cells.txt` import it."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn


class KindsError(Exception):
    """An error with an argument of its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code


class Color(enum.Enum):
    RED = 1
    GREEN = 2


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0

    @classmethod
    def origin(cls) -> Point:
        return cls(0)


class Base:
    def name(self) -> str:
        return "base"

    def parts(self) -> list[str]:
        return [self.name(), type(self).__name__]


def make(n: int) -> Callable[[int], int]:
    def add(x: int) -> int:
        return x + n

    return add


def counting(function: Callable[[int], int]) -> Callable[[int], tuple[int, str]]:
    @functools.wraps(function)
    def wrapper(x: int) -> tuple[int, str]:
        return function(x), function.__name__

    return wrapper


@counting
def counted(x: int) -> int:
    return x + 1


@functools.lru_cache
def fib(n: int) -> int:
    return n if n < 2 else fib(n - 1) + fib(n - 2)


def fails(x: int) -> NoReturn:
    raise KindsError(x)
