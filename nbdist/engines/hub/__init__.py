"""The engine whose jobs run at a hub. `open_engine` is all that the API needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbdist.engines.base import Engine
from nbdist.errors import AddressError

if TYPE_CHECKING:
    from nbdist.embedded import PrivatePool


def open_engine(address: str | None, workers: int | None) -> Engine:
    """Connects to a pool: at a URL or a saved name; with neither, this user's embedded pool, started if need be.

    `workers`: a private pool on this machine with so many slots, which ends with `close()` or with this process. Raises
    AddressError, AccessError, VersionError and ConnectionFailedError.
    """
    # what is to be started is started first: it gets ready while this process imports the rest
    from concurrent.futures import ThreadPoolExecutor

    from nbdist import embedded

    if workers is not None:
        if address is not None:
            raise AddressError("give an address or workers=, not both: workers= starts a pool of its own here")
        return _open_private(embedded.start_private(workers))
    if address is None:
        with ThreadPoolExecutor(1) as thread:
            started = thread.submit(embedded.ensure_hub)
            from nbdist.engines.hub.engine import HubEngine
            from nbdist.engines.hub.tending import Tender

            started.result()
        return HubEngine(embedded.find, tender=Tender(embedded.is_worker_gone, embedded.start_worker))
    from nbdist.engines.hub import names
    from nbdist.engines.hub.engine import HubEngine
    from nbdist.wire.address import Address

    found = Address.parse(address) if "://" in address else names.load(address)
    return HubEngine(lambda urgent: found)


def _open_private(pool: PrivatePool) -> Engine:
    try:
        from nbdist.engines.hub.engine import HubEngine
        from nbdist.engines.hub.tending import Tender

        tender = Tender(pool.is_worker_gone, pool.start_worker)
        return HubEngine(lambda urgent: pool.wait(), pool.close, tender)
    except BaseException:
        pool.close()
        raise
