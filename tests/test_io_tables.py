"""Tables on the disk: what other programs read, and what Python writes as the command line does."""

from __future__ import annotations

import csv
import io as io_of_text
import json

import numpy as np
import pytest

import npsubpix
from npsubpix import io
from npsubpix.io import OutputError, peak_columns, write_table
from tests.tables import read_table


@pytest.fixture
def peaks():
    return npsubpix.Peaks(
        np.array([[1.1, 2.2], [5.0, 6.5], [7.0, 0.0]]),
        np.array([9.5, 3.25, 1.0]),
        np.array([[1, 2], [5, 6], [7, 0]]),
        np.array([0, 3, 64], np.int32),
        np.array([0, 0, 1]),
    )


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_csv_file_is_its_header_and_its_rows(tmp_path, peaks):
    """Excel, R and napari take the first line for the header, and know no comments."""
    peaks.save(tmp_path / "a.csv", metadata={"sample": "µ, b"})
    lines = (tmp_path / "a.csv").read_text("utf-8").splitlines()
    assert lines[0] == "frame,y,x,value,y_index,x_index,ok,flags,flag_names"
    assert lines[1] == "0,1.1,2.2,9.5,1,2,True,0,-"
    assert lines[3] == "1,7.0,0.0,1.0,7,0,False,64,AT_BORDER"
    assert len(lines) == 4
    metadata = json.loads((tmp_path / "a.csv.json").read_text("utf-8"))
    assert metadata["sample"] == "µ, b"
    assert metadata["origin"] == "center"
    assert metadata["units"] == "pixel (y, x)"


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "ecsv"])
def test_every_format_says_which_rows_are_ok_and_names_flags(tmp_path, peaks, ending):
    path = tmp_path / f"a.{ending}"
    peaks.save(path, origin="fits", columns={"snr": [7.0, 5.0, 4.0]})
    table = read_table(path)
    assert np.asarray(table["ok"]).dtype == bool
    assert np.asarray(table["ok"]).tolist() == [True, True, False]
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in table["flag_names"]]
    assert names == ["-", "MOVED|PLATEAU", "AT_BORDER"]
    np.testing.assert_array_equal(np.asarray(table["y"]), [2.1, 6.0, 8.0])
    np.testing.assert_array_equal(np.asarray(table["snr"]), [7, 5, 4])


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "ecsv"])
def test_columns_of_a_fits_image_are_numbers_in_all_formats(tmp_path, peaks, ending):
    """They are big-endian, which Arrow refused."""
    path = tmp_path / f"a.{ending}"
    peaks.save(path, columns={"flux": np.array([1.5, 2.5, -3.0], ">f8"), "id": np.array([7, 8, 9], ">i4")})
    table = read_table(path)
    np.testing.assert_array_equal(np.asarray(table["flux"]), [1.5, 2.5, -3.0])
    np.testing.assert_array_equal(np.asarray(table["id"]), [7, 8, 9])


def test_metadata_beside_a_csv_file_never_describe_another_table(tmp_path, peaks):
    path, beside = tmp_path / "a.csv", tmp_path / "a.csv.json"
    columns = peak_columns(peaks)
    write_table(path, columns, {"sample": 1})
    assert json.loads(beside.read_text()) == {"sample": 1}
    write_table(path, columns)
    assert not beside.exists()
    write_table(path, columns, {"sample": 2})
    write_table(path, columns, {"sample": 3}, comments=True)
    assert not beside.exists()
    assert path.read_text("utf-8").startswith("# sample: 3\nframe,y,x,")


def test_metadata_may_hold_numbers_of_numpy(tmp_path, peaks):
    for ending in ("csv", "parquet", "h5", "ecsv"):
        path = tmp_path / f"a.{ending}"
        peaks.save(path, metadata={"pixel": np.float32(0.5), "shape": np.array([3, 4]), "path": tmp_path})
        assert path.stat().st_size > 0
    metadata = json.loads((tmp_path / "a.csv.json").read_text())
    assert (metadata["pixel"], metadata["shape"], metadata["path"]) == (0.5, [3, 4], str(tmp_path))


def test_napari_takes_the_table_for_points(tmp_path, peaks):
    """napari's reader: axes are the columns named axis-0 and so on, the first column may be an index."""
    write_table(tmp_path / "a.csv", peak_columns(peaks, napari=True))
    rows = rows_of(tmp_path / "a.csv")
    names = list(rows[0])
    assert names[0] == "index"
    assert [name for name in names if name.startswith("axis-")] == ["axis-0", "axis-1", "axis-2"]
    points = [[float(row[f"axis-{k}"]) for k in range(3)] for row in rows]
    assert points == [[0, 1.1, 2.2], [0, 5.0, 6.5], [1, 7.0, 0.0]]


@pytest.mark.parametrize(
    ("columns", "reason"), [({"y": [1, 2, 3]}, "names of their own, got 'y'"), ({"snr": [1, 2]}, "one value per row")]
)
def test_further_columns_have_a_name_and_a_value_for_each_row(tmp_path, peaks, columns, reason):
    with pytest.raises(ValueError, match=reason):
        peaks.save(tmp_path / "a.csv", columns=columns)
    assert list(tmp_path.iterdir()) == []


def test_texts_of_several_lines(tmp_path, peaks):
    """A file name may hold a line break, which would end a row of ECSV; the other formats hold it."""
    columns = peak_columns(peaks, files=["a\nb.tif", "c.tif", "d.tif"])
    (tmp_path / "a.ecsv").write_text("old")
    with pytest.raises(OutputError, match=r"a\.ecsv: a text in the column 'file' has several lines"):
        write_table(tmp_path / "a.ecsv", columns)
    assert (tmp_path / "a.ecsv").read_text() == "old"
    write_table(tmp_path / "a.csv", columns)
    assert rows_of(tmp_path / "a.csv")[0]["file"] == "a\nb.tif"


@pytest.mark.parametrize("ending", ["csv", "parquet", "h5", "ecsv"])
@pytest.mark.parametrize("rows", [3, 0])
def test_tables_are_read_as_they_were_written(tmp_path, peaks, ending, rows):
    path = tmp_path / f"a.{ending}"
    peaks[:rows].save(path, origin="fits", columns={"note": np.array(["a", "", "µ"], object)[:rows]})
    columns, metadata = io.read_table(path)
    want = peak_columns(peaks[:rows], origin="fits", columns={"note": np.array(["a", "", "µ"], object)[:rows]})
    assert list(columns) == list(want)
    for name, column in want.items():
        assert columns[name].tolist() == column.tolist(), name
        if rows and column.dtype != object:
            assert columns[name].dtype.kind == column.dtype.kind
    assert float(metadata["first_pixel_centre"]) == 1


@pytest.mark.parametrize("comments", [True, False])
@pytest.mark.parametrize("names", [["file", "y", "n", "ok", "note"], ["note"]])
def test_cells_of_a_csv_file_are_those_of_the_module_csv(tmp_path, names, comments):
    columns = {
        "file": np.array(['a "b"#.tif', "c, d.tif", "e\nf", "", "g"] * 2, object),
        "y": np.array([0.1, -0.0, 1e-300, np.nan, np.inf, 1e16, 5e-324, 3.0, -1 / 3, 2.0**70]),
        "n": np.array([0, 1, 2**63 - 1, -(2**63), 5, 6, 7, 8, 9, 9]),
        "ok": np.array([True, False] * 5),
        "note": np.array(["", "1", 1, None, 2.5, True, "µ;", "x,0", '"', "\r"], object),
    }
    write_table(tmp_path / "a.csv", {name: columns[name] for name in names}, {"k": 1}, comments=comments)
    expected = io_of_text.StringIO()
    marked = comments and "file" in names
    csv.writer(expected, lineterminator="\n").writerow(names)
    rows = zip(*(columns[name].tolist() for name in names), strict=True)
    quoting = csv.QUOTE_NONNUMERIC if marked else csv.QUOTE_MINIMAL
    csv.writer(expected, lineterminator="\n", quoting=quoting).writerows(rows)
    written = (tmp_path / "a.csv").read_bytes().decode()
    assert written == ("# k: 1\n" if comments else "") + expected.getvalue()


def test_cells_of_a_csv_file_that_are_empty_are_nan(tmp_path):
    (tmp_path / "a.csv").write_text("y,x,ok\n1,,True\n2,4.5,False\n")
    columns, metadata = io.read_table(tmp_path / "a.csv")
    np.testing.assert_array_equal(columns["x"], [np.nan, 4.5])
    assert (columns["y"].dtype, columns["ok"].dtype, metadata) == (np.int64, bool, {})
    with pytest.raises(ValueError, match="unknown format"):
        io.read_table(tmp_path / "a.txt")
