"""The table of what other libraries call filters: each row of the page, run with kernels of odd and even length."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch

import npsubpix

PAGE = Path(__file__).parents[1] / "docs" / "filtering.md"


def rows() -> list[tuple[str, str]]:
    """The expressions of the other library and of this one."""
    table = PAGE.read_text().split("| there | here | notes |")[1].split("\n\n")[0]
    return re.findall(r"^\| `(.+?)` \| `(.+?)` \|", table, re.MULTILINE)


#: Rows that hold for windows of odd size, or for large standard deviations, as their notes say.
ODD = ("median_filter", "percentile_filter")


def test_all_rows_are_read():
    table = PAGE.read_text().split("| there | here | notes |")[1].split("\n\n")[0]
    assert len(rows()) == table.count("\n|") - 1 > 15


@pytest.mark.parametrize(("there", "here"), rows())
def test_row(rng, there, here):
    x = rng.uniform(1, 2, (13, 17))
    for n, height in ((3, 5), (4, 5), (3, 2), (4, 4)):
        if n % 2 == 0 and any(name in there for name in ODD):
            continue
        names: dict[str, Any] = {
            **{name: getattr(npsubpix, name) for name in npsubpix.__all__},
            "ndimage": scipy.ndimage,
            "signal": scipy.signal,
            "np": np,
            "cv2": cv2,
            "torch": torch,
            "x": x,
            "v": rng.normal(size=40),
            "k": rng.normal(size=(height, n)),
            "kx": rng.normal(size=n),
            "ky": rng.normal(size=height),
            "n": n,
            "s": 1.5,
            "p": np.ones((height, n), bool),
            "images": torch.from_numpy(rng.normal(size=(2, 3, 8, 9))),
            "filters": torch.from_numpy(rng.normal(size=(4, 3, height, n))),
        }
        names["f"] = scaled if "args" in here else greatest if "window_map" in here else np.max
        wanted, found = (np.asarray(eval(row, names)) for row in (there, here))
        rounding = 1e-3 if "gaussian_laplace" in there else 1e-12
        np.testing.assert_allclose(found, wanted, atol=rounding, err_msg=f"{n} and {height} weights")


def greatest(window):
    """What `generic_filter` and `window_map` both can call."""
    return window.max()


def scaled(window, factor):
    """Such a function with another argument."""
    return factor * window.max()
