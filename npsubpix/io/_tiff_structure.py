"""Structure of a TIFF file: its pages, and whether they can be what their headers declare.

tifffile takes the end of a broken chain of pages for the end of the movie, and allocates what a header asks
for. So the chain is walked before, without reading a pixel, and each page is held against the size of the file.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._codecs import CODED, coded_pixels
from npsubpix.io._source import ImageError, check_ratio, sizes

__all__ = ["Structure", "tiff_structure"]

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_LETTERS = {1: "B", 3: "H", 4: "I"}
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}

_WIDTH, _LENGTH, _DEPTH, _BITS, _COMPRESSION, _SAMPLES = 256, 257, 32997, 258, 259, 277
_DESCRIPTION, _ROWS, _PLANAR, _SUBIFDS, _SUBSAMPLING = 270, 278, 284, 330, 530
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_TILE_WIDTH, _TILE_LENGTH, _TILE_DEPTH = 322, 323, 32998
_OF_PARTS = (
    _WIDTH, _LENGTH, _DEPTH, _SAMPLES, _BITS, _PLANAR, _ROWS, _TILE_WIDTH, _TILE_LENGTH, _TILE_DEPTH, _COMPRESSION,
    _SUBSAMPLING,
)  # fmt: skip
_OWN_RULES = {34412, 33628, 33629, 65420, 513}  # LSM, MetaMorph, NDPI, old JPEG: what strips are is said elsewhere

# Bytes that a byte can become: deflate repeats 258 bytes in two bits, LZW 4096 in twelve, PackBits 128 in two bytes
_RATIOS = {5: 4096, 8: 1032, 32946: 1032, 32773: 64, 7: 4096}
_OTHER_RATIO = 100_000
_SLACK = 2**16  # what is lost to a small file is not worth a false alarm


_Entry = tuple[int, int, bytes]  # type and number of values, and these or their place
_Tags = dict[int, _Entry]


@dataclass(frozen=True)
class Structure:
    """What a walk along the pages found."""

    pages: int  # those of the chain, without pages inside pages
    depth: int  # planes of the first page
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Parts:
    """Tiles or strips of a page."""

    number: int
    pixels: int  # per tile or strip
    nbytes: int  # per tile or strip, once decoded
    whole: int  # bytes of the page
    tiled: bool
    compression: int


def tiff_structure(path: Path) -> Structure:
    """Walk along the pages of a file, and raise an error where one cannot be what its header declares."""
    with path.open("rb") as file:
        return _Walk(path, file).structure()


class _Walk:
    """A walk along the pages of one file."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(16)
        self.order = "<" if head[:2] == b"II" else ">"
        self.big = head[2:4] in (b"+\0", b"\0+")
        if len(head) < (16 if self.big else 8):
            self.fail(f"is a truncated TIFF file, {self.size} bytes long")
        self.first = struct.unpack_from(f"{self.order}{'Q' if self.big else 'I'}", head, 8 if self.big else 4)[0]
        self.absent = 0
        self.known: dict[tuple[_Entry | None, ...], _Parts] = {}  # most pages of a movie declare the same
        number, entry, word = ("Q", "HHQ8s", "Q") if self.big else ("H", "HHI4s", "I")
        self.count, self.entry, self.next = (
            struct.Struct(f"{self.order}{letters}") for letters in (number, entry, word)
        )

    def fail(self, text: str) -> NoReturn:
        raise ImageError(f"{self.path}: {text}")

    def structure(self) -> Structure:
        offset, places, depth = self.first, dict[int, int](), 1
        inner: list[int] = []
        while offset:
            number = len(places)
            if offset in places:
                self.fail(
                    f"is damaged: its pages run in a circle, page {number - 1} is followed by page {places[offset]}"
                )
            places[offset] = number
            tags, offset = self.page(offset, f"page {number}")
            inner += self.values(tags, _SUBIFDS, f"page {number}").tolist()
            if number == 0:
                depth = self.number(tags, _DEPTH, "page 0", 1)
        for offset in dict.fromkeys(inner):
            if offset not in places:
                self.page(offset, "a page inside a page")
        absent = f"{self.absent} tiles or strips are absent and read as 0" if self.absent else ""
        return Structure(len(places), depth, (absent,) if absent else ())

    def page(self, offset: int, name: str) -> tuple[_Tags, int]:
        """Return the tags of a page and the place of the next one."""
        self.file.seek(min(offset, self.size))
        start = self.file.read(self.count.size)
        count = self.count.unpack(start)[0] if len(start) == self.count.size else 0
        if not 0 < count <= 4096:
            self.fail(f"is damaged or truncated: there is no {name} at byte {offset} of {self.size}")
        length = count * self.entry.size
        data = self.file.read(length + self.next.size)
        if len(data) < length + self.next.size:
            self.fail(f"is damaged or truncated: {name} ends behind byte {self.size}, the last one")
        entries = self.entry.iter_unpack(data[:length])
        tags = {tag: (kind, items, value) for tag, kind, items, value in reversed(list(entries))}
        self.check(tags, name)
        return tags, self.next.unpack_from(data, length)[0]

    def values(self, tags: _Tags, tag: int, name: str) -> HostArray:
        """Return the numbers of a tag, none if it is not there."""
        if tag not in tags:
            return np.zeros(0, np.int64)
        kind, count, value = tags[tag]
        if kind not in _INTEGERS:
            self.fail(f"is damaged: tag {tag} of {name} has type {kind}")
        nbytes = count * _SIZES[kind]
        if nbytes > len(value):
            place = self.place(tags[tag])[0]
            if place + nbytes > self.size:
                self.fail(f"is damaged or truncated: tag {tag} of {name} ends at byte {place + nbytes} of {self.size}")
            self.file.seek(place)
            value = self.file.read(nbytes)
        numbers = np.frombuffer(value[:nbytes], self.order + _INTEGERS[kind]).astype(np.int64)
        if len(numbers) and numbers.min() < 0:  # beyond 63 bits
            self.fail(f"is damaged: tag {tag} of {name} has numbers beyond the file")
        return numbers

    def place(self, entry: _Entry) -> tuple[int, int]:
        """Return the place and the number of bytes of the values of a tag, (0, 0) if they are in its entry."""
        kind, count, value = entry
        nbytes = count * _SIZES.get(kind, 1)
        return (self.next.unpack(value)[0], nbytes) if nbytes > len(value) else (0, 0)

    def number(self, tags: _Tags, tag: int, name: str, otherwise: int) -> int:
        if tag not in tags:
            return otherwise
        kind, count, value = tags[tag]
        if kind in _LETTERS and count == 1:  # without an array, for files of many pages
            return int(struct.unpack_from(self.order + _LETTERS[kind], value)[0])
        values = self.values(tags, tag, name)
        return int(values[0]) if len(values) else otherwise

    def check(self, tags: _Tags, name: str) -> None:
        """Hold what a page declares against its bytes."""
        if _DESCRIPTION in tags and sum(self.place(tags[_DESCRIPTION])) > self.size:  # which names axes and planes
            self.fail(f"is damaged or truncated: the description of {name} ends behind byte {self.size}, the last one")
        if _OWN_RULES & tags.keys():
            return
        declared = tuple([tags.get(tag) for tag in _OF_PARTS])
        parts = self.known.get(declared)
        if parts is None:
            parts = self.known[declared] = self.parts(tags, name)
        few = tags.get(_STRIPS, (0, 0))[1] == 1 and tags.get(_STRIP_BYTES, (0, 0))[1] <= 1
        if few and parts.compression == 1 and not parts.tiled:
            self.one_strip(tags, parts.whole, name)
            return
        offsets = self.values(tags, _TILES if parts.tiled else _STRIPS, name)
        counts = self.values(tags, _TILE_BYTES if parts.tiled else _STRIP_BYTES, name)
        needed = parts.number
        if len(offsets) < needed or len(counts) < needed:
            found = min(len(offsets), len(counts))
            self.fail(f"is damaged: {name} declares {needed} tiles or strips, and has {found}")
        offsets, counts = offsets[:needed], counts[:needed]
        there = (offsets > 0) & (counts > 0)
        if there.all():
            self.inside(parts, offsets, counts, name)
        else:
            self.absent += int((~there).sum())
            self.inside(parts, offsets[there], counts[there], name)

    def one_strip(self, tags: _Tags, nbytes: int, name: str) -> None:
        """Require the bytes of a page from one place on, as tifffile reads it, whatever the tags say of strips."""
        place = self.number(tags, _STRIPS, name, 0)
        self.number(tags, _STRIP_BYTES, name, 0)  # is to be a number
        if place == 0:
            self.absent += 1
        elif place + nbytes > self.size:
            self.fail_behind(name)

    def fail_behind(self, name: str) -> NoReturn:
        self.fail(f"is damaged or truncated: {name} has pixels behind byte {self.size}, the last one")

    def parts(self, tags: _Tags, name: str) -> _Parts:
        """Return the tiles or strips that a page declares."""
        if not {_WIDTH, _LENGTH} <= tags.keys():
            self.fail(f"is damaged: {name} has no width or length")
        width, length = self.number(tags, _WIDTH, name, 0), self.number(tags, _LENGTH, name, 0)
        depth, samples = self.number(tags, _DEPTH, name, 1), self.number(tags, _SAMPLES, name, 1)
        bits = self.values(tags, _BITS, name)
        bits_of_sample = int(bits.max()) if len(bits) else 1
        planes = samples if self.number(tags, _PLANAR, name, 1) == 2 else 1
        across, down, along = width, min(self.number(tags, _ROWS, name, length), length), 1
        if _TILE_WIDTH in tags:
            across, down = (self.number(tags, tag, name, 0) for tag in (_TILE_WIDTH, _TILE_LENGTH))
            along = self.number(tags, _TILE_DEPTH, name, 1)
        if min(width, length, depth, samples, bits_of_sample, across, down, along) < 1:
            self.fail(f"is damaged: {name} has no pixels, or tiles or strips without pixels")
        bits_of_pixel = bits_of_sample * (samples // planes)
        compression = self.number(tags, _COMPRESSION, name, 1)
        return _Parts(
            number=math.ceil(width / across) * math.ceil(length / down) * math.ceil(depth / along) * planes,
            pixels=across * down * along,
            nbytes=math.ceil(across * bits_of_pixel / 8) * down * along,
            whole=math.ceil(width * bits_of_pixel / 8) * length * depth * planes,
            tiled=_TILE_WIDTH in tags,
            # that of colours of lower resolution is left to the reader
            compression=0 if _SUBSAMPLING in tags and compression == 1 else compression,
        )

    def inside(self, parts: _Parts, offsets: HostArray, counts: HostArray, name: str) -> None:
        """Refuse tiles or strips that do not lie in the file, or are too few bytes for their pixels."""
        if not len(offsets):
            return
        if (np.minimum(offsets, self.size) + np.minimum(counts, self.size)).max() > self.size:
            self.fail_behind(name)
        if parts.compression == 1:
            strips = 1 < len(counts) == parts.number and counts.sum() < parts.whole  # the last one may be shorter
            if counts.min() < parts.nbytes if parts.tiled else strips:
                self.fail(f"is damaged: {name} has {sizes(counts.sum())} of pixels, needed are {sizes(parts.whole)}")
            return
        ratio = _RATIOS.get(parts.compression, _OTHER_RATIO)
        check_ratio(self.path, f"{name}, by its tiles or strips,", parts.nbytes, int(counts.max()), ratio, _SLACK)
        for place in offsets.tolist() if parts.compression in CODED else ():
            pixels = coded_pixels(self.file, place, parts.compression)
            if pixels is not None and pixels > 2 * parts.pixels + _SLACK:
                self.fail(f"is damaged: {name} has tiles or strips of {parts.pixels} pixels, one of {pixels}")
