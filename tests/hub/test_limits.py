"""What a person sets: times and amounts, as options and in the environment; what is wrong is said in one line."""

from __future__ import annotations

import pytest

from nbdist.hub.config import parse
from nbdist.hub.limits import KEPT_BYTES, LEAST_ORPHAN_SECONDS, Limits, duration


def test_nothing_said_is_a_day_and_ten_gigabytes() -> None:
    assert parse([]).limits == Limits()
    limits = Limits()
    assert (limits.keep_seconds, limits.results_bytes, limits.kept_bytes) == (86_400, 4 * 10**9, 10 * 10**9)
    assert limits.cache_bytes == 10 * 10**9


def test_options_and_the_environment_and_options_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["--keep", "7d", "--results-limit", "64MiB", "--kept-results", "1.5GB", "--cache", "500 mb"]
    assert parse(words).limits == Limits(7 * 86_400, 64 * 2**20, 1_500_000_000, 500_000_000)
    monkeypatch.setenv("NBDIST_KEEP", "90m")
    monkeypatch.setenv("NBDIST_RESULTS_LIMIT", "1TB")
    monkeypatch.setenv("NBDIST_KEPT_RESULTS", "")
    assert parse(["--keep", "2h"]).limits == Limits(7_200, 10**12, KEPT_BYTES)
    assert parse([]).limits.keep_seconds == 5_400


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--keep", "soon", "'soon' is no time: write 90s, 30m, 24h or 7d"),
        ("--keep", "0h", "'0h' is no time"),
        ("--keep", "9999d", "'9999d' is too long: at most 3660d"),
        ("--keep", "9" * 5_000 + "d", "is too long"),
        ("--results-limit", "4", "'4' is no amount: write 500MB or 10GB"),
        ("--results-limit", "1MB", "'1MB' is too little: at least 64MiB"),
        ("--kept-results", "-1GB", ""),
        ("--cache", "½GB", "'½GB' is no amount"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([option, value])
    assert ended.value.code == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"argument {option}: " in line
    assert said in line
    assert len(line) < 200
    variable = "NBDIST_" + option[2:].upper().replace("-", "_")
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit):
        parse([])
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"environment variable {variable}: " in line
    assert said in line


@pytest.mark.parametrize(
    ("seconds", "text"), [(86_400, "24h"), (7 * 86_400, "7d"), (5_400, "90m"), (3_600, "1h"), (45, "45s")]
)
def test_times_are_written_as_they_are_read(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_job_whose_notebook_is_away_goes_on_for_an_hour_however_short_what_ended_is_kept() -> None:
    assert Limits(keep_seconds=90.0).policy.orphan_seconds == LEAST_ORPHAN_SECONDS
    assert Limits(keep_seconds=7 * 86_400.0, results_bytes=5).policy.orphan_seconds == 7 * 86_400
    assert Limits(results_bytes=5).policy.results_bytes == 5
