"""A store on PostgreSQL: opening it, one program at a time, and a server that goes away."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, text

from iotio import DeviceType, IoTManager
from iotio.core.storage.contract import (
    PutDevice,
    PutMessage,
    Run,
    Snapshot,
    Store,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
)
from iotio.core.storage.writer import StoreWriter
from iotio.store import backup_store, export_store, open_store
from iotio.store.postgresql import PostgresDatabase
from iotio.store.sql import SqlStore
from tests.support.postgres import PostgresServer
from tests.support.processes import Program, python_program

from .records import device, message

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("programs")


@pytest.fixture
def database(postgres: PostgresServer) -> str:
    """The name of an empty database."""
    return postgres.new_database()


@pytest.fixture
def url(postgres: PostgresServer, database: str) -> str:
    """Its URL."""
    return postgres.url(database)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A store in it."""
    with closing(open_store(url)) as found:
        yield found


def open_at_once(url: str) -> Store:
    """Open a store without waiting for another program."""
    store = SqlStore(PostgresDatabase(url, patience=0))
    store.open()
    return store


def numbers(postgres: PostgresServer, database: str) -> list[int]:
    """The messages, as another connection sees them."""
    with postgres.connect(database) as connection:
        found = connection.execute("SELECT number FROM iotio_messages ORDER BY number").fetchall()
        return [number for (number,) in found]


def test_what_it_holds_can_be_read_by_others(store: Store, postgres: PostgresServer, database: str) -> None:
    """Texts are bytes of UTF-8."""
    store.commit([PutDevice(device("küche\0", data=b"null")), PutMessage(message(3))])
    with postgres.connect(database) as connection:
        found = connection.execute("SELECT id, data, since, returned FROM iotio_devices").fetchall()
        assert found == [("küche\0".encode(), None, 1000.5, False)]
        readable = connection.execute("SELECT convert_from(event, 'UTF8') FROM iotio_messages").fetchall()
        assert readable == [("set",)]


def test_a_commit_is_on_the_disk_whatever_the_server_says(postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        connection.execute(f"ALTER DATABASE {database} SET synchronous_commit = off")
    found: list[Any] = []
    with closing(open_store(postgres.url(database))) as store:
        store.commit([Run(lambda connection: found.extend(connection.execute(text("SHOW synchronous_commit")).one()))])
    assert found == ["on"]


# What does not open.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("127.0.0.1", "nowhere.invalid"), "failed to resolve host 'nowhere.invalid': .*; check the host in the URL"),
        ((":PORT", ":1"), "Connection refused; see whether PostgreSQL runs there, and whether the port is right"),
        (("/NAME", "/absent"), 'database "absent" does not exist; make it, for instance with createdb'),
        (("postgres@", "nobody:hush@"), 'role "nobody" does not exist; make it, for instance with createuser'),
        (("/NAME", "/NAME?hush=1"), 'invalid connection option "hush"'),
        (("/NAME", ""), "the URL names no database: write postgresql://user@host/database"),
        (("://", ":"), "the URL names no database"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(
    postgres: PostgresServer, url: str, change: tuple[str, str], words: str
) -> None:
    database = url.rpartition("/")[2]
    old, new = (part.replace("NAME", database).replace("PORT", str(postgres.port)) for part in change)
    with pytest.raises(StoreError, match=words) as caught:
        open_store(url.replace(old, new))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("how", ["in its place", "behind the question mark"])
def test_a_wrong_password_is_in_no_text(
    postgres: PostgresServer, database: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres.with_passwords():
        url = f"postgresql://guarded:{{}}@127.0.0.1:{postgres.port}/{database}"
        if how != "in its place":
            url = url.replace(":{}@", "@") + "?password={}"
        open_store(url.format("right-secret")).close()
        with pytest.raises(StoreError, match='password authentication failed for user "guarded"; check user') as caught:
            IoTManager(store=url.format("wrong-secret"))
        writer = StoreWriter(open_store(url.format("right-secret")), Snapshot, patience=0.2)
        assert "secret" not in repr(writer.store)
        postgres.halt()
        with pytest.raises(StoreUnavailable) as refused:
            writer.submit(PutMessage(message(1))).wait(10)
        postgres.start()
    writer.close()
    texts = [str(caught.value), str(refused.value), caplog.text]
    assert not any("secret" in one for one in texts)


def test_no_psycopg(url: str, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from iotio.store import open_store\n"
        "try: open_store(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error, sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, cwd=tmp_path)
    assert done.stderr == ""
    assert done.stdout.startswith("StoreError|PostgreSQL needs psycopg: pip install 'iotio[postgres]' (")
    assert done.stdout.count("\n") == 1


def test_a_user_without_rights(postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    try:
        with pytest.raises(
            StoreError, match="cannot be opened: permission denied for schema public; the user has to own the tables"
        ):
            open_store(postgres.url(database, "guest"))
    finally:
        with postgres.connect() as connection:
            connection.execute("DROP ROLE guest")


def test_an_ordinary_user_who_owns_the_database_is_enough(postgres: PostgresServer, database: str) -> None:
    """As docs/how-to/postgresql.md makes them."""
    with postgres.connect() as connection:
        connection.execute("CREATE ROLE owner LOGIN")
        connection.execute(f"ALTER DATABASE {database} OWNER TO owner")
    try:
        url = postgres.url(database, "owner")
        store = open_at_once(url)
        assert isinstance(store, SqlStore)
        store.commit([PutDevice(device()), PutMessage(message(1))])
        with pytest.raises(StoreError, match="is open in this program already"):
            open_at_once(url)
        old = store._connection
        assert old is not None
        store._connection = old.engine.connect()
        store._connection.close()  # the server goes on to hold the lock for the old one
        store.commit([PutMessage(message(2))])
        assert len(store.load().messages) == 2
        old.invalidate()
        old.close()
        store.close()
    finally:
        postgres.drop_databases()
        with postgres.connect() as connection:
            connection.execute("DROP ROLE owner")


def test_a_table_that_is_gone(store: Store, postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        connection.execute("DROP TABLE iotio_messages")
    with pytest.raises(StoreDamaged, match='"iotio_messages" does not exist; restore a backup, or name another'):
        store.commit([PutMessage(message(1))])


def test_a_standby_is_trouble(store: Store, postgres: PostgresServer, database: str) -> None:
    def make_read_only(connection: Connection) -> None:
        connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))

    store.commit([Run(make_read_only)])
    with pytest.raises(StoreError, match=r"read-only transaction; name the primary server, which can be written"):
        store.commit([PutMessage(message(1))])


def test_a_copy_is_for_pg_dump(url: str) -> None:
    for copy in (backup_store, lambda url, target: open_store(url).backup(target)):
        with pytest.raises(StoreError, match="is copied by pg_dump, the tool of PostgreSQL"):
            copy(url, "copy.db")


def test_a_name_has_no_password_and_all_hosts() -> None:
    names = {
        "postgresql://me:secret@host:5433/db?password=secret&sslpassword=secret": "postgresql://me@host:5433/db",
        "postgresql:///db?host=/run/postgresql": "postgresql:///run/postgresql/db",
        "postgresql://me:secret@/db?host=one:1&host=two:2": "postgresql://me@one:1,two:2/db",
    }
    assert {url: PostgresDatabase(url).name for url in names} == names


def test_an_unknown_option_is_told_by_an_export_too(url: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r'/test_\d+ cannot be opened: invalid connection option "hush"'):
        export_store(f"{url}?hush=1", str(tmp_path / "all.gz"))


# One program at a time.


def test_a_second_store_in_this_program(url: str, store: Store) -> None:
    with pytest.raises(StoreError, match=r"is open in this program already: close\(\) the other IoTManager first"):
        open_store(url)
    store.close()
    open_store(url).close()


def test_it_can_be_opened_again_at_once(url: str) -> None:
    """The server may take a moment to notice that a connection was closed."""
    for _ in range(50):
        open_store(url).close()


def test_another_program_is_named(url: str, store: Store, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom iotio.store.postgresql import PostgresDatabase\n"
        "from iotio.store.sql import SqlStore\nSqlStore(PostgresDatabase(sys.argv[1], patience=0.1)).open()"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, cwd=tmp_path)
    last = done.stderr.splitlines()[-1]
    assert f"is in use by process {os.getpid()} on " in last
    assert "from 127.0.0.1): one program at a time may have it; end the other one, or name another database" in last


def test_a_lock_of_something_else_is_named_by_its_application(
    url: str, postgres: PostgresServer, database: str
) -> None:
    with postgres.connect(database) as other:
        other.execute("SET application_name = 'psql'")
        other.execute("SELECT pg_advisory_lock(1768911977, hashtext('public'))")
        with pytest.raises(StoreError, match=r"is in use by 'psql' \(connection \d+, from 127\.0\.0\.1\)"):
            open_at_once(url)


def test_a_program_that_ends_is_waited_for(
    url: str, postgres: PostgresServer, database: str, caplog: pytest.LogCaptureFixture
) -> None:
    with postgres.connect(database) as other:
        other.execute("SELECT pg_advisory_lock(1768911977, hashtext('public'))")
        timer = threading.Timer(0.3, other.close)
        timer.start()
        open_store(url).close()
        timer.join()
    assert "waiting 5 s for it to end" in caplog.text


def test_the_process_that_werkzeug_reloads_uses_it_beside_its_parent(url: str, store: Store) -> None:
    """Its parent has loaded the program, too, and only waits."""
    code = (
        "import sys\nfrom iotio.store import open_store\nfrom iotio.core.storage.contract import PutMessage\n"
        "from tests.store.records import message\nstore = open_store(sys.argv[1])\n"
        "store.commit([PutMessage(message(7))])\n"
        "store._connection.invalidate()  # as if it were lost\n"
        "store.commit([PutMessage(message(8))])"
    )
    environment = {**os.environ, "WERKZEUG_RUN_MAIN": "true", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    subprocess.run([sys.executable, "-c", code, url], check=True, env=environment)
    assert [one.number for one in store.load().messages] == [7, 8]


def test_each_schema_is_a_store_of_its_own(url: str, store: Store, postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        connection.execute("CREATE SCHEMA second")
    store.commit([PutMessage(message(1))])
    with closing(open_store(f"{url}?options=-csearch_path%3Dsecond")) as other:
        assert other.load() == Snapshot()


# A server that goes away.


def test_a_lost_connection_is_made_anew(store: Store, postgres: PostgresServer, database: str) -> None:
    store.commit([PutMessage(message(1))])
    with postgres.connect(database) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )
    with pytest.raises(StoreError, match=r"cannot be written: "):
        store.commit([PutMessage(message(2))])
    store.commit([PutMessage(message(3))])
    assert numbers(postgres, database) == [1, 3]
    with pytest.raises(StoreError, match="is open in this program already"):
        open_store(postgres.url(database))


def test_the_server_ends_and_comes_back(postgres: PostgresServer, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that is durable is lost: what was told to be written is there, and what is kept is written later."""
    database = url.rpartition("/")[2]
    writer = StoreWriter(open_store(url), Snapshot, patience=0.7, max_pause=0.05)
    told = [writer.submit(PutMessage(message(number))) for number in range(1, 300)]
    for ticket in told:
        ticket.wait(10)
    postgres.halt()
    kept = writer.submit(PutDevice(device(presence="away", counter=299)))
    with pytest.raises(StoreUnavailable, match=r"Connection refused|server closed"):
        writer.submit(PutMessage(message(900))).wait(10)
    assert not kept.done.is_set
    postgres.start()
    kept.wait(10)
    writer.submit(PutMessage(message(901))).wait(10)
    assert writer.close()
    assert numbers(postgres, database) == [*range(1, 300), 901]
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]
    with closing(open_store(url)) as store:
        assert store.load().devices == (device(presence="away", counter=901),)


def test_our_own_old_connection_is_ended(postgres: PostgresServer, url: str, store: Store) -> None:
    """As after a cable was pulled: the server keeps it, and its lock, until its own time-outs are over."""
    assert isinstance(store, SqlStore)
    old = store._connection
    assert old is not None
    store._connection = old.engine.connect()
    store._connection.close()  # so that the next commit connects anew
    store.commit([PutMessage(message(1))])
    assert numbers(postgres, url.rpartition("/")[2]) == [1]
    old.invalidate()
    old.close()


def terminate(postgres: PostgresServer, database: str) -> None:
    with postgres.connect(database) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            f" WHERE datname = '{database}' AND pid <> pg_backend_pid()"
        )


@pytest.mark.parametrize("is_there", [True, False], ids=["still there", "ended again"])
def test_another_program_takes_it_meanwhile(postgres: PostgresServer, url: str, tmp_path: Path, is_there: bool) -> None:
    database = url.rpartition("/")[2]
    store = open_at_once(url)
    terminate(postgres, database)
    code = (
        "import sys\nfrom iotio.store import open_store\nfrom iotio.core.storage.contract import PutMessage\n"
        "from tests.store.records import message\nstore = open_store(sys.argv[1])\n"
        "store.commit([PutMessage(message(7))])\nprint('has it', flush=True)\nsys.stdin.read()\nstore.close()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "has it\n"
        if not is_there:
            other.communicate()
        with pytest.raises(StoreError, match="cannot be written"):
            store.commit([PutMessage(message(1))])
        who = f"process {other.pid} on .*" if is_there else "another program"
        for _ in range(2):
            with pytest.raises(StoreError, match=f"is not written any more: {who} has opened it while the connection"):
                store.commit([PutMessage(message(1))])
        if is_there:
            other.communicate()
    with pytest.raises(StoreError, match="is not written any more"):
        store.commit([PutMessage(message(1))])
    assert numbers(postgres, database) == [7]
    store.close()
    with closing(open_store(url)) as again:
        assert len(again.load().messages) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_leaves_the_connection_alone(store: Store) -> None:
    store.commit([PutMessage(message(1))])
    child = os.fork()
    if not child:
        try:
            store.commit([PutMessage(message(2))])
        except StoreError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    store.commit([PutMessage(message(3))])
    assert len(store.load().messages) == 2


def test_a_manager_finds_its_devices_again(url: str) -> None:
    for expected in (0, 1):
        manager = IoTManager(store=url)
        manager.add_type(DeviceType("lamp"))
        assert len(manager.devices) == expected
        manager.test_client("kitchen", "lamp", {"name": "Küche\0"})
        manager.devices["kitchen"].join("first floor")
        manager.close()
    with closing(open_store(url)) as store:
        (found,) = store.load().devices
        assert (found.id, found.rooms) == ("kitchen", ("first floor",))


@pytest.mark.timeout(180)
def test_what_was_safe_survives_sigkill(postgres: PostgresServer, url: str) -> None:
    """10 times, each at a moment of its own, in the same database."""
    chance = random.Random(1)
    safe: set[int] = set()
    modules = os.pathsep.join([str(ROOT), *sys.path])
    with Program(python_program(PROGRAMS / "writer.py"), environment={"PYTHONPATH": modules}) as program:
        for _ in range(10):
            start = len(program.lines)
            program.send_line(url)
            writer = int(program.wait_line("writer ", 20, start=start).split()[1])
            program.wait_line(str.isdigit, 20, start=start)
            time.sleep(chance.uniform(0, 0.04))  # anywhere in a commit
            os.kill(writer, signal.SIGKILL)
            program.wait_line("killed", 20, start=start)
            told = {int(line) for line in program.lines[start:] if line.isdigit()}
            assert told
            assert not told & safe, "numbers only grow"
            safe |= told
            assert safe <= set(numbers(postgres, url.rpartition("/")[2]))
