"""The benchmarks work, on small sizes; what they find is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return run_module("benchmarks", *words)


def run_module(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.mark.real
def test_two_figures_of_two_peers_with_their_ratio() -> None:
    ended = run("calls", "slow-4", "--peers", "nbdist,processpool", "--scale", "0.01")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "calls: single no-op calls" in ended.stdout
    assert "slow-4" in ended.stdout
    assert "failed" not in ended.stdout
    assert ended.stdout.count("times as good") == 2
    assert "round-trip" not in ended.stdout


@pytest.mark.real
def test_the_time_to_stop_is_measured_of_nbdist_alone() -> None:
    ended = run("stop", "--peers", "nbdist,processpool", "--scale", "0.01")
    assert (ended.returncode, ended.stderr) == (0, "")
    row = ended.stdout.splitlines()[-1]
    assert all(column in row for column in ("nbdist", "cancel s", "interrupt s", "C code s"))
    assert "ProcessPool" not in ended.stdout


@pytest.mark.real
@pytest.mark.slow
def test_what_deaths_cost_is_measured_of_nbdist_alone() -> None:
    ended = run("resumed", "lost", "--peers", "nbdist,processpool", "--scale", "0.01")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert all(column in ended.stdout for column in ("by hand s", "by itself s", "killed s", "frozen s"))
    assert "ProcessPool" not in ended.stdout


def test_unknown_names_are_refused() -> None:
    ended = run("nonsense", "--peers", "nobody")
    assert ended.returncode == 2
    assert "there is no nobody, nonsense" in ended.stderr


@pytest.mark.real
def test_load_with_a_few_workers_loses_nobody() -> None:
    ended = run_module("benchmarks.load", "--workers", "20", "--seconds", "0.5")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "20 workers joined, 0 connections ended, 0 declared lost" in ended.stdout


@pytest.mark.real
@pytest.mark.slow
def test_soak_for_a_moment_prints_its_table_and_a_verdict() -> None:
    ended = run_module("benchmarks.soak", "--minutes", "0.1", "--seed", "3")
    assert ended.returncode in (0, 1), ended.stderr  # too short to be flat
    for name in ("hub", "agent", "notebook"):
        assert f"\n{name}" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith(("flat:", "not flat:"))
