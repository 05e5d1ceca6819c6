"""Readings come back as they were; bytes that others have touched are refused with words."""

from __future__ import annotations

import itertools
import json
import struct
import zlib
from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio.history.codec import (
    MAX_CHUNK,
    DamagedBody,
    TailRow,
    decode_numbers,
    decode_states,
    decode_tail,
    encode_numbers,
    encode_states,
    encode_tail,
)

TIMES = st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=150).map(sorted)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
DECIMALS = st.decimals(-10_000, 10_000, places=2).map(float)
STATES = st.one_of(st.booleans(), st.integers(-(2**60), 2**60), st.text())


@given(TIMES, st.data())
def test_numbers_come_back_as_the_very_floats(times: list[int], data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([FLOATS, DECIMALS, st.integers(-(2**52), 2**52).map(float)]))
    values = data.draw(st.lists(kind, min_size=len(times), max_size=len(times)))
    assert decode_numbers(encode_numbers(times, values)) == (times, values)


@given(TIMES, st.data())
def test_states_come_back_with_their_types(times: list[int], data: st.DataObject) -> None:
    values = data.draw(st.lists(STATES, min_size=len(times), max_size=len(times)))
    found = decode_states(encode_states(times, values))
    assert found.times == times
    assert [(type(value), value) for value in found.values] == [(type(value), value) for value in values]


def test_a_steady_sensor_takes_about_a_byte_a_reading() -> None:
    times = list(range(0, 120_000, 1000))
    values = [round(20 + (number * 7 % 11 - 5) / 100, 2) for number in range(120)]
    assert len(encode_numbers(times, values)) < 120


NUMBERS = st.tuples(st.integers(0, 2**32 - 1), st.integers(-(2**62), 2**62), FLOATS)


@given(
    st.lists(NUMBERS, max_size=50),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(-(2**62), 2**62), STATES), max_size=20),
    st.lists(st.tuples(st.integers(0, 2**32 - 1), st.integers(-(2**62), 2**62)), max_size=20),
)
def test_a_row_of_the_tail_comes_back(
    numbers: list[tuple[int, int, float]], states: list[tuple[int, int, Any]], seals: list[tuple[int, int]]
) -> None:
    columns: list[Any] = list(zip(*numbers, strict=True)) if numbers else [(), (), ()]
    row = TailRow(array("I", columns[0]), array("q", columns[1]), array("d", columns[2]), states, seals)
    assert decode_tail(encode_tail(row)) == row


CHUNK = encode_numbers([0, 1000, 2000], [1.5, 2.5, 3.0])
FLOAT_CHUNK = encode_numbers([0, 1000, 2000], [0.1 + 0.2, 1e300, 3.0])
STATE_CHUNK = encode_states([0, 1000, 2000], ["on", "off", "on"])
TAIL = encode_tail(TailRow(array("I", [1]), array("q", [2]), array("d", [3.0]), [(1, 2, "on")], [(1, 0)]))


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_read(body: bytes) -> None:
    for decode in (decode_numbers, decode_states, decode_tail):
        for damaged in (body, body[:1] + zlib.compress(body[1:]), b"\x01" + zlib.compress(body), zlib.compress(body)):
            try:
                decode(damaged)
            except DamagedBody as error:
                assert str(error)


@given(st.sampled_from([CHUNK, FLOAT_CHUNK, STATE_CHUNK, TAIL]), st.integers(0, 2**16), st.integers(1, 255))
def test_a_flipped_byte_is_no_other_error(body: bytes, place: int, by: int) -> None:
    damaged = bytearray(zlib.decompress(body[1:]) if body is not TAIL else zlib.decompress(body))
    damaged[place % len(damaged)] ^= by
    again = zlib.compress(damaged)
    for decode in (decode_numbers, decode_states, decode_tail):
        try:
            decode(again if body is TAIL else body[:1] + again)
        except DamagedBody as error:
            assert str(error)


@pytest.mark.parametrize(
    ("decode", "head"),
    [(decode_numbers, b"\x01"), (decode_numbers, b"\x02"), (decode_states, b"\x03"), (decode_tail, b"")],
)
def test_a_bomb_is_refused_before_it_is_unpacked(decode: Any, head: bytes) -> None:
    bomb = zlib.compress(bytes(60_000_000))
    with pytest.raises(DamagedBody, match="is cut off, or has more than"):
        decode(head + bomb)


def _chunk(count: int, *steps: int) -> bytes:
    head = struct.pack("<BBBHqq", 0, 0, 0, count, 0, steps[0] if steps else 0)
    deltas = array("b", [after - before for before, after in itertools.pairwise(steps)]).tobytes()
    return b"\x01" + zlib.compress(head + deltas + struct.pack("<q", 0) + bytes(max(count - 1, 0)))


@pytest.mark.parametrize(
    ("decode", "body", "words"),
    [
        (decode_numbers, b"\x07", "no form of numbers"),
        (decode_numbers, b"\x01none", "cannot be decompressed"),
        (decode_numbers, b"\x01" + zlib.compress(b"short"), "too short"),
        (decode_numbers, _chunk(0), "has 0 readings"),
        (decode_numbers, _chunk(MAX_CHUNK + 1), f"has {MAX_CHUNK + 1} readings"),
        (decode_numbers, _chunk(3, 5, -5), "go back"),
        (decode_states, b"\x01", "no form of states"),
        (decode_states, b"\x03" + zlib.compress(b"{"), "not JSON"),
        (decode_states, b"\x03" + zlib.compress(b"[" * 100_000), "not JSON"),
        (decode_states, b"\x03" + zlib.compress(json.dumps([0, [1], ["a"], [0]]).encode()), "2 times and 1 values"),
        (decode_states, b"\x03" + zlib.compress(json.dumps([0, [], ["a"], [1]]).encode()), "not of the form"),
        (decode_states, b"\x03" + zlib.compress(json.dumps([0.5, [], ["a"], [0]]).encode()), "no integers"),
        (decode_tail, zlib.compress(b""), "too short"),
        (decode_tail, zlib.compress(struct.pack("<BIII", 1, 2**32 - 1, 0, 0)), "do not fit together"),
        (decode_tail, zlib.compress(struct.pack("<BIII", 1, 0, 4, 0) + b"[[1]"), "not JSON"),
        (decode_tail, zlib.compress(struct.pack("<BIII", 1, 0, 5, 0) + b"[[1]]"), "not of its form"),
        (decode_tail, zlib.compress(struct.pack("<BIII", 1, 0, 11, 0) + b"[[1,0.5,2]]"), "no integers"),
    ],
)
def test_damage_is_told_in_words(decode: Any, body: bytes, words: str) -> None:
    with pytest.raises(DamagedBody, match=words):
        decode(body)
