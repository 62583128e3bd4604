"""Pictures of peaks: what a reader has to be able to see."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import npsubpix
import npsubpix.plotting
from npsubpix import FitFlags
from npsubpix.plotting import draw_alignment, draw_peaks, plot_assessment
from tests.fit_tables import fits_table

pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import EllipseCollection


def spots(shape, places, width=1.5):
    y, x = np.indices(shape)
    return sum(np.exp(-((y - b) ** 2 + (x - a) ** 2) / (2 * width**2)) for b, a in places)


def circles(figure):
    (collection,) = [c for c in figure.axes[0].collections if isinstance(c, EllipseCollection)]
    return collection


def rendered(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def pixel_of(figure, y, x):
    """Return the column and the line of the picture at a coordinate of the image."""
    across, up = figure.axes[0].transData.transform((x, y))
    return round(float(across)), round(figure.bbox.height - float(up))


@pytest.mark.parametrize("origin", [0.0, 0.5, 1.0])
def test_circles_are_on_the_spots_in_every_origin(origin):
    image = spots((40, 60), [(10, 45), (30, 12)])
    figure = draw_peaks(image, npsubpix.find_peaks(image, threshold_abs=0.5), origin=origin)
    np.testing.assert_allclose(
        sorted(circles(figure).get_offsets().tolist()), [[12 + origin, 30 + origin], [45 + origin, 10 + origin]]
    )
    seen = rendered(figure)
    across, up = pixel_of(figure, 10 + origin, 45 + origin)
    assert seen[up, across].min() > 230  # the spot itself is white, in the middle of its circle
    dark_across, dark_up = pixel_of(figure, 20 + origin, 30 + origin)
    assert seen[dark_up, dark_across].max() < 60


def test_colours_of_fits_are_those_of_fits():
    """Flags of peaks and of fits have the same numbers for different things."""
    fits = fits_table(flags=np.array([int(FitFlags.MASKED), int(FitFlags.POOR_FIT), int(FitFlags.SINGULAR)], np.int32))
    colours = circles(draw_peaks(np.zeros((30, 40)), fits)).get_edgecolors()[:, :3]
    maxima = circles(draw_peaks(spots((9, 9), [(4, 4)]), npsubpix.find_peaks(spots((9, 9), [(4, 4)])))).get_edgecolors()
    assert np.array_equal(colours[0], maxima[0, :3])
    assert np.array_equal(colours[1], colours[2])
    assert not np.array_equal(colours[0], colours[1])


def test_circles_shrink_where_peaks_are_dense():
    places = [(y, x) for y in range(5, 400, 4) for x in range(5, 400, 4)]
    dense = npsubpix.refine_peaks(np.zeros((400, 400)), places, method=None)
    sparse = npsubpix.refine_peaks(np.zeros((400, 400)), places[::450], method=None)
    sizes = []
    for peaks in (dense, sparse):
        figure = draw_peaks(np.zeros((400, 400)), peaks)
        sizes.append(circles(figure)._widths[0])
        assert circles(figure).get_linewidth()[0] <= 1.3
    assert 2 * sizes[0] <= 4.001  # neighbours do not touch
    assert sizes[0] < sizes[1]


def test_faint_stars_show_on_a_dark_sky_beside_one_that_is_a_thousand_times_brighter():
    rng = np.random.default_rng(0)
    image = (
        10
        + rng.normal(0, 1, (300, 300))
        + 20 * spots((300, 300), [(100, 200)])
        + 20000 * spots((300, 300), [(200, 80)])
    )
    nothing = npsubpix.find_peaks(image, threshold_abs=1e9)
    figure = draw_peaks(image, nothing)
    seen = rendered(figure)
    across, up = pixel_of(figure, 100, 200)
    assert seen[up, across].mean() > 100
    assert 5 < np.median(seen) < 80


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 30)),
        np.full((20, 30), np.nan),
        np.full((20, 30), 7, np.uint8),
        np.where(np.eye(20, 30) > 0, np.inf, 1e9 + np.arange(30.0)),
        np.arange(600).reshape(20, 30).astype(">i2"),
        np.ones((1, 1)),
        np.ones((3, 4000), np.float32),
        np.ones((4, 20, 30)),
    ],
    ids=["zeros", "nan", "flat", "inf", "big-endian", "one pixel", "line", "volume"],
)
def test_every_image_can_be_drawn(image):
    peaks = npsubpix.find_peaks(image)
    assert rendered(draw_peaks(image, peaks, title="a $b^$ file")).shape[2] == 3


def test_a_volume_is_drawn_as_its_greatest_values():
    image = np.stack([np.zeros((30, 30)), spots((30, 30), [(10, 20)]), np.zeros((30, 30))])
    figure = draw_peaks(image, npsubpix.find_peaks(image, threshold_abs=0.5))
    np.testing.assert_allclose(circles(figure).get_offsets(), [[20, 10]], atol=0.01)


def test_minima_have_a_colour_of_their_own():
    image = spots((30, 40), [(10, 10)]) - spots((30, 40), [(20, 30)])
    peaks = npsubpix.find_peaks(image, minima=True)
    strong = peaks[np.abs(peaks.values) > 0.5]
    figure = draw_peaks(image, strong)
    assert len(strong) == 2
    assert len(np.unique(circles(figure).get_edgecolor(), axis=0)) == 2


def test_positions_that_are_not_finite_are_left_out():
    peaks = npsubpix.refine_peaks(np.ones((9, 9)), [[np.nan, 1], [3, 4]])
    np.testing.assert_allclose(circles(draw_peaks(np.ones((9, 9)), peaks)).get_offsets(), [[4, 3]])


def test_the_drawing_needs_no_display_and_leaves_no_figure_open():
    import matplotlib.pyplot

    before = matplotlib.pyplot.get_fignums()
    draw_peaks(np.ones((9, 9)), npsubpix.find_peaks(np.ones((9, 9))))
    assert matplotlib.pyplot.get_fignums() == before
    for path in Path(npsubpix.plotting.__file__).parent.glob("*.py"):
        assert "pyplot" not in path.read_text()


def test_a_notebook_shows_the_figure_once_where_it_is_returned():
    """pyplot does not know the figure, which would show it a second time; a picture of its own is what is shown."""
    import matplotlib.pyplot

    figure = draw_peaks(np.ones((9, 9)), npsubpix.find_peaks(np.ones((9, 9))))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert matplotlib.pyplot.get_fignums() == []


def test_axes_of_a_caller_are_drawn_in_and_returned():
    """Their figure is the caller's: were it returned, a notebook would show it twice."""
    from matplotlib.figure import Figure

    image = spots((40, 60), [(10, 45), (30, 12)])
    peaks = npsubpix.find_peaks(image, threshold_abs=0.5)
    figure = Figure(figsize=(8, 4), facecolor="pink")
    left, right = figure.subplots(1, 2)
    assert draw_peaks(image, peaks, ax=right, title="a $b^$ title") is right
    draw_peaks(image, peaks, ax=left, y_up=True)
    assert (left.get_title(), right.get_title()) == ("", "a $b^$ title")
    assert rendered(figure)[0, 0].tolist() == [255, 192, 203]
    assert right.get_aspect() == 1.0  # pixels are square
    (circle,) = [c for c in right.collections if isinstance(c, EllipseCollection)]
    assert sorted(circle.get_offsets().round(3).tolist()) == [[12, 30], [45, 10]]
    seen = rendered(figure)
    for axes in (left, right):  # the spot is white, its circle around it
        across, up = axes.transData.transform((45, 10))
        assert seen[round(figure.bbox.height - up), round(across)].min() > 200
    with pytest.raises(TypeError, match="ax must be Axes of matplotlib, got Figure"):
        draw_peaks(image, peaks, ax=figure)


def test_rows_are_drawn_upwards_on_request():
    image = spots((40, 60), [(10, 45), (30, 12)])
    peaks = npsubpix.find_peaks(image, threshold_abs=0.5)
    lines = []
    for up in (False, True):
        figure = draw_peaks(image, peaks, y_up=up, origin=1.0)
        seen = rendered(figure)
        across, line = pixel_of(figure, 11, 46)
        assert seen[line, across].min() > 230
        lines.append(line)
    assert lines[0] < seen.shape[0] / 2 < lines[1]


def test_the_light_style_is_for_print():
    image = np.ones((9, 12))
    figures = [draw_peaks(image, npsubpix.find_peaks(image), style=style) for style in ("dark", "light")]
    dark, light = (rendered(figure)[0, 0] for figure in figures)
    assert dark.max() < 40
    assert light.min() == 255
    assert figures[1].axes[0].xaxis.label.get_color() != figures[0].axes[0].xaxis.label.get_color()
    with pytest.raises(ValueError, match="style must be one of 'dark', 'light', got 'pink'"):
        draw_peaks(image, npsubpix.find_peaks(image), style="pink")


def test_an_alignment_is_drawn_in_a_figure_of_its_own_or_in_axes_of_a_caller():
    from matplotlib.figure import Figure

    image = spots((30, 40), [(10, 30), (20, 12)])
    pair = image[:, 1:], image[:, :-1]
    figure = draw_alignment(*pair, [[1, 0, 0], [0, 1, 1]], title="a $b^$ file", style="light")
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert figure.get_suptitle() == "a $b^$ file"
    assert rendered(figure)[0, 0].tolist() == [255, 255, 255]
    panels = Figure().subplots(1, 2)
    assert draw_alignment(*pair, np.eye(3), ax=panels, title="a") is panels
    assert [axes.get_title() for axes in panels] == ["a, before", "a, after"]
    np.testing.assert_array_equal(panels[0].images[0].get_array(), panels[1].images[0].get_array())
    with pytest.raises(TypeError, match="ax must be two Axes"):
        draw_alignment(*pair, np.eye(3), ax=panels[0])


# --- assessments


def assessed(rng, count=400, **options):
    truth = rng.uniform(0, 2000, (count, 2))
    errors = rng.normal(0, 0.05, truth.shape)
    errors[:, 1] -= 0.1 * np.sin(2 * np.pi * truth[:, 1])
    return npsubpix.assess(truth + errors, truth, 1, **options)


def test_an_assessment_shows_errors_bias_and_their_distribution(rng):
    result = assessed(rng)
    figure = plot_assessment(result, title="50 % of $x$")
    errors, bias, distribution = figure.axes
    np.testing.assert_array_equal(errors.lines[0].get_xdata(), result.errors[:, 1])
    assert errors.yaxis_inverted()  # rows go downwards, as in the image
    assert [t.get_text() for t in bias.get_legend().get_texts()] == ["x", "y"]
    wave = bias.containers[0].lines[0].get_ydata()
    np.testing.assert_array_equal(wave, result.phase_bias().bias[1])
    assert np.ptp(wave) > 0.15
    assert distribution.get_title() == "errors / rms"
    assert figure._suptitle.get_text().startswith("50 % of $x$: recall 1, precision 1")
    rendered(figure)


def test_an_assessment_is_in_units_of_standard_errors_or_of_bounds(rng):
    std = np.full((400, 2), 0.1)
    for options, title in (
        ({"coords_std": std}, "errors / standard errors"),
        ({"bound": 0.05}, "errors / bounds"),
        ({"bound": 0.05, "coords_std": std}, "errors / standard errors"),
    ):
        figure = plot_assessment(assessed(rng, **options), style="dark")
        assert figure.axes[2].get_title() == title
    assert figure.axes[0].xaxis.label.get_color() == "#d8dadd"


@pytest.mark.parametrize("found", [[], [[5.0, 5.0]]])
def test_an_assessment_without_matches_or_with_one_is_drawn(found):
    rendered(plot_assessment(npsubpix.assess(found, [[5.0, 5.1], [9.0, 9.0]], 1)))
    rendered(plot_assessment(npsubpix.assess([[1.0, 2.0, 3.0]], [[1.0, 2.0, 3.1]], 1)))


def test_an_assessment_is_drawn_in_axes_of_the_caller(rng):
    from matplotlib.figure import Figure

    panels = Figure().subplots(1, 3)
    assert plot_assessment(assessed(rng), ax=panels) is panels
    assert panels[1].get_title() == "bias over the pixel"
    with pytest.raises(TypeError, match="ax must be three Axes of matplotlib"):
        plot_assessment(assessed(rng), ax=panels[:2])
    with pytest.raises(TypeError, match="assessment must be an Assessment, got a list"):
        plot_assessment([])
    with pytest.raises(ValueError, match="style must be one of"):
        plot_assessment(assessed(rng), style="grey")
