"""Names and ids of peers, and which versions may talk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from nbdist.errors import ProtocolError
from nbdist.hub.access import Grant
from nbdist.hub.peers import Peers
from nbdist.hub.refusal import RefusalError, as_refused, check_version
from nbdist.wire.messages import Hello

NOTEBOOKS = Grant("n", "notebook")
Make = Callable[..., Hello]


def worker_grant(peer: str) -> Grant:
    return Grant(f"grant of {peer}", "worker", peer=peer)


def add(peers: Peers, hello: Hello, grant: Grant | None = None) -> Any:
    return peers.add(hello, grant or worker_grant(hello.peer), link=None)  # type: ignore[arg-type]


def test_names_are_unique_and_kept_while_a_worker_is_away(make_hello: Make) -> None:
    peers = Peers()
    names = [add(peers, make_hello("worker", f"w{n}", name="laptop"))[0].name for n in range(3)]
    assert names == ["laptop", "laptop-2", "laptop-3"]
    second = peers.get("w1")
    assert second is not None
    assert peers.remove(second)
    back = add(peers, make_hello("worker", "w1", name="laptop"))[0]
    assert back.name == "laptop-2"
    assert peers.remove(back)
    assert add(peers, make_hello("worker", "w9", name="laptop"))[0].name == "laptop-2"
    assert add(peers, make_hello("worker", "w1", name="laptop"))[0].name == "laptop-4"


@pytest.mark.parametrize(
    ("wish", "name"), [("", "host"), ("a\x00b\n", "a?b?"), ("x" * 500, "x" * 64), ("   ", "worker")]
)
def test_names_are_made_printable_and_short(make_hello: Make, wish: str, name: str) -> None:
    assert add(Peers(), make_hello("worker", "w1", name=wish))[0].name == name


@pytest.mark.parametrize("peer", ["", "stores", "a b", "x" * 81, "é", "a\n"])
def test_ids_have_a_form(make_hello: Make, peer: str) -> None:
    with pytest.raises(ProtocolError):
        add(Peers(), make_hello("worker", peer))


def test_a_peer_is_replaced_by_itself_only(make_hello: Make) -> None:
    peers = Peers()
    first, before = add(peers, make_hello("worker", "w1"))
    assert before is None
    second, before = add(peers, make_hello("worker", "w1"))
    assert before is first
    assert not peers.remove(first)
    assert peers.get("w1") is second
    for hello, grant in (
        (make_hello("notebook", "w1"), NOTEBOOKS),
        (make_hello("worker", "w1"), Grant("other", "worker", peer="w2")),
    ):
        with pytest.raises(RefusalError, match="another peer"):
            add(peers, hello, grant)


def test_a_full_hub_says_so(make_hello: Make) -> None:
    peers = Peers(max_peers=2)
    for number in range(2):
        add(peers, make_hello("worker", f"w{number}"))
    with pytest.raises(RefusalError) as caught:
        add(peers, make_hello("worker", "w2"))
    assert as_refused(caught.value).code == "full"
    add(peers, make_hello("worker", "w1"))
    assert len(peers) == 2


def test_versions(make_hello: Make) -> None:
    assert check_version(make_hello("worker", "w1", nbdist="1.2", protocol_max=5), "1.2") == 1
    for hello in (make_hello("worker", "w1", nbdist="1.1"), make_hello("worker", "w1", nbdist="1.2", protocol_min=3)):
        with pytest.raises(RefusalError) as caught:
            check_version(hello, "1.2")
        assert as_refused(caught.value).todo == "python -m pip install nbdist==1.2"
