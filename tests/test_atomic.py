"""What is written is whole under its name, or not there."""

import os
import pathlib

import pytest

from sgdynamics import _atomic


def fill(path, folder, text):
    if folder:
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "a").write_text(text)
    else:
        path.write_text(text)


def text(path, folder):
    return (path / "inner" / "a" if folder else path).read_text()


@pytest.fixture(params=[True, False], ids=["exchanged", "in two steps"])
def exchange(request, monkeypatch):
    """Also on systems that cannot exchange two names in one step."""
    if not request.param:
        monkeypatch.setattr(_atomic, "_exchanged", lambda a, b: False)


@pytest.mark.parametrize("folder", [True, False])
def test_a_new_thing_takes_the_place_of_the_old_one(tmp_path, folder, exchange):
    path = tmp_path / "on" / "the" / "way" / "a.nc"
    for words in ("first", "second"):
        with _atomic.written(path) as partial:
            fill(partial, folder, words)
            assert partial.parent == path.parent and partial.suffix == ".nc"
            assert not path.exists() or text(path, folder) == "first"
        assert text(path, folder) == words
    assert [p.name for p in path.parent.iterdir()] == ["a.nc"]


@pytest.mark.parametrize("folder", [True, False])
@pytest.mark.parametrize("end", [RuntimeError, KeyboardInterrupt])
def test_what_ends_badly_vanishes(tmp_path, folder, end):
    fill(tmp_path / "a", folder, "first")
    with pytest.raises(end), _atomic.written(tmp_path / "a") as partial:
        fill(partial, folder, "half")
        raise end
    assert text(tmp_path / "a", folder) == "first" and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("first", [True, False])
def test_a_folder_in_place_of_a_file_and_the_reverse(tmp_path, first, exchange):
    fill(tmp_path / "a", first, "first")
    with _atomic.written(tmp_path / "a") as partial:
        fill(partial, not first, "second")
    assert text(tmp_path / "a", not first) == "second" and [p.name for p in tmp_path.iterdir()] == ["a"]


def test_where_the_second_step_fails_the_old_one_is_put_back(tmp_path, monkeypatch):
    monkeypatch.setattr(_atomic, "_exchanged", lambda a, b: False)
    fill(tmp_path / "a", True, "first")
    rename = type(tmp_path).rename

    def fails(self, target):
        if ".partial-" in self.name:
            raise OSError("no luck")
        return rename(self, target)

    monkeypatch.setattr(type(tmp_path), "rename", fails)
    with pytest.raises(OSError, match="no luck"), _atomic.written(tmp_path / "a") as partial:
        fill(partial, True, "second")
    assert text(tmp_path / "a", True) == "first" and [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(not pathlib.Path("/proc/self/fd").exists(), reason="the names of open files are not known here")
def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Files, their folders, and at the end the folder in which the name stands."""
    events, sync, put = [], os.fsync, os.replace

    def synced(descriptor):
        events.append(pathlib.Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        sync(descriptor)

    def replaced(old, new):
        events.append("renamed")
        put(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    with _atomic.written(tmp_path / "a") as partial:
        fill(partial, True, "words")
    assert set(events[:3]) == {partial / "inner" / "a", partial / "inner", partial}
    assert events[3:] == ["renamed", tmp_path]
