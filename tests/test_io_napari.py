"""Tables that napari shows, and files that it opens. These tests are collected where napari is installed."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from tests.fit_tables import fits_table
from tests.peak_tables import COORDS, FRAME, table

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what napari depends on
    import napari_builtins.io as reader
    from napari import layers

pytestmark = [pytest.mark.exhaustive, pytest.mark.filterwarnings("ignore")]


def test_napari_makes_a_layer_of_it():
    peaks = table(COORDS, FRAME)
    layer = layers.Points(**peaks.to_napari(pixel_size=2, unit="um"))
    np.testing.assert_array_equal(layer.data, np.column_stack([FRAME, COORDS]))
    assert layer.features["value"].tolist() == [1, 1, 1, 1]
    assert layer.scale.tolist() == [1, 2, 2]
    assert [str(unit) for unit in layer.units] == ["pixel", "micrometer", "micrometer"]


def test_napari_opens_a_saved_file(tmp_path):
    fits = fits_table()
    fits.save(tmp_path / "a.csv", napari=True)
    ((data, arguments, kind),) = reader.napari_get_reader(str(tmp_path / "a.csv"))(str(tmp_path / "a.csv"))
    assert (data.tolist(), kind) == (np.column_stack([fits.frame, fits.coords]).tolist(), "points")
    assert "flux" in arguments["properties"]
