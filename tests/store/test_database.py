"""What every database offers to the store: both are asked the same."""

from __future__ import annotations

from contextlib import closing

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from iotio.store.database import Database
from iotio.store.postgresql import PostgresDatabase
from iotio.store.sqlite import SqliteDatabase


@pytest.fixture
def database(url: str) -> Database:
    """A database that nobody uses."""
    return SqliteDatabase(url) if url.startswith("sqlite") else PostgresDatabase(url)


def test_a_transaction_that_the_database_has_ended(database: Database) -> None:
    with closing(database.connect()) as connection, connection.begin() as transaction:
        assert database.in_transaction(connection)
        connection.exec_driver_sql("ROLLBACK")
        assert not database.in_transaction(connection)
        transaction.close()
    database.release()


def test_a_wrong_statement_is_not_the_fault_of_the_database(database: Database) -> None:
    with closing(database.connect()) as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT * FROM nowhere"))
    assert not database.is_trouble(caught.value)
    assert not database.is_damage(caught.value)
    assert "nowhere" in database.reason(caught.value)
    assert "\n" not in database.reason(caught.value)
    database.release()


def test_a_table_of_the_store_that_is_gone_is_damage(database: Database) -> None:
    with closing(database.connect()) as connection, pytest.raises(DBAPIError) as caught:
        connection.execute(text("SELECT * FROM iotio_devices"))
    assert database.is_damage(caught.value)
    database.release()


def test_it_can_be_released_twice_and_used_again(database: Database) -> None:
    database.connect().close()
    database.release()
    database.release()
    database.connect().close()
    database.release()
