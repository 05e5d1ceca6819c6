"""Limits and timings."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from iotio_protocol import options as options_module
from iotio_protocol import v0, v1
from iotio_protocol.options import DEFAULT_OPTIONS, Options


def options(name: str, value: Any) -> Options:
    """Options of which one differs from the default."""
    return Options(**{name: value})


def test_the_defaults_that_the_documents_name() -> None:
    assert DEFAULT_OPTIONS.max_payload == 1024 * 1024
    assert DEFAULT_OPTIONS.max_event == 256
    assert DEFAULT_OPTIONS.max_introduction == 64 * 1024
    assert DEFAULT_OPTIONS.max_data == 16 * 1024
    assert DEFAULT_OPTIONS.max_id == DEFAULT_OPTIONS.max_room == 256
    assert DEFAULT_OPTIONS.handshake_timeout == 30
    assert Options() == DEFAULT_OPTIONS


@pytest.mark.parametrize(
    "name", ["max_payload", "max_event", "max_outbox", "max_introduction", "max_data", "max_id", "max_room"]
)
def test_a_size_is_at_least_one_byte(name: str) -> None:
    assert getattr(options(name, 1), name) == 1
    with pytest.raises(ValueError, match=f"Options.{name} must be at least 1"):
        options(name, 0)


@pytest.mark.parametrize("name", ["handshake_timeout", "ping_timeout", "close_timeout"])
def test_a_wait_is_longer_than_nothing(name: str) -> None:
    with pytest.raises(ValueError, match=f"Options.{name} must be more than 0 seconds"):
        options(name, 0)


@pytest.mark.parametrize("name", ["refusal_delay", "ping_interval", "takeover_timeout"])
def test_a_delay_may_be_nothing_but_not_negative(name: str) -> None:
    assert getattr(options(name, 0), name) == 0
    with pytest.raises(ValueError, match=f"Options.{name} must not be negative"):
        options(name, -0.1)


def test_the_largest_packets_of_both_versions_fit_a_message() -> None:
    limits = Options(max_event=10, max_payload=100)
    packet = v1.encode("e" * 10, b"v" * 100)
    assert len(packet) <= limits.max_message
    assert v1.decode(packet, limits) == ("e" * 10, b"v" * 100)
    text = v0.encode("e" * 10, "v" * 100)
    assert len(text) == limits.max_message
    assert v0.decode(text, limits) == ("e" * 10, "v" * 100)


def test_options_are_given_by_name_and_do_not_change() -> None:
    with pytest.raises(TypeError):
        Options(1)  # type: ignore[call-arg]  # what is tested
    with pytest.raises(TypeError):
        Options(max_paylaod=1)  # type: ignore[call-arg]  # what is tested
    with pytest.raises(FrozenInstanceError):
        DEFAULT_OPTIONS.max_event = 1  # type: ignore[misc]  # what is tested


def test_every_option_has_its_line_in_the_docstring() -> None:
    assert Options.__doc__ is not None
    assert [field.name for field in fields(Options) if f"{field.name}:" not in Options.__doc__] == []


@pytest.mark.parametrize("seconds", [1e308, float("inf"), 10**400, 1_000_000_001])
@pytest.mark.parametrize("name", [*options_module._SECONDS])
def test_seconds_can_pass(name: str, seconds: float) -> None:
    assert getattr(options(name, 1_000_000), name) == 1_000_000
    with pytest.raises(ValueError, match=rf"Options\.{name} must be at most 1000000000 seconds"):
        options(name, seconds)


def test_no_time_is_forgotten() -> None:
    """All options of seconds are named with that word."""
    assert Options.__doc__ is not None
    times = [field.name for field in fields(Options) if isinstance(field.default, float) and "max_" not in field.name]
    assert times == [*options_module._SECONDS]


def test_a_wait_may_be_without_an_end_but_not_too_long() -> None:
    assert [options_module.check_wait(seconds) for seconds in (None, 0.0, -1.0, 1e9)] == [None, 0.0, -1.0, 1e9]
    for seconds in (1e308, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="timeout must be at most 1000000000 seconds, or None, not"):
            options_module.check_wait(seconds)
