"""Options of ``npsubpix align``: each reaches the function that it stands for."""

from __future__ import annotations

import json

import numpy as np
import pytest

import npsubpix
import npsubpix.plotting
from npsubpix.alignment import stacks
from tests.test_cli import fails, moved_pair, run, table_of
from tests.test_cli_options import named, spy

pytest.importorskip("rich")

#: Arguments of `align` that are no options of their own, with the reason.
NO_OPTION = {
    "around": "--around-peaks finds the peaks of the fixed image",
    "radius": "--around-peaks is the radius around these peaks",
}

#: What is typed for each argument of `align`, and what it receives.
TYPED = {
    "model": ("--model", "euclidean", "euclidean"),
    "method": ("--method", "forward_additive", "forward_additive"),
    "levels": ("--levels", "2", 2),
    "n_iters": ("--n-iters", "30", 30),
    "tol": ("--tol", "0.001", 0.001),
    "loss": ("--loss", "huber", "huber"),
    "gain_bias": ("--gain-bias", None, True),
    "mask": ("--mask", "MASK", "a mask"),
    "moving_mask": ("--moving-mask", "MASK", "a mask"),
    "background": ("--background", "60", 60),
    "init": ("--init", "-0.4,1", [[1, 0, -0.4], [0, 1, 1]]),
}


@pytest.mark.exhaustive  # which compiles in processes of their own
def test_every_argument_of_align_has_an_option_that_reaches_it(tmp_path, monkeypatch):
    assert set(TYPED) == named(npsubpix.align) - set(NO_OPTION)
    fixed, moving = moved_pair(tmp_path)
    np.save(tmp_path / "mask.npy", np.indices((60, 70))[1] < 12)
    calls = spy(monkeypatch, stacks, "align")
    args = [part for option, text, _ in TYPED.values() for part in (option, text) if part is not None]
    args = [tmp_path / "mask.npy" if arg == "MASK" else arg for arg in args]
    run("align", fixed, moving, *args, "--table", tmp_path / "t.csv")
    ((_, options),) = calls
    for name in ("mask", "moving_mask"):
        np.testing.assert_array_equal(options.pop(name), np.load(tmp_path / "mask.npy"))
    assert options == {name: value for name, (_, _, value) in TYPED.items() if not name.endswith("mask")}
    rows, metadata = table_of(tmp_path / "t.csv")
    assert metadata["options"]["mask"] == str(tmp_path / "mask.npy")
    assert metadata["options"]["n_iters"] == 30
    assert rows[0]["ok"] == "True"
    np.testing.assert_allclose([float(rows[0]["dy"]), float(rows[0]["dx"])], [-0.5, 1.25], atol=0.05)


def test_options_that_are_not_typed_are_left_to_the_function(tmp_path, monkeypatch):
    fixed, moving = moved_pair(tmp_path)
    calls = spy(monkeypatch, stacks, "align")
    run("align", fixed, moving, "--far")
    run("align", fixed, moving, "--init", "1,0,-0.5,0,1,1.25")
    assert calls[0][1] == {
        "model": "translation",
        "loss": "least_squares",
        "gain_bias": False,
        "init": "phase_correlation",
    }
    assert calls[1][1]["init"] == [[1, 0, -0.5], [0, 1, 1.25]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--init", "1,2,3"), "'1,2,3' is neither a shift of 2 numbers nor a matrix"),
        (("--init", "1,2", "--far"), "exclude each other"),
        (("--stars", "--far"), "exclude each other"),
        (("--apply", "t.csv", "--reference", "mean"), "exclude each other"),
        (("--reference", "last"), "'last' is not one of first, previous, mean"),
        (("--stack", "mean"), "--stack needs --output"),
        (("--stack", "mean", "-o", "o.tif"), "must end with .fits"),
        (("-o", "o.fits"), "add --stack"),
        (("-o", "o.fits", "--stack", "mean", "--clip-sigma", "3"), "--clip-sigma is of --stack clip"),
        (("--levels", "0"), "--levels must be at least 1"),
        (("--tol", "0"), "--tol must be positive"),
        (("--method", "magic"), "'magic' is not one of inverse_compositional, forward_additive"),
    ],
)
def test_wrong_options_are_refused_before_any_work(tmp_path, options, message):
    fixed, moving = moved_pair(tmp_path)
    assert message in fails("align", fixed, moving, *options, code=2)


def test_all_tables_are_written(tmp_path):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    fixed, moving = moved_pair(tmp_path)
    np.save(tmp_path / "flat.npy", np.zeros((60, 70)))
    names = [tmp_path / "t.csv", tmp_path / "t.parquet"]
    args = [part for name in names for part in ("--table", name)]
    run("align", fixed, moving, tmp_path / "flat.npy", *args, code=3)
    tables = [pd.read_csv(names[0]), pd.read_parquet(names[1])]
    for table in tables:
        assert table.ok.tolist() == [True, False]
        assert table.flag_names.tolist() == ["-", "NO_TEXTURE"]
    np.testing.assert_allclose(tables[0].dy, tables[1].dy, rtol=1e-12)
    assert json.loads((tmp_path / "t.csv.json").read_text())["fixed"] == str(fixed)


def test_all_stacks_and_pictures_are_written(tmp_path, monkeypatch):
    tifffile = pytest.importorskip("tifffile")
    pytest.importorskip("matplotlib")
    fixed, moving = moved_pair(tmp_path)
    calls = spy(monkeypatch, npsubpix.plotting, "draw_alignment")
    names = [tmp_path / name for name in ("a.tif", "b.tif", "p.png", "p.svg")]
    options = ("-o", "-o", "--plot", "--plot")
    args = [part for pair in zip(options, names, strict=True) for part in pair]
    out = run("align", fixed, moving, *args, "--light").stdout
    assert [line for line in out.splitlines() if line.startswith("Wrote")] == [f"Wrote {name}" for name in names]
    np.testing.assert_array_equal(tifffile.imread(names[0]), tifffile.imread(names[1]))
    assert names[2].read_bytes().startswith(b"\x89PNG")
    assert names[3].read_bytes().startswith(b"<?xml")
    assert [options["style"] for _, options in calls] == ["light", "light"]


def test_the_frames_before_a_damaged_one_are_written(tmp_path):
    """A folder was read again to its damaged file for the output, which was lost with the frames before it."""
    tifffile = pytest.importorskip("tifffile")
    fixed, moving = moved_pair(tmp_path)
    folder = tmp_path / "movie"
    folder.mkdir()
    for number in range(2):
        np.save(folder / f"f{number}.npy", np.load(moving))
    (folder / "f2.npy").write_bytes(moving.read_bytes()[:-100])
    out, table = tmp_path / "out.tif", tmp_path / "t.csv"
    assert "f2.npy" in fails("align", fixed, folder, "-q", "-o", out, "--table", table, code=1)
    assert len(table_of(table)[0]) == 2
    assert tifffile.imread(out).shape == (2, 60, 70)
