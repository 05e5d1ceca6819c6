"""Everything wrong that a device can send, drawn from a seeded generator."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from iotio_protocol import v1
from tests.support.wire import KEY, Opcode, encode_frame

TOO_LONG = 1 << 24  # bytes; over every limit of a server with default options

Chance = random.Random


def _packet(kind: int, event: bytes, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(event)) + event + struct.pack("!I", len(value)) + value


def _mask(chance: Chance) -> bytes:
    return chance.randbytes(4)


# Packets that are wrong in frames that are right: answered with an error packet, the connection lives on.


def short_packet(chance: Chance) -> bytes:
    """Cut anywhere."""
    whole = v1.encode("echo", "x" * chance.randrange(20))
    return whole[: chance.randrange(len(whole))]


def unknown_type(chance: Chance) -> bytes:
    """A type byte that protocol v1 does not have."""
    return _packet(chance.randrange(5, 256), b"echo", chance.randbytes(chance.randrange(9)))


def wrong_length(chance: Chance) -> bytes:
    """A length of event or value that disagrees with the frame."""
    whole = bytearray(v1.encode("echo", "hello"))
    at = chance.choice((1, 2, 7, 8, 9, 10))
    whole[at] = (whole[at] + chance.randrange(1, 256)) % 256
    return bytes(whole)


def wrong_size(chance: Chance) -> bytes:
    """A boolean or integer of a size that it cannot have."""
    if chance.random() < 0.5:
        return _packet(1, b"echo", chance.choice((b"", b"\0\0")))
    return _packet(2, b"echo", chance.randbytes(chance.choice((0, 9, 16))))


def bad_utf8(chance: Chance) -> bytes:
    """In the event or in a string."""
    broken = chance.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"))
    return chance.choice((_packet(3, b"echo", broken), _packet(3, b"ec" + broken, b"ho")))


def bad_json(chance: Chance) -> bytes:
    """Broken, no JSON at all, or what only Python takes for JSON."""
    texts = (b"", b"{", b"[1,", b'{"a":}', b"nul", b"NaN", b"[Infinity]", b"\xff", b"{'a': 1}", b"[1]]")
    return _packet(4, b"echo", chance.choice(texts))


def deep_json(chance: Chance) -> bytes:
    """Nested far deeper than any recursion limit."""
    depth = chance.choice((5_000, 20_000))
    return _packet(4, b"echo", chance.choice((b"[", b'{"a":')) * depth)


def long_event(chance: Chance) -> bytes:
    """An event name over its limit."""
    return _packet(3, b"e" * chance.randrange(257, 2000), b"")


PACKETS: tuple[Callable[[Chance], bytes], ...] = (
    short_packet,
    unknown_type,
    wrong_length,
    wrong_size,
    bad_utf8,
    bad_json,
    deep_json,
    long_event,
)


def packet_frame(chance: Chance) -> bytes:
    """A masked frame with a wrong packet in it, or a right one as text; now and then in fragments."""
    if chance.random() < 0.1:
        return encode_frame(Opcode.TEXT, b"text", mask=_mask(chance))
    packet = chance.choice(PACKETS)(chance)
    if chance.random() < 0.1:
        cut = chance.randrange(len(packet) + 1)
        return encode_frame(Opcode.BINARY, packet[:cut], fin=False, mask=_mask(chance)) + encode_frame(
            Opcode.CONTINUATION, packet[cut:], mask=_mask(chance)
        )
    return encode_frame(Opcode.BINARY, packet, mask=_mask(chance))


def v0_text(chance: Chance) -> bytes:
    """A frame that protocol v0 ignores: a wrong number of arguments, or none."""
    text = chance.choice(("", "nothing", '[/"one"/]', '[/"a"/][/"b"/][/"c"/]', '[/"[1]"/][/"x"/][/"y"/]', "[/]"))
    return encode_frame(Opcode.TEXT, text.encode(), mask=_mask(chance))


# Frames that break RFC 6455: the server closes with a code.


def violation(chance: Chance) -> tuple[bytes, int]:
    """A frame that breaks a rule, and the close code for it."""
    mask = _mask(chance)
    some = chance.randbytes(chance.randrange(100))
    choices: tuple[tuple[bytes, int], ...] = (
        (encode_frame(Opcode.BINARY, some, mask=mask, rsv=chance.randrange(1, 8)), 1002),
        (encode_frame(Opcode.BINARY, some, mask=None), 1002),
        (encode_frame(chance.choice((3, 4, 5, 6, 7, 11, 12, 13, 14, 15)), some, mask=mask), 1002),
        (encode_frame(Opcode.CONTINUATION, some, mask=mask), 1002),
        (encode_frame(Opcode.PING, bytes(126), mask=mask), 1002),
        (encode_frame(Opcode.PING, b"", fin=False, mask=mask), 1002),
        (encode_frame(Opcode.CLOSE, b"\x03", mask=mask), 1002),
        (encode_frame(Opcode.CLOSE, struct.pack("!H", chance.choice((0, 999, 1005, 1006))), mask=mask), 1002),
        (encode_frame(Opcode.BINARY, some, fin=False, mask=mask) * 2, 1002),
        (encode_frame(Opcode.TEXT, b"\xff" + some, mask=mask), 1007),
        (b"\x82\xff" + struct.pack("!Q", chance.choice((TOO_LONG, 1 << 40, (1 << 64) - 1))) + mask, 1009),
        (b"\x01\xff" + struct.pack("!Q", TOO_LONG) + mask, 1009),
    )
    return chance.choice(choices)


# What is never finished.


def half_frame(chance: Chance) -> bytes:
    """A frame whose end never comes, or a message that never gets its last fragment."""
    whole = encode_frame(Opcode.BINARY, chance.randbytes(chance.choice((1, 200, 70_000))), mask=_mask(chance))
    if chance.random() < 0.5:
        return whole[: chance.randrange(1, len(whole))]
    fragment = encode_frame(Opcode.BINARY, chance.randbytes(5_000), fin=False, mask=_mask(chance))
    more = encode_frame(Opcode.CONTINUATION, chance.randbytes(100), fin=False, mask=_mask(chance))
    return fragment + more * chance.randrange(20)


def half_request(chance: Chance) -> bytes:
    """An upgrade request whose end never comes."""
    whole = (
        "GET /iot.io HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nIoT-IO-Id: half\r\n\r\n"
    ).encode()
    return whole[: chance.randrange(1, len(whole) - 1)]


def garbage(chance: Chance) -> bytes:
    """Anything at all in the place of HTTP; its lines end, or a server would wait for more."""
    return chance.choice(
        (
            chance.randbytes(chance.randrange(1, 300)).replace(b"\n", b"") + b"\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # TLS
            b"GET\r\n\r\n",
            b"GET /iot.io HTTP/9.9\r\n\r\n",
            b"\r\n\r\n",
        )
    )


def bad_headers(chance: Chance) -> list[tuple[str, str]]:
    """The headers of a device that must be refused."""
    good = {
        "IoT-IO-Id": "refused",
        "IoT-IO-Type": "plain",
        "IoT-IO-Data": "{}",
        "IoT-IO-Endpoints": "[]",
        "IoT-IO-ProtocolVersion": "1",
    }
    name, value = chance.choice(
        (
            ("IoT-IO-Id", None),
            ("IoT-IO-Type", None),
            ("IoT-IO-Type", "nobody knows it"),
            ("IoT-IO-ProtocolVersion", "2"),
            ("IoT-IO-Data", "{"),
            ("IoT-IO-Data", "[" * 5000),
            ("IoT-IO-Endpoints", "nope"),
            ("IoT-IO-Endpoints", '{"a": 1}'),
            ("IoT-IO-Endpoints", "[1]"),
            ("IoT-IO-Endpoints", '[{"id": [[[]]]}]'),
            ("IoT-IO-Endpoints", "[" * 5000),
        )
    )
    if value is None:
        del good[name]
    else:
        good[name] = value
    return list(good.items())
