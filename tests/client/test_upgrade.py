"""Which of v1's headers a request carries, and what is tried when a proxy or an old server does not take it."""

from __future__ import annotations

from iotio_client.upgrade import MAX_HEADER, HeaderChoice

SMALL = [("IoT-IO-Id", "d"), ("IoT-IO-Type", "lamp"), ("IoT-IO-Data", "{}"), ("IoT-IO-Endpoints", "[]")]
LARGE = [*SMALL[:3], ("IoT-IO-Endpoints", "x" * (MAX_HEADER + 1))]


def test_small_headers_go_whole() -> None:
    choice = HeaderChoice(SMALL, twice=True)
    assert (choice.headers, choice.is_lean) == (SMALL, False)
    assert not choice.agreed_on_none(), "the server has had all"


def test_what_is_large_is_said_once() -> None:
    choice = HeaderChoice(LARGE, twice=True)
    assert (choice.headers, choice.is_lean) == (SMALL[:2], True)


def test_a_server_of_v1_gets_all() -> None:
    choice = HeaderChoice(LARGE, twice=True)
    assert choice.agreed_on_none()
    assert (choice.headers, choice.is_lean) == (LARGE, False)
    assert not choice.refused(431), "the short ones have been tried"


def test_a_refusal_is_tried_once_more_without() -> None:
    choice = HeaderChoice(SMALL, twice=True)
    assert not choice.refused(404)
    assert choice.refused(400)
    assert (choice.headers, choice.is_lean) == (SMALL[:2], True)
    assert not choice.refused(400)
    assert not choice.agreed_on_none(), "the whole ones have been refused"


def test_where_only_the_headers_tell_who_it_is_they_go_whole() -> None:
    choice = HeaderChoice(LARGE, twice=False)
    assert choice.headers == LARGE
    assert not choice.refused(431)
    assert HeaderChoice([], twice=True).headers == []


def test_what_was_right_before_comes_first() -> None:
    assert HeaderChoice(SMALL, twice=True, lean=True).is_lean
    assert not HeaderChoice(LARGE, twice=True, lean=False).is_lean
