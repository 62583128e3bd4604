"""Blobs on the command line, in movies and in pictures; and of Lowe's own program."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import npsubpix
import npsubpix.cli.report
import npsubpix.movies.tasks
from benchmarks import blob_accuracy
from npsubpix.plotting import draw_peaks
from tests.movie_cases import assert_same_rows, blocks, check_blobs_in_tiles, frame_of_blobs, tiles
from tests.test_cli import fails, run, table_of
from tests.test_cli_options import named
from tests.test_plotting import circles

#: Arguments of `find_blobs` that are no options of the command: files say which axis is that of frames.
NO_OPTION = {"frame_axis"}

#: What is typed for each argument, and what it receives.
TYPED = {
    "min_sigma": ("--min-sigma", "1.5", 1.5),
    "max_sigma": ("--max-sigma", "6", 6.0),
    "scales_per_octave": ("--scales-per-octave", "4", 4),
    "method": ("--method", "dog", "dog"),
    "dark": ("--dark", "both", "both"),
    "threshold_abs": ("--threshold", "10", 10.0),
    "threshold_rel": ("--threshold-rel", "0.1", 0.1),
    "threshold_snr": ("--threshold-snr", "6", 6.0),
    "noise": ("--noise", "2", 2.0),
    "edge_ratio": ("--edge-ratio", "8", 8.0),
    "overlap": ("--overlap", "0.3", 0.3),
    "spacing": ("--spacing", "1,1", (1.0, 1.0)),
    "num_blobs": ("--num-blobs", "2", 2),
    "exclude_border": ("--exclude-border", "true", True),
    "mask": ("--mask", "MASK", "a mask"),
    "refine": ("--refine", "quadratic", "quadratic"),
}

#: Sizes of the blobs of tests.
SIZES = {"min_sigma": 1.5, "max_sigma": 6.0}


def blobs(shape=(64, 72), places=((20.3, 21.6, 2.0), (40.4, 50.2, 4.0)), noise=1.0, seed=0):
    y, x = np.indices(shape)
    image = sum(60 * np.exp(-((y - b) ** 2 + (x - a) ** 2) / (2 * s**2)) for b, a, s in places)
    return (image + 10 + np.random.default_rng(seed).normal(0, noise, shape)).astype(np.float32)


def movie_of(count=5):
    places = [[(20.3 + k, 21.6, 2.0), (40.4, 50.2 - k, 4.0)][: 1 + k % 2] for k in range(count)]
    return np.stack([blobs(places=place, seed=k) for k, place in enumerate(places)])


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "blobs.npy"
    np.save(path, blobs())
    return path


# --- the command line


def test_every_argument_of_find_blobs_has_an_option_that_reaches_it(image, tmp_path, monkeypatch):
    wanted = named(npsubpix.find_blobs) | {"min_sigma", "max_sigma"}
    assert set(TYPED) == wanted - NO_OPTION
    np.save(tmp_path / "mask.npy", np.indices((64, 72))[1] < 12)
    calls = []

    @functools.wraps(npsubpix.find_blobs)
    def nothing(*args, **options):
        calls.append((args, options))
        return npsubpix.Blobs(np.empty((0, 2)), *np.empty((4, 0)), np.empty(0, np.int32))

    monkeypatch.setattr(npsubpix.movies.tasks, "find_blobs", nothing)
    monkeypatch.setattr(npsubpix.cli.report, "hints_for_no_blobs", lambda *_: [])
    args = [part for option, text, _ in TYPED.values() for part in (option, text)]
    run("blobs", image, *[tmp_path / "mask.npy" if arg == "MASK" else arg for arg in args], "-o", tmp_path / "a.csv")
    ((_, options),) = calls
    mask = options.pop("mask")
    assert options.pop("frame_axis") is None
    assert options == {name: value for name, (_, _, value) in TYPED.items() if name != "mask"}
    np.testing.assert_array_equal(mask, np.load(tmp_path / "mask.npy"))
    assert table_of(tmp_path / "a.csv")[1]["options"]["method"] == "dog"


@pytest.mark.exhaustive
def test_the_command_writes_and_prints_what_the_function_finds(image, tmp_path):
    args = ("--min-sigma", 1.5, "--max-sigma", 6, "--origin", "fits")
    shown = run("blobs", image, *args, "-o", tmp_path / "a.csv", "--plot", tmp_path / "a.png").stdout.splitlines()
    assert shown[0] == "2 blobs in blobs.npy"
    assert {"y", "x", "sigma", "radius", "amplitude"} <= set(shown[1].split())
    rows, metadata = table_of(tmp_path / "a.csv")
    found = npsubpix.find_blobs(np.load(image), **SIZES)
    assert len(found) == 2
    for name, column in (("y", found.coords[:, 0] + 1), ("sigma", found.sigma), ("radius", found.radius)):
        assert [float(row[name]) for row in rows] == column.tolist()
    assert metadata["options"]["scales_per_octave"] == 3
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.exhaustive
def test_sizes_and_positions_in_units(image, tmp_path):
    args = ("--min-sigma", 1.5, "--max-sigma", 6, "--units", "um", "--pixel-size", 200)
    run("blobs", image, *args, "-o", tmp_path / "a.csv")
    for row in table_of(tmp_path / "a.csv")[0]:
        for name in ("y", "x", "sigma", "radius"):
            assert float(row[f"{name}_um"]) == pytest.approx(0.2 * float(row[name]))


@pytest.mark.exhaustive
def test_a_movie_is_searched_frame_by_frame_and_its_fullest_frame_drawn(tmp_path):
    np.save(tmp_path / "m.npy", movie_of())
    args = ("--min-sigma", 1.5, "--max-sigma", 6, "-o", tmp_path / "a.csv", "--plot", tmp_path / "a.png")
    assert "7 blobs in m.npy, 5 frames" in run("blobs", tmp_path / "m.npy", *args).stdout
    assert [row["frame"] for row in table_of(tmp_path / "a.csv")[0]] == list("0112334")


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ((3, 2), "--max-sigma must not be below min-sigma, 3.0, got 2.0"),
        ((0.2, 2), "--min-sigma must be at least 0.5 pixels on every axis, got 0.2"),
        (("2,3", "4,5"), "--max-sigma must have the ratios between axes that min-sigma has"),
        (("2,3", "4,6", "--spacing", "1,1,1"), "--min-sigma must be one number or 3 of them, got (2.0, 3.0)"),
        ((2, 4, "--overlap", 2), "--overlap must be from 0 to 1, got 2.0"),
        ((2, 4, "--noise", -1), "--noise must be at least 0, got -1.0"),
        ((2, 4, "--threshold", "nan"), "--threshold must be finite, got nan"),
        ((2, 4, "--edge-ratio", 0.5), "--edge-ratio must be at least 1, got 0.5"),
        ((2, 4, "--edge-ratio", "no"), "'no' is neither a number nor none"),
        ((2, 4, "--num-blobs", -1), "--num-blobs must be at least 0, got -1"),
        ((2, 4, "--scales-per-octave", 0), "--scales-per-octave must be at least 1, got 0"),
        (("a", 4), "'a' is not a number"),
        ((2, 4, "--resume"), "--resume needs --output"),
    ],
)
def test_options_out_of_range_are_one_line_before_any_file_is_read(args, text):
    low, high, *others = args
    assert text in fails("blobs", "missing.npy", "--min-sigma", low, "--max-sigma", high, *others, code=2)


def test_sizes_beyond_the_image_name_it(image):
    line = fails("blobs", image, "--min-sigma", 2, "--max-sigma", 300)
    assert "blobs.npy: max_sigma must be at most a third of the image along each axis" in line
    assert "Missing option" in fails("blobs", image, "--min-sigma", 2, code=2)


@pytest.mark.exhaustive
def test_without_blobs_a_line_says_which_option_would_find_them(image):
    sizes = ("--min-sigma", 1.5, "--max-sigma", 6)
    assert "2 blobs are found without --threshold" in run("blobs", image, *sizes, "--threshold", 500).stdout
    assert "dark" in run("blobs", image, *sizes, "--dark", "true", "--threshold", 30).stdout


# --- movies


@pytest.mark.exhaustive
@pytest.mark.parametrize("options", [{}, {"refine": "fit"}, {"dark": "both", "threshold_rel": 0.3}, {"num_blobs": 1}])
@pytest.mark.parametrize("axis", [0, 2])
def test_blocks_of_frames_give_the_rows_of_one_call(options, axis):
    """Where a movie is cut must never show in the table."""
    frames = np.moveaxis(movie_of(), 0, axis)
    expected = npsubpix.find_blobs(frames, **SIZES, **options, frame_axis=axis)
    assert len(expected) >= 5
    for count in (1, 2, 3):
        with blocks(count * 64 * 72):
            found = npsubpix.locate(frames, task="blobs", frames=axis, **SIZES, **options)
        assert_same_rows(found, expected)


@pytest.mark.exhaustive
def test_a_region_of_each_frame_has_positions_of_the_whole():
    frames = movie_of()
    found = npsubpix.locate(frames, task="blobs", roi=(slice(8, 60), slice(4, 72)), **SIZES)
    expected = npsubpix.find_blobs(frames[:, 8:60, 4:72], **SIZES, frame_axis=0)
    np.testing.assert_array_equal(found.coords, expected.coords + np.array([8, 4]))


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_sigma": None}, TypeError, "needs the sizes of blobs, min_sigma and max_sigma, got no max_sigma"),
        ({"size": 3}, TypeError, "locate has no option 'size': those of find_blobs are min_sigma, max_sigma"),
        ({"fit": {}}, TypeError, "fit is for task='spots', got it with task='blobs'"),
        (
            {"max_memory": 4000},
            ValueError,
            r"too little for a tile .* the widest filter reaches far beyond",
        ),
        ({"noise": np.ones((3, 64, 72))}, ValueError, "noise must"),
        ({"max_sigma": 1.0}, ValueError, "max_sigma"),
    ],
)
def test_what_cannot_be_done_is_one_line(options, error, text):
    given = {name: value for name, value in {**SIZES, **options}.items() if value is not None}
    with pytest.raises(error, match=text):
        npsubpix.locate(movie_of(), task="blobs", **given)


@pytest.mark.parametrize(
    "options",
    [
        {"dark": "both", "overlap": 0.1, "threshold_snr": 4},
        {"method": "dog", "threshold_rel": 0.1, "num_blobs": 30, "exclude_border": True},
        {"method": "doh", "noise": 1.0, "spacing": (1.0, 0.5), "edge_ratio": None},
    ],
)
def test_tiles_give_the_blobs_of_the_frame(options):
    """A blob at a seam must be there once, with the digits that it has without a seam, on every grid of the pyramid."""
    sizes = {"min_sigma": 0.8, "max_sigma": 3.4}
    check_blobs_in_tiles(frame_of_blobs(), (29, 34), **{**sizes, **options})
    counts = np.rint(frame_of_blobs() + 100).astype(np.uint16)
    check_blobs_in_tiles(counts, (190, 21), **{**sizes, **options})


def test_tiles_of_a_volume_and_of_a_movie():
    volume = frame_of_blobs((20, 24, 150))
    check_blobs_in_tiles(volume, (20, 24, 31), min_sigma=1, max_sigma=2, threshold_snr=4, dark="both")
    movie = np.stack([frame_of_blobs((60, 90), seed) for seed in (1, 2)])
    with tiles(25, 31):
        found = npsubpix.locate(movie, task="blobs", min_sigma=1, max_sigma=2, roi=((10, 60), (0, 90)))
    expected = npsubpix.find_blobs(movie[:, 10:], 1, 2, frame_axis=0)
    np.testing.assert_array_equal(found.coords, expected.coords + np.array([10.0, 0.0]))
    np.testing.assert_array_equal(found.frame, expected.frame)


@pytest.mark.parametrize("noise", [None, 1.0])
def test_fits_of_blobs_of_a_frame_in_tiles(noise):
    """Without a known noise, errors are those of the residuals of all blobs of a frame."""
    options = {"min_sigma": 1, "max_sigma": 2, "dark": "both", "refine": "fit", "noise": noise}
    check_blobs_in_tiles(frame_of_blobs((110, 130)), (40, 33), **options)


def test_memory_decides_about_tiles():
    image = frame_of_blobs((400, 420))
    expected = npsubpix.find_blobs(image, 1, 2)
    done = []
    found = npsubpix.locate(
        image, task="blobs", frames=False, min_sigma=1, max_sigma=2, max_memory="3 MB",
        progress=lambda part, _: done.append(part),
    )  # fmt: skip
    assert_same_rows(found, expected)
    assert len(done) > 8
    with pytest.raises(ValueError, match=r"fitted at once, which takes .* more than max_memory"):
        npsubpix.locate(image, task="blobs", frames=False, min_sigma=1, max_sigma=2, refine="fit", max_memory="500 kB")


# --- pictures


@pytest.mark.parametrize("radii", [[3.0, 6.0], [[3.0, 4.0], [6.0, 8.0]]])
def test_circles_have_the_radii_of_blobs(radii):
    pixels, sigma = blobs(), np.array(radii) / 2**0.5
    found = npsubpix.Blobs(np.array([[20.3, 21.6], [40.4, 50.2]]), sigma, *np.ones((3, 2)), np.zeros(2, np.int32))
    drawn = circles(draw_peaks(pixels, found))
    sizes = np.broadcast_to(np.array(radii).reshape(2, -1), (2, 2))
    np.testing.assert_allclose(np.column_stack([drawn._heights, drawn._widths]), sizes)
    np.testing.assert_allclose(drawn.get_offsets(), found.coords[:, ::-1])
    assert len(circles(draw_peaks(pixels, found[:1])).get_offsets()) == 1


# --- the program of the inventor


def test_keypoints_of_lowes_program_are_found(data):
    """638 keypoints of a photograph, some of them with several orientations."""
    data("blobs_lowe_sift")
    coords, _, found = blob_accuracy.lowe()
    distance = np.linalg.norm(coords[:, None] - found.coords, axis=-1).min(axis=1)
    assert (distance < 0.5).mean() >= 0.9
