"""What is installed for jobs: names, command lines, blame and bounds, as values."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nbdist.wire.messages import Package
from nbdist.worker import installing
from nbdist.worker.installing import Installer, Kept

PIP = Installer("/usr/bin/python3.11", "cpython 3.11.7")
UV = replace(PIP, uv="/usr/bin/uv")
PANDAS, NUMPY = Package("pandas", "2.3.3", ("pandas",)), Package("numpy", "2.3.1", ("numpy",))


def test_the_same_set_has_one_environment_however_it_is_written() -> None:
    name = installing.environment_name((PANDAS, NUMPY), PIP)
    assert name == installing.environment_name((NUMPY, replace(PANDAS, modules=())), PIP)
    assert name == installing.environment_name((replace(NUMPY, name="NumPy"), PANDAS, PANDAS), PIP)
    others = [
        installing.environment_name((PANDAS,), PIP),
        installing.environment_name((PANDAS, replace(NUMPY, version="2.3.2")), PIP),
        installing.environment_name((PANDAS, NUMPY), UV),
        installing.environment_name((PANDAS, NUMPY), replace(PIP, version="cpython 3.12.1")),
        installing.environment_name((PANDAS, NUMPY), replace(PIP, python="/opt/python3.11")),
    ]
    assert len({name, *others}) == 6


def test_venv_and_pip_make_an_environment_without_uv() -> None:
    make, install = installing.commands((PANDAS, Package("six", "")), PIP, "/e", "/e/bin/python")
    assert make == ["/usr/bin/python3.11", "-I", "-m", "venv", "/e"]
    assert install[:5] == ["/e/bin/python", "-I", "-m", "pip", "install"]
    assert install[-3:] == ["--", "pandas==2.3.3", "six"]


def test_the_workers_own_pip_serves_environments_if_it_can() -> None:
    make, install = installing.commands((PANDAS,), PIP, "/e", "/e/bin/python", pip="/venv/bin/python")
    assert make == ["/usr/bin/python3.11", "-I", "-m", "venv", "--without-pip", "/e"]
    assert install[:7] == ["/venv/bin/python", "-I", "-m", "pip", "--python", "/e/bin/python", "install"]
    for said, can in (("pip 22.3 from /x", True), ("pip 26.0.dev0", True), ("pip 22.2.2", False), ("No module", False)):
        assert installing.serves_others(said) is can


def test_uv_makes_an_environment_where_it_is() -> None:
    make, install = installing.commands((PANDAS,), UV, "/e", "/e/bin/python")
    assert make == ["/usr/bin/uv", "venv", "--no-project", "--python", "/usr/bin/python3.11", "/e"]
    assert install[:3] == ["/usr/bin/uv", "pip", "install"]
    assert install[install.index("--python") + 1] == "/e/bin/python"
    assert install[-2:] == ["--", "pandas==2.3.3"]


def test_what_slots_have_from_their_worker_is_not_installed() -> None:
    assert len(installing.commands((Package("nbdist", "0.1.0"), Package("Cloudpickle", "3.1")), PIP, "/e", "p")) == 1


@pytest.mark.parametrize(
    "name", ["--index-url=http://x", "-r", "a b", "../wheel.whl", "https://x/y.whl", "a;b", "", "é"]
)
def test_what_is_no_package_is_not_given_to_an_installer(name: str) -> None:
    assert installing.no_package((PANDAS, Package(name, "1")))
    assert installing.no_package((PANDAS, Package("six", name or " ")))
    assert not installing.no_package((PANDAS, Package("ruamel.yaml", "0.18.1+cpu"), Package("six", "")))


def test_a_set_is_shown_in_short() -> None:
    assert installing.described((PANDAS,)) == "pandas 2.3.3"
    assert installing.described((PANDAS, NUMPY)) == "pandas 2.3.3, numpy 2.3.1"
    more = installing.described((PANDAS, NUMPY, *(Package(f"p{n}", "") for n in range(5))))
    assert more == "pandas 2.3.3, numpy 2.3.1, p0 and 4 more"


PIP_SAYS = """Looking in links: /wheels
Collecting numpy==2.3.1
  Using cached numpy-2.3.1-cp311-cp311-manylinux_2_28_x86_64.whl (16.9 MB)
ERROR: Could not find a version that satisfies the requirement pandas==2.3.3 (from versions: 2.3.2)
ERROR: No matching distribution found for pandas==2.3.3
"""
UV_SAYS = """  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of pandas==2.3.3 and you require
      pandas==2.3.3, we can conclude that your requirements are unsatisfiable.
"""


@pytest.mark.parametrize("output", [PIP_SAYS, UV_SAYS])
def test_the_package_that_failed_is_named(output: str) -> None:
    assert installing.blamed((NUMPY, PANDAS), output) == "pandas==2.3.3"


def test_if_the_output_names_none_all_are_told() -> None:
    assert installing.blamed((NUMPY, PANDAS), "no network") == "numpy==2.3.1, pandas==2.3.3"


def test_the_end_of_the_output_is_kept_and_bounded() -> None:
    lines = [f"line {n}" for n in range(100)]
    assert installing.tail("\n\n".join(lines)) == "\n".join(lines[-20:])
    assert installing.tail("\x1b[31mred\x1b[0m\r\nnext\x00") == "red\nnext"
    assert len(installing.tail("x" * 10_000)) == installing.TAIL_CHARACTERS + 2


def kept(count: int, size: int = 1) -> list[Kept]:
    return [Kept(f"e{number}", float(number), size) for number in range(count)]


def test_the_ones_that_were_not_used_for_longest_go() -> None:
    assert installing.superfluous(kept(installing.MAX_ENVIRONMENTS), ()) == []
    assert sorted(installing.superfluous(kept(installing.MAX_ENVIRONMENTS + 2), ())) == ["e0", "e1"]
    third = installing.MAX_ENVIRONMENT_BYTES // 3
    assert sorted(installing.superfluous(kept(5, third), ())) == ["e0", "e1"]


def test_none_that_is_in_use_goes() -> None:
    assert sorted(installing.superfluous(kept(installing.MAX_ENVIRONMENTS + 2), ("e0", "e1"))) == ["e2", "e3"]
    huge = kept(3, installing.MAX_ENVIRONMENT_BYTES)
    assert sorted(installing.superfluous(huge, ("e0", "e1"))) == ["e2"]
