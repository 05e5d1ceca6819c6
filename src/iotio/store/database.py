"""What `SqlStore` asks of a database: what SQLite and PostgreSQL do in ways of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import ColumnElement, Connection
from sqlalchemy.exc import DBAPIError

from iotio.core.storage.contract import StoreDamaged, StoreError

__all__ = ["Database"]


class Database(ABC):
    """One database, which one program at a time writes to. Every method may block; one thread at a time calls any.

    Attributes:
        name: what errors and the log call it; there is no password in it.
        row_id: what tells a row of a table from all others within a transaction, whatever the row holds.
        replaces_damaged: whether `move_aside` is to be called where the database cannot be read.
        after_damage: what an error advises where the database cannot be read.
    """

    name: str
    row_id: ColumnElement[int | str]
    replaces_damaged: bool = False
    after_damage: str

    @abstractmethod
    def connect(self) -> Connection:
        """Take the database for this program alone, if that is not done yet, and connect to it.

        Transactions of the connection begin for writing. Called again when a connection is lost.

        Raises:
            StoreError: another program has it, or there is no place for it; the text has the name.
            StoreDamaged: it is no database; the text has no name.
            DBAPIError, OSError: it cannot be opened.
        """

    @abstractmethod
    def release(self) -> None:
        """Let other programs have it. Harmless if they may already."""

    def connected(self, connection: Connection) -> None:  # noqa: B027  # a database without it has nothing to do
        """Note that the connection is ready, with the newest schema."""

    @abstractmethod
    def begin_write(self, connection: Connection) -> None:
        """Note that changes are about to be written by this connection."""

    def check(self, error: StoreError | None = None) -> None:  # noqa: B027  # see `connected`
        """See to it that what was written is still there.

        Args:
            error: that of the commit, if it failed.

        Raises:
            StoreLost: it is not.
        """

    @abstractmethod
    def is_trouble(self, error: DBAPIError) -> bool:
        """Return whether the database is to blame for an error, and not the statement: trying again may help."""

    @abstractmethod
    def is_damage(self, error: DBAPIError) -> bool:
        """Return whether trying again cannot help: what is stored is wrong, and not the disk or another program."""

    @abstractmethod
    def is_refusal(self, error: DBAPIError) -> bool:
        """Return whether a value is to blame for an error, which the database will never take."""

    @abstractmethod
    def reason(self, error: DBAPIError) -> str:
        """Return what is wrong, in one line."""

    @abstractmethod
    def in_transaction(self, connection: Connection) -> bool:
        """Return whether the database itself is in the transaction of the connection, and has not failed in it."""

    def reads_anything(self, connection: Connection) -> AbstractContextManager[object]:
        """Have text that cannot be decoded read as bytes within the block."""
        return nullcontext()

    def move_aside(self, reason: str) -> None:
        """Give what cannot be used another name, so that a new one can take its place; not every database can."""
        raise NotImplementedError

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Connect to what is stored at this moment, only to read, beside a program that uses it or without one.

        Raises:
            StoreError: there is no store; the text has the name.
            DBAPIError: it cannot be opened.
        """

    def is_file(self, path: Path) -> bool:
        """Return whether this is the file that the database is in."""
        return False

    @contextmanager
    def says(self, what: str) -> Iterator[None]:
        """Turn the errors of the database and its file within the block into a StoreError.

        Errors about values are raised as they are.

        Args:
            what: what could not be done, for the text of the error.
        """
        try:
            yield
        except StoreDamaged as error:
            raise StoreDamaged(f"{self.name} {what}: {error}; {self.after_damage}") from error
        except DBAPIError as error:
            text = f"{self.name} {what}: {self.reason(error)}"
            if self.is_damage(error):
                raise StoreDamaged(f"{text}; {self.after_damage}") from error
            if self.is_refusal(error):
                raise
            raise StoreError(text) from error
        except OSError as error:
            raise StoreError(f"{self.name} {what}: {error.strerror}") from error

    @abstractmethod
    def backup(self, path: str, *, force: bool, progress: Callable[[int, int], None] | None) -> None:
        """Copy the database to a file while it is used; see `Store.backup`."""
