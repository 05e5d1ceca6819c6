"""How long a history is kept, and what cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from iotio.history.settings import History


def test_times_and_sizes_have_units() -> None:
    history = History(raw="1.5d", hours="10 y", max_size="2GB")
    assert history.raw_seconds == 1.5 * 86_400
    assert history.hours_seconds == 10 * 31_557_600
    assert history.max_bytes == 2 * 10**9
    assert History(raw=7200, max_size=10**9).raw_seconds == 7200


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"raw": "30"}, "such as '30d', with one of the units s, m, h, d, w, y, not '30'"),
        ({"raw": True}, "not True"),
        ({"hours": float("inf")}, "not inf"),
        ({"max_size": "2GiB"}, "such as '2GB', with one of the units B, KB, MB, GB, TB"),
        ({"raw": "59m"}, "at least 1h"),
        ({"raw": "2d", "hours": "1d"}, "at least as long as raw='2d'"),
        ({"max_size": "1KB"}, "at least 1MB"),
        ({"max_rate": 3}, "a whole number from 4 on, not 3"),
        ({"max_rate": 5.0}, "not 5.0"),
    ],
)
def test_what_cannot_be_meant_is_told(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        History(**values)
