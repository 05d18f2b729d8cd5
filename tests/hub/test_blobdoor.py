"""Blobs over HTTP: what matches its name goes in, what belongs to a peer comes out, everything else is told why not."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hubs import WithHub, job

from nbdist.hub import blobs as blobs_module
from nbdist.wire.blobs import blob_name
from nbdist.wire.messages import (
    AttachJob,
    BlobPlaced,
    BlobRef,
    CancelJob,
    ForgetJob,
    JobFinished,
    JobReady,
    NeedBlobs,
    Part,
    PrepareJob,
    ProveLocal,
    Refused,
    Result,
    RunSlice,
    TakeResults,
    Welcome,
)

pytestmark = pytest.mark.real
LARGE = os.urandom(3_500_000)
SMALL = b"a small value"


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
def test_a_blob_goes_in_and_comes_out(with_hub: WithHub, data: bytes) -> None:
    async def scenario(hub: Any) -> None:
        key, name = hub.hub.keys.notebook, blob_name([data])
        async with hub.client("notebook", "n1") as notebook:
            task = BlobRef(name, len(data))
            await notebook.send(job("j1", task=task, ranges=((0, 1, 1),)))
            assert (await notebook.until(NeedBlobs))[0].names == (name,)
            status, answer, _ = await hub.request("PUT", f"/blobs/{name}", key, data)
            assert (status, json.loads(answer)) == (201, {"size": len(data)})
            status, answer, _ = await hub.request("PUT", f"/blobs/{name}", key, data)
            assert (status, json.loads(answer)) == (200, {"size": len(data)})
            status, answer, _ = await hub.request("GET", f"/blobs/{name}", key)
            assert (status, answer) == (200, data)

    with_hub(scenario)


@pytest.mark.parametrize("data", [SMALL, LARGE], ids=["small", "large"])
def test_bytes_that_do_not_match_the_name_leave_nothing(with_hub: WithHub, data: bytes) -> None:
    async def scenario(hub: Any) -> None:
        name = blob_name([data])
        status, answer, _ = await hub.request(
            "PUT", f"/blobs/{name}", hub.hub.keys.notebook, data[:-1] + bytes([data[-1] ^ 1])
        )
        assert status == 422
        assert b"send it again" in answer
        assert not hub.hub.blobs.has(name)
        assert list((hub.hub.blobs.folder / "incoming").iterdir()) == []

    with_hub(scenario)


def test_a_blob_that_is_cut_off_leaves_nothing(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        name, incoming = blob_name([LARGE]), hub.hub.blobs.folder / "incoming"
        began, ended = asyncio.Event(), asyncio.Event()
        before = hub.hub.blobs.incoming

        def watched(*arguments: Any) -> Any:
            found = before(*arguments)
            abandon = found.abandon
            found.abandon = lambda: (abandon(), ended.set())
            began.set()
            return found

        hub.hub.blobs.incoming = watched
        with socket.create_connection(("127.0.0.1", hub.notebook.port)) as raw:
            raw.sendall(
                f"PUT /blobs/{name} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {hub.hub.keys.notebook}\r\n"
                f"Content-Length: {len(LARGE)}\r\n\r\n".encode()
            )
            await asyncio.to_thread(raw.sendall, LARGE[:2_000_000])
            await asyncio.wait_for(began.wait(), 10)
        await asyncio.wait_for(ended.wait(), 10)
        assert list(incoming.iterdir()) == []

    with_hub(scenario)


def test_a_blob_that_is_too_large_is_refused_before_it_is_sent(
    with_hub: WithHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_module, "MAX_BLOB_BYTES", 100)

    async def scenario(hub: Any) -> None:
        data = b"x" * 101
        status, answer, _ = await hub.request("PUT", f"/blobs/{blob_name([data])}", hub.hub.keys.notebook, data)
        assert (status, b"100 bytes" in answer) == (422, True)
        pieces = (data[i : i + 10] for i in range(0, 101, 10))
        status, answer, _ = await hub.request("PUT", f"/blobs/{blob_name([data])}", hub.hub.keys.notebook, pieces)
        assert (status, b"has more" in answer) == (422, True)

    with_hub(scenario)


@pytest.mark.parametrize("name", ["x" * 64, "..%2f..%2fetc", "ABCDEF" * 10 + "ABCD", "0" * 63])
def test_a_bad_name_is_refused(with_hub: WithHub, name: str) -> None:
    async def scenario(hub: Any) -> None:
        status, answer, _ = await hub.request("PUT", f"/blobs/{name}", hub.hub.keys.notebook, b"x")
        assert (status, b"no name of a blob" in answer) == (422, True)

    with_hub(scenario)


def test_a_name_is_no_credential(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        name, task = blob_name([SMALL]), BlobRef(blob_name([SMALL]), len(SMALL))
        path = f"/blobs/{name}"
        assert (await hub.request("GET", path))[0] == 401
        assert (await hub.request("GET", path, "wrong"))[0] == 401
        assert (await hub.request("PUT", path, hub.hub.rooms.access.make_invite("viewer"), SMALL))[0] == 403
        assert (await hub.request("PUT", path, "wrong", SMALL))[0] == 401
        assert (await hub.request("GET", path, hub.hub.keys.notebook))[0] == 404
        other = hub.hub.rooms.access.make_invite("notebook")
        async with hub.client("notebook", "n1") as notebook, hub.worker("w1") as worker:
            worker_key = hub.worker_key("w1")
            stranger_key = hub.worker_key("w2")
            await hub.request("PUT", path, hub.hub.keys.notebook, SMALL)
            assert (await hub.request("GET", path, hub.hub.keys.notebook))[0] == 403
            await notebook.send(job("j1", task=task, ranges=((0, 1, 1),)))
            prepare, _ = await worker.until(PrepareJob)
            assert prepare.task == task
            assert (await hub.request("GET", path, worker_key))[:2] == (200, SMALL)
            assert (await hub.request("GET", path, stranger_key))[0] == 403
            assert (await hub.request("GET", path, other))[0] == 403

    with_hub(scenario)


def test_a_large_result_is_a_blob_until_the_notebook_has_it(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        name = blob_name([LARGE])
        async with hub.client("notebook", "n1") as notebook, hub.worker("w1") as worker:
            key = hub.worker_key("w1")
            await notebook.send(job("j1", ranges=((0, 1, 1),)))
            await worker.until(PrepareJob)
            await worker.send(JobReady("j1"))
            order, _ = await worker.until(RunSlice)
            assert (await hub.request("PUT", f"/blobs/{name}", key, LARGE))[0] == 201
            blob = BlobRef(name, len(LARGE))
            await worker.send(Part("j1", order.attempt, 0, 1, 0.1, final=True, blob=blob))
            result, payload = await notebook.until(Result)
            assert (result.blob, payload) == (blob, b"")
            await notebook.until(JobFinished)
            assert (await hub.request("GET", f"/blobs/{name}", key))[0] == 403
            assert (await hub.request("GET", f"/blobs/{name}", hub.hub.keys.notebook))[1] == LARGE
            await notebook.send(TakeResults("j1", 1, 1 << 20))
            await notebook.send(AttachJob("j1", 0, 1 << 20))
            assert (await notebook.until(Result))[0] == result, "it is kept: a notebook may want it again"
            await notebook.send(ForgetJob("j1"))
            await notebook.send(job("j2", ranges=((0, 1, 1),)))
            await notebook.until(NeedBlobs)
            assert not hub.hub.blobs.has(name)

    with_hub(scenario)


def test_a_local_peer_places_blobs_itself(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            welcome = notebook.log[0][0]
            assert isinstance(welcome, Welcome)
            folder = private_folder(welcome)
            task = BlobRef(blob_name([SMALL]), len(SMALL))
            await notebook.send(ProveLocal((folder / "nonce").read_text()))
            await notebook.send(job("j1", task=task, ranges=((0, 1, 1),)))
            assert (await notebook.until(NeedBlobs))[0].names == (task.name,)
            (folder / "incoming" / "x").write_bytes(SMALL)
            (folder / "incoming" / "x").rename(folder / "blobs" / task.name)
            async with hub.worker("w1") as worker:
                await notebook.send(BlobPlaced(task))
                assert (await worker.until(PrepareJob))[0].task == task

    with_hub(scenario)


def private_folder(welcome: Welcome) -> Path:
    folder = Path(welcome.folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    return folder


@pytest.mark.parametrize("proof", [None, "wrong"])
def test_who_did_not_prove_to_be_local_cannot_place_blobs(with_hub: WithHub, proof: str | None) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(ProveLocal(proof) if proof else BlobPlaced(BlobRef("0" * 64, 1)))
            assert (await notebook.until(Refused))[0].code == ("access" if proof else "protocol")

    with_hub(scenario)


def test_a_blob_for_items_is_held_from_its_arrival_on(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        key, name = hub.hub.keys.notebook, blob_name([LARGE])
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(job("j1"))
            await notebook.until(NeedBlobs)
            head = {"Nbdist-Holder": "j1@0"}
            assert (await hub.request("HEAD", f"/blobs/{name}", key, **head))[0] == 404
            assert (await hub.request("PUT", f"/blobs/{name}", key, LARGE, **head))[0] == 201
            assert (await hub.request("PUT", f"/blobs/{name}", key, LARGE, **{"Nbdist-Holder": "j1@1"}))[0] == 200
            assert (await hub.request("HEAD", f"/blobs/{name}", key, **{"Nbdist-Holder": "j1@2"}))[0] == 200
            assert sorted(hub.hub.blobs.holders(name)) == ["j1@0", "j1@1", "j1@2"]
            await notebook.send(CancelJob("j1"))
            await notebook.until(JobFinished)
            assert not hub.hub.blobs.has(name)

    with_hub(scenario)


@pytest.mark.parametrize("holder", ["j1@0", "other@0", "j1@x", "@", "j1"])
def test_a_blob_for_items_of_nobody_is_refused(with_hub: WithHub, holder: str) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(job("j1"))
            await notebook.until(NeedBlobs)
            key = hub.worker_key("w1") if holder == "j1@0" else hub.hub.keys.notebook
            name = blob_name([SMALL])
            status, answer, _ = await hub.request("PUT", f"/blobs/{name}", key, SMALL, **{"Nbdist-Holder": holder})
            assert (status, b"another's" in answer) == (409, True)
            assert not hub.hub.blobs.has(name)

    with_hub(scenario)


def test_a_full_disk_is_said_to_be_one(with_hub: WithHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs_module, "RESERVE_BYTES", 2**62)

    async def scenario(hub: Any) -> None:
        status, answer, _ = await hub.request("PUT", f"/blobs/{blob_name([SMALL])}", hub.hub.keys.notebook, SMALL)
        assert (status, b"make room" in answer) == (507, True)

    with_hub(scenario)


def test_a_blob_for_items_whose_job_ends_while_it_comes_is_not_kept(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        key, name = hub.hub.keys.notebook, blob_name([LARGE])
        async with hub.client("notebook", "n1") as notebook:
            await notebook.send(job("j1"))
            await notebook.until(NeedBlobs)
            loop, cancelled = asyncio.get_running_loop(), threading.Event()

            async def cancel() -> None:
                await notebook.send(CancelJob("j1"))
                await notebook.until(JobFinished)
                cancelled.set()

            def pieces() -> Iterator[bytes]:
                yield LARGE[:2_000_000]
                asyncio.run_coroutine_threadsafe(cancel(), loop)
                assert cancelled.wait(60)
                yield LARGE[2_000_000:]

            head = {"Nbdist-Holder": "j1@0", "Content-Length": str(len(LARGE))}
            assert (await hub.request("PUT", f"/blobs/{name}", key, pieces(), **head))[0] == 201
            assert not hub.hub.blobs.has(name)

    with_hub(scenario)
