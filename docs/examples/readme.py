"""The picture of the README: stars found in front of a galaxy, and fits of three of them.

``python docs/examples/readme.py docs/images`` draws it; the build of the documentation runs it too.
"""

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from scipy.special import erf

import npsubpix

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])
ORANGE, BLUE, INK = "#e69f00", "#0072b2", "#202428"

with npsubpix.open_image(DATA / "m51.fits.gz") as file:
    image = file.read().astype(np.float32)
background = npsubpix.local_background(image, 32)
peaks = npsubpix.find_peaks(image - background.level, detect="dog", detect_sigma=1.3, threshold_abs=20)
fits = npsubpix.fit_spots(image, peaks, background="plane", sigma=1.3)
good = fits[fits.ok]


def share(distance, width):
    """Return the share of a Gaussian's light on pixels at a distance, along one axis."""
    return 0.5 * (erf((distance + 0.5) / (2**0.5 * width)) - erf((distance - 0.5) / (2**0.5 * width)))


plt.rcParams.update({"font.size": 9.5, "text.color": INK, "axes.edgecolor": "#9aa0a6", "xtick.color": INK})
figure = plt.figure(figsize=(9.2, 4.5), layout="constrained", facecolor="white")
left, right = figure.subfigures(1, 2, width_ratios=[1, 1.05])
axes = left.subplots()
axes.imshow(np.arcsinh((image - 40) / 40), cmap="gray", origin="lower", vmin=0, vmax=5)
axes.plot(good.coords[:, 1], good.coords[:, 0], "o", mfc="none", mec=ORANGE, ms=9, mew=1.3)
axes.set(xticks=[], yticks=[])
axes.set_title(f"find_peaks: {len(good)} peaks in an image of M51", fontsize=10.5)

places = np.array([[65.84, 378.14], [273.33, 403.53], [61.11, 464.49]])
chosen = [int(np.hypot(*(good.coords - place).T).argmin()) for place in places]
reach = 6
panels = right.subplots(3, 2, width_ratios=[1, 1.75])
for number, (row, (picture, profile)) in enumerate(zip(chosen, panels, strict=True), 1):
    (y, x), (dy, dx) = good.coords[row], good.coords_std[row]
    axes.annotate(str(number), (x, y), (7, 4), textcoords="offset points", color=ORANGE, fontweight="bold")
    i, j = np.rint([y, x]).astype(int)
    part = image[i - reach : i + reach + 1, j - reach : j + reach + 1]
    extent = (j - reach - 0.5, j + reach + 0.5, i - reach - 0.5, i + reach + 0.5)
    picture.imshow(part, cmap="gray", origin="lower", extent=extent, interpolation="nearest")
    picture.plot(x, y, "+", color=ORANGE, ms=12, mew=1.6)
    picture.set(xticks=[], yticks=[])
    picture.set_ylabel(str(number), rotation=0, color=ORANGE, fontweight="bold", labelpad=8, va="center")
    # The fit along the row of the star, as finely as it is known
    fine = np.linspace(j - reach, j + reach, 241)
    width = good.sigma[row]
    model = good.flux[row] * share(np.array(i - y), width) * share(fine - x, width)
    profile.plot(fine, good.background[row] + model, color=BLUE, lw=1.5)
    profile.plot(np.arange(j - reach, j + reach + 1), image[i, j - reach : j + reach + 1], "o", color=INK, ms=3.5)
    profile.axvline(x, color=ORANGE, lw=1.3)
    profile.set(yticks=[], xlim=(j - reach, j + 2.6 * reach), xticks=np.arange(j - reach, j + reach + 1, 3))
    profile.spines["bottom"].set_bounds(j - reach, j + reach)
    profile.spines[["top", "right"]].set_visible(False)
    text = f"x = {x:.2f} ± {dx:.2f}\ny = {y:.2f} ± {dy:.2f}\nflux = {good.flux[row]:,.0f} ± {good.flux_std[row]:,.0f}"
    profile.text(0.6, 0.9, text, transform=profile.transAxes, va="top", fontsize=9, linespacing=1.5)
panels[-1, 1].set_xlabel("x (pixels)", x=0.28)
right.suptitle("fit_spots: pixels and the fit, with standard errors", fontsize=10.5)

with io.BytesIO() as buffer:
    figure.savefig(buffer, format="png", dpi=110)
    Image.open(buffer).convert("RGB").quantize(160, dither=Image.Dither.NONE).save(OUT / "readme.png", optimize=True)
