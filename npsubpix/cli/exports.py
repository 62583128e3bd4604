"""Fits of ``npsubpix locate --fit`` in the files of other programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from npsubpix.cli.files import display_name
from npsubpix.cli.terminal import say

if TYPE_CHECKING:
    from npsubpix._tables import Pieces
    from npsubpix.cli.locate import Image, Outputs
    from npsubpix.results import Fits

__all__ = ["FORMATS", "check_export", "check_tables", "export", "fits_of"]

FORMATS = ("npsubpix", "picasso", "thunderstorm")


def check_export(
    table_format: str, fit: dict[str, Any] | None, pixel_size: Any, unused: Sequence[str], unit: str | None
) -> None:
    """Refuse a format that could not be written; `unused` are options that only tables of npsubpix have."""
    if pixel_size is not None:
        from npsubpix._arrays.options import check_lengths

        check_lengths(pixel_size, len(pixel_size) if isinstance(pixel_size, tuple) else 2, "--pixel-size")
    if table_format == "npsubpix":
        if pixel_size is not None and unit is None:
            raise ValueError("--pixel-size needs --format picasso or thunderstorm, or --units")
        return
    if fit is None:
        raise ValueError(f"--format {table_format} needs --fit")
    if unused:
        raise ValueError(f"{unused[0]} and --format {table_format} exclude each other")
    if table_format == "picasso" and fit["camera"] is None:
        raise ValueError("--format picasso needs the camera, as its columns are in photons: --electrons-per-count N")
    if table_format == "thunderstorm" and pixel_size is None:
        raise ValueError("--format thunderstorm needs --pixel-size, as its columns are in nm")


def check_tables(paths: Sequence[Path], table_format: str) -> None:
    """Refuse paths that the format could not be written to."""
    from npsubpix._tables import check_table_path, picasso, thunderstorm
    from npsubpix.movies.outputs import check_dataset, is_dataset

    if table_format == "npsubpix" and any(is_dataset(path) for path in paths):
        if len(paths) > 1:
            raise ValueError("a dataset, a name without an ending, is written alone: give --output once")
        check_dataset(paths[0])
        return
    checks = {"picasso": picasso.check_path, "thunderstorm": thunderstorm.check_path}
    for path in paths:
        checks.get(table_format, check_table_path)(path)


def export(
    path: Path,
    outputs: Outputs,
    fit: dict[str, Any] | None,
    images: Sequence[Image],
    rows: Pieces,
    metadata: Mapping[str, Any],
) -> None:
    """Write the fits of all frames, which are counted over all images, part by part; say what is left out."""
    from npsubpix._tables import picasso, thunderstorm
    from npsubpix._tables.localizations import Localizations, localizations

    shapes = {image.frame_shape for image in images}
    if len(shapes) > 1:
        from npsubpix._tables import OutputError

        raise OutputError(f"{path}: not written, the images differ in shape")
    (shape,) = shapes
    unit = None if fit is None or fit["camera"] is None else "electron"

    def parts() -> Iterator[Localizations]:
        for piece in rows:
            fits = fits_of(piece, shape, unit)
            yield localizations(fits[fits.ok], outputs.pixel_size, 1.0)

    left_out = rows.length - sum(int(np.count_nonzero(piece["ok"])) for piece in rows)
    about = {"images": metadata["images"], "options": metadata["options"]}
    common: dict[str, Any] = {"pixel_size": outputs.pixel_size, "left_out": left_out, "metadata": about}
    if outputs.table_format == "picasso":
        movie = (sum(image.count for image in images), *shape[-2:])
        picasso.write(path, parts, shape=movie, origin="center", **common)
    else:
        thunderstorm.write(path, parts, origin="corner", first_frame=1, **common)
    if left_out and not outputs.quiet:
        say(f"{left_out} of {rows.length} fits are not ok and left out of {display_name(path)}")


def fits_of(columns: Mapping[str, Any], shape: tuple[int, ...], flux_unit: str | None) -> Fits:
    """Return fits from the columns of their table."""
    from npsubpix.results import Fits

    axes = "zyx"[-len(shape) :]

    def together(*names: str) -> Any:
        return np.column_stack([columns[name] for name in names])

    widths = [n for n in columns if n.startswith("sigma") and not n.endswith("_std")]
    sigma = [columns[widths[0]], columns[f"{widths[0]}_std"]]
    if widths != ["sigma"]:
        sigma = [together(*widths), together(*(f"{name}_std" for name in widths))]
    names = ["flux", "background", "angle", "beta", *(["z"] if len(shape) == 2 else [])]
    pairs = {n: columns[n] for name in names if name in columns for n in (name, f"{name}_std")}
    singles = {name: columns[name] for name in ("chi2", "log_likelihood", "n_iters", "flags", "frame")}
    return Fits(
        coords=together(*axes),
        coords_std=together(*(f"{axis}_std" for axis in axes)),
        sigma=sigma[0],
        sigma_std=sigma[1],
        indices=together(*(f"{axis}_index" for axis in axes)),
        image_shape=shape,
        flux_unit=flux_unit,
        **pairs,
        **singles,
    )
