"""The file of a backup: what was changed, cut off, put in another order or mixed does not open."""

import io
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from otpd import backup, ring_text
from otpd.backup import Reader, Writer
from otpd.errors import BackupError
from otpd.seal import KeyRing

NOW = datetime(2026, 11, 24, tzinfo=UTC)
LINES = [f"{number} {'x' * 60_000}".encode() for number in range(20)]


@pytest.fixture(scope="module")
def keys() -> KeyRing:
    return KeyRing.from_text(ring_text.with_new_key(""), "test")


def written(keys: KeyRing, lines: list[bytes]) -> list[bytes]:
    stream = io.BytesIO()
    writer = Writer(stream, keys, NOW)
    for line in lines:
        writer.add(line)
    writer.close()
    return stream.getvalue().splitlines(keepends=True)


def read(keys: KeyRing, chunks: list[bytes]) -> list[bytes]:
    return list(Reader(io.BytesIO(b"".join(chunks)), keys).lines())


@pytest.mark.parametrize("count", [0, 1, 20])
def test_there_and_back(keys: KeyRing, count: int) -> None:
    chunks = written(keys, LINES[:count])
    assert read(keys, chunks) == LINES[:count]
    assert len(chunks) == (6 if count == 20 else 2)
    assert not any(b"x" * 40 in chunk for chunk in chunks)


def test_it_is_read_as_often_as_it_is_asked(keys: KeyRing) -> None:
    reader = Reader(io.BytesIO(b"".join(written(keys, LINES))), keys)
    assert list(reader.lines()) == list(reader.lines()) == LINES


DAMAGE: dict[str, Callable[[list[bytes]], list[bytes]]] = {
    "the end is missing": lambda chunks: chunks[:-1],
    "all but the first line is missing": lambda chunks: chunks[:1],
    "the last line is cut": lambda chunks: [*chunks[:-1], chunks[-1][:-20]],
    "the last line has no end": lambda chunks: [*chunks[:-1], chunks[-1][:-1]],
    "one is missing": lambda chunks: chunks[:2] + chunks[3:],
    "the first is missing": lambda chunks: chunks[:1] + chunks[2:],
    "one comes twice": lambda chunks: chunks[:3] + chunks[2:],
    "two are swapped": lambda chunks: [*chunks[:2], chunks[3], chunks[2], *chunks[4:]],
    "one byte differs": lambda chunks: [*chunks[:2], chunks[2].replace(b"A", b"B", 1), *chunks[3:]],
    "the first line differs": lambda chunks: [chunks[0].replace(b"-24T", b"-25T"), *chunks[1:]],
    "something follows": lambda chunks: [*chunks, chunks[-1]],
    "an empty line follows": lambda chunks: [*chunks, b"\n"],
    "nothing at all": lambda _: [],
    "something else": lambda _: [b"hello\n"],
    "another version": lambda chunks: [chunks[0].replace(b'backup": 1', b'backup": 2'), *chunks[1:]],
    "a line without end": lambda chunks: [chunks[0], b"k1." + b"A" * 10_000_000],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_what_is_not_whole_is_refused(keys: KeyRing, damage: Callable[[list[bytes]], list[bytes]]) -> None:
    with pytest.raises(BackupError):
        read(keys, damage(written(keys, LINES)))


def test_a_chunk_of_another_backup(keys: KeyRing) -> None:
    one, other = written(keys, LINES), written(keys, LINES)
    for place in range(len(one)):
        with pytest.raises(BackupError):
            read(keys, [*one[:place], other[place], *one[place + 1 :]])


def test_what_is_sealed_for_something_else_is_no_chunk(keys: KeyRing) -> None:
    chunks = written(keys, [])
    with pytest.raises(BackupError):
        read(keys, [chunks[0], keys.seal("seed", ("alice", "x"), backup.Secret(b"")) + b"\n"])


def test_the_missing_key_is_named(keys: KeyRing) -> None:
    other = KeyRing.from_text(ring_text.new_key_line("k2"), "test")
    with pytest.raises(BackupError, match="'k1'"):
        read(other, written(keys, LINES))
    same_id = KeyRing.from_text(ring_text.new_key_line("k1"), "test")
    with pytest.raises(BackupError, match="not in the key ring"):
        read(same_id, written(keys, LINES))


def test_a_ring_with_more_keys(keys: KeyRing) -> None:
    text = ring_text.with_new_key("")
    chunks = written(KeyRing.from_text(text, "test"), LINES)
    later = ring_text.with_current(ring_text.with_new_key(text), "k2")
    assert read(KeyRing.from_text(later, "test"), chunks) == LINES
