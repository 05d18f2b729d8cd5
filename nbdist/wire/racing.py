"""Which of a hub's addresses to dial first: the one that answers.

A laptop has several addresses, and from here all but one may be silent. They are tried one after another, each a little
after the one before, until one has accepted the connection with the right certificate.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Sequence

from nbdist.wire.address import Address
from nbdist.wire.tls import pinned_context

NEXT_SECONDS = 1.0
"""An address that is silent for so long is not waited for alone; one that fails is not waited for at all."""
LIMIT_SECONDS = 5.0
"""For the last one."""


async def by_answer(addresses: Sequence[Address]) -> list[Address]:
    """All of them: the one that answers first at the front, then those that failed, then those that were silent.

    A single one is not tried.
    """
    if len(addresses) < 2:
        return list(addresses)
    waiting = list(addresses)
    tries: dict[asyncio.Task[bool], Address] = {}
    failed: list[Address] = []
    try:
        while waiting or tries:
            if waiting:
                address = waiting.pop(0)
                tries[asyncio.ensure_future(_answers(address))] = address
            patience = NEXT_SECONDS if waiting else LIMIT_SECONDS
            done, _ = await asyncio.wait(tries, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                address = tries.pop(one)
                if one.result():
                    return [address, *(other for other in addresses if other is not address)]
                failed.append(address)
            if not done and not waiting:
                break
    finally:
        for one in tries:
            one.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
    return [*failed, *(address for address in addresses if address not in failed)]


async def _answers(address: Address) -> bool:
    """Whether a connection is accepted there, with the hub's certificate."""
    context = pinned_context(address.fingerprint) if address.tls else None
    try:
        _, writer = await asyncio.open_connection(address.host, address.port, ssl=context)
    except (OSError, ssl.SSLError, EOFError, ValueError):
        return False
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()
    return True
