"""Pictures of the cards of the front page and of the page on positions, from the data of the examples."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import npsubpix

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])
ORANGE, BLUE, GREEN, INK = "#f5a623", "#56b4e9", "#009e73", "#d8dadd"


def card(name, figsize=(4.0, 2.4)):
    """Return axes that fill a picture, and a function that saves it."""
    figure = plt.figure(figsize=figsize, facecolor="#101214")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()

    def save():
        figure.savefig(OUT / f"card_{name}.png", dpi=120)
        plt.close(figure)

    return axes, save


def show(axes, image, **options):
    """Draw an image that fills the axes."""
    axes.imshow(image, aspect="auto", **{"cmap": "gray", **options})


with npsubpix.open_image(DATA / "m51.fits.gz") as file:
    galaxy = file.read().astype(np.float32)

# Find: the stars in front of a galaxy
background = npsubpix.local_background(galaxy, 32)
stars = npsubpix.find_peaks(galaxy - background.level, detect="dog", detect_sigma=1.3, threshold_abs=20)
axes, save = card("find")
show(axes, np.arcsinh((galaxy - 40) / 40), origin="lower")
axes.plot(stars.coords[:, 1], stars.coords[:, 0], "o", mfc="none", mec=ORANGE, ms=9, mew=1.4)
axes.set(xlim=(40, 440), ylim=(150, 390))
save()

# Fit: pixels of a spot, and the Gaussian with its errors
rng = np.random.default_rng(0)
spot = rng.poisson(npsubpix.render_spots([[6.3, 8.7]], (14, 18), std=1.6, amplitude=1200, integrate=True) + 8)
spot = spot.astype(np.uint16)  # a dtype of other examples, for which kernels are compiled
fit = npsubpix.fit_spots(spot, [[6, 9]], camera=npsubpix.Camera())
axes, save = card("fit")
show(axes, spot)
turn, (y, x), (dy, dx) = np.linspace(0, 2 * np.pi, 181), fit.coords[0], fit.coords_std[0]
for factor in (1, 2):
    axes.plot(x + factor * fit.sigma * np.cos(turn), y + factor * fit.sigma * np.sin(turn), color=ORANGE, lw=1.5)
axes.plot([x - 0.6, x + 0.6, np.nan, x, x], [y, y, np.nan, y - 0.6, y + 0.6], color=ORANGE, lw=1.5)
text = f"y = {y:.2f} ± {dy:.2f}\nx = {x:.2f} ± {dx:.2f}\nflux = {fit.flux[0]:.0f} ± {fit.flux_std[0]:.0f}"
axes.text(0.04, 0.93, text, color=INK, va="top", transform=axes.transAxes, fontsize=12)
save()

# Blobs: galaxies of the Hubble deep field at their sizes
deep = skimage.data.hubble_deep_field().mean(axis=-1)[430:700, 300:750]
blobs = npsubpix.find_blobs(deep, 1.5, 25, threshold_abs=25)
blobs = blobs[blobs.ok]
axes, save = card("blobs")
show(axes, np.arcsinh(deep / 20))
for (y, x), radius in zip(blobs.coords, blobs.radius, strict=True):
    axes.add_patch(plt.Circle((x, y), radius, fill=False, color=ORANGE, lw=1.2))
axes.set(xlim=(0, 450), ylim=(270, 0))
save()

# Align: two exposures in complementary colours, before and after
turned = npsubpix.warp(galaxy, [[0.998, -0.03, 12.0], [0.03, 0.998, -9.0]], method="bspline3", mode="reflect")
result = npsubpix.align(galaxy, turned, model="euclidean")
after = npsubpix.warp(turned, result.matrix, method="bspline3", mode="reflect")
colours = np.array([[0.96, 0.62, 0.14], [0.04, 0.38, 0.86]])
axes, save = card("align")
halves = []
for moving in (turned, after):
    pair = [np.clip(np.arcsinh((part - 60) / 60) / 4, 0, 1)[180:400, 130:330] for part in (galaxy, moving)]
    halves.append(np.clip(np.stack(pair, axis=-1) @ colours, 0, 1))
show(axes, np.concatenate(halves, axis=1))
axes.axvline(199.5, color="white", lw=1)
save()

# Filter: a noisy image with dead pixels, and what is left of them
camera = skimage.data.camera()[60:260, 130:330].astype(np.float64)
noisy = camera + rng.normal(0, 20, camera.shape)
noisy[rng.random(camera.shape) < 0.15] = np.nan
smooth = npsubpix.window_median(noisy, 5, nan_policy="omit")
axes, save = card("filter")
show(axes, np.concatenate([np.nan_to_num(noisy, nan=255), smooth], axis=1), vmin=0, vmax=255)
axes.axvline(199.5, color=ORANGE, lw=1.5)
save()

# Heat maps: the mean and the covariance of a map of probabilities
y, x = np.mgrid[:30, :50]
heat = np.logaddexp(-((y - 11) ** 2 / 18 + (x - 17 - 0.6 * (y - 11)) ** 2 / 10), -((y - 20) ** 2 + (x - 36) ** 2) / 14)
windows = ((heat[:, :27], 0), (heat[:, 27:], 27))
axes, save = card("heat_maps")
show(axes, np.exp(heat), cmap="viridis")
for window, first in windows:
    mean, covariance = npsubpix.spatial_moments(window)
    values, vectors = np.linalg.eigh(covariance)
    ring = mean[:, None] + 2 * vectors @ (np.sqrt(values)[:, None] * np.stack([np.cos(turn), np.sin(turn)]))
    axes.plot(first + ring[1], ring[0], color="white", lw=1.5)
    axes.plot(first + mean[1], mean[0], "+", color="white", ms=12, mew=2)
axes.set(xlim=(-0.5, 49.5), ylim=(29.5, -0.5))
save()

# Single molecules: the sum of 400 simulated frames of two filaments, and the molecules that were fitted in them
count, height, width = 2400, 24, 20
along, which = rng.uniform(0, 1, count), rng.integers(0, 2, count)
truth = np.stack([2 + 20 * along, 10 + 5 * np.cos(4 * along) * (2 * which - 1) + 2 * which], axis=1)
frame = np.sort(rng.integers(0, 400, count))
molecules = npsubpix.simulate_spots(
    (400, height, width), truth, flux=900, sigma=1.3, background=4, rng=rng, frame=frame, frame_axis=0
).astype(np.uint16)
peaks = npsubpix.find_peaks(molecules, detect="gaussian", detect_sigma=1.3, threshold_abs=8, frame_axis=0)
fits = npsubpix.fit_spots(molecules, peaks, camera=npsubpix.Camera(), frame_axis=0)
good = fits[fits.ok]
picture = npsubpix.render_spots(10 * (good.coords + 0.5) - 0.5, (240, 200), std=10 * good.coords_std)
blurred = np.kron(molecules.sum(axis=0), np.ones((10, 10)))
halves = [(half - half.min()) / np.ptp(half) for half in (blurred, np.sqrt(picture))]
axes, save = card("molecules")
show(axes, np.concatenate(halves, axis=1), cmap="inferno")
axes.axvline(199.5, color="white", lw=1)
save()

# Large data: tiles of a mosaic, in which many workers find peaks
places = rng.uniform(0, 1, (400, 2)) * [240, 400]
wide = rng.poisson(npsubpix.render_spots(places, (240, 400), std=1.5, amplitude=900.0) + 9).astype(np.uint16)
spots = npsubpix.find_peaks(wide, detect="gaussian", detect_sigma=1.5, threshold_abs=8)
axes, save = card("large_data")
show(axes, wide, vmax=np.percentile(wide, 99.7))
tile = (spots.coords // 80).astype(int)
axes.scatter(*spots.coords[:, ::-1].T, s=14, c=np.array([ORANGE, BLUE, GREEN])[tile.sum(axis=1) % 3], lw=0)
for edge in range(80, 400, 80):
    axes.axvline(edge - 0.5, color=INK, lw=1)
    axes.axhline(edge - 0.5, color=INK, lw=1)
axes.set(xlim=(-0.5, 399.5), ylim=(239.5, -0.5))
save()

# Coming from: names of libraries
axes, save = card("coming_from")
names = [("kornia", 0.16, 0.78), ("scikit-image", 0.42, 0.58), ("SciPy", 0.72, 0.8), ("OpenCV", 0.12, 0.36),
         ("trackpy", 0.6, 0.34), ("picasso", 0.3, 0.14), ("photutils", 0.68, 0.12)]  # fmt: skip
for k, (name, across, up) in enumerate(names):
    axes.text(across, up, name, color=(ORANGE, BLUE, INK)[k % 3], fontsize=15, transform=axes.transAxes)
save()

# Positions: centres and edges of pixels
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
pixels = npsubpix.render_spots([[1.3, 2.6]], (4, 6), std=0.8)
axes.imshow(pixels, cmap="Blues", vmax=1.3 * pixels.max())
axes.plot(*np.mgrid[:6, :4].reshape(2, -1), ".", color="black", ms=4)
axes.plot(2.6, 1.3, "+", color="#d55e00", ms=16, mew=2.5)
axes.annotate("(y, x) = (1.3, 2.6)", (2.6, 1.3), (3.15, 1.72), fontsize=10, color="#a04000")
axes.annotate("(0, 0), centre of\nthe first pixel", (0, 0), (-0.45, 0.42), fontsize=8)
axes.annotate("(−0.5, −0.5)", (-0.5, -0.5), (-0.45, -0.28), fontsize=8)
for place in np.arange(-0.5, 6):
    axes.axvline(place, color="gray", lw=0.5)
    axes.axhline(place, color="gray", lw=0.5)
axes.set(xlabel="x, the second axis (pixels)", ylabel="y, the first axis (pixels)", xlim=(-0.5, 5.5), ylim=(3.5, -0.5))
axes.set(xticks=range(6), yticks=range(4))
figure.savefig(OUT / "positions.png", dpi=110)
# [end]
