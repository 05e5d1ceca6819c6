"""The bytes of stored readings: a chunk holds some of one series, a tail row all that one commit brought.

All numbers are little-endian. A body is what is in a file that others may have touched: it is checked before memory is
taken, and wrong ones raise `DamagedBody`.
"""

from __future__ import annotations

import json
import struct
import sys
import zlib
from array import array
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

from iotio_protocol.errors import IoTError

__all__ = [
    "MAX_CHUNK",
    "MAX_TAIL",
    "DamagedBody",
    "StateReadings",
    "TailRow",
    "decode_numbers",
    "decode_states",
    "decode_tail",
    "encode_numbers",
    "encode_states",
    "encode_tail",
]

MAX_CHUNK = 10_000  # readings that a chunk may have; those that are made have far fewer
MAX_TAIL = 1_000_000  # the same of a tail row
_MAX_TEXTS = 16 * 1024 * 1024  # bytes of the states in a body, as JSON

_SCALED = b"\x01"  # what follows the first byte of a chunk: integers, to be divided by a power of ten
_FLOATS = b"\x02"  # float64
_STATES = b"\x03"  # JSON
_HEAD = struct.Struct("<BBBHqq")  # power of ten, code of times, code of values, count, first time, first step
_FIRST = struct.Struct("<q")
_TAIL_HEAD = struct.Struct("<BIII")  # form, numbers, bytes of states, seals
_TAIL_FORM = 1
_CODES = "bhiq"
_POWERS = (1, 10, 100, 1000, 10_000)
_EXACT = 2**53  # beyond, not every integer is a float
_WIDEST = 2**63

assert [array(code).itemsize for code in _CODES] == [1, 2, 4, 8]


class DamagedBody(IoTError):
    """Stored readings cannot be read; the text says what is wrong with them."""


class StateReadings(NamedTuple):
    """Readings of states: parallel lists."""

    times: list[int]
    values: list[Any]


class TailRow(NamedTuple):
    """What one commit brought.

    Attributes:
        series: of each number.
        times: of each number, in ms since 1970.
        values: the numbers.
        states: series, time and value of each state.
        seals: series and quarter, of which this row and those before it hold nothing that is not in a chunk.
    """

    series: array[int]
    times: array[int]
    values: array[float]
    states: list[tuple[int, int, Any]]
    seals: list[tuple[int, int]]


def encode_numbers(times: Sequence[int], values: Sequence[float]) -> bytes:
    """Encode readings of a number: at least one, at most `MAX_CHUNK`, their times ascending.

    Values that are whole behind a shift by up to four decimal places become integers; the others stay as they are. Each
    comes back as the very float that it was.
    """
    steps = _differences(times)
    times_code, times_body = _pack(_differences(steps))
    first = steps[0] if steps else 0
    scaled = _scaled(values)
    if scaled is None:
        head = _HEAD.pack(0, times_code, 0, len(times), times[0], first)
        return _FLOATS + zlib.compress(head + times_body + _planes(values), 6)
    power, numbers = scaled
    code, body = _pack(_differences(numbers))
    head = _HEAD.pack(power, times_code, code, len(times), times[0], first)
    return _SCALED + zlib.compress(head + times_body + _FIRST.pack(numbers[0]) + body, 6)


def decode_numbers(body: bytes) -> tuple[list[int], list[float]]:
    """Decode what `encode_numbers` has written: times and values.

    Raises:
        DamagedBody: it is something else.
    """
    kind = body[:1]
    if kind not in (_SCALED, _FLOATS):
        raise DamagedBody(f"the chunk begins with {kind!r}, which is no form of numbers")
    raw = _inflate(body[1:], _HEAD.size + _FIRST.size + 16 * MAX_CHUNK)
    try:
        power, times_code, code, count, start, first = _HEAD.unpack_from(raw)
        if not 1 <= count <= MAX_CHUNK or power >= len(_POWERS):
            raise DamagedBody(f"the chunk says that it has {count} readings and {power} decimal places")
        place = _HEAD.size
        place, seconds = _unpack(raw, place, times_code, max(count - 2, 0))
        steps = list(accumulate(seconds, initial=first)) if count > 1 else []
        times = list(accumulate(steps, initial=start))
        if kind == _FLOATS:
            values = _from_planes(raw[place:], count)
        else:
            (number,) = _FIRST.unpack_from(raw, place)
            place, deltas = _unpack(raw, place + _FIRST.size, code, count - 1)
            _check_end(raw, place)
            divisor = _POWERS[power]
            values = [number / divisor for number in accumulate(deltas, initial=number)]
    except struct.error as error:
        raise DamagedBody(f"the chunk is too short: {error}") from None
    _check_times(times, steps)
    return times, values


def encode_states(times: Sequence[int], values: Sequence[Any]) -> bytes:
    """Encode readings of a state, which JSON can carry: at least one, at most `MAX_CHUNK`, their times ascending."""
    distinct: dict[tuple[type, Any], int] = {}
    places = [distinct.setdefault((type(value), value), len(distinct)) for value in values]
    content = [times[0], _differences(times), [value for _, value in distinct], places]
    return _STATES + zlib.compress(json.dumps(content, separators=(",", ":")).encode(), 6)


def decode_states(body: bytes) -> StateReadings:
    """Decode what `encode_states` has written.

    Raises:
        DamagedBody: it is something else.
    """
    if body[:1] != _STATES:
        raise DamagedBody(f"the chunk begins with {body[:1]!r}, which is no form of states")
    content = _json(_inflate(body[1:], _MAX_TEXTS))
    try:
        start, steps, distinct, places = content
        if not _is_int(start) or not all(map(_is_int, (*steps, *places))) or not 1 <= len(places) <= MAX_CHUNK:
            raise DamagedBody("the chunk has times or places that are no integers, or no readings")
        times = list(accumulate(steps, initial=start))
        if len(times) != len(places) or min(places) < 0:
            raise DamagedBody(f"the chunk has {len(times)} times and {len(places)} values")
        values = [distinct[place] for place in places]
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise DamagedBody(f"the chunk is not of the form of states: {error}") from None
    _check_times(times, steps)
    return StateReadings(times, values)


def encode_tail(row: TailRow) -> bytes:
    """Encode what one commit brought."""
    states = json.dumps(row.states, separators=(",", ":")).encode() if row.states else b""
    sealed = array("I", [series for series, _ in row.seals]), array("q", [quarter for _, quarter in row.seals])
    head = _TAIL_HEAD.pack(_TAIL_FORM, len(row.times), len(states), len(row.seals))
    parts = [head, *(_bytes(one) for one in (row.series, row.times, row.values)), states, *map(_bytes, sealed)]
    return zlib.compress(b"".join(parts), 1)


def decode_tail(body: bytes) -> TailRow:
    """Decode what `encode_tail` has written.

    Raises:
        DamagedBody: it is something else.
    """
    most = _TAIL_HEAD.size + 20 * MAX_TAIL + _MAX_TEXTS + 12 * MAX_TAIL
    raw = _inflate(body, most)
    if len(raw) < _TAIL_HEAD.size:
        raise DamagedBody("the row of the tail is too short")
    form, count, texts, seals = _TAIL_HEAD.unpack_from(raw)
    if form != _TAIL_FORM or len(raw) != _TAIL_HEAD.size + 20 * count + texts + 12 * seals:
        raise DamagedBody(f"the row of the tail has the form {form} and {len(raw)} bytes, which do not fit together")
    cuts = list(accumulate((4 * count, 8 * count, 8 * count, texts, 4 * seals, 8 * seals), initial=_TAIL_HEAD.size))
    parts = [raw[start:stop] for start, stop in pairwise(cuts)]
    series, times, values = _array("I", parts[0]), _array("q", parts[1]), _array("d", parts[2])
    states = _json(parts[3]) if texts else []
    try:
        checked = [(series_id, time, value) for series_id, time, value in states]
    except (TypeError, ValueError):
        raise DamagedBody("the states in the row of the tail are not of its form") from None
    if not all(_is_int(series_id) and _is_int(time) for series_id, time, _ in checked):
        raise DamagedBody("the states in the row of the tail have times that are no integers")
    sealed = zip(_array("I", parts[4]), _array("q", parts[5]), strict=True)
    return TailRow(series, times, values, checked, list(sealed))


def _scaled(values: Sequence[float]) -> tuple[int, list[int]] | None:
    """Return the values as integers, and by which power of ten they are larger; None if none makes them whole."""
    for power, factor in enumerate(_POWERS):
        if max(values) * factor >= _EXACT or min(values) * factor <= -_EXACT:
            return None
        numbers = [round(value * factor) for value in values]
        if all(number / factor == value for number, value in zip(numbers, values, strict=True)):
            return power, numbers
    return None


def _differences(numbers: Sequence[int]) -> list[int]:
    return [after - before for before, after in pairwise(numbers)]


def _pack(numbers: list[int]) -> tuple[int, bytes]:
    """Return integers in the fewest bytes that all of them fit into, and the code for how many these are."""
    low, high = min(numbers, default=0), max(numbers, default=0)
    for place, code in enumerate(_CODES):
        bound = 1 << (8 * (1 << place) - 1)
        if -bound <= low and high < bound:
            return place, _bytes(array(code, numbers))
    raise ValueError(f"times of a chunk differ by more than 64 bits can hold: {low}, {high}")


def _unpack(raw: bytes, place: int, code: int, count: int) -> tuple[int, array[int]]:
    if code >= len(_CODES):
        raise DamagedBody(f"the chunk has numbers of the unknown form {code}")
    end = place + (count << code)
    if end > len(raw):
        raise DamagedBody(f"the chunk has {len(raw)} bytes, and ought to have {end} or more")
    return end, _array(_CODES[code], raw[place:end])


def _planes(values: Sequence[float]) -> bytes:
    """Return floats with their bytes sorted by place, which compresses better: neighbours differ in the last ones."""
    plain = _bytes(array("d", values))
    return b"".join(plain[place::8] for place in range(8))


def _from_planes(planes: bytes, count: int) -> list[float]:
    _check_end(planes, 8 * count)
    plain = bytearray(8 * count)
    for place in range(8):
        plain[place::8] = planes[place * count : (place + 1) * count]
    return list(_array("d", bytes(plain)))


def _bytes(numbers: array[Any]) -> bytes:
    if sys.byteorder == "big":
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _array(code: str, raw: bytes) -> array[Any]:
    numbers: array[Any] = array(code)
    numbers.frombytes(raw)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def _inflate(data: bytes, most: int) -> bytes:
    """Decompress data to at most so many bytes."""
    decompressor = zlib.decompressobj()
    try:
        raw = decompressor.decompress(data, most)
    except zlib.error as error:
        raise DamagedBody(f"what is stored cannot be decompressed: {error}") from None
    if not decompressor.eof or decompressor.unused_data:
        raise DamagedBody(f"what is stored is cut off, or has more than {most} bytes")
    return raw


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedBody(f"what is stored is not JSON: {error}") from None


def _check_end(raw: bytes, place: int) -> None:
    if len(raw) != place:
        raise DamagedBody(f"the chunk has {len(raw)} bytes in the place of {place}")


def _check_times(times: list[int], steps: Sequence[int]) -> None:
    if steps and min(steps) < 0:
        raise DamagedBody("the times of the chunk go back")
    if times[0] < -_WIDEST or times[-1] >= _WIDEST:
        raise DamagedBody("the times of the chunk have more than 64 bits")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
