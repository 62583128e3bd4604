"""``npsubpix locate --fit``: positions, fluxes and errors of fits in the table."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import npsubpix
import npsubpix.plotting
from npsubpix.io import read_picasso, read_thunderstorm
from tests.test_cli import fails, run, table_of
from tests.test_cli_options import spy

pytest.importorskip("rich")
yaml = pytest.importorskip("yaml")
pytest.importorskip("h5py")

SPOTS = np.array([[10.2, 11.7], [30.6, 25.1]])


@pytest.fixture
def movie(tmp_path):
    light = npsubpix.render_spots(SPOTS, (41, 40), std=1.2, amplitude=3000.0, integrate=True) + 5
    counts = 100 + np.random.default_rng(0).poisson(np.stack([light] * 2)) / 0.5
    path = tmp_path / "movie.npy"
    np.save(path, np.rint(counts).astype(np.uint16))
    return path


def test_columns_of_fits(movie, tmp_path):
    output = tmp_path / "spots.csv"
    camera = "--offset", 100, "--electrons-per-count", 0.5
    common = "locate", movie, "--axes", "TYX", "--threshold", 500, "--fit", "--fit-sigma", 1.2, *camera, "-o", output
    shown = run(*common, "--units", "um", "--pixel-size", 108).stdout.splitlines()
    assert max(map(len, shown[2].split())) <= 8  # no more digits than can be read
    rows, metadata = table_of(output)
    assert len(rows) == 4
    image = np.load(movie)[1]
    peaks = npsubpix.find_peaks(image, threshold_abs=500)
    fits = npsubpix.fit_spots(image, peaks, sigma=1.2, camera=npsubpix.Camera(offset=100, electrons_per_count=0.5))
    for row, k in zip(rows[2:], range(2), strict=True):
        assert float(row["y"]) == fits.coords[k, 0]
        assert float(row["x_std"]) == fits.coords_std[k, 1]
        assert float(row["flux"]) == fits.flux[k]
        assert float(row["fit_sigma"]) == fits.sigma[k]
        assert (row["ok"], row["fit_flags"]) == ("True", "-")
    assert "electrons_per_count=0.5" in metadata["options"]["fit"]["camera"]


def test_a_fit_that_failed_is_not_ok(tmp_path):
    """As in Python: positions are those of the fits, though the peaks were found without a flag."""
    image = npsubpix.render_spots([[10.0, 9.0], [10.0, 12.2], [30.0, 25.0]], (41, 40), std=1.2, amplitude=3000.0) + 5
    np.save(tmp_path / "image.npy", np.random.default_rng(0).poisson(image).astype(np.uint16))
    output = tmp_path / "spots.csv"
    camera = "--offset", 0, "--electrons-per-count", 1
    shown = run("locate", tmp_path / "image.npy", "--threshold", 100, "--fit", *camera, "-o", output).stdout
    assert "3 peaks in " in shown
    assert "; 2 not ok, see fit_flags" in shown
    rows, _ = table_of(output)
    assert [(row["ok"], row["fit_flags"] == "-", row["flags"]) for row in rows].count(("False", False, "0")) == 2
    assert [row["ok"] for row in rows if float(row["y"]) > 20] == ["True"]
    fits = npsubpix.locate(
        tmp_path / "image.npy", task="spots", threshold_abs=100, camera=npsubpix.Camera(0, 1), fit={}
    )
    assert [row["ok"] == "True" for row in rows] == fits.ok.tolist()


def test_standard_errors_of_refined_peaks(movie, tmp_path):
    """A camera, or the noise, is enough; with a fit, errors are those of the fit."""
    output = tmp_path / "spots.csv"
    common = "locate", movie, "--axes", "TYX", "-o", output
    run(*common, "--threshold", 500, "--offset", 100, "--electrons-per-count", 0.5)
    image = np.load(movie)[1]
    peaks = npsubpix.find_peaks(image, threshold_abs=500, camera=npsubpix.Camera(100, 0.5))
    rows, metadata = table_of(output)
    assert [float(row["y_std"]) for row in rows[2:]] == peaks.coords_std[:, 0].tolist()
    assert list(rows[0]).index("x_std") == list(rows[0]).index("x") + 2
    assert "offset=100" in metadata["options"]["camera"]
    run(*common, "--threshold", 50, "--sigma", 8, "--fit")
    rows, _ = table_of(output)
    fits = npsubpix.fit_spots(image, npsubpix.find_peaks(image, threshold_abs=50, sigma=8))
    assert [float(row["y_std"]) for row in rows[2:]] == fits.coords_std[:, 0].tolist()


def test_files_of_other_programs(movie, tmp_path):
    """They hold the fits of all frames in the programs' units, and assess reads them."""
    options = "--axes", "TYX", "--threshold", 500, "--fit", "--fit-sigma", 1.2, "--electrons-per-count", 0.5
    camera = *options, "--offset", 100
    hdf5, csv, truth, numbers = (tmp_path / n for n in ("µ.hdf5", "spots.csv", "truth.csv", "numbers.json"))
    text = run("locate", movie, *camera, "--format", "picasso", "--pixel-size", 110, "-o", hdf5).stdout
    assert text.splitlines()[-1] == f"Wrote {hdf5}"
    run("locate", movie, *camera, "--format", "thunderstorm", "--pixel-size", 110, "-o", csv, "--quiet")
    first, second = read_picasso(hdf5), read_thunderstorm(csv)
    assert first.frame.tolist() == second.frame.tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(first.coords, second.coords, atol=1e-5)
    assert (first.image_shape, first.flux_unit) == ((41, 40), "electron")
    _, made = yaml.safe_load_all(hdf5.with_suffix(".yaml").read_text())
    assert "electrons_per_count=0.5" in made["options"]["fit"]["camera"]
    truth.write_text("frame,y,x\n" + "".join(f"{k},{y},{x}\n" for k in range(2) for y, x in SPOTS))
    for found in (hdf5, csv):  # origins differ by more than this radius
        run("assess", found, truth, "--radius", 0.4, "-o", numbers, "--quiet")
        assert json.loads(numbers.read_text())["n_matched"] == 4


def test_fits_are_drawn_as_fits(movie, tmp_path, monkeypatch):
    """Those that are not ok were drawn as good peaks."""
    calls = spy(monkeypatch, npsubpix.plotting, "draw_peaks")
    options = "--axes", "TYX", "--threshold", 50, "--fit", "--fit-box", 5, "--plot-frame", 1
    run("locate", movie, *options, "--plot", tmp_path / "p.png", "-o", tmp_path / "a.csv")
    (_, drawn), _ = calls.pop()
    assert isinstance(drawn, npsubpix.Fits)
    rows, _ = table_of(tmp_path / "a.csv")
    assert drawn.ok.tolist() == [row["ok"] == "True" for row in rows if row["frame"] == "1"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--format", "picasso"), "--format picasso needs --fit"),
        (("--format", "picasso", "--fit"), "--format picasso needs the camera"),
        (("--format", "thunderstorm", "--fit"), "--format thunderstorm needs --pixel-size"),
        (("--format", "picasso", "--fit", "--offset", 1, "--origin", "fits"), "--origin and --format picasso exclude"),
        (("--pixel-size", 100), "--pixel-size needs --format"),
        (("--format", "picasso", "--fit", "--offset", 1, "-o", "a.csv"), "must end with .hdf5"),
    ],
)
def test_formats_that_cannot_be_written(movie, options, reason):
    assert reason in fails("locate", movie, *options, code=2)


def test_options_of_fits_need_it(movie):
    assert "--fit-box needs --fit" in fails("locate", movie, "--fit-box", 7, code=2)
    wrong = fails("locate", movie, "--fit", "--electrons-per-count", 0, code=2)
    assert "--electrons-per-count must be positive" in wrong


def test_wrong_models(movie, tmp_path):
    curve = tmp_path / "curve.json"
    assert "invalid value" in fails("locate", movie, "--fit", "--fit-model", "airy", code=2).lower()
    assert "No such file" in fails("locate", movie, "--fit", "--fit-curve", curve, code=2)
    curve.write_text('{"sigma0": [1, 1]}')
    assert "parameters must be sigma0, focus" in fails("locate", movie, "--fit", "--fit-curve", curve, code=2)
    both = "--fit-curve", curve, "--fit-model", "moffat"
    assert "leave out --fit-model" in fails("locate", movie, "--fit", *both, code=2)


def test_wrong_point_spread_functions(movie, tmp_path):
    psf = tmp_path / "psf.npy"
    assert "--oversampling needs --psf" in fails("locate", movie, "--fit", "--oversampling", 2, code=2)
    assert "psf.npy" in fails("locate", movie, "--fit", "--psf", psf, code=2)
    assert "--psf needs --fit" in fails("locate", movie, "--psf", psf, code=2)
    assert "leave out --fit-sigma" in fails("locate", movie, "--fit", "--psf", psf, "--fit-sigma", 1, code=2)
    assert "leave out --fit-model" in fails("locate", movie, "--fit", "--psf", psf, "--fit-model", "moffat", code=2)
    np.save(psf, np.ones((3, 5, 5)))
    assert "has 3 frames, not one" in fails("locate", movie, "--fit", "--psf", psf, code=2)


@pytest.mark.exhaustive  # which compiles a model
def test_point_spread_functions(movie, tmp_path):
    output, psf = tmp_path / "spots.csv", tmp_path / "psf.npy"
    line = np.exp(-(np.arange(-10, 11) ** 2) / 2 / (2 * 1.2) ** 2)
    np.save(psf, np.outer(line, line))
    options = "--axes", "TYX", "--threshold", 500, "--fit", "-o", output
    run("locate", movie, *options, "--psf", psf, "--oversampling", 2)
    rows, metadata = table_of(output)
    assert {"fit_sigma", "y_std", "flux"} <= set(rows[0])
    assert metadata["options"]["fit"]["psf"] == "array of shape (21, 21)"


@pytest.mark.exhaustive  # which compiles two models
def test_columns_of_models(movie, tmp_path):
    output, curve = tmp_path / "spots.csv", tmp_path / "curve.json"
    options = "--axes", "TYX", "--threshold", 500, "--fit", "-o", output
    run("locate", movie, *options, "--fit-model", "rotated")
    rows, _ = table_of(output)
    assert {"fit_sigma_major", "fit_sigma_minor_std", "fit_angle", "fit_angle_std"} <= set(rows[0])
    true = npsubpix.AstigmaticCurve((1.2, 1.2), (-300, 300), (400, 400), z_range=(-500, 500))
    curve.write_text(json.dumps(true.to_dict()))
    run("locate", movie, *options, "--fit-curve", curve)
    rows, metadata = table_of(output)
    assert {"fit_z", "fit_z_std", "fit_sigma_y"} <= set(rows[0])
    assert "AstigmaticCurve" in metadata["options"]["fit"]["width"]


@pytest.mark.exhaustive
def test_fits_of_neighbours(movie, tmp_path):
    output = tmp_path / "spots.csv"
    options = "--fit-sigma", 1.2, "--fit-box", 31, "--neighbors", "fit", "--electrons-per-count", 0.5
    run("locate", movie, "--axes", "TYX", "--threshold", 500, "--fit", *options, "--offset", 100, "-o", output)
    rows, _ = table_of(output)
    image = np.load(movie)[0]
    peaks = npsubpix.find_peaks(image, threshold_abs=500)
    camera = npsubpix.Camera(offset=100, electrons_per_count=0.5)
    fits = npsubpix.fit_spots(image, peaks, sigma=1.2, box=31, camera=camera, neighbors="fit")
    assert [float(row["flux"]) for row in rows[:2]] == fits.flux.tolist()
    assert "--neighbors needs --fit" in fails("locate", movie, "--neighbors", "fit", code=2)


@pytest.mark.exhaustive
def test_two_files_of_picasso_do_not_share_their_documents(movie, tmp_path):
    """a.h5 and a.hdf5 would have one a.yaml, of which the last run alone would be told."""
    from npsubpix._tables import picasso
    from npsubpix.movies.outputs import TableFiles

    camera = "--offset", 100, "--electrons-per-count", 0.5
    common = "locate", movie, "--axes", "TYX", "--threshold", 500, "--fit", "--fit-sigma", 1.2, *camera, "-q"
    picasso_files = *common, "--format", "picasso"
    one, other = tmp_path / "a.h5", tmp_path / "a.hdf5"
    assert f"writes {tmp_path / 'a.yaml'}, as {one} does" in fails(*picasso_files, "-o", one, "-o", other)
    assert f"{one}: is given twice" in fails(*common, "-o", one, "-o", one)
    with TableFiles([one], resume=False, state={}, beside=lambda path: [picasso.beside(path)]):
        assert "a.yaml: is being written by this process already" in fails(*picasso_files, "-o", other)
    assert not list(tmp_path.glob("a.*"))
    run(*picasso_files, "-o", other)
    run(*common, "-o", one, "-o", tmp_path / "a.csv")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("table_format", ["picasso", "thunderstorm"])
def test_memory_of_files_of_other_programs_is_flat_in_rows(tmp_path, table_format):
    """Ten times the rows take no more memory, but for what the allocator keeps."""
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from types import SimpleNamespace
        import numpy as np
        from npsubpix.cli.exports import check_tables, export
        from npsubpix.movies.outputs import TableFiles

        path, form, frames = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
        outputs = SimpleNamespace(table_format=form, pixel_size=100.0, quiet=True)
        images = [SimpleNamespace(frame_shape=(64, 64), count=frames)]
        numbers = "y x y_std x_std flux flux_std background background_std sigma sigma_std chi2 log_likelihood".split()
        whole = "n_iters y_index x_index flags".split()
        one = {name: np.full(1000, 3.0) for name in numbers} | {name: np.zeros(1000, np.int32) for name in whole}

        def write(path, rows, about):
            export(path, outputs, {"camera": object()}, images, rows, {"images": [], "options": {}})

        check = lambda path: check_tables([path], form)
        with TableFiles([path], resume=False, state={}, check=check, write=write) as files:
            for k in range(0, frames, 10):
                files.write(k, k + 10, one | {"ok": np.ones(1000, bool), "frame": np.repeat(np.arange(k, k + 10), 100)})
            files.finish({})
        print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
        """
    )
    path = tmp_path / ("a.hdf5" if table_format == "picasso" else "a.csv")
    peaks = []
    for frames in (1_000, 10_000):
        command = [sys.executable, "-c", code, str(path), table_format, str(frames)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] - peaks[0] < 40_000  # KiB; the rows take 110 MiB
