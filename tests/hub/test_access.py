"""Invites, credentials and logins, by a clock of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nbdist.errors import AccessError
from nbdist.hub.access import (
    BROWSER_SECONDS,
    INVITE_SECONDS,
    LOGIN_CODE_SECONDS,
    MAX_INVITES,
    MAX_USERS_PER_INVITE,
    Access,
    AlreadyTradedError,
    Grant,
    bearer,
)


class World:
    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.saved: dict[str, Any] = {}
        self.access = self.start()

    def start(self) -> Access:
        def save() -> None:
            self.saved = json.loads(json.dumps(access.table()))

        access = Access(lambda: self.now, save)
        return access

    def restart(self) -> None:
        saved = self.saved
        self.access = self.start()
        self.access.load(saved)


@pytest.fixture
def world() -> World:
    return World()


def test_an_invite_is_traded_and_the_credential_is_bound_to_its_peer(world: World) -> None:
    invite = world.access.make_invite("worker")
    key, grant = world.access.trade(invite, "laptop", "w1")
    assert grant.role == "worker"
    assert world.access.check(key, "w1").peer == "w1"
    with pytest.raises(AccessError, match="another worker"):
        world.access.check(key, "w2")
    with pytest.raises(AlreadyTradedError):
        world.access.trade(key, "laptop", "w1")


def test_a_new_trade_of_the_same_peer_replaces_its_credential(world: World) -> None:
    invite = world.access.make_invite("worker")
    old, _ = world.access.trade(invite, "laptop", "w1")
    new, _ = world.access.trade(invite, "laptop", "w1")
    assert world.access.check(new, "w1")
    with pytest.raises(AccessError):
        world.access.check(old, "w1")


def test_nothing_that_is_saved_is_a_secret(world: World) -> None:
    invite = world.access.make_invite("worker")
    key, _ = world.access.trade(invite, "laptop", "w1")
    text = json.dumps(world.saved)
    assert invite not in text
    assert key not in text


def test_grants_survive_a_restart(world: World) -> None:
    invite = world.access.make_invite("worker", uses=1)
    key, _ = world.access.trade(invite, "laptop", "w1")
    world.restart()
    assert world.access.check(key, "w1").role == "worker"
    with pytest.raises(AccessError, match="used 1 times"):
        world.access.trade(invite, "other", "w2")


def test_damaged_records_are_left_out(world: World) -> None:
    key = world.access.make_invite("notebook")
    world.access.load({"x": {"nonsense": 1}, "y": None, "z": {"id": "z", "role": "king"}})
    assert world.access.check(key, "n1")


def test_an_invite_expires(world: World) -> None:
    invite = world.access.make_invite("worker")
    world.now += INVITE_SECONDS
    with pytest.raises(AccessError, match="expired"):
        world.access.trade(invite, "laptop", "w1")


def test_uses_count_peers_not_connections(world: World) -> None:
    invite = world.access.make_invite("notebook", uses=2)
    for peer in ("n1", "n1", "n2", "n1"):
        assert world.access.check(invite, peer).role == "notebook"
    with pytest.raises(AccessError, match="limit"):
        world.access.check(invite, "n3")


def test_looking_uses_nothing_up(world: World) -> None:
    invite = world.access.make_invite("worker", uses=1, valid_seconds=100.0)
    saved = world.saved
    world.now += 40
    for _ in range(3):
        grant, seconds = world.access.look(invite)
        assert (grant.role, seconds) == ("worker", 60.0)
    assert world.saved is saved
    key, _ = world.access.trade(invite, "laptop", "w1")
    with pytest.raises(AccessError, match="used 1 times"):
        world.access.look(invite)
    assert world.access.look(key)[1] == 0.0
    world.now += 60
    with pytest.raises(AccessError, match="expired"):
        world.access.look(invite)
    with pytest.raises(AccessError, match="wrong or was revoked"):
        world.access.look("x")


def test_looking_at_an_invite_for_more_than_are_remembered(world: World) -> None:
    invite = world.access.make_invite("worker", uses=MAX_USERS_PER_INVITE + 1)
    world.access.trade(invite, "laptop", "w1")
    assert world.access.look(invite)[0].is_invite


def test_revoking(world: World) -> None:
    world.access.admit("own", Grant("own", "notebook", standing=True))
    standing = world.access.make_invite("worker", standing=True, valid_seconds=0)
    invite = world.access.make_invite("worker")
    key, _ = world.access.trade(invite, "laptop", "w1")
    world.access.revoke_invites()
    assert world.access.check("own")
    assert world.access.check(key, "w1")
    assert world.access.trade(standing, "other", "w2")
    with pytest.raises(AccessError, match="revoked"):
        world.access.trade(invite, "third", "w3")


@pytest.mark.parametrize("key", ["", "x", "\udcff", "é" * 1000])
def test_what_is_no_secret_opens_nothing(world: World, key: str) -> None:
    with pytest.raises(AccessError):
        world.access.check(key)
    assert not world.access.knows(key)


def test_a_login_code_works_once_and_not_for_long(world: World) -> None:
    code, late = world.access.make_login_code("viewer"), world.access.make_login_code("viewer")
    secret = world.access.log_in(code)
    assert world.access.check(secret).role == "viewer"
    with pytest.raises(AccessError, match="used already"):
        world.access.log_in(code)
    world.now += LOGIN_CODE_SECONDS
    with pytest.raises(AccessError, match="too old"):
        world.access.log_in(late)
    world.now += BROWSER_SECONDS
    with pytest.raises(AccessError, match="expired"):
        world.access.check(secret)


def test_the_oldest_invites_make_room(world: World) -> None:
    world.access.changed = lambda: None
    first = world.access.make_invite("worker")
    for _ in range(MAX_INVITES):
        last = world.access.make_invite("worker")
    assert not world.access.knows(first)
    assert world.access.knows(last)


@pytest.mark.parametrize(
    ("header", "secret"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", ""), ("", ""), ("abc", "")],
)
def test_bearer(header: str, secret: str) -> None:
    assert bearer(header) == secret


def test_making_room_for_one_kind_leaves_the_other_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbdist.hub.access.MAX_CREDENTIALS", 20)
    world = World()
    invites = [world.access.make_invite("worker") for _ in range(8)]
    keys = [world.access.trade(invites[0], "", f"peer{number}")[0] for number in range(20)]
    assert all(map(world.access.knows, (*invites, *keys)))
    world.access.trade(invites[0], "", "one more")
    assert [world.access.knows(key) for key in keys] == [False] + [True] * 19
