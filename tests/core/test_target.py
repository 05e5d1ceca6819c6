"""What is sent, and to whom: made and checked once."""

from __future__ import annotations

from typing import Any

import pytest

from iotio.core.target import Outgoing, Target, check_event, check_only_target


def test_a_target_needs_somebody() -> None:
    with pytest.raises(ValueError, match="'client_id', 'client_type', or 'room' must be provided"):
        Target.of(None, None, None, frozenset("a"))
    assert Target.of(None, "lamp", None, frozenset()) == Target(type="lamp")
    assert Target.of(("",), None, None, frozenset()) == Target(("",)), "an empty id is an id"
    assert Target.of((), None, None, frozenset()) == Target(()), "nobody is a target, too"


def test_whoever_names_nobody_is_told_how_to_name_everybody() -> None:
    with pytest.raises(ValueError, match="must be provided, or 'to'; broadcast=True is for every device"):
        Target.of(None, None, None, frozenset())


@pytest.mark.parametrize(
    ("targets", "text"),
    [
        ({"to": "a", "room": "r"}, "'to' says which devices get the event: leave out 'room'"),
        ({"to": "a", "client_id": "b", "client_type": "t"}, "get the event: leave out 'client_id' and 'client_type'"),
        ({"to": None, "broadcast": True, "room": "r"}, "broadcast=True is for every device: leave out 'room'"),
        ({"to": "a", "broadcast": True}, "broadcast=True is for every device: leave out 'to'"),
    ],
)
def test_there_is_no_other_target_beside_these(targets: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        check_only_target(**{"broadcast": False, **targets})
    check_only_target("a", broadcast=False, room=None)
    check_only_target(None, broadcast=True, room=None)


def test_an_event_has_a_name() -> None:
    with pytest.raises(
        ValueError, match="'event' must not be empty: it is the name of the handler that the device has"
    ):
        check_event("")


def test_neither_can_be_changed() -> None:
    for one in (Target(("a",)), Outgoing("x", 1)):
        with pytest.raises(AttributeError):
            one.client_ids = one.event = "b"  # type: ignore[union-attr, misc]  # that is the point


def test_an_event_without_options() -> None:
    assert Outgoing.of("x", [1]) == Outgoing("x", [1], False, None, None, True)


def test_the_options_of_a_durable_event() -> None:
    made = Outgoing.of("x", 1, durable=True, ttl=0.5, coalesce="w", trigger_update=False)
    assert made == Outgoing("x", 1, True, 0.5, "w", False)


@pytest.mark.parametrize("event", [5, None, b"x"])
def test_an_event_is_text(event: Any) -> None:
    for check in (check_event, lambda event: Outgoing.of(event, 1)):
        with pytest.raises(TypeError, match="'event' must be of type str"):
            check(event)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"ttl": 5}, ValueError, "'ttl' and 'coalesce' are of use with durable=True only"),
        ({"coalesce": "w"}, ValueError, "'ttl' and 'coalesce' are of use with durable=True only"),
        ({"durable": True, "ttl": 0}, ValueError, "'ttl' must be seconds above 0, not 0"),
        ({"durable": True, "ttl": float("inf")}, ValueError, "'ttl' must be seconds above 0, not inf"),
        ({"durable": True, "ttl": float("nan")}, ValueError, "'ttl' must be seconds above 0, not nan"),
        ({"durable": True, "coalesce": 5}, TypeError, "'coalesce' must be of type str"),
    ],
)
def test_wrong_options(options: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Outgoing.of("x", 1, **options)
