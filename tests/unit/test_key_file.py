"""The file of the key ring: replaced as a whole or not at all, and still its owner's alone."""

import multiprocessing
import os
import signal
import stat
import time
from pathlib import Path

import pytest

from otpd import ring_text
from otpd.adapters.key_file import edit_key_ring, make_key_ring, read_key_ring
from otpd.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "keyring"
    make_key_ring(path, ring_text.with_new_key(""))
    return path


def test_it_is_made_for_its_owner_alone_and_once(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        make_key_ring(path, ring_text.with_new_key(""))


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_an_edit_keeps_owner_and_mode_and_leaves_nothing_else(path: Path, mode: int) -> None:
    path.chmod(mode)
    before = path.stat()
    assert edit_key_ring(path, ring_text.with_new_key).ids == ("k1", "k2")
    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, mode)
    assert after.st_ino != before.st_ino, "another file took its place"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_neither_read_nor_edited(path: Path, mode: int) -> None:
    path.chmod(mode)
    for use in (read_key_ring, lambda path: edit_key_ring(path, ring_text.with_new_key)):
        with pytest.raises(ConfigError, match="chmod 600"):
            use(path)


def test_links_and_pipes_are_not_edited(path: Path) -> None:
    link, pipe = path.with_name("link"), path.with_name("pipe")
    link.symlink_to(path)
    os.mkfifo(pipe, 0o600)
    with pytest.raises(ConfigError, match="symbolic link"):
        edit_key_ring(link, ring_text.with_new_key)
    with pytest.raises(ConfigError, match="not a file"):
        edit_key_ring(pipe, ring_text.with_new_key)
    assert link.is_symlink()


@pytest.mark.parametrize("change", [lambda _text: "k1 rubbish\n", lambda _text: "", lambda text: text + text])
def test_what_is_no_ring_is_not_written(path: Path, change: ring_text.Change) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError):
        edit_key_ring(path, change)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_a_killed_edit_left_is_in_nobodys_way(path: Path) -> None:
    path.with_name("keyring.new").write_text("half a li")
    assert edit_key_ring(path, ring_text.with_new_key).ids == ("k1", "k2")
    assert list(path.parent.iterdir()) == [path]


def _edit_for_ever(path: Path) -> None:
    while True:
        edit_key_ring(path, ring_text.with_new_key)


def test_killed_at_any_moment_the_ring_is_whole(path: Path) -> None:
    context, seen = multiprocessing.get_context("fork"), 1
    for number in range(20):
        editor = context.Process(target=_edit_for_ever, args=(path,))
        editor.start()
        time.sleep(0.01 + number * 0.0013)
        assert editor.pid
        os.kill(editor.pid, signal.SIGKILL)
        editor.join()
        ring = read_key_ring(path)
        assert ring.ids == tuple(f"k{count}" for count in range(1, len(ring.ids) + 1))
        assert len(ring.ids) >= seen
        seen = len(ring.ids)
    assert seen > 1


def _edit_ten_times(path: Path) -> None:
    for _ in range(10):
        edit_key_ring(path, ring_text.with_new_key)


def test_edits_at_once_come_one_after_the_other(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    editors = [context.Process(target=_edit_ten_times, args=(path,)) for _ in range(4)]
    for editor in editors:
        editor.start()
    for editor in editors:
        editor.join()
    assert read_key_ring(path).ids == tuple(f"k{count}" for count in range(1, 42))
