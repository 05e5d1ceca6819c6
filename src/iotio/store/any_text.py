"""The type of columns with text of devices and programs, which may hold U+0000."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Dialect, LargeBinary, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

__all__ = ["AnyText"]


class AnyText(TypeDecorator[str]):
    """Text with any character. PostgreSQL's own text has no U+0000: there it is `bytea`, in UTF-8."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type that the column has in this database."""
        return dialect.type_descriptor(LargeBinary() if _is_bytes(dialect) else Text())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> Any:
        """Return what is sent to the database for a text."""
        return value.encode() if value is not None and _is_bytes(dialect) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text of what the database has sent."""
        return value.decode() if isinstance(value, bytes) else value


def _is_bytes(dialect: Dialect) -> bool:
    return dialect.name == "postgresql"
