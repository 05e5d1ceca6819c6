"""One program at a time on one file."""

from __future__ import annotations

import errno
import logging
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from iotio.core.storage.contract import PutDevice, StoreError
from iotio.store import file_lock, open_store
from iotio.store.file_lock import FileLock
from iotio.store.sql import SqlStore
from iotio.store.sqlite import SqliteDatabase
from tests.support.processes import Program, python_program

from .records import device

ROOT = Path(__file__).parents[2]
HOLDER = Path(__file__).with_name("programs") / "holder.py"


@pytest.fixture
def holder(path: Path) -> Iterator[Program]:
    """Another program, which has the file."""
    command = python_program(HOLDER, f"sqlite:///{path}")
    with Program(command) as program:
        program.wait_line("holds", 20)
        yield program


def try_to_open(path: Path, patience: float = 0.1) -> str:
    """Why the file cannot be opened; "" if it can."""
    with closing(SqlStore(SqliteDatabase(f"sqlite:///{path}", patience=patience))) as store:
        try:
            store.open()
        except StoreError as error:
            return str(error)
    return ""


def test_a_second_program_is_told_who_has_it(path: Path, holder: Program) -> None:
    assert try_to_open(path) == (
        f"{path} is in use by process {holder.process.pid} on {platform.node()}: one program at a time may have it;"
        " end the other one, or name another file"
    )


def test_the_lock_ends_with_the_program(path: Path, holder: Program) -> None:
    holder.signal(signal.SIGKILL)
    holder.process.wait()
    assert try_to_open(path) == ""


def test_a_program_that_ends_in_order_leaves_no_file(path: Path, holder: Program) -> None:
    assert {one.name for one in path.parent.iterdir()} == {"iotio.db", "iotio.db-lock", "iotio.db-shm", "iotio.db-wal"}
    holder.send_line("end")
    holder.process.wait(10)
    assert [one.name for one in path.parent.iterdir()] == ["iotio.db"]


def test_a_forked_child_does_not_have_it(path: Path, holder: Program) -> None:
    holder.send_line("fork")
    child = int(holder.wait_line("child").split()[1])
    try:
        assert f"process {holder.process.pid} on" in try_to_open(path)
        holder.signal(signal.SIGKILL)
        holder.process.wait()
        assert try_to_open(path) == ""
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_program_that_is_about_to_end_is_waited_for(
    path: Path, holder: Program, caplog: pytest.LogCaptureFixture
) -> None:
    """As when gunicorn gets SIGHUP: it starts the new worker before it ends the old one."""
    holder.send_line("slow")
    holder.wait_line("ends")
    assert try_to_open(path, patience=20) == ""
    assert f"is in use by process {holder.process.pid} on" in caplog.text
    assert "; waiting 20 s for it to end" in caplog.text


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_all_names_of_a_file_have_one_lock(path: Path, tmp_path: Path, kind: str, holder: Program) -> None:
    if kind == "file":
        other = tmp_path / "other.db"
        other.symlink_to(path)
    else:
        (tmp_path / "other").symlink_to(path.parent)
        other = tmp_path / "other" / path.name
    assert f"{other} is in use by process {holder.process.pid} on" in try_to_open(other)


def test_a_second_store_in_the_same_program(path: Path) -> None:
    with closing(open_store(f"sqlite:///{path}")) as store:
        for _ in range(2):
            assert try_to_open(path) == (
                f"{path} is open in this program already: close() the other IoTManager first, or make one only"
            )
        command = (
            "import sys; from iotio.store.sqlite import SqliteDatabase\n"
            "SqliteDatabase(sys.argv[1], patience=0.1).connect()"
        )
        done = subprocess.run([sys.executable, "-c", command, f"sqlite:///{path}"], capture_output=True, text=True)
        assert f"is in use by process {os.getpid()} on" in done.stderr, "the lock is still there"
        store.commit([PutDevice(device())])
    assert try_to_open(path) == ""


def test_a_deleted_lock_file_of_a_program_that_has_gone(path: Path, holder: Program) -> None:
    holder.signal(signal.SIGKILL)
    holder.process.wait()
    lock = path.with_name("iotio.db-lock")
    lock.write_bytes(b"\xff rubbish" * 1000)
    assert try_to_open(path) == ""
    assert not lock.exists()


def test_a_holder_that_could_not_say_who_it_is(path: Path, holder: Program) -> None:
    path.with_name("iotio.db-lock").write_text('{"process": [], "host": 1}')
    assert "iotio.db is in use by another program: one program" in try_to_open(path)


def test_a_file_system_without_locks(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(file_lock, "_lock", refuse)
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.commit([PutDevice(device())])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "cannot be locked (No locks available): see to it that one program only uses it" in caplog.text


def test_a_folder_that_is_not_ours(path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    path.parent.chmod(0o500)
    try:
        assert try_to_open(path).endswith("iotio.db cannot be opened: Permission denied")
    finally:
        path.parent.chmod(0o700)


def test_a_lock_is_released_twice(path: Path) -> None:
    lock = FileLock(path, 0)
    lock.acquire()
    lock.tell_written()
    lock.release()
    lock.release()


RELOADED = """
import os, sys
from flask import Flask
from iotio import IoTManager
app = Flask(__name__)
manager = IoTManager(app, store=sys.argv[1])
if __name__ == "__main__":
    print("loaded", os.environ.get("WERKZEUG_RUN_MAIN"), os.getpid())
    app.run(port=0, debug=True)
"""


def test_werkzeugs_reloader(path: Path) -> None:
    """It loads the program, to watch its files, and starts it once more, to serve."""
    program_file = path.with_name("program.py")
    program_file.write_text(RELOADED)
    with Program(python_program(program_file, f"sqlite:///{path}")) as program:
        program.wait_line("loaded None", 20)
        child = int(program.wait_line("loaded true", 20).split()[-1])
        try:
            assert f"is in use by process {program.process.pid}" in try_to_open(path)
        finally:
            os.kill(child, signal.SIGKILL)


SPAWNED = """
import multiprocessing, os, sys
from flask import Flask
from iotio import IoTManager
from iotio.core.storage.contract import PutDevice, StoreError
from tests.store.records import device
manager = IoTManager(Flask(__name__), store=os.environ["URL"])
def again():
    try:
        IoTManager(Flask(__name__), store=os.environ["URL"])
    except StoreError as error:
        print(error, flush=True)
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    if "written" in sys.argv:
        manager.store_writer.submit(PutDevice(device())).wait(10)
    child = context.Process(target=print, args=["child"], kwargs={"flush": True})
    child.start()
    child.join()
    print("ended", child.exitcode)
    child = context.Process(target=again)
    child.start()
    child.join()
    print("ended", child.exitcode)
"""


@pytest.mark.slow  # three processes, each of which loads the whole
@pytest.mark.parametrize("written", [False, True])
def test_a_process_that_loads_the_program_to_run_a_part_of_it(path: Path, written: bool) -> None:
    program_file = path.with_name("program.py")
    program_file.write_text(SPAWNED)
    done = subprocess.run(
        [sys.executable, program_file, *["written"] * written],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT)]), "URL": f"sqlite:///{path}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    child, ended, *rest = done.stdout.splitlines()
    assert (child, ended) == ("child", "ended 0")
    assert rest[-1] == "ended 0"
    if written:
        assert "is in use by process" in rest[0]
