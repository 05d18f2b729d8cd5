"""The options of a job: checked, one clear message each, and turned into what the engines know."""

from __future__ import annotations

import builtins
import operator
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypedDict

from nbdist.execution.folding import pairwise
from nbdist.wire import needs
from nbdist.wire.messages import JobOptions, OnError

SEED_BITS = 63
MAX_RETRIES = 1_000
MAX_SECONDS = 366 * 86_400.0
"""Of a time limit."""

Fold = Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Reduction:
    """How values are folded, and what becomes of the fold."""

    given: Callable[..., Any]
    fold: Fold

    @classmethod
    def of(cls, given: Callable[..., Any] | None) -> Reduction | None:
        """From what the user gave: None, a function of two values, or one of the builtins."""
        if given is None:
            return None
        if not callable(given):
            raise TypeError(f"reduce is a function of two values, or sum, min, max, any or all; not {given!r}")
        return cls(given, pairwise(given))

    def final(self, folded: list[Any]) -> Any:
        """The result from the folded value in a list, or from an empty list. Raises ValueError where there is none."""
        if folded:
            return bool(folded[0]) if self.given in (builtins.any, builtins.all) else folded[0]
        if self.given in (builtins.sum, builtins.any, builtins.all):
            return self.given(())
        name = getattr(self.given, "__name__", "reduce")
        raise ValueError(f"{name}() of no values: no item has left one to fold")


class Rules(TypedDict, total=False):
    """Options of a job that engines know, as `Pool.map` takes them."""

    task_size: int | None
    time_limit: float | None
    retries: int
    on_error: str
    seed: int | None
    speculate: bool


def make_options(
    *,
    reduce: bool,
    filters: bool,
    stop_when: bool,
    task_size: int | None = None,
    time_limit: float | None = None,
    retries: int = 0,
    on_error: str = "stop",
    seed: int | None = None,
    speculate: bool = True,
    files: bool = False,
) -> JobOptions:
    """The rules of a job. Raises ValueError or TypeError, with what is allowed instead."""
    if reduce and stop_when:
        raise ValueError("reduce and stop_when exclude each other: stop_when gives the one value that met it")
    _check_whole("task_size", task_size, at_least=1, none_means="the pool decides")
    _check_whole("retries", retries, at_least=0)
    _check_whole("seed", seed, at_least=0, none_means="a random one")
    seconds = _seconds("time_limit", time_limit)
    if retries > MAX_RETRIES:
        raise ValueError(f"retries is at most {MAX_RETRIES}, not {retries}")
    if seed is not None and seed >= 1 << SEED_BITS:
        raise ValueError(f"seed is smaller than 2**{SEED_BITS}, not {seed}")
    return JobOptions(
        reduce=reduce,
        filters=filters,
        stop_when=stop_when,
        task_size=operator.index(task_size or 0),
        time_limit=seconds,
        retries=operator.index(retries),
        on_error=_on_error(on_error),
        seed=secrets.randbits(SEED_BITS) if seed is None else operator.index(seed),
        seeded=seed is not None,
        speculate=bool(speculate),
        files=files,
    )


def checked_needs(value: Any) -> str:
    """What a machine must have, as text. Raises TypeError and ValueError, with what may stand there."""
    if not isinstance(value, str):
        raise TypeError(f'needs is a text such as "gpu" or "memory>=8GB", not {value!r}')
    needs.parse(value)
    return value.strip()


def checked_env(names: str | Iterable[str]) -> dict[str, str]:
    """The values of environment variables, by name. Raises TypeError, and ValueError for one that is not set here."""
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"env is the name of an environment variable, or several; not {name!r}")
        if name not in os.environ:
            raise ValueError(
                f"the environment variable {name!r} is not set here, so that it cannot go along; "
                f"os.environ[{name!r}] = … sets it"
            )
    return {name: os.environ[name] for name in given}


def _on_error(value: str) -> OnError:
    if value == "stop":
        return "stop"
    if value == "keep":
        return "keep"
    raise ValueError(f"on_error is 'stop' or 'keep', not {value!r}")


def _seconds(name: str, value: Any) -> float:
    """A time in seconds; 0 for None."""
    if value is None:
        return 0.0
    wanted = f"{name} is a number of seconds above 0 and at most {MAX_SECONDS:.0f}, or None: no limit; not {value!r}"
    if isinstance(value, bool) or not hasattr(type(value), "__float__"):
        raise TypeError(wanted)
    if not 0 < float(value) <= MAX_SECONDS:
        raise ValueError(wanted)
    return float(value)


def _check_whole(name: str, value: Any, *, at_least: int, none_means: str = "") -> None:
    if value is None and none_means:
        return
    wanted = f"{name} is a whole number from {at_least}" + (f", or None: {none_means}" if none_means else "")
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{wanted}; not {value!r}")
    if value < at_least:
        raise ValueError(f"{wanted}; not {value!r}")
