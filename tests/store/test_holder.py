"""Who has a store. How processes share it is in test_file_lock.py."""

from __future__ import annotations

import os
import platform

import pytest

from iotio.store.holder import Holder, may_share


def test_it_says_who_it_is() -> None:
    assert str(Holder(12, "pi", False)) == "process 12 on pi"
    assert str(Holder()) == "another program"
    assert Holder(os.getpid(), platform.node()).is_this
    assert not Holder(os.getpid(), "elsewhere").is_this


def test_a_stranger_shares_nothing() -> None:
    assert not may_share("it", Holder(os.getppid(), "elsewhere", False), ())
    assert not may_share("it", Holder(), ())


def test_the_process_that_werkzeug_reloads_shares_with_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    parent = Holder(os.getppid(), platform.node(), True)
    assert not may_share("it", parent, ())
    monkeypatch.setenv("WERKZEUG_RUN_MAIN", "true")
    assert may_share("it", parent, ())
