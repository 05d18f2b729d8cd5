"""A job's task for other versions of Python at a hub: whole before anybody hears of it, and kept as the other form."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from nbdist.wire import messages as m
from nbdist.wire.blobs import blob_name

from .conftest import Client, hello_of

DATA = b"captured" * 100
BLOB = m.BlobRef(blob_name([DATA]), len(DATA))
TASK = b"source" * 1000
TASK_BLOB = m.BlobRef(blob_name([TASK]), len(TASK))


@contextlib.asynccontextmanager
async def worker(hub: Any, peer: str, python: str) -> AsyncIterator[Client]:
    hello = hello_of("worker", peer)
    async with hub.dial(hub.worker_key(peer)) as socket:
        client = Client(socket, peer)
        await client.send(replace(hello, machine=replace(hello.machine, python=python)))
        await client.until(m.Welcome)
        await client.send(m.WorkerFacts())
        yield client


def submit(hello: m.Hello, **fields: Any) -> m.SubmitJob:
    return m.SubmitJob("j", "job", hello.machine, m.JobOptions(), ranges=((0, 4, 1),), **fields)


def test_each_version_gets_its_form(with_hub: Any) -> None:
    async def scenario(hub: Any) -> None:
        async with (
            hub.client("notebook", "n") as notebook,
            worker(hub, "same", "3.11.1") as same,
            worker(hub, "other", "3.13.0") as other,
        ):
            await notebook.send(submit(hello_of("notebook", "n")), b"bytecode")
            assert (await same.until(m.PrepareJob))[1] == b"bytecode"
            assert (await notebook.until(m.NeedPortable))[0].job == "j"
            await notebook.send(m.PortableTask("j"), b"source")
            order, payload = await other.until(m.PrepareJob)
            assert (order.portable, payload) == (True, b"source")
            await notebook.send(m.PortableTask("j"), b"something else")
            async with worker(hub, "late", "3.12.1") as late:
                assert (await late.until(m.PrepareJob))[1] == b"source"

    with_hub(scenario)


def test_it_waits_for_its_blobs_and_only_for_those_that_are_not_here(with_hub: Any) -> None:
    async def scenario(hub: Any) -> None:
        key = hub.hub.keys.notebook
        async with hub.client("notebook", "n") as notebook, worker(hub, "other", "3.13.0") as other:
            await hub.request("PUT", f"/blobs/{BLOB.name}", key, DATA)
            await notebook.send(submit(hello_of("notebook", "n"), blobs=(BLOB,)), b"bytecode")
            await notebook.until(m.NeedPortable)
            await notebook.send(m.PortableTask("j", task=TASK_BLOB, blobs=(BLOB,)))
            while not (need := (await notebook.until(m.NeedBlobs))[0]).names:
                continue  # what the job itself needs: nothing
            assert need.names == (TASK_BLOB.name,)
            assert not [message for message, _ in other.log if isinstance(message, m.PrepareJob)]
            await hub.request("PUT", f"/blobs/{TASK_BLOB.name}", key, TASK)
            order, _ = await other.until(m.PrepareJob)
            assert (order.task, order.blobs) == (TASK_BLOB, (BLOB,))
            mine = hub.worker_key("other")
            assert (await hub.request("GET", f"/blobs/{TASK_BLOB.name}", mine))[:2] == (200, TASK)
            stranger = hub.worker_key("stranger")
            assert (await hub.request("GET", f"/blobs/{TASK_BLOB.name}", stranger))[0] in (403, 404)

    with_hub(scenario)


def test_what_was_not_whole_when_the_connection_broke_is_asked_for_again(with_hub: Any) -> None:
    async def scenario(hub: Any) -> None:
        async with worker(hub, "other", "3.13.0") as other:
            async with hub.client("notebook", "n") as notebook:
                await notebook.send(submit(hello_of("notebook", "n")), b"bytecode")
                await notebook.until(m.NeedPortable)
                await notebook.send(m.PortableTask("j", task=TASK_BLOB))
                while not (await notebook.until(m.NeedBlobs))[0].names:
                    continue
            async with hub.client("notebook", "n") as notebook:
                await notebook.send(m.AttachJob("j", 0, 1 << 20))
                await notebook.until(m.NeedPortable)
                await notebook.send(m.PortableTask("j"), b"source")
                assert (await other.until(m.PrepareJob))[1] == b"source"

    with_hub(scenario)


def test_a_hub_that_is_started_anew_has_it_without_the_notebook(with_hub: Any) -> None:
    async def first(hub: Any) -> None:
        async with hub.client("notebook", "n") as notebook, worker(hub, "other", "3.13.0") as other:
            await notebook.send(submit(hello_of("notebook", "n")), b"bytecode")
            await notebook.until(m.NeedPortable)
            await notebook.send(m.PortableTask("j"), b"source")
            await other.until(m.PrepareJob)

    async def second(hub: Any) -> None:
        async with worker(hub, "new", "3.13.0") as new:
            order, payload = await new.until(m.PrepareJob)
            assert (order.portable, payload) == (True, b"source")

    with_hub(first)
    with_hub(second)


def test_names_that_are_none_break_the_protocol(with_hub: Any) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n") as notebook:
            await notebook.send(submit(hello_of("notebook", "n")), b"bytecode")
            await notebook.send(m.PortableTask("j", blobs=(m.BlobRef("../x", 1),)))
            refused, _ = await notebook.until(m.Refused)
            assert "64 hex digits" in refused.reason

    with_hub(scenario)
