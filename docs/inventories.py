"""Where the documentation of other projects describes the names that these pages mention.

Sphinx would ask each project for its list of names, and fail without a network. The names that are mentioned are few,
and stand here: `tests/test_docs_site.py` imports each.
"""

from __future__ import annotations

import zlib
from pathlib import Path

#: For each project, the address of its pages, the page of a name, and the names with their roles.
PROJECTS: dict[str, tuple[str, str, dict[str, str]]] = {
    "numpy": (
        "https://numpy.org/doc/stable/",
        "reference/generated/{name}.html#{name}",
        {
            "numpy.convolve": "function",
            "numpy.median": "function",
            "numpy.ndarray": "class",
            "numpy.pad": "function",
            "numpy.percentile": "function",
            "numpy.result_type": "function",
        },
    ),
    "scipy": (
        "https://docs.scipy.org/doc/scipy/",
        "reference/generated/{name}.html#{name}",
        {
            "scipy.ndimage.affine_transform": "function",
            "scipy.ndimage.gaussian_filter": "function",
            "scipy.ndimage.generic_filter": "function",
            "scipy.ndimage.map_coordinates": "function",
            "scipy.ndimage.maximum_filter": "function",
            "scipy.ndimage.shift": "function",
            "scipy.ndimage.spline_filter": "function",
            "scipy.optimize.curve_fit": "function",
            "scipy.signal.convolve2d": "function",
            "scipy.signal.correlate2d": "function",
            "scipy.signal.fftconvolve": "function",
            "scipy.signal.find_peaks": "function",
            "scipy.signal.oaconvolve": "function",
            "scipy.special.softmax": "function",
        },
    ),
    "astropy": (
        "https://docs.astropy.org/en/stable/",
        "api/{name}.html#{name}",
        {
            "astropy.nddata.CCDData": "class",
            "astropy.table.QTable": "class",
            "astropy.units.Quantity": "class",
            "astropy.wcs.WCS": "class",
        },
    ),
    "torch": (
        "https://docs.pytorch.org/docs/stable/",
        "generated/{name}.html#{name}",
        {
            "torch.compile": "function",
            "torch.nn.Module": "class",
            "torch.nn.functional.conv2d": "function",
            "torch.nn.functional.grid_sample": "function",
        },
    ),
    "pandas": (
        "https://pandas.pydata.org/docs/",
        "reference/api/{name}.html#{name}",
        {"pandas.DataFrame": "class"},
    ),
    "matplotlib": (
        "https://matplotlib.org/stable/",
        "api/_as_gen/{name}.html#{name}",
        {"matplotlib.axes.Axes": "class", "matplotlib.figure.Figure": "class"},
    ),
}

_HEAD = """\
# Sphinx inventory version 2
# Project: {project}
# Version: -
# The remainder of this file is compressed using zlib.
"""


def write_inventories(folder: Path) -> dict[str, tuple[str, str]]:
    """Write the list of names of each project, and return what intersphinx takes."""
    folder.mkdir(exist_ok=True)
    mapping = {}
    for project, (address, page, names) in PROJECTS.items():
        lines = "".join(f"{name} py:{role} 1 {page.format(name=name)} -\n" for name, role in names.items())
        path = folder / f"{project}.inv"
        path.write_bytes(_HEAD.format(project=project).encode() + zlib.compress(lines.encode()))
        mapping[project] = (address, str(path))
    return mapping
