"""Frames in tiles: the rows of one call on the whole frame, bit for bit, wherever tiles end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import npsubpix
from tests.movie_cases import assert_same_rows, frame_of, in_one_call, tiles

KINDS = ("floats", "gaps", "counts", "few", "flat")

CAMERA = npsubpix.Camera(offset=-9.0, read_variance=1.0)


def check(image, lengths, fit=None, boxes=None, **options):
    with tiles(*lengths):
        task = {} if fit is None else {"task": "spots", "fit": fit}
        measured = {} if boxes is None else {"background": boxes}
        found = npsubpix.locate(image, frames=False, **task, **{**options, **measured})
    if boxes is not None:
        options["background"] = npsubpix.local_background(image, **boxes, mask=options.get("mask"))
    if fit is not None and "mask" in options:  # which is that of the search and of the fit
        fit = {**fit, "mask": options["mask"]}
    assert_same_rows(found, in_one_call(image, None, fit, **options))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(61, 83), (9, 20, 31)])
@pytest.mark.parametrize(
    "options",
    [
        {"refine": "centroid"},
        {"min_distance": 6.0, "threshold_rel": 0.3, "exclude_border": False},
        {"num_peaks": 20, "exclude_border": 3, "plateau": "first"},
        {"background": 1.0, "sigma": 0.5, "threshold_abs": 2, "minima": True, "plateau": "centroid"},
        {"size": 7, "plateau": "refine", "refine": None},
    ],
)
def test_tiles_give_the_rows_of_the_frame(kind, shape, options):
    """A peak at a seam must be there once, with the digits that it has without a seam."""
    rng = np.random.default_rng(5)
    check(frame_of(kind, shape, rng), [int(n) for n in rng.integers(5, 24, len(shape))], **options)


def test_a_plateau_larger_than_tiles_is_one_peak():
    """A saturated star on many tiles must not be a peak of each, nor be lost."""
    y, x = np.mgrid[:160, :170]
    star = np.minimum(1e5 / (1 + ((y - 71.3) ** 2 + (x - 88.7) ** 2) / 40), 30_000)
    image = star.astype(np.uint16)
    image[20:24, 30:120] = 40_000  # a bright bar, from tile to tile
    image[100:, :40] = image[100:, :40].max() + 7  # and a flat corner
    for lengths in ((16, 16), (160, 12), (7, 90), (1, 170)):
        check(image, lengths, exclude_border=False)
        check(image, lengths, size=9, plateau="centroid")


def test_plateaus_of_windows_of_an_even_size():
    """Many plateaus of one value, of which some are extrema of three pixels, but not of their windows."""
    rng = np.random.default_rng(686375162)
    image = frame_of("flat", (52, 43), rng)
    check(
        image, (36, 7), mask=rng.random(image.shape) < 0.05, size=4, minima=True, exclude_border=5, refine="quadratic"
    )


def test_a_rival_of_a_plateau_whose_own_window_is_cut():
    """It seems to be a strict maximum in the tile, and is a plateau in the frame."""
    rng = np.random.default_rng(2226690930)
    image = frame_of("flat", (50, 47), rng)
    check(image, (19, 12), mask=rng.random(image.shape) < 0.05, size=4, exclude_border=2, refine=None)


def test_a_plateau_larger_than_memory_is_named():
    """Two workers were told that 0.58 MB are more than the 1 MB of max_memory, which they share."""
    image = np.zeros((300, 300), np.uint8)
    image[50:250, 60:240] = 9
    with pytest.raises(
        ValueError,
        match=r"in frame 0 around y \d+ to \d+, x \d+ to \d+ needs about .*, the share of one worker in max_memory",
    ):
        npsubpix.locate(image, frames=False, max_memory="200 kB")
    assert len(npsubpix.locate(image, frames=False, max_memory="200 kB", plateau="drop")) == 0


def test_chains_of_peaks_are_thinned_from_the_brightest_on():
    """The choice at one end of a chain decides at the other end, many tiles away."""
    image = np.zeros((9, 400), np.float32)
    image[4, 8:392:4] = np.linspace(1, 2, 96)
    check(image, (9, 20), min_distance=6.0)
    assert len(in_one_call(image, None, min_distance=6.0)) == 48


def test_spots_of_a_frame_in_tiles():
    """Fits see their boxes, and neighbours across a seam."""
    rng = np.random.default_rng(2)
    truth = rng.uniform(4, [66, 86], (60, 2))
    image = npsubpix.simulate_spots((70, 90), truth, flux=900, sigma=1.2, background=5, rng=rng).astype(np.uint16)
    assert (in_one_call(image, None, {"camera": npsubpix.Camera()}, threshold_abs=40).flags != 0).any()
    check(image, (17, 23), {"camera": npsubpix.Camera()}, threshold_abs=40)
    camera = npsubpix.Camera(
        offset=rng.uniform(-3, 0, image.shape).astype(np.float32),
        electrons_per_count=rng.uniform(0.9, 1.1, image.shape),
        read_variance=rng.uniform(0, 3, image.shape),
    )
    for fit in ({"camera": camera}, {"error": rng.uniform(3, 6, image.shape)}):
        check(image, (17, 23), fit, threshold_abs=40)
    mask = rng.random(image.shape) < 0.02
    check(
        image,
        (17, 23),
        {"camera": npsubpix.Camera(em_gain=camera.electrons_per_count + 1)},
        threshold_abs=40,
        mask=mask,
    )


@pytest.mark.parametrize("noise", [-1.0, np.nan])
def test_a_map_of_noise_that_lets_no_pixel_be_a_peak_is_said(tmp_path, noise):
    image = frame_of("counts", (50, 64), np.random.default_rng(4))
    sigma = np.full(image.shape, noise)
    np.save(tmp_path / "sigma.npy", sigma)
    for known in (sigma, tmp_path / "sigma.npy"):
        with tiles(13, 20), pytest.warns(UserWarning, match="sigma is negative or NaN at all pixels"):
            assert len(npsubpix.locate(image, frames=False, sigma=known, threshold_abs=1)) == 0
    sigma[:, 20:] = 1.0  # tiles without usable noise beside others
    with tiles(13, 20):
        assert len(npsubpix.locate(image, frames=False, sigma=sigma, threshold_abs=1e9)) == 0


def test_maps_that_are_not_in_memory_are_read_tile_by_tile(tmp_path, monkeypatch):
    """They may be as large as the image; those of a movie in blocks are read with its blocks."""
    zarr, dask = pytest.importorskip("zarr"), pytest.importorskip("dask.array")
    rng = np.random.default_rng(4)
    images = np.stack([frame_of("counts", (50, 64), rng) for _ in range(3)])
    mask, level, noise = (
        rng.random(images.shape) < 0.05,
        rng.normal(3, 0.2, images.shape),
        rng.uniform(0.5, 2, (50, 64)),
    )
    stored = zarr.create_array(str(tmp_path / "mask.zarr"), data=mask, chunks=(1, 25, 32))
    np.save(tmp_path / "noise.npy", noise)
    np.save(tmp_path / "mask.npy", mask[0] * np.uint8(255))
    maps = {"mask": stored, "background": dask.from_array(level, chunks=(1, 25, 64)), "sigma": tmp_path / "noise.npy"}
    options = {"threshold_abs": 1.5, "refine": "centroid"}
    seen, read = [], npsubpix.io.ImageSource.read
    monkeypatch.setattr(
        npsubpix.io.ImageSource, "read", lambda self, index=...: seen.append(part := read(self, index)) or part
    )
    known = {"mask": mask, "background": level, "sigma": noise}
    assert_same_rows(npsubpix.locate(images, **maps, **options), in_one_call(images, 0, **known, **options))
    seen.clear()
    with tiles(13, 20):
        found = npsubpix.locate(images, **maps, **options)
    assert_same_rows(found, in_one_call(images, 0, **known, **options))
    assert max(part.size for part in seen if part.dtype != np.float64) < images[0].size / 2  # ends of maps take parts
    with tiles(13, 20):
        fits = npsubpix.locate(
            images[0], task="spots", frames=False, error=str(tmp_path / "noise.npy"), threshold_abs=8
        )
        by_name = npsubpix.locate(images[0], frames=False, mask=str(tmp_path / "mask.npy"), threshold_abs=8)
    assert_same_rows(fits, in_one_call(images[0], None, {"error": noise}, threshold_abs=8))
    assert_same_rows(by_name, in_one_call(images[0], None, mask=mask[0], threshold_abs=8))
    for wrong, words in (
        ({"mask": stored[:, :40]}, "mask must have the shape of a frame"),
        ({"mask": tmp_path / "no.npy"}, "no.npy"),
    ):
        with pytest.raises((ValueError, OSError), match=words):
            npsubpix.locate(images, **wrong)


def test_masks_backgrounds_and_noise_of_pixels():
    rng = np.random.default_rng(4)
    image = frame_of("counts", (50, 64), rng)
    maps = {"mask": rng.random(image.shape) < 0.05, "background": rng.normal(3, 0.2, image.shape)}
    check(image, (13, 20), **maps, sigma=rng.uniform(0.5, 2, image.shape), threshold_abs=1.5, refine="centroid")
    pair = npsubpix.local_background(image, 16)
    check(image, (13, 20), background=pair, threshold_abs=2)


@pytest.mark.parametrize("kind", ["counts", "few", "gaps"])
@pytest.mark.parametrize("shape", [(61, 83), (12, 30, 41)])
def test_the_background_that_is_measured_is_that_of_the_frame(kind, shape):
    """Boxes are measured in parts, but filled, smoothed and interpolated for the whole frame."""
    image = frame_of(kind, shape, np.random.default_rng(8))
    mask = np.random.default_rng(9).random(shape) < 0.1
    for boxes, known in (({"size": 9, "grow": 1}, {"mask": mask}), ({"size": 64, "method": "mean"}, {"sigma": 1.5})):
        expected = npsubpix.local_background(image, **boxes, mask=known.get("mask"))
        options = {"threshold_abs": 1.5, "minima": True, "threshold_rel": 0.1}
        with tiles(*[11, 17, 13][: len(shape)]):
            found = npsubpix.locate(image, frames=False, background=boxes, **options, **known)
        assert_same_rows(found, in_one_call(image, None, background=expected, **options, **known))


@pytest.mark.parametrize("kind", ["counts", "floats", "gaps"])
@pytest.mark.parametrize("shape", [(61, 83), (12, 30, 41)])
@pytest.mark.parametrize("detect", ["gaussian", "dog", "log"])
def test_frames_are_filtered_tile_by_tile_as_a_whole(kind, shape, detect):
    """Spots are sought in filtered tiles, whose gaps are filled with the background of the frame."""
    rng = np.random.default_rng(8)
    image, mask = frame_of(kind, shape, rng), rng.random(shape) < 0.04
    options = {"detect": detect, "detect_sigma": 1.3, "refine": "centroid"}
    lengths = [11, 17, 13][: len(shape)]
    check(image, lengths, threshold_abs=2, **options)
    check(image, lengths, mask=mask, minima=True, background=0.1, sigma=0.3, threshold_abs=1.0, **options)
    check(image, lengths, exclude_border=False, sigma=0.2, threshold_rel=0.1, **{**options, "detect_sigma": 4.0})


def test_files_have_the_columns_of_blocks(tmp_path):
    """A table must not have fewer columns because frames are large."""
    pandas = pytest.importorskip("pandas")
    image = frame_of("counts", (64, 70), np.random.default_rng(3))[None]
    detect = {"detect": "gaussian", "detect_sigma": 1.2}
    known = ({"background": {"size": 20}}, {"background": 3.0}, {"sigma": 2.0, "task": "spots"})
    for options in (*known, detect, {**known[0], **detect}, {**known[2], **detect}):
        options = {"threshold_abs": 2, "camera": CAMERA, **options}
        npsubpix.locate(image, output=tmp_path / "blocks.csv", **options)
        with tiles(21, 18):
            npsubpix.locate(image, output=tmp_path / "tiles.csv", **options)
        one, other = (pandas.read_csv(tmp_path / f"{name}.csv") for name in ("blocks", "tiles"))
        pandas.testing.assert_frame_equal(one, other, check_exact=True)


def test_the_peak_left_out_at_the_border_is_known():
    """What is left out is said, also where the border lies in other tiles than the peaks."""
    image = np.random.default_rng(1).normal(size=(40, 50)).astype(np.float32)
    image[0, 7], image[39, 49] = 9.0, 8.0
    with tiles(11, 13):
        found = npsubpix.locate(image, frames=False)
    assert found.left_out() == [" exclude_border leaves out a higher peak at the border: 9"]


def test_a_movie_of_large_frames_and_a_region():
    rng = np.random.default_rng(6)
    images = np.stack([frame_of("counts", (40, 48), rng) for _ in range(3)])
    with tiles(15, 17):
        found = npsubpix.locate(images, roi=((4, 36), (0, 40)), threshold_abs=7)
    expected = in_one_call(images[:, 4:36, :40], 0, threshold_abs=7)
    assert np.array_equal(found.frame, expected.frame)
    assert np.array_equal(found.coords, expected.coords + np.array([4.0, 0.0]))
    maps = {"mask": rng.random(images.shape) < 0.1, "background": rng.normal(3, 0.1, images.shape)}
    with tiles(15, 17):
        assert_same_rows(npsubpix.locate(images, **maps), in_one_call(images, 0, **maps))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"mode": "wrap"}, "mode='wrap' needs the whole frame"),
        ({"detect": np.ones((40, 50))}, "detect, if it is no name of a filter, needs the whole frame"),
        ({"detect": "dog"}, "detect_sigma must be the width of spots in pixels with detect='dog'"),
        ({"detect_sigma": 2}, "detect_sigma is of the filters"),
        ({"refine": "fit", "fit": {"neighbors": "fit"}, "num_peaks": 3}, "num_peaks must be None with neighbors='fit'"),
        ({"background": {"size": 16, "filter_size": 2}}, "filter_size must be odd"),
        ({"error": np.ones((3, 4))}, r"error must be a number or have the shape of a frame, \(40, 50\)"),
        ({"mask": np.ones((40, 50))}, "mask must be an array of booleans"),
    ],
)
def test_what_cannot_be_done_in_tiles_is_refused(options, words):
    with tiles(9, 9), pytest.raises((ValueError, TypeError), match=words) as caught:
        npsubpix.locate(np.zeros((40, 50), np.float32), frames=False, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("fit", [{}, {"neighbors": "fit", "camera": CAMERA}, {"neighbors": "fit", "error": None}])
def test_fits_that_depend_on_each_other_are_those_of_the_frame(fit, masked):
    """Those for which the noise is not known, and joint ones, were refused in tiles."""
    rng = np.random.default_rng(8)
    image = rng.poisson(20, (90, 110)).astype(np.uint16)
    places = rng.uniform(6, [84, 104], (40, 2))
    image += npsubpix.render_spots(places, image.shape, std=1.3, amplitude=4000.0, integrate=True).astype(np.uint16)
    mask = {"mask": rng.random(image.shape) < 0.02} if masked else {}
    fit = {**fit, "error": rng.uniform(4, 6, image.shape)} if "error" in fit else fit
    check(image, (23, 37), fit, threshold_abs=60, **mask)
    if not fit:
        check(image, (23, 37), refine="fit", threshold_abs=60, **mask)
        check(image, (23, 37), refine="fit", duplicates="merge", num_peaks=30, background=20.0, sigma=4.5, **mask)


@pytest.mark.exhaustive  # which compiles a model
@pytest.mark.parametrize("masked", [False, True])
def test_candidates_are_refined_by_the_fits_of_the_frame(masked):
    """With maps of the noise, a measured model, and together."""
    rng = np.random.default_rng(8)
    image = rng.poisson(20, (90, 110)).astype(np.uint16)
    places = rng.uniform(6, [84, 104], (40, 2))
    image += npsubpix.render_spots(places, image.shape, std=1.3, amplitude=4000.0, integrate=True).astype(np.uint16)
    options = {"refine": "fit", "threshold_abs": 60, **({"mask": rng.random(image.shape) < 0.02} if masked else {})}
    y, x = np.mgrid[-8:9, -8:9]
    camera = npsubpix.Camera(offset=rng.uniform(0, 2, image.shape), read_variance=rng.uniform(0, 3, image.shape))
    psf = {"psf": np.exp(-(x**2 + y**2) / (2 * 1.35**2))}
    for more in (
        {"camera": CAMERA},
        {"camera": camera, "fit": {"neighbors": "fit"}},
        {"error": rng.uniform(4, 6, image.shape), "fit": {"width": "fixed", "sigma": 1.3}},
        {"camera": camera, "fit": psf},
        {"fit": psf},
    ):
        with tiles(23, 37):
            found = npsubpix.locate(image, frames=False, **options, **more)
        assert_same_rows(found, npsubpix.find_peaks(image, **options, **more))


def test_more_spots_than_there_is_memory_for_are_not_fitted_at_once():
    rng = np.random.default_rng(0)
    image = rng.poisson(20, (700, 900)).astype(np.uint16)
    image[tuple(rng.integers(20, [680, 880], (12, 2)).T)] += 400
    options = {"frames": False, "task": "spots", "max_memory": 2 * image.nbytes}
    with pytest.raises(
        ValueError, match=r"are fitted at once, which takes about .*: raise it, or pass camera or error"
    ):
        npsubpix.locate(image, threshold_abs=30, **{**options, "max_memory": image.nbytes // 2})
    fits = npsubpix.locate(image, threshold_abs=300, **options)
    assert len(fits) == 12
    assert_same_rows(fits, npsubpix.fit_spots(image, npsubpix.find_peaks(image, threshold_abs=300)))


def test_tiles_fit_into_the_memory():
    """A frame of eight times the memory is worked on in it; one for which tiles have no room is refused."""
    image = frame_of("counts", (700, 900), np.random.default_rng(0))
    found = npsubpix.locate(image, frames=False, max_memory=image.nbytes // 2, threshold_abs=12)
    assert_same_rows(found, in_one_call(image, None, threshold_abs=12))
    seen = []
    npsubpix.locate(
        image, frames=False, max_memory=image.nbytes // 2, threshold_abs=12, progress=lambda *a: seen.append(a)
    )
    parts = [done for done, count in seen if count == 1]
    assert len(parts) == len(seen) > 4  # not once, at the end
    assert parts == sorted(set(parts))
    assert parts[-1] == 1
    with pytest.raises(ValueError, match="max_memory is too little for a tile"):
        npsubpix.locate(image, frames=False, max_memory=1000, threshold_abs=12)


OPTIONS = st.fixed_dictionaries(
    {
        "size": st.sampled_from([1, 2, 3, 3, 3, 4, 5, 7]),
        "plateau": st.sampled_from(["refine", "first", "centroid", "drop"]),
        "minima": st.booleans(),
        "exclude_border": st.sampled_from([True, False, 2, 5]),
        "refine": st.sampled_from([None, "quadratic", "parabola", "least_squares", "centroid", "phasor"]),
        "duplicates": st.sampled_from(["merge", "flag"]),
    },
    optional={
        "min_distance": st.floats(1, 12),
        "num_peaks": st.integers(1, 40),
        "threshold_abs": st.floats(0, 3),
        "threshold_rel": st.floats(-0.2, 0.8),
        "background": st.floats(-2, 2),
        "sigma": st.floats(0.5, 2),
        "boxes": st.sampled_from([{"size": 8}, {"size": 20, "filter_size": 5}]),
        "detect": st.sampled_from(["gaussian", "dog", "log"]),
    },
)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ndim", [2, 3])
@settings(max_examples=60, deadline=None)
@given(data=st.data(), options=OPTIONS, seed=st.integers(0, 2**32), masked=st.booleans())
def test_any_options_and_any_tiles(kind, ndim, data, options, seed, masked):
    longest = 90 if ndim == 2 else 28
    shape = data.draw(st.tuples(*[st.integers(3, longest)] * ndim))
    lengths = data.draw(st.tuples(*[st.integers(1, 40)] * ndim))
    rng = np.random.default_rng(seed)
    image = frame_of(kind, shape, rng)
    if masked:
        options["mask"] = rng.random(shape) < 0.05
    boxes = options.pop("boxes", None)
    if "detect" in options:
        options["detect_sigma"] = float(rng.uniform(0.7, 3))
        boxes = None  # which `check` measures in the image itself
    check(image, lengths, boxes=boxes, **options)
    if seed % 4 == 0 and min(shape) > 5:
        check(image, lengths, {"box": 5, "camera": CAMERA}, boxes, **options)
