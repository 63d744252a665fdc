"""An index is kept in a file and taken up again, and a damaged file is noticed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from batches import batch, stored
from llmd_py import KvEventStream, PrefixIndex
from llmd_py.errors import CorruptError, ExhaustedError, InvalidError, UnavailableError


@pytest.fixture
def index() -> PrefixIndex:
    index = PrefixIndex(4)
    index.apply("w", batch(stored([0, 1], range(8))), seq=0)
    index.apply("v", batch(stored([5], range(4))))
    return index


def test_what_was_known_is_known_again(index: PrefixIndex, tmp_path: Path) -> None:
    path = tmp_path / "index.snapshot"
    index.snapshot(path)
    restored = PrefixIndex.restore(str(path))

    assert restored.query(range(8)) == index.query(range(8)) == {"v": 1, "w": 2}
    assert restored.block_size == 4 and sorted(restored.workers()) == ["v", "w"]
    assert (restored.state("w"), restored.missing_from("w")) == ("recovering", 0)
    assert restored.apply("w", batch(stored([0, 1], range(8))), seq=0).state == "exact"
    assert restored.apply("w", batch(stored([2], range(8, 12), 1)), seq=1).state == "exact"
    assert restored.query(range(12))["w"] == 3 and index.query(range(12))["w"] == 2


def test_only_the_owner_can_read_it_and_nothing_else_is_left(index: PrefixIndex, tmp_path: Path) -> None:
    path = tmp_path / "index.snapshot"
    before = os.umask(0)
    try:
        path.write_bytes(b"what was there before")
        path.chmod(0o666)
        index.snapshot(path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["index.snapshot"]
    PrefixIndex.restore(path)


def test_a_relative_path_is_taken_from_the_working_folder(
    index: PrefixIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    index.snapshot("here")

    assert PrefixIndex.restore("here").query(range(4)) == {"v": 1, "w": 1}


def test_a_followed_worker_is_left_out(index: PrefixIndex, tmp_path: Path) -> None:
    with KvEventStream(index, {"live": "tcp://127.0.0.1:9"}):
        index.snapshot(tmp_path / "s")

    assert sorted(PrefixIndex.restore(tmp_path / "s").workers()) == ["v", "w"]


def test_damage_is_noticed(index: PrefixIndex, tmp_path: Path) -> None:
    path = tmp_path / "s"
    index.snapshot(path)
    whole = path.read_bytes()
    damaged = [whole[:end] for end in range(0, len(whole), 7)] + [whole + b"x", b"no snapshot at all"]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(0, len(whole), 11)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CorruptError):
            PrefixIndex.restore(path)


def test_what_cannot_be_is_refused_and_named(index: PrefixIndex, tmp_path: Path) -> None:
    absent = tmp_path / "absent/s"
    with pytest.raises(UnavailableError, match=f"snapshot {absent} cannot be written: No such file"):
        index.snapshot(absent)
    with pytest.raises(UnavailableError, match=f"snapshot {absent} cannot be read: No such file"):
        PrefixIndex.restore(absent)
    with pytest.raises(InvalidError, match="names no file"):
        index.snapshot("/")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnavailableError, match="cannot be written"):
        index.snapshot(tmp_path / "folder")
    assert os.listdir(tmp_path) == ["folder"]
    index.snapshot(tmp_path / "s")
    with pytest.raises(ExhaustedError, match="there are 1"):
        PrefixIndex.restore(tmp_path / "s", max_workers=1)
    with pytest.raises(InvalidError, match="max_blocks -1: expected 0 to"):
        PrefixIndex.restore(tmp_path / "s", max_blocks=-1)
