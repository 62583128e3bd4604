"""Options of ``npsubpix locate``: each reaches the function that it stands for, and each file is written."""

from __future__ import annotations

import functools
import inspect
import json

import numpy as np
import pytest

import npsubpix
import npsubpix.movies.tasks
import npsubpix.plotting
from tests.test_cli import fails, run, spots, table_of

pytest.importorskip("rich")

#: Arguments of `find_peaks` that are no options, with the reason.
NO_OPTION = {
    "frame_axis": "files say which of their axes is that of frames",
    "detect": "the frame is filtered before, since the columns need its background and noise",
    "detect_sigma": "the same",
    "camera": "it has an option for each of its numbers",
    "error": "--sigma is the noise of pixels too",
    "fit": "--fit and its options give the whole table of a fit",
}

#: What is typed for each argument of `find_peaks`, and what it receives.
TYPED = {
    "size": ("--size", "3,5", (3, 5)),
    "min_distance": ("--min-distance", "2,4.5", (2.0, 4.5)),
    "threshold_abs": ("--threshold", "10", 10.0),
    "threshold_rel": ("--threshold-rel", "0.1", 0.1),
    "background": ("--level", "1.5", 1.5),
    "sigma": ("--sigma", "0.5", 0.5),
    "exclude_border": ("--exclude-border", "no", False),
    "num_peaks": ("--num-peaks", "2", 2),
    "plateau": ("--plateau", "first", "first"),
    "minima": ("--minima", None, True),
    "mask": ("--mask", "MASK", "a mask"),
    "refine": ("--refine", "centroid", "centroid"),
    "n_iters": ("--n-iters", "7", 7),
    "max_shift": ("--max-shift", "2.5", 2.5),
    "radius": ("--radius", "3,4", (3.0, 4.0)),
    "duplicates": ("--duplicates", "flag", "flag"),
    "mode": ("--mode", "wrap", "wrap"),
}


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "spots.npy"
    np.save(path, spots((40, 50), [(10.3, 20.6), (30.1, 35.2), (22.0, 8.4)]))
    return path


def spy(monkeypatch, module, name):
    """Return a list of the arguments of each call of a function from now on."""
    function, calls = getattr(module, name), []

    @functools.wraps(function)
    def called(*args, **options):
        calls.append((args, options))
        return function(*args, **options)

    monkeypatch.setattr(module, name, called)
    return calls


def named(function):
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def test_every_argument_of_find_peaks_has_an_option_that_reaches_it(image, tmp_path, monkeypatch):
    assert set(TYPED) == named(npsubpix.find_peaks) - set(NO_OPTION)
    np.save(tmp_path / "mask.npy", np.indices((40, 50))[1] < 12)
    calls = spy(monkeypatch, npsubpix.movies.tasks, "find_peaks")
    args = [part for option, text, _ in TYPED.values() for part in (option, text) if part is not None]
    run("locate", image, *[tmp_path / "mask.npy" if arg == "MASK" else arg for arg in args], "-o", tmp_path / "a.csv")
    ((_, options),) = calls
    mask = options.pop("mask")
    assert options.pop("frame_axis") is None
    assert options == {name: value for name, (_, _, value) in TYPED.items() if name != "mask"}
    np.testing.assert_array_equal(mask, np.load(tmp_path / "mask.npy"))
    written = table_of(tmp_path / "a.csv")[1]["options"]
    assert written["radius"] == [3, 4]
    assert written["mask"] == str(tmp_path / "mask.npy")


def test_options_that_are_not_typed_have_the_defaults_of_the_function(image, tmp_path, monkeypatch):
    calls = spy(monkeypatch, npsubpix.movies.tasks, "find_peaks")
    run("locate", image, "-o", tmp_path / "a.csv")
    ((_, options),) = calls
    assert options.pop("frame_axis") is None
    defaults = {p.name: p.default for p in inspect.signature(npsubpix.find_peaks).parameters.values()}
    assert all(value == defaults[name] for name, value in options.items())
    written = table_of(tmp_path / "a.csv")[1]["options"]
    assert {name: written[name] for name in TYPED} == {name: defaults[name] for name in TYPED}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("5", 5), ("5,25", (5, 25))])
def test_the_border_is_a_choice_or_a_number_of_pixels(image, monkeypatch, text, value):
    calls = spy(monkeypatch, npsubpix.movies.tasks, "find_peaks")
    run("locate", image, "--threshold", 10, "--exclude-border", text)
    assert calls[0][1]["exclude_border"] == value
    assert type(calls[0][1]["exclude_border"]) is type(value)


def test_a_higher_peak_at_the_border_is_spoken_of(tmp_path):
    image = spots((40, 50), [(20, 20)])
    image[0, 30] = 200
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "b.npy", np.stack([image, spots((40, 50), [(20, 20)])]))
    line = "A higher peak at the border{} is left out; --exclude-border false finds it"
    assert line.format("") in run("locate", tmp_path / "a.npy", "--threshold", 10).stdout
    assert line.format(" of 1 of 2 frames") in run("locate", tmp_path / "b.npy", "--threshold", 10).stdout
    args = ("--threshold", 10, "--exclude-border", "false")
    assert "2 peaks in a.npy" in run("locate", tmp_path / "a.npy", *args).stdout


def test_every_argument_of_local_background_has_an_option_that_reaches_it(image, monkeypatch):
    typed = {
        "size": ("--background", "20,25", (20, 25)),
        "method": ("--background-method", "mean", "mean"),
        "grow": ("--background-grow", "2", 2),
        "filter_size": ("--background-filter-size", "1,3", (1, 3)),
    }
    # Its mask is that of the search
    assert set(typed) == (named(npsubpix.local_background) | {"size"}) - {"mask", "frame_axis"}
    calls = spy(monkeypatch, npsubpix.movies.tasks, "local_background")
    run("locate", image, *[part for option, text, _ in typed.values() for part in (option, text)])
    ((_, options),) = calls
    assert options.pop("mask") is options.pop("frame_axis") is None
    assert options == {name: value for name, (_, _, value) in typed.items()}


def test_peaks_are_sought_in_a_filtered_image(tmp_path):
    """As `find_peaks` does, and significance is that of the filtered image; values are of the image itself."""
    truth = [[12.3, 20.6], [30.8, 33.1], [28.2, 14.9]]
    movie = npsubpix.simulate_spots((45, 48), truth, flux=160, sigma=1.3, background=3.0, rng=2)
    np.save(tmp_path / "a.npy", movie)
    args = ("--threshold", 5, "--detect", "dog", "--detect-sigma", "1.3", "--refine", "centroid")
    run("locate", tmp_path / "a.npy", *args, "-o", tmp_path / "a.csv")
    rows, metadata = table_of(tmp_path / "a.csv")
    found = npsubpix.find_peaks(movie, detect="dog", detect_sigma=1.3, threshold_abs=5, refine="centroid")
    assert [[row[n] for n in ("y", "x", "value")] for row in rows] == [
        [repr(v) for v in (*place, value)]
        for place, value in zip(found.coords.tolist(), found.values.tolist(), strict=True)
    ]
    assert npsubpix.assess(found, truth, 1.0).n_matched == 3
    assert all(5 < float(row["significance"]) < 100 for row in rows)
    assert (metadata["options"]["detect"], metadata["options"]["detect_sigma"]) == ("dog", 1.3)
    boxes = run("locate", tmp_path / "a.npy", *args, "--background", 24, "--show", 1).stdout
    assert "significance" in boxes
    for wrong in (args[:4], (*args[:2], *args[4:6])):
        line = fails("locate", tmp_path / "a.npy", *wrong, code=2)
        assert "--detect and --detect-sigma need each other" in line


def test_refinement_of_a_volume_takes_one_number_per_axis(tmp_path):
    z, y, x = np.indices((20, 30, 32))
    volume = 90 * np.exp(-((z - 9.7) ** 2 / 4 + ((y - 14.2) ** 2 + (x - 16.4) ** 2) / 8))
    np.save(tmp_path / "v.npy", volume)
    args = ("--volume", "--threshold", 20, "--refine", "centroid", "--radius", "3,5,5")
    run("locate", tmp_path / "v.npy", *args, "-o", tmp_path / "a.csv")
    (row,) = table_of(tmp_path / "a.csv")[0]
    np.testing.assert_allclose([float(row[axis]) for axis in "zyx"], [9.7, 14.2, 16.4], atol=0.01)
    line = fails("locate", tmp_path / "v.npy", *args[:-1], "3,5", "--quiet")
    assert "v.npy: radius must be one number or 3 of them" in line


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", ["least_squares", "log_quadratic", "phasor", "radial"])
def test_every_method_of_refinement_has_a_name(tmp_path, method):
    """The table is that of `find_peaks`; a radius is refused where it has no meaning."""
    image = spots((40, 50), [(10.3, 20.4), (30.2, 35.6)])
    np.save(tmp_path / "a.npy", image)
    radius = () if method == "least_squares" else ("--radius", 4)
    run("locate", tmp_path / "a.npy", "--threshold", 20, "--refine", method, *radius, "-o", tmp_path / "a.csv")
    found = npsubpix.find_peaks(image, threshold_abs=20, refine=method, **({"radius": 4} if radius else {}))
    rows = table_of(tmp_path / "a.csv")[0]
    np.testing.assert_allclose([[float(row[axis]) for axis in "yx"] for row in rows], found.coords, atol=1e-5)
    if not radius:
        line = fails("locate", tmp_path / "a.npy", "--refine", method, "--radius", 4, code=2)
        assert "--radius needs --refine centroid, fit, log_quadratic, phasor or radial" in line


def test_a_mask_is_that_of_all_frames_or_of_each(tmp_path):
    movie = np.stack([spots((40, 50), [(10, 20), (30, 35)])] * 3)
    mask = np.zeros(movie.shape, np.uint8)
    mask[1, 5:15, 15:25] = 255
    mask[2, 25:35, 30:40] = 1
    for name, data in (("movie", movie), ("each", mask), ("all", mask[1]), ("two", mask[:2])):
        np.save(tmp_path / f"{name}.npy", data)

    def found(name):
        args = ("--threshold", 10, "--mask", tmp_path / f"{name}.npy", "-o", tmp_path / "a.csv")
        run("locate", tmp_path / "movie.npy", *args)
        return [(row["frame"], round(float(row["x"]))) for row in table_of(tmp_path / "a.csv")[0]]

    assert found("each") == [("0", 20), ("0", 35), ("1", 35), ("2", 20)]
    assert found("all") == [("0", 35), ("1", 35), ("2", 35)]
    line = fails("locate", tmp_path / "movie.npy", "--mask", tmp_path / "two.npy")
    assert "two.npy: has 2 frames; needed are 1 or 3, as in" in line
    np.save(tmp_path / "small.npy", mask[0, :20])
    assert "mask must" in fails("locate", tmp_path / "movie.npy", "--quiet", "--mask", tmp_path / "small.npy")


def test_background_noise_and_significance_are_columns(tmp_path, rng):
    x = np.indices((90, 160))[1]
    image = 0.6 * x + spots(x.shape, [(20, 25), (70, 90)]) * 0.8 - spots(x.shape, [(45, 140)])
    image += rng.normal(0, 2, x.shape)
    np.save(tmp_path / "a.npy", image)
    args = ("--background", 32, "--threshold", 7, "--minima", "-o", tmp_path / "a.csv")
    shown = run("locate", tmp_path / "a.npy", *args).stdout.splitlines()[1].split()
    assert shown == ["y", "x", "y_std", "x_std", "value", "background", "noise", "significance", "flags"]
    rows, _ = table_of(tmp_path / "a.csv")
    measured = npsubpix.local_background(image, 32)
    assert len(rows) == 3
    for row in rows:
        at = int(row["y_index"]), int(row["x_index"])
        sign = -1 if "MINIMUM" in row["flag_names"] else 1
        assert float(row["background"]) == measured.level[at]
        assert float(row["noise"]) == measured.noise[at]
        height = sign * (image[at] - measured.level[at])
        assert float(row["significance"]) == pytest.approx(height / measured.noise[at], rel=1e-12)
        assert float(row["significance"]) > 7
    run("locate", tmp_path / "a.npy", "--sigma", 2, "--threshold", 20, "-o", tmp_path / "b.csv")
    row = table_of(tmp_path / "b.csv")[0][0]
    assert (float(row["background"]), float(row["noise"])) == (0, 2)
    assert float(row["significance"]) == float(image[int(row["y_index"]), int(row["x_index"])]) / 2


@pytest.mark.exhaustive  # which compiles backgrounds of two dtypes
def test_a_noise_that_is_a_guess_is_spoken_of(tmp_path, rng):
    """Rare photons: half of the pixels and more are 0, and do not determine the noise."""
    photons = rng.poisson(0.05 + spots((60, 60), [(20, 30), (41, 12)]))
    for name, image in (("few", photons), ("many", photons + rng.normal(0, 1, photons.shape))):
        np.save(tmp_path / f"{name}.npy", image)
        args = ("--background", 30, "--threshold", 8, "--min-distance", 9, "-o", tmp_path / f"{name}.csv")
        process = run("locate", tmp_path / f"{name}.npy", "--quiet", *args)
        said = "note: the noise is a guess in 1 of 1 frames, around 2 of 2 peaks"
        rows, _ = table_of(tmp_path / f"{name}.csv")
        assert len(rows) == 2
        assert {row["noise_guessed"] for row in rows} == {str(name == "few")}
        assert process.stderr.count(said) == process.stderr.count("note:") == (name == "few")
        assert not process.stdout
    none = run("locate", tmp_path / "few.npy", "--background", 30, "--threshold", 1000)
    assert "around 0 of 0 peaks" in none.stderr
    process = run("locate", tmp_path / "few.npy", "--background", 30, "--sigma", 1, "-o", tmp_path / "c.csv")
    assert "guess" not in process.stderr
    assert "noise_guessed" not in (tmp_path / "c.csv").read_text()


def test_background_and_noise_may_be_images(image, tmp_path):
    known = np.load(image)
    np.save(tmp_path / "level.npy", np.full(known.shape, 5.0))
    np.save(tmp_path / "noise.npy", np.where(np.indices(known.shape)[0] < 20, 1000.0, 1.0))
    args = ("--level", tmp_path / "level.npy", "--sigma", tmp_path / "noise.npy", "--threshold", 10)
    run("locate", image, *args, "-o", tmp_path / "a.csv")
    rows, metadata = table_of(tmp_path / "a.csv")
    assert sorted(int(row["y_index"]) for row in rows) == [22, 30]
    assert metadata["options"]["background"] == str(tmp_path / "level.npy")


def test_all_outputs_are_written_and_hold_the_same_rows(image, tmp_path):
    pd = pytest.importorskip("pandas")
    h5py = pytest.importorskip("h5py")
    ecsv = pytest.importorskip("astropy.table").Table
    pytest.importorskip("pyarrow")
    names = [tmp_path / f"a.{ending}" for ending in ("csv", "parquet", "h5", "ecsv")]
    out = run("locate", image, "--threshold", 10, *[part for name in names for part in ("-o", name)]).stdout
    assert [line for line in out.splitlines() if line.startswith("Wrote")] == [f"Wrote {name}" for name in names]
    with h5py.File(names[2]) as file:
        rows = file["peaks"][()]
    for table in (pd.read_csv(names[0]), pd.read_parquet(names[1]), ecsv.read(names[3])):
        assert np.asarray(table["ok"]).tolist() == rows["ok"].tolist() == [True] * 3
        np.testing.assert_allclose(np.asarray(table["x"]), rows["x"], rtol=1e-15)


def test_a_table_saved_in_python_is_that_of_the_command_line(image, tmp_path):
    run("locate", image, "--threshold", 10, "--origin", "corner", "-o", tmp_path / "a.csv")
    peaks = npsubpix.find_peaks(np.load(image), threshold_abs=10)
    peaks.save(tmp_path / "b.csv", origin="corner")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    ours, theirs = (json.loads((tmp_path / f"{name}.csv.json").read_text()) for name in "ab")
    assert set(ours) - set(theirs) == {"images", "options", "shape"}
    assert {name: ours[name] for name in theirs if name != "created"} == {
        name: value for name, value in theirs.items() if name != "created"
    }


def test_comments_and_napari_change_the_file_as_asked_for(image, tmp_path):
    run("locate", image, "--threshold", 10, "--comments", "-o", tmp_path / "a.csv")
    lines = (tmp_path / "a.csv").read_text("utf-8").splitlines()
    assert lines[0].startswith("# npsubpix_version: ")
    assert not (tmp_path / "a.csv.json").exists()
    shown = run("locate", image, "--threshold", 10, "--napari", "-o", tmp_path / "b.csv").stdout
    assert (tmp_path / "b.csv").read_text().startswith("index,axis-0,axis-1,value,")
    assert shown.splitlines()[1].split() == ["y", "x", "value", "flags"]


# --- pictures


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "movie.npy"
    places = [(10, 20), (30, 35), (20, 8)]
    np.save(path, np.stack([spots((40, 50), places[:count]) for count in (1, 3, 2)]))
    return path


def test_the_frame_with_most_peaks_is_drawn_or_the_one_asked_for(image, movie, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    calls = spy(monkeypatch, npsubpix.plotting, "draw_peaks")
    plot = tmp_path / "p.png"
    for args, frame in (((), 1), (("--plot-frame", 2), 2)):
        run("locate", movie, "--threshold", 10, "--plot", plot, *args)
        (drawn, peaks), options = calls.pop()
        np.testing.assert_array_equal(drawn, np.load(movie)[frame])
        assert len(peaks) == (3 if frame == 1 else 2)
        assert options["title"] == f"{len(peaks)} peaks in movie.npy, frame {frame} of 0 to 2"
    plot.unlink()
    line = fails("locate", movie, "--quiet", "--plot", plot, "--plot-frame", 3)
    assert "there is no frame 3; frames are counted from 0" in line
    assert not plot.exists()


def test_several_plots_are_all_written(image, tmp_path):
    pytest.importorskip("matplotlib")
    run("locate", image, "--plot", tmp_path / "p.png", "--plot", tmp_path / "p.svg", "--light")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "p.svg").read_bytes().startswith(b"<?xml")


def test_rows_of_fits_images_are_drawn_upwards(image, tmp_path, monkeypatch):
    fits = pytest.importorskip("astropy.io.fits")
    pytest.importorskip("matplotlib")
    fits.writeto(tmp_path / "a.fits", np.load(image))
    calls = spy(monkeypatch, npsubpix.plotting, "draw_peaks")
    for name, args, up in (
        (tmp_path / "a.fits", (), True),
        (tmp_path / "a.fits", ("--y-down",), False),
        (image, (), False),
        (image, ("--y-up", "--light"), True),
    ):
        run("locate", name, "--plot", tmp_path / "p.png", *args)
        options = calls.pop()[1]
        assert options["y_up"] is up
        assert options["style"] == ("light" if "--light" in args else "dark")
