"""Addresses and invites."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.errors import AddressError
from nbdist.wire.address import Address, is_loopback

PIN = "0123456789abcdef" * 4


@given(
    st.sampled_from(["192.168.1.20", "laptop-2.local", "fd00::1", "10.0.0.7"]),
    st.integers(1, 65535),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40),
    st.lists(st.sampled_from(["10.0.0.5", "fe80::2"]), max_size=2),
)
def test_an_address_survives_being_printed(host: str, port: int, key: str, also: list[str]) -> None:
    address = Address(host, port, True, key, PIN, tuple(also))
    again = Address.parse(f"  {address.url}\n")
    assert again == address


def test_the_secret_is_shown_only_on_purpose() -> None:
    address = Address.parse(f"wss://10.1.2.3:8786/#key=sesame&cert={PIN}")
    assert "sesame" in address.url
    assert "sesame" not in repr(address) + address.shown + address.socket_url
    assert address.socket_url == "wss://10.1.2.3:8786/socket"
    with pytest.raises(AddressError) as caught:
        Address.parse("wss://10.1.2.3:8786/#key=sesame")
    assert "sesame" not in str(caught.value)


def test_further_addresses_are_tried_in_order() -> None:
    address = Address.parse(f"wss://10.1.2.3:8786/#key=k&cert={PIN}&also=10.0.0.5,fd00::1")
    assert [a.netloc for a in address.hosts()] == ["10.1.2.3:8786", "10.0.0.5:8786", "[fd00::1]:8786"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no address of a hub"),
        ("tomorrow", "no address of a hub"),
        ("http://127.0.0.1:8786/#key=k", "no address of a hub"),
        ("ws://127.0.0.1/#key=k", "no address of a hub"),
        ("ws://127.0.0.1:99999/#key=k", "no address of a hub"),
        ("ws://:8786/", "no address of a hub"),
        ("ws://127.0.0.1:8786/elsewhere#key=k", "no address of a hub"),
        ("ws://192.168.1.20:8786/#key=k", "by wss:// only"),
        ("wss://192.168.1.20:8786/#key=k", "cert="),
        ("wss://192.168.1.20:8786/#key=k&cert=abc", "cert="),
        ("ws://[::1/", "no address of a hub"),
        ("ws://127.0.0.1:0/#key=k", "no address of a hub"),
        ("ws://127.0.0.1:8786/#key=k%00", "no hub prints"),
        ("ws://127.0.0.1:8786/#key=k%0d%0aHost:x", "no hub prints"),
        ("ws://127.0.0.1:8786/#key=%C3%BC", "no hub prints"),
    ],
)
def test_what_is_no_address(text: str, complaint: str) -> None:
    with pytest.raises(AddressError, match=complaint):
        Address.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    for candidate in (text, "ws://" + text, "wss://127.0.0.1:1/#" + text):
        try:
            Address.parse(candidate)
        except AddressError:
            continue


def test_loopback() -> None:
    assert all(map(is_loopback, ["127.0.0.1", "127.3.2.1", "::1", "localhost"]))
    assert not any(map(is_loopback, ["0.0.0.0", "192.168.1.1", "example.org", "127.0.0.1.evil.org"]))


def test_half_a_character_is_no_part_of_an_address() -> None:
    with pytest.raises(AddressError):
        Address.parse("ws://127.0.0.1:8786/#key=\udc80")
