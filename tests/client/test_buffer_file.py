"""The file of a device's buffer: restarts, locks, a full disk, and damage."""

from __future__ import annotations

import json
import logging
import random
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from iotio_client.buffer import Buffer
from iotio_client.errors import BufferDamaged, BufferFailed

from .test_buffer import put, waiting


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "buffer.db"


def test_all_survives_a_restart(file: Path) -> None:
    first = Buffer(file)
    put(first, b"a", b"b", b"c")
    first.resume(first.outgoing.name, 1, "s")
    first.took(7)
    name = first.outgoing.name
    first.close()
    second = Buffer(file)
    assert (second.outgoing.name, second.outgoing.counter) == (name, 3)
    assert waiting(second) == [(2, b"b"), (3, b"c")]
    assert (second.incoming.stream, second.incoming.last) == ("s", 7)
    assert put(second, b"d") == [4]
    second.close()


def test_numbers_go_on_though_nothing_waits(file: Path) -> None:
    first = Buffer(file)
    put(first, b"a", b"b")
    first.resume(first.outgoing.name, 2, None)
    first.close()
    second = Buffer(file)
    assert len(second) == 0
    assert put(second, b"c") == [3]
    second.close()


def test_an_effect_and_its_note_are_one(file: Path) -> None:
    buffer = Buffer(file)
    buffer.resume(None, 0, "s")

    def effect(connection: Any) -> None:
        connection.execute("CREATE TABLE done (value)")
        connection.execute("INSERT INTO done VALUES (1)")
        raise RuntimeError("the handler's own")

    with pytest.raises(RuntimeError, match="own"):
        buffer.took(1, [effect])
    assert buffer.is_new(1, 0)
    with pytest.raises(RuntimeError, match="no such table"):
        buffer.took(1, [lambda connection: connection.execute("INSERT INTO nowhere VALUES (1)")])
    assert buffer.is_new(1, 0)
    buffer.took(1, [lambda connection: connection.execute("CREATE TABLE done (value)")])
    assert not buffer.is_new(1, 0)
    buffer.close()


def test_a_closed_buffer_says_so(file: Path) -> None:
    buffer = Buffer(file)
    buffer.close()
    buffer.close()
    with pytest.raises(BufferFailed, match="closed"):
        put(buffer, b"a")
    assert len(buffer) == 0


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BufferFailed, match="does its folder exist"):
        Buffer(tmp_path / "nowhere" / "buffer.db")


def test_no_database(file: Path) -> None:
    file.write_bytes(b"something else" * 100)
    with pytest.raises(BufferDamaged, match="cannot be used: file is not a database; name another file, or"):
        Buffer(file)


def test_a_file_of_a_newer_version(file: Path) -> None:
    Buffer(file).close()
    with sqlite3.connect(file) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(BufferFailed, match="newer iotio"):
        Buffer(file)


def test_a_file_that_somebody_locks(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = Buffer(file, patience=0.05)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(BufferFailed, match="locked"):
        put(buffer, b"a")
    other.execute("ROLLBACK")
    other.close()
    assert put(buffer, b"a") == [1]
    assert waiting(buffer) == [(1, b"a")]
    buffer.close()


FULL_DISK = """
import resource, signal, sys
from iotio_client.buffer import Buffer
from iotio_client.errors import BufferFailed
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
buffer = Buffer(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
kept = 0
try:
    while kept < 1000:
        kept = buffer.put("e", 0, bytes(2000), 0)
except BufferFailed as error:
    print(kept, len(buffer), error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="resource limits")
def test_a_full_disk(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(file)], capture_output=True, text=True, check=True, timeout=30
    )
    kept, length, *words = done.stdout.split()
    assert 0 < int(kept) == int(length) < 1000, done.stdout
    assert "cannot" in words
    buffer = Buffer(file)
    assert len(buffer) == int(kept)
    buffer.close()


def test_what_is_dropped_instead_of_sent_leaves_no_gap(file: Path) -> None:
    buffer = Buffer(file)
    for _ in range(3):
        buffer.put("e", 0, b"x", 0)
    buffer.resume(None, 0, None)
    assert buffer.next(9)
    previous, number, _ = buffer.next(9) or (0, 0, None)
    assert (previous, number) == (1, 2)
    buffer.drop_unsent(previous, number)
    previous, number, _ = buffer.next(9) or (0, 0, None)
    assert (previous, number) == (1, 3)
    assert (buffer.dropped, buffer.outgoing.on_their_way) == (1, 2)
    buffer.acknowledge(3)
    buffer.close()
    again = Buffer(file)
    assert len(again) == 0
    again.close()


def test_a_transaction_cannot_send(file: Path) -> None:
    buffer = Buffer(file)
    buffer.resume(None, 0, "s")
    with pytest.raises(RuntimeError, match="within a transaction"):
        buffer.took(1, [lambda _: buffer.put("e", 0, b"", 0)])
    assert len(buffer) == 0
    assert buffer.is_new(1, 0)
    buffer.close()


@pytest.mark.parametrize("patience", [-1, 1e308, float("nan")])
def test_patience_is_what_sqlite_can_wait(patience: float) -> None:
    with pytest.raises(ValueError, match="patience must be seconds, 0 or more and at most 2000000, not"):
        Buffer(patience=patience)


# Damage.

GARBAGE = {
    "null": None,
    "text": "rubbish?",
    "empty": "",
    "deep": "[" * 100_000,
    "long": "9" * 5000,
    "bytes": b"\xff\xfe\x00",
    "infinite": 1e999,
    "fraction": 0.5,
    "negative": -1,
    "large": 2**63 - 1,
}
COLUMNS = {
    "stream": ["name", "counter", "heard_stream", "heard"],
    "message": ["number", "event", "kind", "body", "time"],
}


@pytest.fixture
def filled(file: Path) -> Path:
    """Three messages, of which the server has the first; and three of the server's."""
    with closing(Buffer(file)) as buffer:
        put(buffer, b"a", b"b", b"c")
        buffer.resume(buffer.outgoing.name, 1, "s")
        buffer.took(3)
    return file


def damage(path: Path, statement: str, *values: Any) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(statement, values)


def damage_as_text(path: Path, table: str, column: str) -> None:
    damage(path, f"UPDATE {table} SET {column} = CAST(x'fffe' AS TEXT) WHERE rowid IN (1, 2)")


def stream_of(path: Path) -> str:
    with closing(sqlite3.connect(path)) as raw:
        name: str = raw.execute("SELECT name FROM stream").fetchone()[0]
    return name


def set_aside(path: Path) -> list[tuple[str, str, dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as raw:
        try:
            found = raw.execute("SELECT origin, why, content FROM iotio_set_aside").fetchall()
        except sqlite3.OperationalError:
            return []
    return [(origin, why, json.loads(content)) for origin, why, content in found]


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in COLUMNS for column in COLUMNS[table]])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_no_value_in_any_column_keeps_a_device_from_starting(
    filled: Path, table: str, column: str, garbage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = stream_of(filled)
    try:
        damage(filled, f"UPDATE {table} SET {column} = ? WHERE rowid IN (1, 2)", garbage)
    except sqlite3.IntegrityError:
        pytest.skip("SQLite does not take it")
    for _ in range(2):  # the second time, nothing is left to say
        with closing(Buffer(filled)) as buffer:
            assert b"c" in [body for _, body in waiting(buffer)]
            last = buffer.outgoing.counter
            same = buffer.outgoing.name == name
            buffer.resume(None, 0, "s")
        first = caplog.text
        assert len(caplog.records) == len(set_aside(filled))
    for origin, why, content in set_aside(filled):
        assert why in first
        assert origin == table
        assert content
    assert same == (column not in ("name", "counter") or not set_aside(filled))
    with closing(Buffer(filled)) as buffer:
        assert put(buffer, b"d") == [last + 1]
        buffer.took(9)


@pytest.mark.parametrize(("table", "column"), [("stream", "name"), ("stream", "heard_stream"), ("message", "event")])
def test_text_that_is_none(filled: Path, table: str, column: str) -> None:
    damage_as_text(filled, table, column)
    with closing(Buffer(filled)) as buffer:
        assert len(buffer) == (1 if table == "message" else 2)
    (aside,) = set_aside(filled)
    assert aside[1].startswith(f"{column} is b'\\xff\\xfe', not ")
    assert aside[2][column] == {"hex": "fffe"}


def test_a_message_that_was_set_aside_is_whole(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage(filled, "UPDATE message SET time = 'x' WHERE number = 2")
    name = stream_of(filled)
    with closing(Buffer(filled)) as buffer:
        assert waiting(buffer) == [(3, b"c")]
        assert (buffer.outgoing.name, buffer.incoming.last) == (name, 3)
    content = {"number": 2, "event": "e", "kind": 0, "body": {"hex": "62"}, "time": "x"}
    assert set_aside(filled) == [("message", "time is 'x', not a time", content)]
    assert f"{filled}: a row of message cannot be used and is kept in the table iotio_set_aside: time" in caplog.text


def test_a_value_that_the_server_could_not_read(filled: Path) -> None:
    """It would end each connection."""
    damage(filled, "UPDATE message SET kind = 4 WHERE number = 2")
    with closing(Buffer(filled)) as buffer:
        assert waiting(buffer) == [(3, b"c")]
    assert set_aside(filled)[0][1].startswith("body is b'b', which cannot be sent: ")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE stream SET name = 7.5",
        "UPDATE stream SET counter = 'x'",
        "UPDATE stream SET counter = 2",
        "UPDATE message SET number = 9007199254740991 WHERE number = 3",
        "DELETE FROM stream",
        "INSERT INTO stream VALUES ('another', 1, NULL, 0)",
    ],
)
def test_a_stream_whose_counter_is_lost_gets_a_new_name(
    filled: Path, statement: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Under the old one the server would take what is new for repetitions."""
    name = stream_of(filled)
    damage(filled, statement)
    with closing(Buffer(filled)) as buffer:
        new = buffer.outgoing.name
        assert new not in (name, "another", "7.5")
        assert waiting(buffer) == [(1, b"b"), (2, b"c")]
        assert put(buffer, b"d") == [3]
    with closing(Buffer(filled)) as buffer:
        assert buffer.outgoing.name == new
        assert waiting(buffer) == [(1, b"b"), (2, b"c"), (3, b"d")]
    assert caplog.records


def test_what_was_heard_survives_a_lost_counter_and_the_other_way_round(filled: Path) -> None:
    damage(filled, "UPDATE stream SET counter = 'x'")
    with closing(Buffer(filled)) as buffer:
        assert (buffer.incoming.stream, buffer.incoming.last) == ("s", 3)
        name = buffer.outgoing.name
    damage(filled, "UPDATE stream SET heard = 'x'")
    with closing(Buffer(filled)) as buffer:
        assert (buffer.incoming.stream, buffer.incoming.last) == (None, 0)
        assert buffer.outgoing.name == name


def test_many_rows_are_named_by_their_number(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(Buffer(file)) as buffer:
        put(buffer, *[b"x"] * 100)
    damage(file, "UPDATE message SET time = -1")
    with closing(Buffer(file)) as buffer:
        assert (len(buffer), buffer.outgoing.counter) == (0, 100)
    assert len(caplog.records) == 11
    assert caplog.records[-1].getMessage() == f"{file}: and 90 rows more"
    assert len(set_aside(file)) == 100


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))


def of_another_program(path: Path) -> None:
    path.unlink()
    damage(path, "CREATE TABLE message (sender TEXT, text TEXT)")


def of_another_program_with_a_version(path: Path) -> None:
    path.unlink()
    damage(path, "CREATE TABLE history (url TEXT)")
    damage(path, "PRAGMA user_version = 7")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "overwritten": overwrite,
    "random": lambda path: path.write_bytes(random.Random(1).randbytes(10_000)),
    "short": lambda path: path.write_bytes(b"rubbish"),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "no message": lambda path: damage(path, "DROP TABLE message"),
    "no stream": lambda path: damage(path, "DROP TABLE stream"),
    "no column": lambda path: damage(path, "ALTER TABLE message DROP COLUMN time"),
    "another program's": of_another_program,
    "another program's with a version": of_another_program_with_a_version,
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_refused_with_words(filled: Path, how: str) -> None:
    DAMAGES[how](filled)
    before = filled.read_bytes()
    with pytest.raises(BufferDamaged, match=r'buffer\.db cannot be used: .*; name another file, .*damaged="set_aside"'):
        Buffer(filled)
    assert filled.read_bytes() == before


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_file_is_moved_aside(filled: Path, how: str, caplog: pytest.LogCaptureFixture) -> None:
    name = stream_of(filled)
    DAMAGES[how](filled)
    before = filled.read_bytes()
    with closing(Buffer(filled, damaged="set_aside")) as buffer:
        assert len(buffer) == 0
        assert buffer.outgoing.name != name
        assert put(buffer, b"a") == [1]
    (aside,) = [one for one in filled.parent.iterdir() if one.name.startswith("buffer.db.damaged-")]
    assert aside.read_bytes() == before
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert f"it is {aside} now, and a new one begins" in caplog.text
    with closing(Buffer(filled)) as buffer:
        assert waiting(buffer) == [(1, b"a")]


def test_an_empty_file_is_a_new_one(filled: Path, caplog: pytest.LogCaptureFixture) -> None:
    name = stream_of(filled)
    filled.write_bytes(b"")
    with closing(Buffer(filled)) as buffer:
        assert len(buffer) == 0
        assert buffer.outgoing.name != name
    assert not caplog.records


def test_a_programs_own_tables_may_be_there_first(file: Path) -> None:
    damage(file, "CREATE TABLE setpoint (value)")
    with closing(Buffer(file)) as buffer:
        put(buffer, b"a")
    with closing(Buffer(file)) as buffer:
        assert waiting(buffer) == [(1, b"a")]


def test_bytes_anywhere_in_the_file(filled: Path) -> None:
    good = filled.read_bytes()
    chance = random.Random(11)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(chance.choice((1, 1, 5, 100))):
            start = chance.choice((0, 0, 4096, 8192))
            data[chance.randrange(start, min(start + chance.choice((100, 4096)), len(data)))] = chance.randrange(256)
        filled.write_bytes(data)
        try:
            Buffer(filled, patience=0).close()
        except BufferFailed as error:
            assert str(filled) in str(error)
        for end in ("-wal", "-shm"):
            filled.with_name(filled.name + end).unlink(missing_ok=True)


def test_two_damaged_files_in_one_second(filled: Path) -> None:
    for _ in range(3):
        filled.write_bytes(b"rubbish" * 1000)
        Buffer(filled, damaged="set_aside").close()
    assert len(list(filled.parent.iterdir())) == 4


def test_a_file_of_a_newer_version_is_not_moved(filled: Path) -> None:
    damage(filled, "PRAGMA user_version = 99")
    with pytest.raises(BufferFailed, match="newer iotio"):
        Buffer(filled, damaged="set_aside")


def test_a_wrong_word_for_what_is_damaged(file: Path) -> None:
    with pytest.raises(ValueError, match="damaged is one of refuse, set_aside, not 'move'"):
        Buffer(file, damaged="move")  # type: ignore[arg-type]
