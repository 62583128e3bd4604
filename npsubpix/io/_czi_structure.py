"""The segments of a CZI file, which are looked through before libCZI reads it: that stops the process at some damage.

See "ZEISS CZI file format", version 1.2: a segment has a name of 16 bytes and two sizes of 8, and numbers are
little-endian.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

from npsubpix.io._source import ImageError

__all__ = ["check_czi"]

_HEADER = 32  # bytes of a segment before its data
_ENTRY = struct.Struct("<2siqiib5xi")  # schema, pixel type, position, part, compression, pyramid, dimensions
_DIMENSION = struct.Struct("<4siifi")  # name, start, size, coordinate, stored size
_SUBBLOCK = struct.Struct("<iiq")  # sizes of metadata, attachment and data
_FIXED = 256  # least bytes of a subblock before its metadata
_MOST_DIMENSIONS = 64

#: Bytes per pixel of pixel types.
_BYTES = {0: 1, 1: 2, 2: 4, 3: 3, 4: 6, 8: 12, 9: 4, 10: 8, 11: 4, 12: 4, 13: 8}

#: Share of the indices along an axis, or of the area of a plane, below which tiles are not where they say.
_LEAST_SHARE = 1e-3


class _Tile(NamedTuple):
    """An entry of the directory: where a tile is in the file, and per dimension its start, size and stored size."""

    pixel_type: int
    position: int
    compression: int
    pyramid: int
    dimensions: dict[str, tuple[int, int, int]]
    length: int


def check_czi(path: Path) -> None:
    """Require that segments, tiles and their pixels are inside the file, and planes where there are tiles."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            _check(file, size)
        except (struct.error, ValueError, OverflowError) as error:
            raise ImageError(f"{path}: is damaged: {error}") from error


def _check(file: BinaryIO, size: int) -> None:
    _segment(file, 0, size, b"ZISRAWFILE")
    directory, metadata, _, attachments = struct.unpack("<qqiq", _bytes(file, _HEADER + 52, 28, size))
    if metadata:
        _segment(file, metadata, size, b"ZISRAWMETADATA")
        lengths = struct.unpack("<ii", _bytes(file, metadata + _HEADER, 8, size))
        _require(min(lengths) >= 0 and metadata + _HEADER + 256 + sum(lengths) <= size, "metadata", metadata)
    if attachments:
        _segment(file, attachments, size, b"ZISRAWATTDIR")
        (count,) = struct.unpack("<i", _bytes(file, attachments + _HEADER, 4, size))
        _require(count >= 0 and attachments + _HEADER + 256 + 128 * count <= size, "attachments", attachments)
    _segment(file, directory, size, b"ZISRAWDIRECTORY")
    (count,) = struct.unpack("<i", _bytes(file, directory + _HEADER, 4, size))
    _require(0 < count <= size // _ENTRY.size, "the directory", directory)
    place, tiles = directory + _HEADER + 128, []
    for _ in range(count):
        tile = _tile(file, place, size)
        _check_pixels(file, tile, size)
        tiles.append(tile)
        place += tile.length
    _check_planes([tile for tile in tiles if not tile.pyramid] or tiles)


def _require(holds: bool, what: str, place: int) -> None:
    if not holds:
        raise ValueError(f"{what} at byte {place} has no valid size")


def _bytes(file: BinaryIO, place: int, count: int, size: int) -> bytes:
    if not 0 <= place <= size - count:
        raise ValueError(f"it is cut, or byte {place} is named, of {size}")
    file.seek(place)
    return file.read(count)


def _segment(file: BinaryIO, place: int, size: int, name: bytes) -> None:
    """Require a segment of a name that is inside the file."""
    found, allocated, used = struct.unpack("<16sqq", _bytes(file, place, _HEADER, size))
    if found.rstrip(b"\0") != name:
        raise ValueError(f"there is no {name.decode()} at byte {place}")
    _require(min(used, allocated) >= 0 and place + _HEADER + used <= size, name.decode(), place)


def _tile(file: BinaryIO, place: int, size: int) -> _Tile:
    """Return an entry of the directory, or that of a subblock."""
    schema, pixel_type, position, _, compression, pyramid, count = _ENTRY.unpack(_bytes(file, place, _ENTRY.size, size))
    if schema != b"DV" or not 0 < count <= _MOST_DIMENSIONS or pixel_type not in _BYTES:
        raise ValueError(f"there is no tile at byte {place}")
    data = _bytes(file, place + _ENTRY.size, count * _DIMENSION.size, size)
    dimensions = {}
    for name, start, length, _, stored in _DIMENSION.iter_unpack(data):
        if length < (name[:1] in b"XY") or not 0 <= stored <= length or abs(start) + length >= 2**31:
            raise ValueError(f"the tile at byte {place} has no valid size")
        dimensions[name[:1].decode("latin-1")] = start, length, stored or length
    if not {"X", "Y"} <= dimensions.keys():
        raise ValueError(f"the tile at byte {place} has no rows or columns")
    return _Tile(pixel_type, position, compression, pyramid, dimensions, _ENTRY.size + len(data))


def _sizes(tile: _Tile) -> list[tuple[int, int]]:
    """Return the size and the stored size along rows and columns."""
    return [tile.dimensions[name][1:] for name in "YX"]


def _check_pixels(file: BinaryIO, tile: _Tile, size: int) -> None:
    """Require the pixels of a tile, which say the same of it as the directory."""
    _segment(file, tile.position, size, b"ZISRAWSUBBLOCK")
    begin = tile.position + _HEADER
    metadata, attachment, data = _SUBBLOCK.unpack(_bytes(file, begin, _SUBBLOCK.size, size))
    own = _tile(file, begin + _SUBBLOCK.size, size)
    fixed = max(_FIXED, _SUBBLOCK.size + own.length)
    inside = min(metadata, attachment, data) >= 0 and begin + fixed + metadata + data + attachment <= size
    _require(inside, "the tile", tile.position)
    if (own.pixel_type, own.compression, _sizes(own)) != (tile.pixel_type, tile.compression, _sizes(tile)):
        raise ValueError(f"the tile at byte {tile.position} is not that of the directory")
    if tile.compression == 0:
        needed = math.prod(stored for _, stored in _sizes(tile)) * _BYTES[tile.pixel_type]
        _require(data >= needed, "the tile", tile.position)


def _check_planes(tiles: list[_Tile]) -> None:
    """Require that tiles fill a share of the planes, and of each plane."""
    for name in "TZC":
        spans = {tile.dimensions[name][:2] for tile in tiles if name in tile.dimensions}
        total = max((a + n for a, n in spans), default=0) - min((a for a, _ in spans), default=0)
        if len(spans) < _LEAST_SHARE * total:
            raise ValueError(f"its {len(tiles)} tiles are far apart, at {total} indices along {name}")
    scenes: dict[int, list[_Tile]] = {}
    for tile in tiles:
        scenes.setdefault(tile.dimensions.get("S", (0, 1, 1))[0], []).append(tile)
    for scene in scenes.values():
        parts = {(*tile.dimensions["Y"][:2], *tile.dimensions["X"][:2]) for tile in scene}
        height = max(y + h for y, h, _, _ in parts) - min(y for y, _, _, _ in parts)
        width = max(x + w for _, _, x, w in parts) - min(x for _, _, x, _ in parts)
        if sum(h * w for _, h, _, w in parts) < _LEAST_SHARE * height * width:
            raise ValueError(f"its tiles are far apart, in a plane of shape ({height}, {width})")
