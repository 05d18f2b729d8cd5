"""The units of docs/systemd run commands that nbdist knows."""

from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

from nbdist.hub import config as hub_config
from nbdist.worker import config as worker_config
from nbdist.worker import main as worker_main

UNITS = Path(__file__).resolve().parent.parent / "docs" / "systemd"
SPECIFIERS = {"%h": "/home/me", "%t": "/run/user/1000"}


def service(name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string((UNITS / name).read_text(encoding="utf-8"))
    return dict(parser["Service"])


def words(unit: dict[str, str]) -> list[str]:
    line = unit["ExecStart"]
    for specifier, value in SPECIFIERS.items():
        line = line.replace(specifier, value)
    assert "%" not in line
    return shlex.split(line)


def test_the_hub_starts_and_its_secrets_reach_no_log() -> None:
    unit = service("nbdist-hub.service")
    program, role, *argv = words(unit)
    assert (program, role) == ("/home/me/.local/bin/nbdist", "hub")
    config = hub_config.parse(argv)
    assert (config.lan, config.port) == (True, 8786)
    assert config.ready_file is not None
    assert unit["StandardOutput"] == "null"
    assert unit["Restart"] == "always"


def test_the_worker_starts_and_stops_trying_when_only_a_person_can_help(monkeypatch: pytest.MonkeyPatch) -> None:
    unit = service("nbdist-worker.service")
    _, role, *argv = words(unit)
    assert role == "worker"
    monkeypatch.setenv("NBDIST_INVITE", "ws://127.0.0.1:1/#key=x")
    assert worker_config.parse(argv).invite
    final = {worker_main.EXIT_USAGE, worker_main.EXIT_ACCESS, worker_main.EXIT_VERSION}
    assert {int(code) for code in unit["RestartPreventExitStatus"].split()} == final
    assert unit["Restart"] == "always"
    assert unit["KillMode"] == "mixed"
