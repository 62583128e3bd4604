"""Small files of each kind with one changed word: a child process reads them within a limit of time and memory.

Run as ``python -m tests.mutations STEP [KIND...]``; it prints one line per file that took too long, too much memory, or
raised anything but an `ImageError`.
"""

from __future__ import annotations

import contextlib
import io
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

KINDS = (
    "plain.tif",
    "tiled.tif",
    "strips.tif",
    "imagej.tif",
    "ome.tif",
    "big.tif",
    "jpeg.tif",
    "loop.tif",
    "fits",
    "fits.gz",
    "fits.bz2",
    "tiles.fits",
    "npy",
    "png",
    "jpg",
    "bmp",
    "gif",
    "webp",
    "npz",
    "packed.npz",
    "h5",
    "mrc",
    "lif",
    "zarr.zip",
)
SECONDS = 10  # of the processor, as others may compute too
MEMORY = 2**29
VALUES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\x7f", b"\1\0\0\0", b"\0\0\0\x01", b"\x00\x40\x00\x40")


def small_file(kind: str, folder: Path) -> Path:
    """Write a small file of a kind."""
    rng = np.random.default_rng(7)
    frames = rng.integers(0, 200, (3, 20, 24)).astype(np.uint16)
    path = folder / f"a.{kind}"
    ending = kind.rpartition(".")[2]
    if ending == "tif":
        import tifffile

        options = {
            "plain.tif": {},
            "tiled.tif": {"tile": (16, 16), "compression": "zlib"},
            "strips.tif": {"rowsperstrip": 6, "compression": "lzw", "metadata": None},
            "imagej.tif": {"imagej": True},
            "ome.tif": {"ome": True, "metadata": {"axes": "TYX"}},
            "big.tif": {"bigtiff": True, "byteorder": ">"},
            "jpeg.tif": {"compression": "jpeg"},
        }
        if kind == "loop.tif":
            with tifffile.TiffWriter(path) as file:
                for frame in frames:
                    file.write(frame)
        else:
            tifffile.imwrite(path, frames.astype(np.uint8) if kind == "jpeg.tif" else frames, **options[kind])
    elif "fits" in kind:
        import astropy.io.fits as fits

        if kind == "tiles.fits":
            fits.CompImageHDU(frames.astype(np.int32)).writeto(path)
        else:
            fits.writeto(path, frames.astype(np.int16))
    elif kind == "npy":
        np.save(path, frames)
    elif kind == "npz":
        np.savez(path, frames)
    elif kind == "packed.npz":
        np.savez_compressed(path, frames)
    elif kind == "h5":
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset("movie", data=frames, chunks=(1, 10, 24), compression="gzip")
    elif kind in ("mrc", "lif", "czi"):
        from tests.test_io_microscopes import write_czi, write_lif, write_mrc

        {"mrc": write_mrc, "lif": write_lif, "czi": write_czi}[kind](path, frames if kind == "mrc" else frames[:, None])
    elif kind == "zarr.zip":
        import zarr

        with zarr.storage.ZipStore(path, mode="w") as store:
            zarr.create_array(store, shape=frames.shape, chunks=(1, 20, 24), dtype=frames.dtype)[:] = frames
    else:
        import PIL.Image

        images = [PIL.Image.fromarray(frame.astype(np.uint8)) for frame in frames]
        movie = {"save_all": True, "append_images": images[1:]} if kind in ("gif", "webp") else {}
        images[0].save(path, **movie)
    return path


def mutated(data: bytes, step: int):
    """Yield copies of a file in which one word has another value."""
    for number, place in enumerate(range(0, len(data) - 3, 2)):
        for which, value in enumerate(VALUES):
            if (number * len(VALUES) + which) % step == 0 and data[place : place + 4] != value:
                yield place, value, data[:place] + value + data[place + 4 :]


class TooLongError(BaseException):
    """Not an Exception, which libraries would catch."""


def _too_long(*_: object) -> None:
    raise TooLongError


def read(path: Path) -> str:
    """Read a file, and return what is wrong with how that went."""
    from npsubpix.io import ImageError, open_image

    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with open_image(path) as image:
            for number in range(image.shape[0]):
                image.read(number)
    except ImageError as error:
        return "took too much memory" if isinstance(error.__cause__, MemoryError) else ""
    except TooLongError:
        return "took too long"
    except Exception as error:
        return f"raised {error!r}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return ""


def main(kinds: tuple[str, ...], step: int) -> None:
    """Read all mutations, or each so-many-th, of a small file of each kind."""
    signal.signal(signal.SIGPROF, _too_long)
    warnings.simplefilter("ignore")
    count = sum(_sweep(kind, step) for kind in kinds)
    print(f"{count} files")  # noqa: T201


def _sweep(kind: str, step: int) -> int:
    import resource  # which Windows does not have

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        path = small_file(kind, Path(folder))
        data = path.read_bytes()
        if wrong := read(path):
            print(f"{kind}: whole, it {wrong}", flush=True)  # noqa: T201
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
        count = 0
        for place, value, changed in mutated(data, step):
            path.write_bytes(changed)
            count += 1
            if wrong := read(path):
                print(f"{kind}: {value.hex()} at byte {place} {wrong}", flush=True)  # noqa: T201
        return count


if __name__ == "__main__":
    main(tuple(sys.argv[2:]) or KINDS, int(sys.argv[1]))
