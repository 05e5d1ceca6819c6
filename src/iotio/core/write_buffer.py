"""The frames that wait to be written to one device."""

from __future__ import annotations

__all__ = ["WriteBuffer"]

_CONTROL = 0x08  # bit of the opcode of PING, PONG and CLOSE frames (RFC 6455, 5.2)


class WriteBuffer:
    """Frames in order. Not thread-safe; the connection's lock guards it.

    Attributes:
        frames: the frames; the hot path of the native host pushes and takes by itself.
        begun: whether a part of the first frame has been sent, so that the rest must follow.
        size: of all frames, in bytes; less what was sent of the first.
    """

    __slots__ = ("begun", "frames", "size")

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.begun = False
        self.size = 0

    def __len__(self) -> int:
        return len(self.frames)

    def fits(self, size: int, max_size: int, max_frames: int) -> bool:
        """Ask whether one more frame may wait.

        Args:
            size: of all that waits, that frame included, in bytes.
            max_size: so many bytes may wait.
            max_frames: so many frames may wait.
        """
        return size <= max_size and len(self.frames) < max_frames

    def push(self, frame: bytes) -> None:
        """Add a frame, or several that belong together."""
        self.frames.append(frame)
        self.size += len(frame)

    def take_all(self) -> bytes:
        """Return all frames, joined, and empty the buffer."""
        frames = self.frames
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        self.clear()
        return data

    def clear(self) -> None:
        """Empty the buffer."""
        self.frames.clear()
        self.begun = False
        self.size = 0

    def peek(self, most: int) -> bytes:
        """Return what to write next: about `most` bytes, at least one frame. Report with `sent` what went out."""
        count = size = 0
        for frame in self.frames:
            if size >= most:
                break
            count += 1
            size += len(frame)
        return b"".join(self.frames[:count])

    def sent(self, size: int) -> None:
        """Remove bytes from the front, which went out."""
        self.size -= size
        frames = self.frames
        count = 0
        while count < len(frames) and size >= len(frames[count]):
            size -= len(frames[count])
            count += 1
        if count:
            del frames[:count]
            self.begun = False
        if size:
            frames[0] = frames[0][size:]
            self.begun = True

    def drop_oldest(self, size: int, count: int) -> int:
        """Make room by dropping frames that carry events, the oldest first.

        Args:
            size: bytes that must leave at least.
            count: frames that must leave at least.

        Returns:
            How many were dropped; fewer than asked for if there are no more.
        """
        frames = self.frames
        dropped = 0
        at = int(self.begun)
        while at < len(frames) and (size > 0 or count > 0):
            end = at
            while end < len(frames) and (size > 0 or count > 0) and not frames[end][0] & _CONTROL:
                size -= len(frames[end])
                self.size -= len(frames[end])
                count -= 1
                end += 1
            dropped += end - at
            del frames[at:end]  # in place: one by one is what it is called for, with 100 000 frames in here
            at += 1
        return dropped
