"""Imports: from one kind of store to the other and back, and what is refused."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotio.core.storage.contract import PutDevice, PutMessage, Snapshot, StoreError
from iotio.core.storage.records import DeviceRecord, MessageRecord, write_json
from iotio.store import export_store, import_store, open_store
from tests.support.postgres import PostgresServer

from .records import device, message


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An export of two devices, and a message for one."""
    with closing(open_store(f"sqlite:///{tmp_path}/source.db")) as store:
        store.commit([PutDevice(device("a\0")), PutDevice(device("b")), PutMessage(message(4, "b"))])
    path = tmp_path / "export.gz"
    export_store(f"sqlite:///{tmp_path}/source.db", str(path))
    return path


@pytest.fixture
def sqlite(tmp_path: Path) -> str:
    """The URL of a new file: what a line holds is judged before any database is asked."""
    return f"sqlite:///{tmp_path}/new.db"


def edit(source: Path, line: int, /, **changes: Any) -> None:
    """Change members of a line, which is 1 for the first; ... as the value deletes one."""
    lines = gzip.decompress(source.read_bytes()).splitlines()
    members = {**json.loads(lines[line - 1]), **changes}
    lines[line - 1] = write_json({name: value for name, value in members.items() if value is not ...})
    source.write_bytes(gzip.compress(b"".join(one + b"\n" for one in lines)))


def refused(source: Path, url: str) -> str:
    """Why an import is refused; nothing of it is there then."""
    with pytest.raises(StoreError) as caught:
        import_store(str(source), url)
    with closing(open_store(url)) as store:
        assert store.load() == Snapshot()
    assert caught.value.__cause__ is None
    return str(caught.value)


def test_what_was_exported_is_there(source: Path, url: str) -> None:
    told: list[tuple[int, int]] = []
    assert import_store(str(source), url, progress=lambda done, total: told.append((done, total))) == 3
    assert told == [(source.stat().st_size, source.stat().st_size)]
    with closing(open_store(url)) as store:
        assert store.load() == Snapshot((device("a\0"), device("b", counter=4)), (message(4, "b"),))


def test_lines_that_are_not_compressed(source: Path, url: str) -> None:
    source.write_bytes(gzip.decompress(source.read_bytes()))
    assert import_store(str(source), url) == 3


_TEXTS = st.text(max_size=6)
_TIMES = st.floats(-1e9, 1e10)
_COUNTS = st.integers(0, 2**63 - 1)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda one: st.lists(one, max_size=3) | st.dictionaries(_TEXTS, one, max_size=3),
    max_leaves=6,
)
_DEVICES = st.builds(
    DeviceRecord,
    id=_TEXTS,
    type=_TEXTS,
    data=_JSON.map(write_json),
    rooms=st.lists(_TEXTS, max_size=3).map(tuple),
    presence=_TEXTS,
    since=_TIMES,
    last_seen=_TIMES,
    wakes=st.none() | _TIMES,
    returned=st.booleans(),
    stream=_TEXTS,
    counter=_COUNTS,
    heard_stream=st.none() | _TEXTS,
    heard=_COUNTS,
)
_MESSAGES = st.builds(
    MessageRecord,
    device_id=_TEXTS,
    number=_COUNTS,
    id=_TEXTS,
    event=_TEXTS,
    kind=st.integers(0, 255),
    value=st.binary(max_size=20),
    created=_TIMES,
    expires=st.none() | _TIMES,
    coalesce=st.none() | _TEXTS,
)


def test_from_sqlite_to_postgresql_and_back(tmp_path: Path, postgres: PostgresServer) -> None:
    """The same bytes, whatever the records hold."""
    here, there = f"sqlite:///{tmp_path}/iotio.db", postgres.url(postgres.new_database())
    files = [tmp_path / f"{number}.gz" for number in range(3)]

    @settings(max_examples=8)
    @given(
        st.lists(_DEVICES, max_size=4, unique_by=lambda one: one.id),
        st.lists(_MESSAGES, max_size=4, unique_by=lambda one: (one.device_id, one.number)),
    )
    def check(devices: list[DeviceRecord], messages: list[MessageRecord]) -> None:
        with closing(open_store(here)) as store:
            store.replace(Snapshot(tuple(devices), tuple(messages)))
            before = store.load()
        export_store(here, str(files[0]), force=True)
        for url, exported, next_file in ((there, files[0], files[1]), (here, files[1], files[2])):
            with closing(open_store(url)) as store:
                store.replace(Snapshot())
            import_store(str(exported), url)
            export_store(url, str(next_file), force=True)
            assert gzip.decompress(next_file.read_bytes()) == gzip.decompress(files[0].read_bytes())
        with closing(open_store(here)) as store:
            by_id = {one.id: one for one in store.load().devices}
            assert by_id == {one.id: one for one in before.devices}
            assert store.load().messages == before.messages

    check()


def test_a_store_that_is_in_use(source: Path, url: str) -> None:
    with closing(open_store(url)) as store:
        with pytest.raises(StoreError, match=r"is open in this program already"):
            import_store(str(source), url)
        assert store.load() == Snapshot()


def test_a_store_that_is_not_empty(source: Path, url: str) -> None:
    with closing(open_store(url)) as store:
        store.commit([PutDevice(device("mine"))])
    with pytest.raises(StoreError, match="is not empty: import into a new store, or delete this one before"):
        import_store(str(source), url)
    with closing(open_store(url)) as store:
        assert store.load().devices == (device("mine"),)


def test_a_newer_form(source: Path, tmp_path: Path) -> None:
    edit(source, 1, version=2)
    with pytest.raises(
        StoreError, match=r"has the form 2 of a newer iotio, this one knows the forms up to 1: install the newer iotio"
    ):
        import_store(str(source), f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"rubbish\n",
        b"[]\n",
        b"{}\n",
        b'{"iotio":"export","version":0}\n',
        b'{"iotio":"export","version":"1"}\n',
        gzip.compress(b"rubbish\n"),
        b"\x1f\x8brubbish",
        bytes(1000),
    ],
)
def test_a_file_that_is_no_export(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "other").write_bytes(content)
    with pytest.raises(StoreError, match="other is no export of iotio: name a file that iotio export has written"):
        import_store(str(tmp_path / "other"), f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"absent\.gz cannot be read: No such file or directory"):
        import_store(str(tmp_path / "absent.gz"), f"sqlite:///{tmp_path}/new.db")


@pytest.mark.parametrize(
    ("number", "changes", "words"),
    [
        (2, {"record": "rule"}, "line 2: 'rule' is no kind of record that this iotio knows"),
        (2, {"record": ["device"]}, "line 2: ['device'] is no kind"),
        (3, {"rooms": ...}, "line 3: rooms is missing"),
        (3, {"colour": 1}, "line 3: 'colour' is unknown"),
        (3, {"rooms": "all"}, "line 3: rooms is '\"all\"', not a list of names"),
        (3, {"since": "yesterday"}, "line 3: since is 'yesterday', not a time"),
        (3, {"id": None}, "line 3: id is None, not text"),
        (3, {"id": "\ud800"}, "line 3: id has half of a surrogate pair"),
        (3, {"counter": -1}, "line 3: counter is -1, not a number from 0 on"),
        (4, {"number": 2**63}, "line 4: number is larger than 9223372036854775807"),
        (4, {"kind": 2**31}, "line 4: kind is larger than 2147483647"),
        (4, {"value": "?"}, "line 4: value is not Base64"),
        (4, {"value": 1}, "line 4: value is not Base64"),
        (5, {"records": 4}, "line 5: it tells of 4 records, but there are 3"),
    ],
)
def test_a_damaged_line_is_named(source: Path, sqlite: str, number: int, changes: dict[str, Any], words: str) -> None:
    edit(source, number, **changes)
    why = refused(source, sqlite)
    assert words in why
    assert why.endswith("; nothing was imported")


def test_a_device_that_is_there_twice(source: Path, url: str) -> None:
    edit(source, 3, id="a\0")
    assert "has the key of another device; nothing was imported" in refused(source, url)


def test_lines_that_are_no_json(source: Path, sqlite: str) -> None:
    lines = gzip.decompress(source.read_bytes()).splitlines(keepends=True)
    for bad, words in ((b"{cut\n", "line 2: it is no JSON: "), (b"3\n", "line 2: it is no JSON object")):
        source.write_bytes(lines[0] + bad)
        assert words in refused(source, sqlite)


def test_a_line_without_an_end(source: Path, sqlite: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iotio.store.importing._MOST", 400)
    edit(source, 3, id="x" * 400)
    assert "line 3: it has more than 400 bytes" in refused(source, sqlite)


@pytest.mark.parametrize("how", ["compressed", "lines", "in a line"])
def test_a_file_that_is_cut_off(source: Path, sqlite: str, how: str) -> None:
    whole = source.read_bytes()
    lines = gzip.decompress(whole)
    if how == "compressed":
        source.write_bytes(whole[: len(whole) // 2])
        assert "is cut off or damaged after line" in refused(source, sqlite)
        return
    source.write_bytes(lines[: lines.rindex(b"{")] if how == "lines" else lines[:-3])
    assert "is cut off after line 4: export again, or copy it again" in refused(source, sqlite)


def test_a_file_with_another_check_sum(source: Path, sqlite: str) -> None:
    whole = bytearray(source.read_bytes())
    whole[-8] ^= 1
    source.write_bytes(whole)
    assert "is cut off or damaged after line 5: CRC check failed" in refused(source, sqlite)


def test_what_stands_behind_the_end(source: Path, sqlite: str) -> None:
    source.write_bytes(gzip.decompress(source.read_bytes()) + b"{}\n")
    assert "line 5: it is not the last one" in refused(source, sqlite)


def test_an_import_that_is_given_up_leaves_nothing(source: Path, url: str) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_store(str(source), url, progress=interrupt)
    with closing(open_store(url)) as store:
        assert store.load() == Snapshot()
    assert import_store(str(source), url) == 3


def test_large_records(tmp_path: Path, url: str) -> None:
    """They are written before there are many of them in memory."""
    with closing(open_store(f"sqlite:///{tmp_path}/large.db")) as store:
        store.commit([PutMessage(message(number, value=bytes(400_000))) for number in range(10)])
        expected = store.load()
    export_store(f"sqlite:///{tmp_path}/large.db", str(tmp_path / "large.gz"))
    assert import_store(str(tmp_path / "large.gz"), url) == 10
    with closing(open_store(url)) as store:
        assert store.load() == expected


def test_many_records(tmp_path: Path, url: str) -> None:
    """More than are written by one call, and of both kinds."""
    with closing(open_store(f"sqlite:///{tmp_path}/many.db")) as store:
        store.commit([PutDevice(device(f"d{number}")) for number in range(2500)])
        store.commit([PutMessage(message(1, f"d{number}")) for number in range(1200)])
        expected = store.load()
    export_store(f"sqlite:///{tmp_path}/many.db", str(tmp_path / "many.gz"))
    told: list[int] = []
    assert import_store(str(tmp_path / "many.gz"), url, progress=lambda done, total: told.append(done)) == 3700
    assert told == sorted(told)
    assert len(told) == 4
    with closing(open_store(url)) as store:
        found = store.load()
        assert replace(found, devices=()) == replace(expected, devices=())
        assert {one.id: one for one in found.devices} == {one.id: one for one in expected.devices}
