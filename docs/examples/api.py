"""Pictures of the pages of the API: results beside each other, each below the call that made it."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import npsubpix

DATA, OUT = Path(__file__).parents[1] / "data", Path(sys.argv[1])
plt.rcParams.update({"font.size": 8.5, "image.cmap": "gray", "image.interpolation": "nearest"})


def row(pictures, **options):
    """Draw pictures of one shape side by side, below their titles."""
    height, width = next(iter(pictures.values())).shape
    size = (8, 8 / len(pictures) * height / width + 0.35)
    _, panels = plt.subplots(1, len(pictures), figsize=size, layout="constrained")
    for ax, (title, picture) in zip(panels, pictures.items(), strict=True):
        ax.imshow(picture, **options)
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, family="monospace")


def save(name):
    """Save the figure that was drawn last."""
    plt.savefig(OUT / f"api_{name}.png", dpi=110, bbox_inches="tight", pad_inches=0.05)
    plt.close()


with npsubpix.open_image(DATA / "m51.fits.gz") as file:
    galaxy = file.read().astype(np.float32)
photograph = skimage.data.camera()[60:220, 130:290].astype(np.float64)
rng = np.random.default_rng(1)

# The galaxy is background, stars are not
background = npsubpix.local_background(galaxy, 32)
parts = {"image": galaxy, "background.level": background.level, "image - background.level": galaxy - background.level}
row({name: np.arcsinh(part / 60) for name, part in parts.items()}, origin="lower", vmin=-0.5, vmax=4)
save("background")

# Statistics of windows of 9 × 9 pixels
statistics = {
    "image": photograph,
    "window_median": npsubpix.window_median(photograph, 9),
    "window_std": npsubpix.window_std(photograph, 9),
    "window_max": npsubpix.window_max(photograph, 9),
}
row(statistics)
save("windows")

# Weights: a mean, a derivative, and what sharpens
smooth = npsubpix.convolve(photograph, np.full((7, 7), 1 / 49))
slope = npsubpix.correlate(photograph, [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
sharper = photograph + 1.5 * (photograph - smooth)
weighted = {"image": photograph, "mean of 7 × 7": smooth, "derivative": 128 + slope / 4, "sharpened": sharper}
row(weighted, vmin=0, vmax=255)
save("convolution")

# A part of the photograph between its pixels
places = np.mgrid[0:20:0.125, 0:20:0.125] + np.array([72.0, 100])[:, None, None]
methods = ("nearest", "linear", "catmull_rom", "bspline3")
row({f'method="{name}"': npsubpix.sample(photograph, places, method=name) for name in methods})
save("sampling")

# Maps and images of Gaussians, and images of a camera
spots, flux = np.array([[9.3, 12.6], [23.8, 31.1], [13.2, 40.7]]), np.array([900.0, 500, 700])
drawn = npsubpix.render_spots(spots, (32, 48), std=2.0, amplitude=flux, integrate=True)
seen = npsubpix.simulate_spots((32, 48), spots, flux=flux, sigma=2.0, background=2, rng=rng)
gaussian = npsubpix.render_gaussian([13.2, 20.7], [3.0, 6.0], (32, 48))
rendered = {"render_gaussian": gaussian, "render_spots": drawn, "simulate_spots": seen}
row({name: picture / picture.max() for name, picture in rendered.items()})
save("gaussian")
