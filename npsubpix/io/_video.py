"""Read movies: MP4, AVI, MOV, MKV, WebM and what else FFmpeg reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npsubpix._arrays.library import HostArray
from npsubpix.io._planes import planes
from npsubpix.io._source import ImageError, Options, Source, check_size
from npsubpix.io._units import size_of

__all__ = ["is_video", "video_file"]


def is_video(head: bytes) -> bool:
    """Whether a file begins as a container of movies does."""
    return (
        head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide")
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head.startswith((b"\x1a\x45\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x30\x26\xb2\x75"))
    )


@contextlib.contextmanager
def video_file(path: Path, options: Options) -> Iterator[Source]:
    """Open the first stream of images of a movie."""
    import av

    with av.open(str(path)) as file:
        if not file.streams.video:
            raise ImageError(f"{path}: has no images, but {len(file.streams)} other streams")
        stream = file.streams.video[0]
        width, height, kind = stream.codec_context.width, stream.codec_context.height, str(stream.codec_context.pix_fmt)
        step = size_of(1 / float(stream.average_rate), "s") if stream.average_rate else None
        left_out = len(file.streams.video) - 1
        count = sum(1 for packet in file.demux(stream) if packet.size)
    is_grey = kind.startswith("gray")
    layout = ("gray" if kind == "gray" else "gray16le") if is_grey else "rgb24"
    dtype = np.dtype(np.uint16 if layout == "gray16le" else np.uint8)
    shape = (count, height, width, *(() if is_grey else (3,)))
    check_size(path, "a frame", shape[1:], dtype, options.max_memory)
    reader = _Reader(path, layout, count)
    try:
        yield Source(
            shape,
            ("t", "y", "x", *(() if is_grey else ("s",))),
            dtype,
            planes(shape, 1, dtype, reader.read),
            not is_grey,
            (f"{left_out} more streams of images left out",) if left_out else (),
            chunks=(1, *shape[1:]),
            time_step=step,
        )
    finally:
        reader.close()


class _Reader:
    """Decodes frames one after another, and from the beginning to go back: a frame needs those before it."""

    def __init__(self, path: Path, layout: str, count: int) -> None:
        self.path, self.layout, self.count = path, layout, count
        self._file: Any = None
        self._frames: Iterator[Any] = iter(())
        self._next = 0

    def read(self, numbers: tuple[int, ...]) -> HostArray:
        import av

        number = numbers[0]
        if self._file is None or number < self._next:
            self.close()
            self._file = av.open(str(self.path))
            self._frames, self._next = self._file.decode(video=0), 0
        for frame in self._frames:
            self._next += 1
            if self._next > number:
                return np.asarray(frame.to_ndarray(format=self.layout))
        self.close()
        raise ImageError(f"{self.path}: is damaged or truncated: {self._next} frames can be decoded, of {self.count}")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
