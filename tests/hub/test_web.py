"""The HTTP doors beside blobs: joining, the pool as data and as a page, logging in."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hubs import WithHub

from nbdist.wire.messages import JobOptions, Machine, NeedBlobs, SubmitJob

pytestmark = pytest.mark.real


def test_an_invite_is_traded_for_a_credential_of_the_workers_own(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        body = json.dumps({"name": "laptop", "peer": "w1"}).encode()
        status, answer, _ = await hub.request("POST", "/join", hub.hub.keys.invite, body)
        assert status == 200
        key = json.loads(answer)["key"]
        assert key != hub.hub.keys.invite
        async with hub.client("worker", "w1", key=key) as worker:
            assert type(worker.log[0][0]).__name__ == "Welcome"
        async with hub.client("worker", "w2", key=key) as thief:
            assert thief.log[0][0].code == "access"
        assert (await hub.request("POST", "/join", key, body))[0] == 409
        assert (await hub.request("POST", "/join", "wrong", body))[0] == 401
        assert (await hub.request("POST", "/join", hub.hub.keys.invite, b"no json"))[0] == 400

    with_hub(scenario)


def test_an_invite_can_be_looked_at_without_being_used(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        async with hub.client("notebook", "n1") as notebook:
            invite = hub.hub.rooms.access.make_invite("worker", uses=1)
            table = hub.hub.rooms.access.table()
            for _ in range(2):
                status, answer, headers = await hub.request("GET", "/join", invite)
                told = json.loads(answer)
                assert (status, told["role"], told["is_invite"]) == (200, "worker", True)
                assert 0 < told["valid_seconds"] <= 24 * 3600
                assert (told["nbdist"], told["protocol"]) == (hub.hub.rooms.version, [1, 1])
                assert told["pythons"] == ["cpython 3.11"]
                assert "Date" in headers
            assert hub.hub.rooms.access.table() == table
            assert [peer.id for peer in hub.hub.board.peers] == [notebook.peer]
        for key in ("", "wrong"):
            status, answer, headers = await hub.request("GET", "/join", key)
            assert (status, headers["Www-Authenticate"]) == (401, "Bearer")
            assert b"nbdist" not in answer.replace(b"nbdist invite", b"")
        assert (await hub.request("GET", "/join", invite, Host="evil.example"))[0] == 403

    with_hub(scenario)


def test_the_pool_is_for_those_who_may_look(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        assert (await hub.request("GET", "/api/pool"))[0] == 401
        assert (await hub.request("GET", "/api/pool", hub.worker_key("w1")))[0] == 403
        status, answer, _ = await hub.request("GET", "/api/pool", hub.hub.keys.notebook)
        assert status == 200
        assert set(json.loads(answer)) >= {"workers", "jobs", "hub"}
        assert (await hub.request("GET", "/api/explain?job=j&item=3", hub.hub.keys.notebook))[0] == 200
        assert (await hub.request("GET", "/api/explain?job=j&item=x", hub.hub.keys.notebook))[0] == 400

    with_hub(scenario)


def test_names_that_are_no_text_break_no_page(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        key = hub.hub.keys.notebook
        body = json.dumps({"name": "lap\ud800top", "peer": "w9"}).encode()
        assert (await hub.request("POST", "/join", hub.hub.keys.invite, body))[0] == 200
        path = json.loads((await hub.request("POST", "/api/login", key))[1])["path"]
        code = json.dumps({"code": path.split("=")[1]}).encode()
        cookie = (await hub.request("POST", "/login", body=code))[2]["Set-Cookie"]
        async with (
            hub.client("worker", "w1", slots=2, name="lap\ud800top"),
            hub.client("notebook", "n1") as notebook,
        ):
            machine = Machine("ho\udfffst", "linux", "x86_64", "3.11.7", "cpython", "0.1.0")
            await notebook.send(SubmitJob("j1", "jo\ud800b", machine, JobOptions(), ranges=((0, 3, 1),)))
            await notebook.until(NeedBlobs)
            status, page, _ = await hub.request("GET", "/plain", Cookie=cookie.split(";")[0])
            assert status == 200
            assert b"jo?b" in page
            assert b"lap?top" in page
            status, answer, _ = await hub.request("GET", "/api/pool", key)
            assert (status, json.loads(answer)["jobs"][0]["name"]) == (200, "jo?b")

    with_hub(scenario)


def test_a_browser_logs_in_once_and_sees_escaped_names(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        status, page, headers = await hub.request("GET", "/")
        assert (status, b"Machines" in page, b"nbdist status --web" in page) == (403, False, True)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        path = json.loads((await hub.request("POST", "/api/login", hub.hub.keys.notebook))[1])["path"]
        code = json.dumps({"code": path.split("=")[1]}).encode()
        status, _, headers = await hub.request("POST", "/login", body=code)
        assert status == 204
        cookie = headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert (await hub.request("POST", "/login", body=code))[0] == 403
        async with hub.client("worker", "w1", slots=2, name="<script>alert(1)</script>"):
            status, page, _ = await hub.request("GET", "/plain", Cookie=cookie.split(";")[0])
        assert status == 200
        assert b"<script>" not in page
        assert b"&lt;script&gt;alert(1)" in page
        assert (await hub.request("POST", "/api/login", Cookie=cookie.split(";")[0]))[0] == 403

    with_hub(scenario)


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"Host": "evil.example"}),
        ("GET", "/worker.pyz", {"Host": ""}),
        ("GET", "/api/pool", {"Host": "127.0.0.1.evil.example:80"}),
        ("POST", "/login", {"Origin": "http://evil.example"}),
        ("POST", "/join", {"Origin": "null"}),
        ("PUT", "/blobs/" + "0" * 64, {"Origin": "http://127.0.0.1:1"}),
    ],
)
def test_foreign_hosts_and_origins_are_turned_away(
    with_hub: WithHub, method: str, path: str, headers: dict[str, str]
) -> None:
    async def scenario(hub: Any) -> None:
        assert (await hub.request(method, path, hub.hub.keys.notebook, **headers))[0] == 403

    with_hub(scenario)


def test_what_is_not_there_is_a_line_of_text(with_hub: WithHub) -> None:
    async def scenario(hub: Any) -> None:
        status, answer, headers = await hub.request("GET", "/nothing")
        assert (status, answer.count(b"\n")) == (404, 1)
        assert headers["Content-Type"].startswith("text/plain")
        assert (await hub.request("DELETE", "/api/pool"))[0] == 405
        assert (await hub.request("GET", "/assets/style.css"))[0] == 200
        assert (await hub.request("GET", "/login"))[0] == 200

    with_hub(scenario)
