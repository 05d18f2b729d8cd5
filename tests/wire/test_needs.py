"""What jobs need of machines: read, met, missing, and refused with what may stand there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbdist.wire import needs
from nbdist.wire.messages import Machine

MACHINE = Machine(
    "host", "linux", "x86_64", "3.12.1", "cpython", "0.1.0", 8, 16 * 10**9, 1, ("NVIDIA RTX 4090", "NVIDIA RTX 4090")
)


def candidate(name: str = "lab-2", slots: int = 4, **changes: Any) -> needs.Candidate:
    return needs.Candidate(name, slots, replace(MACHINE, **changes))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "gpu",
        "GPU",
        "gpus>=2",
        "gpu>=2",
        "gpu = *4090*",
        "gpu='NVIDIA RTX 4090'",
        "memory>=8GB",
        "memory >= 16 GB",
        "memory>=17GB",  # sold as such
        "memory<17GB",
        "cores=8",
        "cores==8",
        "slots>3",
        "slots<=4",
        "python>=3.11",
        "python=3.12",
        "python=3.12.1",
        "python!=3.11",
        "python<3.13",
        "linux",
        "x86_64",
        "amd64",
        "worker=lab-2",
        "worker=LAB-*",
        "worker=a|lab-2",
        "worker!=laptop",
        "versions=same",  # which those judge who know what is installed
        "gpu, memory>=8GB",
        "gpu and linux and cores>=2",
    ],
)
def test_what_the_machine_has(text: str) -> None:
    assert needs.unmet(text, candidate()) == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("gpus>2", "2 GPUs here, the job needs gpus>2"),
        ("gpu=*H100*", "GPUs here: NVIDIA RTX 4090, NVIDIA RTX 4090, the job needs gpu=*H100*"),
        ("gpu!=*4090*", "the job needs gpu!=*4090*"),
        ("memory>=32GB", "16.0 GB of memory here, the job needs memory>=32GB"),
        ("memory<16GB", "16.0 GB of memory here"),
        ("cores>8", "8 cores here"),
        ("slots>=5", "4 slots here"),
        ("python>=3.13", "Python 3.12.1 here, the job needs python>=3.13"),
        ("python!=3.12", "Python 3.12.1 here"),
        ("macos", "linux here, the job needs macos"),
        ("windows", "linux here"),
        ("arm64", "x86_64 here, the job needs arm64"),
        ("worker=laptop", "this is lab-2, the job needs worker=laptop"),
        ("worker!=lab-*", "this is lab-2"),
        ("linux, cores>8, arm64", "8 cores here, the job needs cores>8; x86_64 here, the job needs arm64"),
    ],
)
def test_what_it_has_not(text: str, why: str) -> None:
    assert why in needs.unmet(text, candidate())


def test_no_gpu_and_unknown_memory() -> None:
    bare = candidate(gpus=(), memory_bytes=0)
    assert needs.unmet("gpu", bare) == "no GPU here, the job needs gpu"
    assert needs.unmet("memory>=1GB", bare) == "an unknown amount of memory here, the job needs memory>=1GB"


@pytest.mark.parametrize(
    "text",
    [
        "gpuu",
        "memory",
        "memory>=8",
        "memory>=lots",
        "cores>=",
        "cores>=2.5",
        "cores~4",
        "python>=three",
        "linux=1",
        "worker=",
        "worker=a||b",
        "gpu,,linux",
        "gpu,",
        "gpu or linux",
        ";",
        "gpu" * 400,
        "cores>=99999999999999999999",
        "cores>=²",
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text: str) -> None:
    with pytest.raises(ValueError, match=r"needs of a job have at most|Needs are, with commas between them: gpu"):
        needs.parse(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        needs.unmet(text, candidate())
    except ValueError:
        return


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_a_machine_says_of_itself_is_compared(python: str, name: str) -> None:
    odd = candidate(name, python=python, architecture=name, gpus=(name,))
    needs.unmet("python>=3.11, x86_64, gpu=a*, worker=b", odd)


@pytest.mark.parametrize(
    ("text", "versions"),
    [("", ""), ("gpu", ""), ("versions=same", "same"), ("linux, versions = 'any'", "any"), ("VERSIONS=same", "same")],
)
def test_which_versions_of_packages_will_do(text: str, versions: str) -> None:
    assert needs.versions(text) == versions


@pytest.mark.parametrize("text", ["versions", "versions=1.0", "versions!=same", "versions>=same"])
def test_versions_are_the_same_or_any(text: str) -> None:
    with pytest.raises(ValueError, match="versions=same, versions=any"):
        needs.parse(text)
