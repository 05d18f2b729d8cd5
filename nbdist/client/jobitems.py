"""The items of a job: as a client gives them, and as engines take them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from nbdist.client.feed import feed
from nbdist.client.inbox import Inbox
from nbdist.client.items import Items, NoItems, RangeItems, items_of
from nbdist.engines.base import Block, JobSpec


def items_for(ranges: Sequence[range] | None, iterable: Iterable[Any] | None, total: int | None, each: str) -> Items:
    """The items that a task is to be run on: the product of `ranges`, or `iterable`, or none. Raises TypeError."""
    if each:
        return NoItems()
    if ranges:
        return RangeItems(list(ranges))
    if iterable is None:
        raise TypeError("a task needs items: ranges, an iterable, or each='machine'")
    return items_of([iterable], star=False, total=total)


def with_items(spec: JobSpec, items: Items, inbox: Inbox) -> JobSpec:
    """The job with its items in the forms that engines take: as they are, and as numbers or blocks."""
    spec = replace(spec, items=items.read(), context={"fail_input": inbox.fail_input})
    if spec.ranges:
        return spec
    return replace(spec, blocks=_telling(feed(items), inbox))


def _telling(blocks: Iterator[Block], inbox: Inbox) -> Iterator[Block]:
    """The blocks; what they raise is told to the job as well as to the engine."""
    try:
        yield from blocks
    except GeneratorExit:
        raise
    except BaseException as error:
        inbox.fail_input(error)
        raise
