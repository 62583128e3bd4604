"""Write coadded exposures as a FITS file with the header, and the world coordinates, of the reference."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from npsubpix.io.source import open_image

__all__ = ["write_coadd"]

#: Keywords of how the pixels of the reference are stored, and of its other axes, which are not those of the sum.
_STORED = re.compile(
    r"(BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|DATAMIN|DATAMAX|EXTNAME|EXTVER|WCSAXES|IMCMB\d+|NCOMBINE"
    r"|(CTYPE|CRPIX|CRVAL|CDELT|CUNIT|CROTA|CNAME)[3-9]|(PC|CD)\d_[3-9]|(PC|CD)[3-9]_\d)"
)

#: Most names of exposures in a header.
_MOST_NAMES = 999


def write_coadd(
    path: Path, coadded: Any, method: str, reference: Path, hdu: int | str | None, names: Sequence[str]
) -> None:
    """Write the image, and the coverage, weight and number of rejected values as extensions."""
    from astropy.io import fits

    header = _header_of(reference, hdu)
    primary = fits.PrimaryHDU(coadded.image, header.copy())
    used = [name for name, ok in zip(names, coadded.used, strict=True) if ok]
    primary.header["NCOMBINE"] = len(used), "number of exposures"
    primary.header["COMBINE"] = method, "how exposures were combined"
    for number, name in enumerate(used[:_MOST_NAMES], 1):
        primary.header[f"IMCMB{number:03d}"] = name.encode("ascii", "replace").decode()[:60]
    primary.header.add_history(
        "npsubpix align --stack: pixels and header of " + reference.name.encode("ascii", "replace").decode()
    )
    units = {"COVERAGE": coadded.coverage, "WEIGHT": coadded.weight, "REJECTED": coadded.rejected}
    parts = [primary]
    for name, pixels in units.items():
        if name != "REJECTED" or method == "clip":
            extension = fits.ImageHDU(pixels, header.copy(), name=name)
            extension.header.pop("BUNIT", None)
            parts.append(extension)
    fits.HDUList(parts).writeto(path, overwrite=True, output_verify="silentfix+ignore")


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _header_of(reference: Path, hdu: int | str | None) -> Any:
    """Return the header of the reference without that of its pixels; an empty one if it is no FITS file."""
    from astropy.io import fits

    with open_image(reference, hdu=hdu) as source:
        known = source.header if isinstance(source.header, fits.Header) else None
    header = fits.Header() if known is None else known.copy(strip=True)
    for keyword in {card.keyword for card in header.cards}:
        if _STORED.fullmatch(keyword):
            header.remove(keyword, remove_all=True)
    return header
