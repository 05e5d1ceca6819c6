"""Both kinds of store, as tests/store has them."""

from __future__ import annotations

from tests.store.conftest import path, reopen, store

__all__ = ["path", "reopen", "store"]
