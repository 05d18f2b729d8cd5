"""What a worker finds installed, and when it looks again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from nbdist.wire import messages as m
from nbdist.wire.installed import Installed
from nbdist.worker import inventory
from nbdist.worker.inventory import Inventory, is_update, look, site_folders

LIMIT_SECONDS = 20.0


def make(folder: Path, *names: str) -> None:
    for name in names:
        place = folder / name
        if name.endswith("/"):
            place.mkdir(parents=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def test_names_of_files_and_folders_tell(tmp_path: Path) -> None:
    make(tmp_path, "numpy/", "numpy-2.4.6.dist-info/", "Foo_Bar-1.0+cu12.dist-info/", "single.py", "__pycache__/")
    make(tmp_path, "old-0.5-py3.11.egg-info", "PyGObject-3.42.2.egg-info/", "~umpy-1.0.dist-info/", "numpy.libs/")
    make(tmp_path, "fast.cpython-311-x86_64-linux-gnu.so", "abi.abi3.so", "some.pth", "json.py", "google/protobuf/")
    found = look([str(tmp_path)])
    assert dict(found.packages) == {"numpy": "2.4.6", "foo-bar": "1.0+cu12", "old": "0.5", "pygobject": "3.42.2"}
    assert set(found.modules) >= {"numpy", "single", "google"}
    assert not {"json", "__pycache__", "some", "numpy.libs"} & set(found.modules)


def test_a_distribution_whose_folder_does_not_name_its_version(tmp_path: Path) -> None:
    make(tmp_path, "mine.egg-info/", "none.egg-info/")
    (tmp_path / "mine.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.5\n")
    assert look([str(tmp_path)]).packages == (("mine", "1.5"),)


def test_the_first_folder_counts_and_others_need_not_be_there(tmp_path: Path) -> None:
    make(tmp_path / "a", "x-1.0.dist-info/")
    make(tmp_path / "b", "x-2.0.dist-info/", "y-2.0.dist-info/")
    found = look([str(tmp_path / "a"), str(tmp_path / "none"), str(tmp_path / "b")])
    assert found.packages == (("x", "1.0"), ("y", "2.0"))


def test_what_is_here_is_found(monkeypatch: Any, tmp_path: Path) -> None:
    import importlib.metadata

    make(tmp_path / "home", "private.py")
    make(tmp_path / "named", "public.py")
    monkeypatch.chdir(tmp_path / "home")
    monkeypatch.syspath_prepend(str(tmp_path / "home"))
    monkeypatch.syspath_prepend(str(tmp_path / "named"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "named"))
    found = look(site_folders())
    assert dict(found.packages)["numpy"] == importlib.metadata.version("numpy")
    assert "public" in found.modules
    assert "private" not in found.modules  # the names of somebody's own files go nowhere


@pytest.mark.parametrize(
    ("before", "after", "is_so"),
    [
        ((("a", "1"),), (("a", "1"), ("b", "1")), False),
        ((("a", "1"),), (("a", "2"),), True),
        ((("a", "1"),), (), True),
        ((), (), False),
    ],
)
def test_an_update_is_what_a_process_may_have_loaded_before(before: Any, after: Any, is_so: bool) -> None:
    assert is_update(Installed(before), Installed(after)) is is_so


class World:
    """An inventory of a folder, and what it has said."""

    def __init__(self, folder: Path) -> None:
        self.said: list[Any] = []
        self.changes: list[bool] = []
        self.told = asyncio.Event()
        self.inventory = Inventory(self._tell, self.changes.append, lambda: [str(folder)])

    def _tell(self, message: m.Message) -> None:
        self.said.append(message)
        if not getattr(message, "more", True):
            self.told.set()

    def greet(self, *, knows: bool) -> None:
        self.inventory.greeted(m.Welcome(1, "hub", 1, "box", "0.1.0", knows_packages=knows))

    def list(self) -> dict[str, str]:
        found = dict(pair for message in self.said for pair in message.packages)
        self.said.clear()
        return found


def test_the_list_is_told_only_to_a_hub_that_does_not_have_it(tmp_path: Path) -> None:
    async def run() -> None:
        make(tmp_path, "x-1.0.dist-info/")
        world = World(tmp_path)
        digest = world.inventory.state()
        world.greet(knows=True)
        assert not world.said
        assert world.inventory.state() == digest
        world.greet(knows=False)
        assert world.list() == {"x": "1.0"}
        make(tmp_path, "y-1.0.dist-info/")  # while there was no hub
        assert world.inventory.state() != digest
        world.greet(knows=True)
        assert not world.said

    asyncio.run(run())


def test_what_is_installed_later_is_noticed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(inventory, "LOOK_SECONDS", 0.01)

    async def run() -> None:
        make(tmp_path, "x-1.0.dist-info/")
        os.utime(tmp_path, (1, 1))  # long ago
        world = World(tmp_path)
        world.inventory.state()
        world.greet(knows=True)
        watching = asyncio.create_task(world.inventory.watch())

        async def next_list() -> dict[str, str]:
            await asyncio.wait_for(world.told.wait(), LIMIT_SECONDS)
            world.told.clear()
            return world.list()

        make(tmp_path, "y-1.0.dist-info/")
        assert await next_list() == {"x": "1.0", "y": "1.0"}
        (tmp_path / "x-1.0.dist-info").rename(tmp_path / "x-2.0.dist-info")
        assert await next_list() == {"x": "2.0", "y": "1.0"}
        (tmp_path / "y-1.0.dist-info").rename(tmp_path / "y-3.0.dist-info")
        os.utime(tmp_path, (5, 5))  # by something that keeps times
        assert await next_list() == {"x": "2.0", "y": "3.0"}
        assert world.changes == [False, True, True]
        watching.cancel()

    asyncio.run(run())


def test_what_an_installer_is_about_to_add_counts_once_it_has_done_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(inventory, "LOOK_SECONDS", 0.01)
    looks = [Installed((), ("x",)), Installed((), ("x", "y")), *[Installed((("x", "1"),), ("x", "y"))] * 2]
    monkeypatch.setattr(inventory, "look", lambda folders: looks.pop(0) if len(looks) > 1 else looks[0])

    async def run() -> None:
        world = World(tmp_path)
        world.inventory.state()
        world.greet(knows=True)
        watching = asyncio.create_task(world.inventory.watch())
        await asyncio.wait_for(world.told.wait(), LIMIT_SECONDS)
        assert world.list() == {"x": "1"}
        assert len(world.changes) == 1
        watching.cancel()

    asyncio.run(run())


def test_folders_that_have_not_changed_are_not_listed_again(tmp_path: Path, monkeypatch: Any) -> None:
    looked: list[Any] = []
    monkeypatch.setattr(inventory, "look", lambda folders: looked.append(folders) or Installed())
    world = Inventory(lambda message: None, lambda is_update: None, lambda: [str(tmp_path)])
    os.utime(tmp_path, (1, 1))
    world.state()
    world.state()
    assert len(looked) == 1
    os.utime(tmp_path)  # just now: more may follow within the same tick of the clock
    world.state()
    world.state()
    assert len(looked) == 3
