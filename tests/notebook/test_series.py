"""What a plot keeps: bounded, and true to what streamed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.notebook.series import Envelope, Grid, RunningMean, Sample

chunks = st.lists(st.lists(st.integers(-1000, 1000), max_size=30), max_size=20)


def arrays(parts: list[list[int]]) -> list[np.ndarray]:
    return [np.array(part, dtype=float) for part in parts]


@given(chunks)
def test_an_envelope_keeps_the_extremes_of_each_bucket(parts: list[list[int]]) -> None:
    envelope = Envelope(limit=8)
    for part in arrays(parts):
        envelope.add(part)
    values = np.array([value for part in parts for value in part], dtype=float)
    position, low, high = envelope.points()
    assert len(position) <= 8 + 1
    buckets = [values[i : i + envelope.width] for i in range(0, len(values), envelope.width)]
    assert low.tolist() == [bucket.min() for bucket in buckets]
    assert high.tolist() == [bucket.max() for bucket in buckets]


def test_an_envelope_passes_over_missing_numbers() -> None:
    envelope = Envelope()
    envelope.add(np.array([1.0, np.nan, 3.0]))
    assert envelope.points()[1][[0, 2]].tolist() == [1.0, 3.0]


@given(chunks)
def test_a_sample_is_every_kth_row(parts: list[list[int]]) -> None:
    sample = Sample(limit=10)
    for part in arrays(parts):
        sample.add(part)
    values = [float(value) for part in parts for value in part]
    rows = [] if sample.rows is None else sample.rows.tolist()
    assert rows == values[:: sample.stride]
    assert len(rows) <= 10


@given(chunks)
def test_a_running_mean_ends_at_the_mean(parts: list[list[int]]) -> None:
    mean = RunningMean(limit=10)
    for part in arrays(parts):
        mean.add(part)
    values = np.array([value for part in parts for value in part], dtype=float)
    if not len(values):
        assert mean.last is None
        return
    count, middle, error = mean.points()
    assert count[-1] == len(values)
    assert middle[-1] == pytest.approx(values.mean(), abs=1e-9)
    if len(values) > 1:
        assert error[-1] == pytest.approx(values.std(ddof=1) / len(values) ** 0.5, abs=1e-6)
    assert len(count) <= 11


def test_a_grid_means_what_falls_into_a_cell() -> None:
    grid = Grid(4, 6, limit=2)
    grid.add(np.arange(10.0))
    grid.add(np.full(2, np.nan))
    means = grid.means()
    assert means.shape == (2, 2)
    assert means[0].tolist() == [np.mean([0, 1, 2, 6, 7, 8]), np.mean([3, 4, 5, 9])]
    assert np.isnan(means[1]).all()
