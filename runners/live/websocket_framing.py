"""Puts text into websocket frames (RFC 6455, 5.2): unmasked and unfragmented."""

from __future__ import annotations

import struct


def text_frame(payload: bytes) -> bytes:
    """Encode UTF-8 text as a text frame."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 65536:
        return b"\x81\x7e" + struct.pack("!H", size) + payload
    return b"\x81\x7f" + struct.pack("!Q", size) + payload


def frame_text(frame: bytes) -> str:
    """Return the text of a frame made by `text_frame`."""
    header = {126: 4, 127: 10}.get(frame[1], 2)
    return frame[header:].decode()
