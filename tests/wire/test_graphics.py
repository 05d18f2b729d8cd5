"""GPUs, from what drivers write."""

from __future__ import annotations

from pathlib import Path

from nbdist.wire import graphics


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_what_the_drivers_of_linux_say(tmp_path: Path) -> None:
    nvidia, amd = tmp_path / "nvidia", tmp_path / "amd"
    write(nvidia / "0000:01:00.0" / "information", "Model: \t\t NVIDIA RTX 4090\nIRQ: 120\n")
    write(nvidia / "0000:02:00.0" / "information", "IRQ: 121\n")
    write(amd / "0" / "properties", "cpu_cores_count 16\nsimd_count 0\n")
    write(amd / "1" / "properties", "simd_count 240\n")
    write(amd / "1" / "name", "gfx1100\n")
    assert graphics.from_files(nvidia, amd) == ["NVIDIA RTX 4090", "NVIDIA", "AMD gfx1100"]


def test_no_driver_no_gpu(tmp_path: Path) -> None:
    assert graphics.from_files(tmp_path / "none", tmp_path / "neither") == []


def test_this_machine_is_asked_once() -> None:
    assert graphics.names() is graphics.names()
