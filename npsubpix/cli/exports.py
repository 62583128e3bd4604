"""Fits of ``npsubpix locate --fit`` in the files of other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npsubpix._arrays.library import to_numpy
from npsubpix.cli.files import display_name

if TYPE_CHECKING:
    from npsubpix.results import Fits

__all__ = ["FORMATS", "check_export", "check_tables", "export"]

FORMATS = ("npsubpix", "picasso", "thunderstorm")


def check_export(table_format: str, fit: dict[str, Any] | None, pixel_size: Any, unused: Sequence[str]) -> None:
    """Refuse a format that could not be written; `unused` are options that only tables of npsubpix have."""
    if table_format == "npsubpix":
        if pixel_size is not None:
            raise ValueError("--pixel-size needs --format picasso or thunderstorm")
        return
    if fit is None:
        raise ValueError(f"--format {table_format} needs --fit")
    if unused:
        raise ValueError(f"{unused[0]} and --format {table_format} exclude each other")
    if table_format == "picasso" and fit["camera"] is None:
        raise ValueError("--format picasso needs the camera, as its columns are in photons: --electrons-per-count N")
    if table_format == "thunderstorm" and pixel_size is None:
        raise ValueError("--format thunderstorm needs --pixel-size, as its columns are in nm")
    if pixel_size is not None:
        from npsubpix._arrays.options import check_lengths

        check_lengths(pixel_size, len(pixel_size) if isinstance(pixel_size, tuple) else 2, "--pixel-size")


def check_tables(paths: Sequence[Path], table_format: str) -> None:
    """Refuse paths that the format could not be written to."""
    from npsubpix._tables import check_table_path, picasso, thunderstorm

    checks = {"picasso": picasso.check_path, "thunderstorm": thunderstorm.check_path}
    for path in paths:
        checks.get(table_format, check_table_path)(path)


def export(path: Path, table_format: str, frames: list[Fits], pixel_size: Any, metadata: dict[str, Any]) -> list[str]:
    """Write the fits of all frames, which are counted over all images; return lines that say what was done."""
    from npsubpix.results import Fits

    fits = Fits.concatenate(frames, frame=range(len(frames)))
    if fits.image_shape is None:
        raise ValueError(f"{path}: not written, the images differ in shape")
    kept = fits[fits.ok]
    left_out = len(fits) - int(to_numpy(fits.ok).sum())
    about = {"images": metadata["images"], "options": metadata["options"], "rows_not_ok_left_out": left_out}
    if table_format == "picasso":
        shape = (len(frames), *fits.image_shape[-2:])
        kept.to_picasso(path, shape=shape, pixel_size=pixel_size, metadata=about)
    else:
        kept.to_thunderstorm(path, pixel_size=pixel_size, metadata=about)
    lines = [f"{left_out} of {len(fits)} fits are not ok and left out of {display_name(path)}"] if left_out else []
    return [*lines, f"Wrote {display_name(path)}"]
