"""What a history answers: something to iterate over."""

from __future__ import annotations

from datetime import UTC, datetime

from iotio.core.readings import Bucket, Series, Span

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_one_iterates_over_buckets_or_spans() -> None:
    bucket = Bucket(NOW, NOW, 1, 2.0, 2.0, 2.0, 2.0)
    span = Span(NOW, NOW, "on")
    assert (list(Series("a", buckets=(bucket,))), len(Series("a", buckets=(bucket,)))) == ([bucket], 1)
    assert (list(Series("a", spans=(span,))), len(Series("a", spans=(span,)))) == ([span], 1)
    assert not Series("a")
