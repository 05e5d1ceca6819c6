"""Messages as frames, and frames as messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iotio.hosts.asgi.messages import client_frame, server_frames
from iotio_protocol.frames import BINARY, CLOSE, TEXT, FrameDecoder, encode_close, encode_frame

SIZES = [0, 1, 125, 126, 65535, 65536, 100_000]


@pytest.mark.parametrize("size", SIZES)
def test_the_session_reads_what_a_device_would_have_sent(size: int) -> None:
    for message in (b"x" * size, "é" * size):
        assert FrameDecoder(1 << 20).feed(client_frame(message)) == [message]


@given(st.lists(st.one_of(st.binary(), st.text(st.characters(exclude_categories=["Cs"])))))
def test_all_messages_arrive(messages: list[bytes | str]) -> None:
    assert FrameDecoder(1 << 20).feed(b"".join(map(client_frame, messages))) == messages


@pytest.mark.parametrize("size", SIZES)
def test_frames_are_found_again(size: int) -> None:
    frames = [(BINARY, b"x" * size), (TEXT, b"y"), (BINARY, b"")]
    data = b"".join(encode_frame(opcode, payload) for opcode, payload in frames) + encode_close(1008, "no")
    assert list(server_frames(data)) == [*frames, (CLOSE, b"\x03\xf0no")]


def test_a_bytearray_is_taken() -> None:
    assert FrameDecoder(10).feed(client_frame(bytearray(b"ab"))) == [b"ab"]  # type: ignore[arg-type]  # a server may
