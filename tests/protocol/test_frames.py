"""RFC 6455 as a server must read and write it, with a frame builder of the test's own."""

from __future__ import annotations

import re
import struct
import tracemalloc
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iotio_protocol import frames
from iotio_protocol.frames import Close, FrameDecoder, Item, Ping, Pong, Violation, encode_close, encode_frame
from tests.protocol.vectors import load

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x01\x02\x03\x04"
ROOMY = 1 << 20


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    width: int | None = None,
) -> bytes:
    """One frame of a client; `width` forces the length field to 7, 16 or 64 bits."""
    size = len(payload)
    width = width or (7 if size < 126 else 16 if size < 65536 else 64)
    masked = 0x80 if mask is not None else 0
    first = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if width == 7:
        head = first + bytes([masked | size])
    elif width == 16:
        head = first + bytes([masked | 126]) + struct.pack(">H", size)
    else:
        head = first + bytes([masked | 127]) + struct.pack(">Q", size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def close_payload(code: int, reason: bytes = b"") -> bytes:
    return struct.pack(">H", code) + reason


def feed_all(chunks: Iterable[bytes], limit: int = ROOMY) -> list[Item]:
    decoder = FrameDecoder(limit)
    return [item for chunk in chunks for item in decoder.feed(chunk)]


def cuts(stream: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and in two at every place."""
    two = [[stream[:at], stream[at:]] for at in range(1, len(stream))] if len(stream) < 400 else []
    return [[stream], [bytes([byte]) for byte in stream], *two]


def read(stream: bytes, limit: int = ROOMY) -> list[Item]:
    """What the decoder makes of a stream, which must not depend on how the stream is cut."""
    whole = feed_all([stream], limit)
    for chunks in cuts(stream):
        assert feed_all(chunks, limit) == whole
    return whole


def violation(stream: bytes, limit: int = ROOMY) -> int:
    """The close code for a stream that breaks a rule with its first frame or message."""
    (item,) = read(stream, limit)
    assert isinstance(item, Violation)
    assert 0 < len(item.reason.encode()) <= 123
    return item.code


# Messages.


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 8, 125, 126, 127, 200, 65535, 65536, 70000])
def test_binary_of_every_length_form(size: int) -> None:
    payload = (b"0123456789abcdef" * (size // 16 + 1))[:size]
    stream = frame(BINARY, payload)
    expected: list[Item] = [payload]
    if size < 1000:
        assert read(stream) == expected
    else:
        assert feed_all([stream]) == expected
        for step in (1, 4093, 4096, 65536):
            assert feed_all(stream[at : at + step] for at in range(0, len(stream), step)) == expected


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x00\x01\x00\x80", MASK])
def test_any_mask(mask: bytes) -> None:
    assert read(frame(BINARY, b"hello world", mask=mask)) == [b"hello world"]
    assert read(frame(TEXT, b"hello world", mask=mask)) == ["hello world"]


def test_the_sample_frames_of_the_rfc() -> None:
    """RFC 6455, 5.7."""
    assert read(bytes.fromhex("818537fa213d7f9f4d5158")) == ["Hello"]
    assert read(bytes.fromhex("898537fa213d7f9f4d5158")) == [Ping(b"Hello")]
    assert read(bytes.fromhex("8a8537fa213d7f9f4d5158")) == [Pong(b"Hello")]
    assert encode_frame(TEXT, b"Hello") == bytes.fromhex("810548656c6c6f")
    assert encode_frame(PING, b"Hello") == bytes.fromhex("890548656c6c6f")
    assert encode_frame(BINARY, bytes(256))[:4] == bytes.fromhex("827e0100")
    assert encode_frame(BINARY, bytes(65536))[:10] == bytes.fromhex("827f0000000000010000")


def test_messages_keep_their_type_and_order() -> None:
    stream = frame(BINARY, b"a") + frame(TEXT, b"b") + frame(PING, b"c") + frame(BINARY) + frame(TEXT)
    items = read(stream)
    assert items == [b"a", "b", Ping(b"c"), b"", ""]
    assert [type(item) for item in items] == [bytes, str, Ping, bytes, str]


def test_nothing_comes_of_nothing() -> None:
    decoder = FrameDecoder(ROOMY)
    assert decoder.feed(b"") == []
    assert decoder.feed(frame(BINARY, b"a")[:3]) == []
    assert decoder.feed(b"") == []
    assert decoder.feed(frame(BINARY, b"a")[3:]) == [b"a"]


@pytest.mark.parametrize("width", [16, 64])
def test_a_length_in_more_bits_than_needed_is_read(width: int) -> None:
    assert read(frame(BINARY, b"abc", width=width)) == [b"abc"]


def test_a_message_and_half_of_the_next_in_one_read() -> None:
    decoder = FrameDecoder(ROOMY)
    first, second = frame(BINARY, b"1" * 5000), frame(BINARY, b"2" * 9000)
    assert decoder.feed(first + second[:100]) == [b"1" * 5000]
    assert decoder.feed(second[100:] + first) == [b"2" * 9000, b"1" * 5000]


# Fragments.


def test_fragments() -> None:
    stream = frame(BINARY, b"ab", fin=False) + frame(CONTINUATION, b"cd", fin=False) + frame(CONTINUATION, b"ef")
    assert read(stream) == [b"abcdef"]
    assert read(stream + stream) == [b"abcdef", b"abcdef"]


def test_empty_fragments() -> None:
    stream = frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) + frame(CONTINUATION)
    assert read(stream) == [b""]
    stream = frame(TEXT, fin=False) + frame(CONTINUATION, b"a", fin=False) + frame(CONTINUATION)
    assert read(stream) == ["a"]


def test_small_text_fragments_cost_what_they_weigh() -> None:
    """One object a fragment would be 40 times as much."""
    decoder = FrameDecoder(1_000_000)
    pieces = frame(TEXT, b"ab", fin=False) + frame(CONTINUATION, "\u00e9".encode(), fin=False) * 50_000
    tracemalloc.start()
    try:
        assert decoder.feed(pieces) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 500_000
    assert decoder.feed(frame(CONTINUATION, b"z")) == ["ab" + "\u00e9" * 50_000 + "z"]


def test_many_empty_fragments_cost_nothing() -> None:
    stream = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 50_000 + frame(CONTINUATION, b"a")
    assert feed_all([stream]) == ["a"]


def test_control_frames_between_fragments() -> None:
    stream = (
        frame(TEXT, b"a", fin=False)
        + frame(PING, b"1")
        + frame(CONTINUATION, b"b", fin=False)
        + frame(PONG, b"2")
        + frame(CONTINUATION, b"c")
    )
    assert read(stream) == [Ping(b"1"), Pong(b"2"), "abc"]


def test_a_close_between_fragments_ends_all() -> None:
    stream = frame(TEXT, b"a", fin=False) + frame(CLOSE, close_payload(1001)) + frame(CONTINUATION, b"c")
    assert read(stream) == [Close(1001, "")]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_a_new_message_inside_a_fragmented_one(opcode: int, fin: bool) -> None:
    assert violation(frame(BINARY, b"a", fin=False) + frame(opcode, b"b", fin=fin)) == 1002


@pytest.mark.parametrize("fin", [True, False])
def test_a_continuation_of_nothing(fin: bool) -> None:
    assert violation(frame(CONTINUATION, b"a", fin=fin)) == 1002
    items = read(frame(BINARY, b"a", fin=False) + frame(CONTINUATION) + frame(CONTINUATION, b"b", fin=fin))
    assert items[0] == b"a"
    assert isinstance(items[1], Violation)


# What no client may send.


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_reserved_bits(rsv: int, opcode: int) -> None:
    assert violation(frame(opcode, b"", rsv=rsv)) == 1002


@pytest.mark.parametrize("opcode", [3, 4, 5, 6, 7, 11, 12, 13, 14, 15])
@pytest.mark.parametrize("fin", [True, False])
def test_reserved_opcodes(opcode: int, fin: bool) -> None:
    assert violation(frame(opcode, b"a", fin=fin)) == 1002


@pytest.mark.parametrize("opcode", [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG])
def test_frames_without_a_mask(opcode: int) -> None:
    assert violation(frame(opcode, b"", mask=None)) == 1002


@pytest.mark.parametrize("opcode", [CLOSE, PING, PONG])
def test_control_frames_are_short_and_whole(opcode: int) -> None:
    assert violation(frame(opcode, b"a", fin=False)) == 1002
    assert violation(frame(opcode, b"a" * 126)) == 1002
    assert violation(frame(opcode, b"a" * 65536)) == 1002
    assert violation(frame(opcode, b"a", width=16)) == 1002


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_control_frames_of_full_length(opcode: int) -> None:
    item = Ping(bytes(range(125))) if opcode == PING else Pong(bytes(range(125)))
    assert read(frame(opcode, bytes(range(125)))) == [item]


def test_an_http_request_is_no_frame() -> None:
    assert violation(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 1002


def test_a_rule_is_checked_as_soon_as_its_byte_is_there() -> None:
    for head in (frame(BINARY, rsv=4)[:2], frame(3)[:2], frame(PING, b"a" * 126)[:2], frame(TEXT, mask=None)):
        assert violation(head) == 1002


def test_messages_before_the_broken_rule_still_count_and_nothing_after() -> None:
    decoder = FrameDecoder(ROOMY)
    items = decoder.feed(frame(BINARY, b"a") + frame(3) + frame(BINARY, b"b"))
    assert items[0] == b"a"
    assert isinstance(items[1], Violation)
    assert len(items) == 2
    assert decoder.feed(frame(BINARY, b"c")) == []


# UTF-8.

GOOD_TEXTS = ["", "a", "é", "漢字", "😀", "\x00", "\ud7ff", "\ue000", "\ufffe", "\U0010ffff", "κόσμε" * 40]
BAD_TEXTS = [
    b"\x80",
    b"\xff",
    b"a\xc3",
    b"\xc3(",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xc0\xaf",
    b"\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xf8\x88\x80\x80\x80",
]


@pytest.mark.parametrize("text", GOOD_TEXTS, ids=ascii)
def test_text_whole_and_cut_into_fragments_at_every_byte(text: str) -> None:
    raw = text.encode()
    assert read(frame(TEXT, raw)) == [text]
    for at in range(len(raw) + 1):
        assert feed_all([frame(TEXT, raw[:at], fin=False) + frame(CONTINUATION, raw[at:])]) == [text]
    bytewise = b"".join(frame(CONTINUATION, raw[at : at + 1], fin=False) for at in range(len(raw)))
    assert feed_all([frame(TEXT, fin=False) + bytewise + frame(CONTINUATION)]) == [text]


@pytest.mark.parametrize("raw", BAD_TEXTS, ids=lambda raw: raw.hex())
def test_text_that_is_not_utf8(raw: bytes) -> None:
    assert violation(frame(TEXT, raw)) == 1007
    for at in range(len(raw) + 1):
        assert violation(frame(TEXT, raw[:at], fin=False) + frame(CONTINUATION, raw[at:])) == 1007
    assert read(frame(BINARY, raw)) == [raw]


def test_bad_text_fails_with_the_fragment_it_is_in() -> None:
    assert violation(frame(TEXT, b"ab\xff", fin=False)) == 1007
    assert feed_all([frame(TEXT, b"ab\xc3", fin=False)]) == []


def test_half_a_character_does_not_leak_into_the_next_message() -> None:
    stream = frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"\xa9") + frame(TEXT, b"\xa9")
    items = read(stream)
    assert items[0] == "é"
    assert isinstance(items[1], Violation)


# CLOSE.

VALID = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999]
INVALID = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535]


@pytest.mark.parametrize("code", VALID)
def test_close_codes(code: int) -> None:
    assert read(frame(CLOSE, close_payload(code))) == [Close(code, "")]
    assert read(frame(CLOSE, close_payload(code, "gone é".encode()))) == [Close(code, "gone é")]


@pytest.mark.parametrize("code", INVALID)
def test_numbers_that_are_no_close_code(code: int) -> None:
    assert violation(frame(CLOSE, close_payload(code))) == 1002


def test_a_close_with_nothing_in_it() -> None:
    assert read(frame(CLOSE)) == [Close(None, "")]


def test_a_close_with_half_a_code() -> None:
    assert violation(frame(CLOSE, b"\x03")) == 1002


def test_a_close_reason_of_full_length() -> None:
    assert read(frame(CLOSE, close_payload(1000, b"r" * 123))) == [Close(1000, "r" * 123)]


def test_a_close_reason_that_is_not_utf8() -> None:
    assert violation(frame(CLOSE, close_payload(1000, b"\xff"))) == 1002


def test_nothing_after_a_close() -> None:
    decoder = FrameDecoder(ROOMY)
    assert decoder.feed(frame(CLOSE) + frame(BINARY, b"a") + frame(CLOSE)) == [Close(None, "")]
    assert decoder.feed(frame(BINARY, b"a")) == []


# Limits.


@pytest.mark.parametrize("limit", [10, 125, 126, 65535, 65536])
def test_a_message_of_the_limit_passes_and_one_byte_more_does_not(limit: int) -> None:
    assert feed_all([frame(BINARY, b"a" * limit)], limit) == [b"a" * limit]
    (item,) = feed_all([frame(BINARY, b"a" * (limit + 1))], limit)
    assert isinstance(item, Violation)
    assert item.code == 1009
    assert str(limit) in item.reason


def test_the_limit_is_over_all_fragments() -> None:
    fragment = frame(CONTINUATION, b"abcd", fin=False)
    start = frame(BINARY, b"abcd", fin=False)
    assert read(start + fragment + frame(CONTINUATION, b"ab"), 10) == [b"abcdabcdab"]
    assert violation(start + fragment + frame(CONTINUATION, b"abc"), 10) == 1009
    assert violation(start + fragment + fragment, 10) == 1009
    assert read((start + fragment + frame(CONTINUATION)) * 2, 10) == [b"abcdabcd"] * 2


def test_the_limit_counts_bytes_of_text() -> None:
    assert read(frame(TEXT, "ééé".encode()), 6) == ["ééé"]
    assert violation(frame(TEXT, "ééé".encode()), 5) == 1009


@pytest.mark.parametrize("size", [ROOMY + 1, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_a_length_is_refused_before_anything_of_it_came(size: int) -> None:
    head = bytes([0x80 | BINARY, 0x80 | 127]) + struct.pack(">Q", size)
    assert violation(head) == 1009


@pytest.mark.parametrize("limit", [1, 9, 124])
def test_the_limit_is_for_messages_not_for_control_frames(limit: int) -> None:
    assert read(frame(PING, b"p" * 125), limit) == [Ping(b"p" * 125)]
    assert read(frame(CLOSE, close_payload(1000, b"r" * 123)), limit) == [Close(1000, "r" * 123)]


def test_what_waits_is_never_more_than_a_message_and_a_head() -> None:
    """A slow sender of the largest message: kept bytes stay within the limit, and the work linear."""
    limit = 100_000
    stream = frame(BINARY, b"a" * limit)
    decoder = FrameDecoder(limit)
    for at in range(0, len(stream) - 1, 100):
        assert decoder.feed(stream[at : at + 100]) == [] or at + 100 >= len(stream)


# What the server writes.


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536])
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_frames_of_the_server_are_final_and_not_masked(opcode: int, size: int) -> None:
    assert encode_frame(opcode, b"x" * size) == frame(opcode, b"x" * size, mask=None)


def test_close_frames_of_the_server() -> None:
    assert encode_close(1000) == bytes.fromhex("880203e8")
    assert encode_close(1001, "bye") == bytes.fromhex("880503e9627965")


def test_a_long_close_reason_is_cut_at_a_character() -> None:
    data = encode_close(1008, "é" * 100)
    assert data[1] == 2 + 122
    assert data[4:].decode() == "é" * 61
    assert encode_close(1008, "a" * 200)[1] == 125


# The vectors.


@pytest.mark.parametrize(
    "case",
    # Without those that send nothing, and those that name the size of a large frame instead of its bytes.
    [case for case in load("v1_errors.json")["runtime"] if re.fullmatch("[0-9a-f]+", case.get("sent_hex") or "")],
    ids=lambda case: case["name"],
)
def test_wire_vectors(case: dict[str, str]) -> None:
    items = read(bytes.fromhex(case["sent_hex"]))
    expected = EXPECTED.get(case["name"])
    if expected is not None:
        assert [item.code if isinstance(item, Close | Violation) else type(item) for item in items] == expected
    else:
        assert items
        assert not [item for item in items if isinstance(item, Violation)]


# Item types, and codes of Close or Violation.
EXPECTED: dict[str, list[object]] = {
    "ping_126": [1002],
    "ping_fragmented": [1002],
    "unmasked": [1002],
    "rsv1": [1002],
    "rsv2": [1002],
    "opcode_3": [1002],
    "opcode_11": [1002],
    "fragmented_3": [bytes],
    "fragmented_interleaved_ping": [Ping, bytes],
    "fragmented_new_data_opcode": [1002],
    "continuation_without_start": [1002],
    "fragmented_empty_parts": [bytes],
    "two_packets_one_segment": [bytes, bytes],
    "byte_by_byte": [bytes],
    **{f"close_{code}": [code] for code in (1000, 1001, 1002, 1003, 1008, 1009, 1010, 1011, 1012, 1014, 4000, 4999)},
    **{f"close_{code}": [1002] for code in (999, 1004, 1006, 1015, 2999)},
    "close_empty": [None],
    "close_one_byte": [1002],
    "close_bad_utf8_reason": [1002],
    "data_after_close": [1000],
    "text_bad_utf8": [1007],
    "len_msb_set": [1009],
    "half_frame_then_fin": [],
    "http_request_in_stream": [1002],
}


# Unmasking.


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_both_ways_of_unmasking_agree(data: bytes, mask: bytes) -> None:
    expected = bytes(byte ^ mask[index & 3] for index, byte in enumerate(data))
    assert frames._unmask(data, mask) == expected
    assert frames.apply_mask(data, mask) == expected


# Properties.


@dataclass(frozen=True)
class Script:
    """A stream of valid frames and what it means."""

    stream: bytes
    items: tuple[Item, ...]


MASKS = st.binary(min_size=4, max_size=4)
CONTROLS = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))


@st.composite
def messages(draw: st.DrawFn) -> Script:
    """One message in any number of fragments, with control frames between them."""
    opcode = draw(st.sampled_from([TEXT, BINARY]))
    text = draw(st.text(max_size=150))
    raw = text.encode() if opcode == TEXT else draw(st.binary(max_size=300))
    places = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=4)))
    parts = [raw[start:end] for start, end in zip([0, *places], [*places, len(raw)], strict=True)]
    stream, items = b"", []
    for number, part in enumerate(parts):
        if number:
            for control, payload in draw(st.lists(CONTROLS, max_size=2)):
                stream += frame(control, payload, mask=draw(MASKS))
                items.append(Ping(payload) if control == PING else Pong(payload))
        last = number == len(parts) - 1
        width = draw(st.sampled_from([None, None, 64]))
        stream += frame(0 if number else opcode, part, fin=last, mask=draw(MASKS), width=width)
    message: bytes | str = text if opcode == TEXT else raw
    return Script(stream, (*items, message))


@given(st.lists(messages(), max_size=4), st.lists(st.integers(0, 1500), max_size=12))
def test_valid_streams_mean_the_same_however_they_are_cut(scripts: list[Script], places: list[int]) -> None:
    stream = b"".join(script.stream for script in scripts)
    expected = [item for script in scripts for item in script.items]
    marks = sorted({min(place, len(stream)) for place in places})
    chunks = [stream[start:end] for start, end in zip([0, *marks], [*marks, len(stream)], strict=True)]
    for way in (chunks, [stream], [bytes([byte]) for byte in stream]):
        found = feed_all(way)
        assert found == expected
        assert [type(item) for item in found] == [type(item) for item in expected]


@given(st.lists(st.binary(max_size=60)), st.integers(0, 200))
@settings(max_examples=300)
def test_any_bytes_raise_nothing_and_mean_the_same_however_they_are_cut(chunks: list[bytes], limit: int) -> None:
    found = feed_all(chunks, limit)
    stream = b"".join(chunks)
    assert feed_all([stream], limit) == found
    assert feed_all((bytes([byte]) for byte in stream), limit) == found
    ends = [isinstance(item, Close | Violation) for item in found]
    assert not any(ends[:-1])
    assert all(len(item) <= limit for item in found if isinstance(item, bytes))


NEARLY = st.builds(
    frame,
    st.integers(0, 15),
    st.binary(max_size=130),
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0, 1]),
    mask=st.sampled_from([MASK, MASK, MASK, None]),
)


@given(st.lists(NEARLY, max_size=6), st.integers(0, 200), st.integers(1, 50))
@settings(max_examples=300)
def test_frames_of_any_kind_mean_the_same_however_they_are_cut(pieces: list[bytes], limit: int, step: int) -> None:
    stream = b"".join(pieces)
    whole = feed_all([stream], limit)
    assert feed_all((stream[at : at + step] for at in range(0, len(stream), step)), limit) == whole
    bounds = list(accumulate((len(piece) for piece in pieces), initial=0))
    assert feed_all((stream[a:b] for a, b in pairwise(bounds)), limit) == whole


# The first message.


def test_the_first_message_has_a_limit_of_its_own_until_the_owner_says_so() -> None:
    decoder = FrameDecoder(1000, 100)
    assert decoder.feed(frame(BINARY, b"x" * 100)) == [b"x" * 100]
    decoder.use_max_message()
    assert decoder.feed(frame(BINARY, b"x" * 1000)) == [b"x" * 1000]
    assert decoder.feed(frame(BINARY, b"x" * 1001)) == [Violation(1009, "a message may have 1000 bytes")]


@pytest.mark.parametrize(
    "data",
    [
        frame(BINARY, b"x" * 101)[:8],
        frame(BINARY, b"x" * 100, fin=False) + frame(CONTINUATION, b"x")[:6],
        frame(PING, b"") + frame(TEXT, b"x" * 1001)[:8],
    ],
)
def test_a_first_message_that_is_too_large_is_refused_before_it_comes(data: bytes) -> None:
    assert FrameDecoder(1000, 100).feed(data)[-1] == Violation(1009, "the first message may have 100 bytes")


def test_what_comes_in_one_read_with_the_first_message_has_the_limit_of_messages() -> None:
    first = frame(TEXT, b"hello")
    assert FrameDecoder(1000, 100).feed(first + frame(BINARY, b"x" * 1000)) == ["hello", b"x" * 1000]
    refused = FrameDecoder(1000, 100).feed(first + frame(BINARY, b"x" * 1001))
    assert refused == ["hello", Violation(1009, "a message may have 1000 bytes")]


def test_one_byte_frames_count_together() -> None:
    decoder = FrameDecoder(1000, 100)
    decoder.feed(frame(BINARY, b"x", fin=False))
    for _ in range(99):
        assert decoder.feed(frame(CONTINUATION, b"x", fin=False)) == []
    assert decoder.feed(frame(CONTINUATION, b"x")) == [Violation(1009, "the first message may have 100 bytes")]
