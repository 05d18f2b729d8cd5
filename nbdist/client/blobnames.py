"""The names of captured values. A value that has not changed since it was last named is not hashed again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import xxhash

from nbdist.wire.blobs import blob_name

MAX_KNOWN = 10_000

_known: OrderedDict[tuple[int, bytes], str] = OrderedDict()
"""Size and fast fingerprint -> name."""


def name_of(view: memoryview, stage: Callable[[memoryview], Callable[[str], None]] | None = None) -> str:
    """The blob's name (SHA-256 over pieces), looked up by a fingerprint that is ten times as fast.

    A value that has no name yet is given to `stage`, which may copy it meanwhile (`engines.base.Engine.stage`).

    The fingerprint never leaves this process, which hashes only its own values: nobody gains from a collision.
    """
    key = (view.nbytes, xxhash.xxh3_128_digest(view))
    name = _known.get(key)
    if name is None:
        named = None if stage is None else stage(view)
        name = _known[key] = blob_name([view])
        if named is not None:
            named(name)
        while len(_known) > MAX_KNOWN:
            _known.popitem(last=False)
    return name
