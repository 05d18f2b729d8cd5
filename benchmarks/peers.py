"""nbdist and what people use today, behind one small interface, each with two local workers.

A peer that is not installed is told as missing. `chunks` is what its users must choose by hand; nbdist ignores it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import psutil

WORKERS = 2
INTERRUPT_SECONDS = 0.2
"""After so long somebody presses Ctrl-C."""


class Peer(Protocol):
    """A pool of two workers; made by calling the class, ended by `close`."""

    name: str
    module: str
    """What must be importable."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        """All results in order, of a list that is cut into so many chunks where the peer wants that told."""

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        """One call, there and back."""

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        """Single calls, as many at once as come."""

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        """Calls that share one large array, as its users would pass it."""

    def close(self) -> None:
        """Ends the workers."""


class Nbdist:
    name = "nbdist"
    module = "nbdist"

    def __init__(self) -> None:
        import nbdist

        self._pool = nbdist.connect(workers=WORKERS)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        return list(self._pool.map(function, items).result())

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._pool.submit(function, item).result()

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [future.result() for future in [self._pool.submit(function, item) for item in items]]

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        return list(self._pool.map(lambda item: function(array, item), items).result())

    def begin(self, function: Callable[[str], None], items: list[str]) -> Any:
        """A job that runs."""
        return self._pool.map(function, items, speculate=False)

    def cancel(self, job: Any) -> float:
        """Cancels it by its id, as `%distribute cancel` does, and waits for its end; gives the time of the request."""
        asked = time.monotonic()
        self._pool.cancel(job.id)
        job.wait()
        return asked

    def interrupt(self, job: Any) -> float:
        """Sends this process an interrupt while it waits for the job; gives the time of that."""
        asked = 0.0

        def press() -> None:
            nonlocal asked
            asked = time.monotonic()
            os.kill(os.getpid(), signal.SIGINT)

        threading.Timer(INTERRUPT_SECONDS, press).start()
        with contextlib.suppress(KeyboardInterrupt):
            job.result()
        return asked

    def close(self) -> None:
        self._pool.close()


class NbdistOfTwo(Nbdist):
    """A hub and two workers of one slot each, as on two machines: one of them can die."""

    def __init__(self) -> None:
        import nbdist
        from benchmarks.soak import Pool

        self._folder = tempfile.TemporaryDirectory()
        self._machines = Pool(Path(self._folder.name))
        self._pool = nbdist.connect(self._machines.connect)
        self._pool.wait(workers=2)

    @property
    def pool(self) -> Any:
        """The notebook's pool."""
        return self._pool

    @property
    def one(self) -> int:
        """The process of the worker that may die."""
        return self._machines.other_pid

    def kill_one(self) -> None:
        """One of the two is gone for good."""
        self._machines.kill_worker()

    def freeze_one(self) -> None:
        """It stands still, as a closed laptop does."""
        os.kill(self.one, signal.SIGSTOP)

    def kill_hub(self) -> float:
        """Gives the time."""
        began = time.monotonic()
        self._machines.end_hub()
        return began

    def restart_hub(self) -> float:
        """On the same directory; gives the time at which its process was begun."""
        began = time.monotonic()
        self._machines.start_hub()
        return began

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.one, signal.SIGCONT)
        super().close()
        self._machines.end()
        self._folder.cleanup()


class ProcessPool:
    name = "ProcessPool"
    module = "concurrent.futures"

    def __init__(self) -> None:
        from concurrent.futures import ProcessPoolExecutor

        self._pool = ProcessPoolExecutor(WORKERS)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        return list(self._pool.map(function, items, chunksize=max(1, len(items) // chunks)))

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._pool.submit(function, item).result()

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [future.result() for future in [self._pool.submit(function, item) for item in items]]

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        return [future.result() for future in [self._pool.submit(function, array, item) for item in items]]

    def close(self) -> None:
        self._pool.shutdown()


class Joblib:
    name = "joblib"
    module = "joblib"

    def __init__(self) -> None:
        import joblib

        self._joblib = joblib
        self._pool = joblib.Parallel(WORKERS)
        self._pool.__enter__()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        delayed = self._joblib.delayed(function)
        pool = self._joblib.Parallel(WORKERS, batch_size=max(1, len(items) // chunks))
        return list(pool(delayed(item) for item in items))

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._pool([self._joblib.delayed(function)(item)])[0]

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(self._pool(self._joblib.delayed(function)(item) for item in items))

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        return list(self._pool(self._joblib.delayed(function)(array, item) for item in items))

    def close(self) -> None:
        from joblib.externals.loky import get_reusable_executor

        self._pool.__exit__(None, None, None)
        get_reusable_executor().shutdown(wait=True)


class Ipyparallel:
    name = "ipyparallel"
    module = "ipyparallel"

    def __init__(self) -> None:
        import ipyparallel

        self._cluster = ipyparallel.Cluster(n=WORKERS, log_level=logging.ERROR)
        self._client = self._cluster.start_and_connect_sync(activate=False)
        self._view = self._client.load_balanced_view()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        return list(self._view.map_sync(function, items, chunksize=max(1, len(items) // chunks)))

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._view.apply_sync(function, item)

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [result.get() for result in [self._view.apply_async(function, item) for item in items]]

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        return [result.get() for result in [self._view.apply_async(function, array, item) for item in items]]

    def close(self) -> None:
        self._client.close()
        self._cluster.stop_cluster_sync()


class Dask:
    name = "Dask"
    module = "distributed"

    def __init__(self) -> None:
        from distributed import Client, LocalCluster

        self._cluster = LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address=None, silence_logs=logging.ERROR
        )
        self._client = Client(self._cluster)

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        size = max(1, len(items) // chunks)
        parts = [items[at : at + size] for at in range(0, len(items), size)]
        futures = [self._client.submit(_each, function, part, pure=False) for part in parts]
        return [value for part in self._client.gather(futures) for value in part]

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._client.submit(function, item, pure=False).result()

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return list(self._client.gather([self._client.submit(function, item, pure=False) for item in items]))

    def kill_one(self) -> None:
        """One of the two; the cluster starts another by itself."""
        os.kill(min(self._client.run(os.getpid).values()), signal.SIGKILL)

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        shared = self._client.scatter(array, broadcast=True)
        calls = [self._client.submit(function, shared, item, pure=False) for item in items]
        return list(self._client.gather(calls))

    def close(self) -> None:
        self._client.close()
        self._cluster.close()


class Ray:
    name = "Ray"
    module = "ray"

    def __init__(self) -> None:
        import ray

        self._ray = ray
        ray.init(num_cpus=WORKERS, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
        self._made: dict[Any, Any] = {}

    def _remote(self, function: Callable[..., Any]) -> Any:
        if function not in self._made:
            self._made[function] = self._ray.remote(function)
        return self._made[function]

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], chunks: int) -> list[Any]:
        size = max(1, len(items) // chunks)
        run = self._remote(_each)
        parts = [run.remote(function, items[at : at + size]) for at in range(0, len(items), size)]
        return [value for part in self._ray.get(parts) for value in part]

    def call(self, function: Callable[[Any], Any], item: Any) -> Any:
        return self._ray.get(self._remote(function).remote(item))

    def many(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        run = self._remote(function)
        return list(self._ray.get([run.remote(item) for item in items]))

    def kill_one(self) -> None:
        """One of the processes; Ray starts another by itself."""
        found = {found.pid for found in psutil.Process().children(recursive=True) if "ray::" in found.name()}
        os.kill(min(found), signal.SIGKILL)

    def with_array(self, function: Callable[[Any, int], Any], array: Any, items: Sequence[int]) -> list[Any]:
        shared = self._ray.put(array)
        run = self._remote(function)
        return list(self._ray.get([run.remote(shared, item) for item in items]))

    def close(self) -> None:
        self._ray.shutdown()


def _each(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    return [function(item) for item in items]


ALL: tuple[type[Any], ...] = (Nbdist, ProcessPool, Joblib, Ipyparallel, Dask, Ray)


def is_installed(peer: type[Any]) -> bool:
    """Whether the peer can be imported (which is done here, so that no figure counts it)."""
    with contextlib.suppress(ImportError):
        importlib.import_module(peer.module)
        return True
    return False
