"""Cuts a stream of bytes into frames. Buffering only: what is in a frame does not belong here."""

from spoe_agent.spop.errors import RemoteProtocolError, Status

_LENGTH_BYTES = 4  # <FRAME-LENGTH:4 bytes> <FRAME>, in network byte order (SPOE.txt 3.2)


class FrameBuffer:
    """Holds the bytes of frames that are not complete yet.

    Once `next_frame` has returned None, fewer than 4 + `limit` bytes are held, whatever the peer sends.
    """

    def __init__(self, limit: int) -> None:
        """`limit`: the most bytes that a frame may have, its 4 length bytes not counted."""
        self.limit = limit
        self._data = bytearray()

    def __len__(self) -> int:
        return len(self._data)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def append(self, data: bytes) -> None:
        """Add what was received."""
        self._data += data

    def clear(self) -> None:
        """Forget everything received."""
        self._data = bytearray()

    def next_frame(self) -> bytes | None:
        """Take the next complete frame, without its length; None if there is none yet.

        RemoteProtocolError: the frame is longer than `limit`. Four bytes are enough to tell.
        """
        data = self._data
        if len(data) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(data[:_LENGTH_BYTES])
        if length > self.limit:
            raise RemoteProtocolError(Status.FRAME_TOO_BIG, f"{length} bytes, of {self.limit} allowed")
        end = _LENGTH_BYTES + length
        if len(data) < end:
            return None
        with memoryview(data) as view:
            frame = bytes(view[_LENGTH_BYTES:end])
        del data[:end]
        return frame
