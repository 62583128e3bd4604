"""Draw assessments: errors, bias over the pixel, and errors in units of their standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from npsubpix._arrays.options import check_choice
from npsubpix.plotting.pictures import STYLES, Style, new_figure
from npsubpix.results import Assessment

__all__ = ["plot_assessment"]

#: Colours of x, y and z: those of Okabe and Ito, safe for colour-blind readers.
_COLOURS = ("#f5a623", "#56b4e9", "#009e73")

_NAMES = ("x", "y", "z")


def plot_assessment(assessment: Assessment, *, title: str = "", style: str = "light", ax: Any = None) -> Any:
    """Draw the errors of found positions, their bias over the pixel, and their distribution.

    The first panel shows the errors along x and y of all matches, and an ellipse of their root mean square. The second
    shows the mean error over the position of a spot within its pixel, with standard errors: a wave is pixel locking.
    The third is the distribution of errors in units of their standard errors, or of their bounds if there are no
    standard errors, beside the normal distribution that right ones have; without either, of errors in units of their
    root mean square.

    Parameters
    ----------
    assessment : Assessment
        The result of `npsubpix.assess`.
    title : str, optional
        The title, as plain text.
    style : {"dark", "light"}, default "light"
        Colours around the panels: for screens, or for print. With `ax`, the colours are those of its figure.
    ax : sequence of three matplotlib.axes.Axes, optional
        Axes to draw in. By default, they are those of a new figure.

    Returns
    -------
    matplotlib.figure.Figure or sequence of three matplotlib.axes.Axes
        The new figure; save it with its ``savefig``. With `ax`, the axes: their figure is the caller's.

    See Also
    --------
    npsubpix.assess : Compare found positions with true ones.

    Examples
    --------
    >>> import numpy as np
    >>> import npsubpix
    >>> from npsubpix.plotting import plot_assessment
    >>> truth = np.random.default_rng(0).uniform(0, 500, (300, 2))
    >>> figure = plot_assessment(npsubpix.assess(truth + 0.01, truth, 1))
    >>> [axes.get_title() for axes in figure.axes]
    ['errors', 'bias over the pixel', 'errors / rms']
    """
    if not isinstance(assessment, Assessment):
        raise TypeError(f"assessment must be an Assessment, got a {type(assessment).__name__}")
    check_choice(style, "style", tuple(STYLES))
    own = ax is None
    panels = _new_panels(title, assessment, STYLES[style]) if own else list(np.ravel(np.asarray(ax, object)))
    if len(panels) != 3 or not all(hasattr(axes, "plot") for axes in panels):
        raise TypeError(f"ax must be three Axes of matplotlib, got {ax!r}")
    _draw_errors(panels[0], assessment)
    _draw_bias(panels[1], assessment)
    _draw_distribution(panels[2], assessment)
    if own:
        for axes in panels:
            _colour(axes, STYLES[style])
    return panels[0].figure if own else ax


def _new_panels(title: str, assessment: Assessment, style: Style) -> list[Any]:
    figure = new_figure(figsize=(13, 4.4), dpi=100, layout="constrained", facecolor=style.ground)
    numbers = f"recall {assessment.recall:.3g}, precision {assessment.precision:.3g}, Jaccard {assessment.jaccard:.3g}"
    figure.suptitle(f"{title}: {numbers}" if title else numbers, color=style.ink, parse_math=False)
    return [figure.add_subplot(1, 3, place) for place in (1, 2, 3)]


def _colour(axes: Any, style: Style) -> None:
    """Draw the frame and the text of axes in the colours of a style."""
    axes.set_facecolor(style.ground)
    axes.tick_params(colors=style.ink)
    for spine in axes.spines.values():
        spine.set_color(style.frame)
    for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
        text.set_color(style.ink)
    legend = axes.get_legend()
    if legend is not None:
        legend.get_frame().set(facecolor=style.ground, edgecolor=style.frame)
        for text in legend.get_texts():
            text.set_color(style.ink)


def _draw_errors(axes: Any, assessment: Assessment) -> None:
    errors = assessment.errors[:, -2:]
    if errors.shape[1] < 2:  # along a line
        errors = np.column_stack([np.zeros(len(errors)), errors])
    opaque = min(1.0, 30 / max(len(errors), 1) ** 0.5)  # many points lie on each other
    axes.plot(errors[:, 1], errors[:, 0], ".", markersize=3, color="#808488", alpha=opaque)
    size = np.sqrt((errors**2).mean(axis=0)) if len(errors) else np.zeros(2)
    turn = np.linspace(0, 2 * np.pi, 181)
    axes.plot(size[1] * np.cos(turn), size[0] * np.sin(turn), color=_COLOURS[0], label="rms")
    reach = 4 * max(float(size.max()), 1e-9)
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal", title="errors")
    axes.set(xlabel="error along x (pixel)", ylabel="error along y (pixel)")
    axes.legend(loc="upper right")


def _draw_bias(axes: Any, assessment: Assessment) -> None:
    phase, bias, spread, _ = assessment.phase_bias()
    axes.axhline(0.0, color="#808488", linewidth=1)
    for k, values in enumerate(bias[::-1]):
        axes.errorbar(
            phase, values, spread[::-1][k], color=_COLOURS[k], label=_NAMES[k], marker="o", markersize=4, capsize=2
        )
    axes.set(xlim=(-0.5, 0.5), title="bias over the pixel", xlabel="distance from the centre of the pixel (pixel)")
    axes.set_ylabel("mean error (pixel)")
    axes.legend(loc="upper right")


def _draw_distribution(axes: Any, assessment: Assessment) -> None:
    unit, name = assessment.errors_std, "errors / standard errors"
    if unit is None:
        unit, name = assessment.bound, "errors / bounds"
    if unit is None:
        unit, name = np.broadcast_to(assessment.rmse, assessment.errors.shape), "errors / rms"
    edges = np.linspace(-5, 5, 51)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (assessment.errors / unit).T[::-1]
    for k, values in enumerate(ratios):
        seen = values[np.isfinite(values)]
        heights = np.histogram(seen, edges)[0] / (max(len(seen), 1) * (edges[1] - edges[0]))
        spread = f"{_NAMES[k]}: {seen.std():.3g}" if len(seen) else _NAMES[k]
        axes.stairs(heights, edges, color=_COLOURS[k], label=spread)
    middle = (edges[1:] + edges[:-1]) / 2
    axes.plot(middle, np.exp(-(middle**2) / 2) / np.sqrt(2 * np.pi), "--", color="#808488", label="normal")
    axes.set(xlim=(-5, 5), title=name, xlabel=name, ylabel="density")
    axes.legend(loc="upper right")
