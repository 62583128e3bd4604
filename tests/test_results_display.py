"""Results in notebooks: tables of HTML, and the pictures that the command line draws."""

from __future__ import annotations

import html.parser

import numpy as np
import pytest

import npsubpix
from npsubpix import PeakFlags
from npsubpix.plotting import draw_alignment, draw_background, draw_peaks
from tests.fit_tables import fits_table
from tests.peak_tables import table


class Reader(html.parser.HTMLParser):
    """The rows of cells and the paragraphs of a page."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.paragraphs, self.open = [], [], []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, _):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("th", "td"):
            self.rows[-1].append("")
        if tag == "p":
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("th", "td"):
            self.rows[-1][-1] += data
        else:
            self.paragraphs[-1] += data


def flagged(count):
    flags = np.zeros(count, np.int32)
    flags[:3] = int(PeakFlags.AT_BORDER)
    flags[2:3] |= int(PeakFlags.PLATEAU)
    rows = np.random.default_rng(0).uniform(1, 30, (count, 2))
    return npsubpix.Peaks(rows, np.ones(count), rows.astype(np.int64), flags, image_shape=(32, 33))


def alignment(flags=0, parameters=3):
    matrix = np.array([[1, 0, 0.5], [0, 1, -1.25], [0, 0, 1]])
    found = npsubpix.AlignmentFlags(flags)
    return npsubpix.Alignment(matrix, np.eye(parameters) * 1e-4, 2.5, 0.75, 4, True, found, centre=(10.0, 10.0))


def test_a_notebook_shows_the_first_rows_and_counts_all_flags():
    page = Reader(flagged(25)._repr_html_())
    assert page.rows[0] == ["y", "x", "value", "flags"]
    assert len(page.rows) == 11
    assert page.rows[1][-1] == "AT_BORDER"
    assert page.rows[3][-1] == "PLATEAU|AT_BORDER"
    assert page.paragraphs == ["Peaks: 25 in 2-D", "… 15 more", "22 of 25 ok, 1 PLATEAU, 3 AT_BORDER"]


def test_text_and_html_show_the_same_cells():
    fits = fits_table()
    text = [line.split() for line in repr(fits).splitlines()[1:]]
    page = Reader(fits._repr_html_())
    assert page.rows == text
    assert page.paragraphs[-1] == "2 of 3 ok, 1 NOT_CONVERGED"


def test_an_empty_table_says_so():
    assert Reader(flagged(5)[:0]._repr_html_()).paragraphs == ["Peaks: 0 in 2-D"]


def test_blobs_and_tensors_are_shown(wrap):
    blobs = npsubpix.Blobs(
        coords=wrap(np.array([[3.25, 4.5]])), sigma=wrap(np.array([2.0])), amplitude=wrap(np.array([-7.0])),
        snr=wrap(np.array([9.0])), value=wrap(np.array([5.0])), flags=wrap(np.array([4], np.int32)),
    )  # fmt: skip
    page = Reader(blobs._repr_html_())
    assert page.rows[1] == ["3.25", "4.50", "2", "-7", "9", "5", "MINIMUM"]
    assert page.paragraphs[-1] == "1 of 1 ok, 1 MINIMUM"


def test_what_a_table_says_is_text_and_no_markup():
    class Named(npsubpix.Peaks):
        def left_out(self):
            return [" <script>alert(1)</script> & so on"]

    peaks = flagged(1)
    page = Named(peaks.coords, peaks.values, peaks.indices, peaks.flags)._repr_html_()
    assert "<script>" not in page
    assert Reader(page).paragraphs[-1] == "<script>alert(1)</script> & so on"


def test_an_alignment_shows_shift_errors_and_flags():
    page = Reader(alignment()._repr_html_())
    assert page.paragraphs == ["Alignment: ok"]
    assert page.rows[1] == ["shift y", "0.5000 ± 0.01", "pixels"]
    assert page.rows[2] == ["shift x", "-1.2500 ± 0.01", "pixels"]
    assert [row[0] for row in page.rows[3:5]] == ["angle", "scale"]
    assert [row[0] for row in Reader(alignment(parameters=2)._repr_html_()).rows[3:4]] == ["correlation"]
    assert Reader(alignment(flags=2 | 32)._repr_html_()).paragraphs == ["Alignment: not ok, NO_OVERLAP|POOR_FIT"]


def test_a_background_shows_its_range_and_its_guesses():
    level = np.array([[1.0, 2.0], [3.0, np.nan]])
    guessed = np.array([[True, False], [False, False]])
    page = Reader(npsubpix.Background(level, np.full((2, 2), 0.5), guessed)._repr_html_())
    assert page.rows == [["", "least", "median", "greatest"], ["level", "1", "2", "3"], ["noise", "0.5", "0.5", "0.5"]]
    assert page.paragraphs == ["Background of 2 × 2 pixels", "noise guessed at 25 % of pixels"]
    nothing = Reader(npsubpix.Background(np.full((2, 2), np.nan), np.full((2, 2), np.nan))._repr_html_())
    assert nothing.rows[1] == ["level", "nan", "nan", "nan"]


@pytest.fixture
def pixels():
    """Compare two figures as they are seen."""
    pytest.importorskip("matplotlib")
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    def seen(figure):
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())

    return seen


def test_tables_draw_themselves_as_the_command_line_does(pixels, rng):
    image = rng.normal(size=(32, 33))
    for rows in (flagged(6), fits_table(frame=None, image_shape=(32, 33))):
        np.testing.assert_array_equal(pixels(rows.plot(image, title="a")), pixels(draw_peaks(image, rows, title="a")))
    np.testing.assert_array_equal(
        pixels(flagged(6).plot(y_up=True)), pixels(draw_peaks(np.zeros((32, 33)), flagged(6), y_up=True))
    )


def test_rows_of_a_frame_are_drawn_on_their_frame(pixels, rng):
    stack = rng.normal(size=(4, 12, 15))
    peaks = table(np.array([[3.2, 4.4], [6.0, 12.7], [2.5, 1.5]]), np.array([2, 0, 2]))
    np.testing.assert_array_equal(pixels(peaks.plot(stack, frame=2)), pixels(draw_peaks(stack[2], peaks[[0, 2]])))
    np.testing.assert_array_equal(pixels(peaks.plot(stack)), pixels(draw_peaks(stack.max(axis=0), peaks)))
    np.testing.assert_array_equal(pixels(peaks.plot(stack[2], frame=2)), pixels(peaks.plot(stack, frame=2)))
    with pytest.raises(ValueError, match="frame must be None for a table without frames, got 1"):
        flagged(2).plot(stack[0], frame=1)
    with pytest.raises(ValueError, match=r"image must have 2 dimensions, got shape \(4, 12, 15\)"):
        flagged(2).plot(stack)


def test_alignments_and_backgrounds_draw_themselves(pixels, rng):
    fixed, moving = rng.uniform(size=(2, 20, 20))
    same = draw_alignment(fixed, moving, alignment(), title="b")
    np.testing.assert_array_equal(pixels(alignment().plot(fixed, moving, title="b")), pixels(same))
    background = npsubpix.Background(100 + fixed, 1 + moving)
    figure = background.plot(fixed)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["image", "background", "noise"]
    np.testing.assert_array_equal(pixels(figure), pixels(draw_background(100 + fixed, 1 + moving, fixed)))
    shown = [axes.images[0].get_array() for axes in background.plot().axes[:2]]
    np.testing.assert_array_equal(shown[0], 100 + fixed)
    np.testing.assert_array_equal(shown[1], 1 + moving)
    with pytest.raises(ValueError, match=r"the same shape, got image \(3, 20\)"):
        background.plot(fixed[:3])


def test_a_caller_may_lend_axes(pixels, rng):
    from matplotlib.figure import Figure

    axes = Figure().subplots(1, 3)
    background = npsubpix.Background(*rng.uniform(size=(2, 8, 9)))
    assert background.plot(ax=axes[:2]) is not None
    assert axes[0].get_title() == "background"
    assert flagged(3).plot(ax=axes[2]) is axes[2]
    with pytest.raises(TypeError, match="ax must be 3 Axes"):
        background.plot(rng.uniform(size=(8, 9)), ax=axes[:2])


def test_without_matplotlib_the_error_names_the_extra(monkeypatch):
    def absent(name, *arguments):
        if name.split(".")[0] == "matplotlib":
            raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
        return found(name, *arguments)

    import importlib

    found = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", absent)
    for draw in (flagged(2).plot, npsubpix.Background(np.ones((4, 4)), np.ones((4, 4))).plot):
        with pytest.raises(ModuleNotFoundError, match=r"matplotlib: pip install 'npsubpix\[plot\]'"):
            draw()
