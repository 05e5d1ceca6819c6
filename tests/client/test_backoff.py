"""The waits between two connections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio_client.backoff import Backoff


@given(st.integers(0, 10**6), st.floats(0, 1, exclude_max=True), st.floats(0.001, 1e5), st.floats(0.001, 1e5))
def test_jitter_is_within_its_ceiling(failures: int, drawn: float, base: float, cap: float) -> None:
    backoff = Backoff(base=base, cap=cap, random=lambda: drawn)
    assert 0 <= backoff.delay(failures) <= backoff.ceiling(failures) <= cap
    assert backoff.ceiling(failures) <= backoff.ceiling(failures + 1)


def test_default_waits_are_full_jitter_from_1_s_to_60_s() -> None:
    backoff = Backoff()
    assert [backoff.ceiling(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    drawn = [backoff.delay(7) for _ in range(2000)]
    assert min(drawn) < 6
    assert max(drawn) > 54


@pytest.mark.parametrize("name", ["base", "cap", "stable"])
@pytest.mark.parametrize("wrong", [0, -1, float("inf"), float("nan")])
def test_backoff_checks(name: str, wrong: float) -> None:
    with pytest.raises(ValueError, match=rf"Backoff\.{name} must be a finite number of seconds above 0"):
        replace(Backoff(), **{name: wrong})  # type: ignore[arg-type]  # `random` is none of the names


def test_the_first_wait_is_that_after_one_failure() -> None:
    backoff = Backoff(base=0.5, random=lambda: 1.0)
    assert [backoff.delay(failures) for failures in (0, 1, 2)] == [0.5, 0.5, 1.0]


def test_a_device_that_failed_for_years_still_knows_its_wait() -> None:
    """2**n is no float any more beyond n = 1023."""
    assert Backoff(cap=1e300).ceiling(10**9) == 2.0**30
