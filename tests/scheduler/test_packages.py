"""What a job uses against what is installed on a machine."""

from __future__ import annotations

import pytest

from nbdist.scheduler.packages import Gap, Listing, compare, distance
from nbdist.wire.messages import Package

HERE = Listing(
    {"numpy": "1.26.4", "scikit-learn": "1.7.2", "opencv-python-headless": "4.10.0", "torch": "2.3.0+cu121"},
    frozenset({"numpy", "sklearn", "cv2", "torch", "copied"}),
)


@pytest.mark.parametrize(
    ("one", "other", "gap"),
    [
        ("1.2.3", "1.2.3", Gap.NONE),
        ("2.3.0+cpu", "2.3.0+cu121", Gap.NONE),
        ("1.2", "1.2.0", Gap.PATCH),
        ("1.2.3", "1.2.4", Gap.PATCH),
        ("1.2.3rc1", "1.2.3", Gap.PATCH),
        ("1.2.3", "1.3.3", Gap.MINOR),
        ("0.60.0", "0.61.2", Gap.MINOR),
        ("2.4.6", "1.26.4", Gap.MAJOR),
        ("9.0", "10.0", Gap.MAJOR),
        ("0.9", "1.0", Gap.MAJOR),
        ("2024.1", "2025.2", Gap.MINOR),
        ("24.1", "26.3", Gap.MINOR),
        ("3.20", "24.1", Gap.MAJOR),
        ("1!2.0", "2.1", Gap.MINOR),
        ("unknown", "1.0", Gap.MINOR),
        ("", "1.0", Gap.NONE),
        ("9" * 99, "1", Gap.MAJOR),
    ],
)
def test_distance(one: str, other: str, gap: Gap) -> None:
    assert distance(one, other) == gap


@pytest.mark.parametrize(
    ("package", "versions", "reason", "todo", "note"),
    [
        (Package("numpy", "1.26.4", ("numpy",)), "", "", "", ""),
        (Package("numpy", "2.4.6"), "", "numpy 2.4.6 here, 1.26.4 there", "pip install numpy==2.4.6", ""),
        (Package("numpy", "2.4.6"), "any", "", "", "numpy 2.4.6 here, 1.26.4 there"),
        (Package("numpy", "1.25.0"), "", "", "", "numpy 1.25.0 here, 1.26.4 there"),
        (Package("numpy", "1.26.3"), "same", "numpy 1.26.3 here, 1.26.4 there", "pip install numpy==1.26.3", ""),
        (Package("Scikit_Learn", "1.7.2"), "same", "", "", ""),
        (Package("torch", "2.3.0+cpu"), "same", "", "", ""),
        (Package("torch", "3.0.0+cpu"), "", "torch 3.0.0+cpu here, 2.3.0+cu121 there", "pip install torch==3.0.0", ""),
        (Package("pandas", "2.3.3", ("pandas",)), "", "no pandas", "pip install pandas==2.3.3", ""),
        (Package("pandas", "2.3.3", ("pandas",)), "any", "no pandas", "pip install pandas==2.3.3", ""),
        (Package("pandas", ""), "", "no pandas", "pip install pandas", ""),
        (Package("opencv-python", "4.12.0", ("cv2",)), "", "", "", ""),
        (Package("copied", "1.0", ("copied",)), "", "", "", ""),
        (Package("half", "1.0", ("copied", "half")), "", "no half", "pip install half==1.0", ""),
    ],
)
def test_one_package(package: Package, versions: str, reason: str, todo: str, note: str) -> None:
    found = compare([package], HERE, versions)
    assert (found.reason, found.todo, found.note()) == (reason, todo, note)
    assert found.lacking == ([package] if reason else [])


def test_several_packages_are_told_together_and_no_endless_line() -> None:
    found = compare([Package("numpy", "2.4.6"), Package("pandas", "2.3.3"), Package("torch", "2.2")], HERE)
    assert found.reason == "numpy 2.4.6 here, 1.26.4 there; no pandas"
    assert found.todo == "pip install numpy==2.4.6 pandas==2.3.3"
    assert found.note(Gap.MINOR) == "torch 2.2 here, 2.3.0+cu121 there"
    many = compare([Package(f"p{number}", "1") for number in range(20)], HERE)
    assert many.reason.endswith("; no p7; and 12 more")


def test_small_differences_are_told_apart() -> None:
    found = compare([Package("numpy", "1.26.0"), Package("scikit-learn", "1.6.0")], HERE)
    assert found.note() == "numpy 1.26.0 here, 1.26.4 there; scikit-learn 1.6.0 here, 1.7.2 there"
    assert found.note(Gap.MINOR) == "scikit-learn 1.6.0 here, 1.7.2 there"
