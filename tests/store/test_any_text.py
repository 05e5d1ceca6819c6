"""Columns with any text. That texts come back from each store is in test_contract.py."""

from __future__ import annotations

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, select
from sqlalchemy.pool import NullPool

from iotio.store.any_text import AnyText
from tests.support.postgres import PostgresServer


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_core_statements_take_and_give_text(postgres: PostgresServer, kind: str) -> None:
    url = "sqlite://"
    if kind == "postgresql":
        url = postgres.url(postgres.new_database()).replace("postgresql:", "postgresql+psycopg:")
    texts = Table("texts", MetaData(), Column("one", AnyText, primary_key=True), Column("other", AnyText))
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        texts.create(connection)
        connection.execute(texts.insert(), [{"one": "ä\0", "other": None}, {"one": "z", "other": "\0"}])
        found = connection.execute(select(texts).where(texts.c.one == "ä\0")).all()
        assert [tuple(row) for row in found] == [("ä\0", None)]
        ordered = connection.execute(select(texts.c.one).order_by(texts.c.one)).scalars().all()
        assert ordered == ["z", "ä\0"], "by their bytes, in both"
    engine.dispose()
