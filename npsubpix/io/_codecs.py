"""Sizes of pictures that stand in the codes of tiles: decoders allocate these, whatever the page declares."""

from __future__ import annotations

import struct
from typing import BinaryIO

__all__ = ["CODED", "coded_pixels"]

_JPEG, _JPEG_2000, _PNG, _WEBP = (7,), (33003, 33004, 33005, 34712), (34933,), (50001,)
CODED = {*_JPEG, *_JPEG_2000, *_PNG, *_WEBP}
_HEAD = 4096
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers of JPEG before the size


def coded_pixels(file: BinaryIO, place: int, compression: int) -> int | None:
    """Return the number of pixels of a tile by its own code, or None if that does not say."""
    try:
        if compression in _JPEG:
            return _jpeg(file, place)
        file.seek(place)
        head = file.read(_HEAD)
        if compression in _JPEG_2000:
            start = head.index(b"\xff\x4f\xff\x51") + 8
            right, bottom, left, top = struct.unpack_from(">4I", head, start)
            return int((right - left) * (bottom - top))
        if compression in _PNG:
            width, height = struct.unpack_from(">2I", head, 16)
            return int(width * height)
        return _webp(head) if compression in _WEBP else None
    except (struct.error, ValueError):
        return None


def _jpeg(file: BinaryIO, place: int) -> int | None:
    """Walk along the segments of a JPEG stream to the size of its frame."""
    place += 2
    for _ in range(64):
        file.seek(place)
        mark, code, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or code == 0xDA:
            return None
        if code in _FRAMES:
            height, width = struct.unpack(">x2H", file.read(5))
            return int(width * height)
        place += 2 + length
    return None


def _webp(head: bytes) -> int | None:
    if head[12:16] == b"VP8X":
        width, height = (int.from_bytes(head[k : k + 3], "little") + 1 for k in (24, 27))
    elif head[12:16] == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (size & 0x3FFF for size in struct.unpack_from("<2H", head, 26))
    return width * height
