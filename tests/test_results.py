"""The table of peaks: selection, conversions, what is shown."""

from __future__ import annotations

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags


@pytest.fixture
def peaks(wrap, rng):
    return npsubpix.find_peaks(wrap(rng.standard_normal((3, 20, 21))), frame_axis=0)


def test_rows_are_selected_in_every_column(peaks):
    assert len(peaks) > 20
    for rows in (slice(2, 9), peaks.ok, slice(None, None, 2), slice(0, 0)):
        part = peaks[rows]
        np.testing.assert_array_equal(np.asarray(part.coords), np.asarray(peaks.coords[rows]))
        for column in ("values", "flags", "frame", "indices"):
            assert len(getattr(part, column)) == len(part)
    assert len(peaks[3]) == len(peaks[-1]) == 1
    np.testing.assert_array_equal(np.asarray(peaks[-1].coords[0]), np.asarray(peaks.coords[-1]))
    with pytest.raises(IndexError, match="row 9999"):
        peaks[9999]
    assert sum(1 for _ in peaks) == len(peaks)


def test_the_row_of_an_argmax_is_a_row_in_every_library(peaks):
    """argmax of a tensor is a tensor without dimensions, which made a table without rows."""
    best = peaks[peaks.values.argmax()]
    assert len(best) == 1
    assert float(best.values[0]) == float(peaks.values.max())
    assert len(peaks[peaks.values.argmax() - len(peaks)]) == 1
    single = peaks[:1]
    assert len(single[single.ok]) == 1  # a tensor of one bool can be an index too
    with pytest.raises(IndexError, match=f"row {len(peaks)} of {len(peaks)}"):
        peaks[peaks.flags.argmax() * 0 + len(peaks)]


@pytest.mark.parametrize("rows", [True, None, (..., 0), (slice(None), 0), np.eye(2, dtype=int)], ids=str)
def test_what_selects_no_rows_is_refused(peaks, rows):
    with pytest.raises(IndexError):
        peaks[rows]


@pytest.mark.parametrize("shape", [(20, 21), (5, 12, 13)])
def test_structured_array_has_named_columns(rng, shape):
    peaks = npsubpix.find_peaks(rng.standard_normal(shape))
    table = peaks.to_structured()
    axes = ("z", "y", "x")[-len(shape) :]
    assert table.dtype.names == (*axes, "value", *(f"{axis}_index" for axis in axes), "ok", "flags", "flag_names")
    for k, axis in enumerate(axes):
        np.testing.assert_array_equal(table[axis], peaks.coords[:, k])
        np.testing.assert_array_equal(table[f"{axis}_index"], peaks.indices[:, k])


def test_conversions_agree(peaks):
    want = peaks.to_structured()
    frame = peaks.to_pandas()
    table = peaks.to_astropy()
    arrow = peaks.to_arrow()
    assert list(frame.columns) == list(table.colnames) == arrow.column_names == list(want.dtype.names)
    for name in want.dtype.names:
        np.testing.assert_array_equal(frame[name].to_numpy(), want[name])
        np.testing.assert_array_equal(np.asarray(table[name]), want[name])
        np.testing.assert_array_equal(arrow[name].to_numpy(), want[name])
    assert str(table["x"].unit) == "pix"
    assert want.dtype["frame"] == np.int64


def test_conversions_of_an_empty_table():
    empty = npsubpix.find_peaks(np.zeros((5, 5)))
    assert len(empty.to_pandas()) == len(empty.to_astropy()) == len(empty.to_structured()) == 0
    assert empty.to_arrow().num_rows == 0
    assert list(empty.to_pandas().columns) == ["y", "x", "value", "y_index", "x_index", "ok", "flags", "flag_names"]
    assert empty.to_pandas().ok.dtype == bool
    assert str(empty.to_arrow().schema.field("flag_names").type) == "string"


def test_rows_of_a_dataframe_are_selected_by_ok_and_by_flags():
    """``df.flags`` is an attribute of pandas itself, so that flags alone do not select rows."""
    pd = pytest.importorskip("pandas")
    peaks = npsubpix.refine_peaks(np.zeros((9, 9)), [[4, 4], [20, 3]])
    good = npsubpix.refine_peaks(np.pad([[9.0]], 4), [[4, 4]])
    table = pd.concat([good.to_pandas(), peaks.to_pandas()])
    assert table.ok.tolist() == [True, False, False]
    assert table[table.ok].flag_names.tolist() == ["-"]
    assert table[table["flags"] == 0].ok.all()
    assert table.flag_names.tolist() == ["-", "SINGULAR", "AT_BORDER"]
    structured = peaks.to_structured()
    assert structured["ok"].tolist() == [False, False]
    assert structured["flag_names"].tolist() == ["SINGULAR", "AT_BORDER"]
    assert not structured.dtype.hasobject  # such a table can be saved without pickling


def test_flags_are_named(peaks):
    names = peaks.flag_names()
    for name, flags in zip(names, np.asarray(peaks.flags).tolist(), strict=True):
        want = PeakFlags(0)
        for part in name.split("|") if name != "-" else []:
            want |= PeakFlags[part]
        assert want == flags


def test_repr_is_a_short_table(peaks):
    lines = repr(peaks).splitlines()
    assert lines[0] == f"Peaks: {len(peaks)} in 2-D, 3 frames"
    assert lines[1].split() == ["frame", "y", "x", "value", "flags"]
    assert len(lines) == 13
    assert lines[-1] == f" … {len(peaks) - 10} more"
    assert max(map(len, lines)) < 80
    assert "…" not in repr(peaks[:3])


@pytest.mark.parametrize(
    ("shape", "frame_axis", "head"),
    [
        ((5, 12, 13), None, "in a volume of 5 × 12 × 13"),
        ((5, 12, 13), 0, "in 2-D, 5 frames"),
        ((12, 13), None, "in 2-D"),
        ((5, 12, 13, 2), -1, "in volumes of 5 × 12 × 13, 2 frames"),
    ],
)
def test_repr_says_what_was_taken_for_a_volume(rng, wrap, shape, frame_axis, head):
    """So that a movie without its frame axis is noticed."""
    image = wrap(rng.standard_normal(shape))
    peaks = npsubpix.find_peaks(image, frame_axis=frame_axis)
    assert repr(peaks).splitlines()[0] == f"Peaks: {len(peaks)} {head}"
    again = npsubpix.refine_peaks(image, peaks, frame_axis=frame_axis)
    assert again[3:9].image_shape == peaks.image_shape
    assert repr(again).splitlines()[0] == f"Peaks: {len(peaks)} {head}"
    made = npsubpix.Peaks(peaks.coords, peaks.values, peaks.indices, peaks.flags, peaks.frame)
    assert f"in {peaks.ndim}-D" in repr(made)


def test_repr_of_an_empty_volume():
    assert repr(npsubpix.find_peaks(np.zeros((5, 6, 7)))) == "Peaks: 0 in a volume of 5 × 6 × 7"
