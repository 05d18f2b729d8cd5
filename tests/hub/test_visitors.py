"""Host and Origin: who may knock."""

from __future__ import annotations

import pytest

from nbdist.hub.visitors import LOOPBACK_HOSTS, host_error, origin_error


@pytest.mark.parametrize("host", ["127.0.0.1:8786", "localhost", "LOCALHOST:1", "[::1]:8786", "127.0.0.1"])
def test_this_machines_names_are_known(host: str) -> None:
    assert host_error(host, LOOPBACK_HOSTS) is None


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "[::1", "evil:x", "0.0.0.0:80"]
)
def test_other_names_are_not(host: str) -> None:
    error = host_error(host, LOOPBACK_HOSTS)
    assert error is not None
    assert "use the address" in error


def test_names_of_the_machine_count_on_a_lan() -> None:
    assert host_error("LapTop.local:80", {*LOOPBACK_HOSTS, "laptop.local"}) is None


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:80", "https://127.0.0.1:80", "http://127.0.0.1:80/"])
def test_programs_and_the_hubs_own_pages_may_ask(origin: str | None) -> None:
    assert origin_error(origin, "127.0.0.1:80") is None


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://evil.example", "http://127.0.0.1:81", "http://127.0.0.1:80@evil", "file://127.0.0.1:80"],
)
def test_other_pages_may_not(origin: str) -> None:
    assert origin_error(origin, "127.0.0.1:80") is not None
