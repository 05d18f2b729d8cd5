"""The command line of a worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nbdist.errors import AddressError
from nbdist.worker import config, system
from nbdist.worker.config import LEAST_MEMORY_BYTES, LOW_PRIORITY, parse

INVITE = "ws://127.0.0.1:8786/#key=secret"


def test_the_invite_comes_from_the_argument_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse([INVITE, "--slots", "3"]).invite == INVITE
    monkeypatch.setenv("NBDIST_INVITE", INVITE)
    config = parse([])
    assert config.invite == INVITE
    assert config.niceness == LOW_PRIORITY
    assert parse(["--no-nice"]).niceness == 0


@pytest.mark.parametrize("given", [[], ["nonsense"], ["http://127.0.0.1:1/"]])
def test_what_is_no_invite_is_said_to_be_none(given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NBDIST_INVITE", raising=False)
    with pytest.raises(AddressError):
        parse(given)


def test_the_address_is_read_from_the_ready_file_when_it_is_there(tmp_path: Path) -> None:
    config = parse(["--ready-file", str(tmp_path / "ready"), "--quiet"])
    assert config.address() is None
    (tmp_path / "ready").write_text(json.dumps({"invite": INVITE}))
    address = config.address()
    assert address is not None
    assert address.key == "secret"


@pytest.mark.parametrize("slots", ["0", "-1", "x", "99999"])
def test_a_number_of_slots_that_makes_no_sense_is_refused(slots: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([INVITE, "--slots", slots])
    assert "a number from 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("2GB", 2 * 10**9), ("500mb", 500 * 10**6), ("1.5 GiB", 3 * 2**29), ("50%", 4 * 10**9), ("100%", 8 * 10**9)],
)
def test_a_memory_limit_is_an_amount_or_a_share_of_the_machine_s(
    text: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "memory_bytes", lambda: 8 * 10**9)
    assert parse([INVITE, "--slots", "4", "--memory-limit", text]).memory_bytes == wanted


def test_without_a_memory_limit_each_slot_has_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "memory_bytes", lambda: 8 * 10**9)
    monkeypatch.setattr(system, "WATCHES_MEMORY", True)
    assert parse([INVITE, "--slots", "4"]).memory_bytes == 2 * 10**9
    assert parse([INVITE, "--slots", "100"]).memory_bytes == LEAST_MEMORY_BYTES
    monkeypatch.setattr(system, "WATCHES_MEMORY", False)
    assert parse([INVITE, "--slots", "4"]).memory_bytes == 0


@pytest.mark.parametrize("text", ["2", "0GB", "-1GB", "101%", "0%", "lots", "GB", "1e9"])
def test_a_memory_limit_that_makes_no_sense_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse([INVITE, f"--memory-limit={text}"])
    assert "write 500MB, 2GB or 50%" in capsys.readouterr().err


def test_nothing_is_installed_unless_asked() -> None:
    assert not parse([INVITE]).installs
    assert parse([INVITE, "--install"]).installs
