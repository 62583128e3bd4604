"""
Convolution at borders, and with missing pixels
===============================================

Dead columns and lost pixels do not spread when an image is smoothed, and borders are extended as you choose.

The coins are those of scikit-image; dead columns and lost pixels are put in here, as NaN.
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from scipy.ndimage import convolve1d

import npsubpix

rng = np.random.default_rng(0)
coins = skimage.data.coins().astype(np.float32)[:, :300]
image = coins.copy()
image[:, [60, 61, 190]] = np.nan  # columns that are dead
image[rng.random(image.shape) < 0.002] = np.nan  # lost pixels
image[150:175, 220:250] = np.nan  # a reflection, masked

# %%
# Missing pixels
# --------------
#
# A Gaussian along both axes, as weights of one line. By default, a window with a NaN gives NaN, as in SciPy. With
# ``nan_policy="omit"``, pixels that do not count are left out, and the weights of the others are scaled up.

x = np.arange(-6, 7)
line = np.exp(-(x**2) / (2 * 2.0**2))
line /= line.sum()
spread = convolve1d(convolve1d(image, line, axis=0), line, axis=1)
smooth = npsubpix.convolve_separable(image, (line, line), nan_policy="omit", border="shrink")
print(f"missing pixels: {np.isnan(image).mean():.1%} of the image,")
print(f"{np.isnan(spread).mean():.1%} after SciPy, {np.isnan(smooth).mean():.2%} after nan_policy='omit'")
whole = npsubpix.convolve_separable(coins, (line, line), border="shrink")
error = np.sqrt(np.nanmean((smooth - whole) ** 2))
print(f"error by the missing pixels: {error:.2f} of {np.ptp(coins):.0f} grey levels")

# %%
# Purple is missing. Only the inside of the reflection, wider than the window, has nothing to be filled from.

colours = plt.get_cmap("gray").with_extremes(bad="#aa4499")
figure, panels = plt.subplots(1, 3, figsize=(10, 3.9), sharey=True)
titles = ("image with missing pixels", "SciPy: a Gaussian spreads them", "nan_policy='omit'")
for ax, pixels, title in zip(panels, (image, spread, smooth), titles, strict=True):
    ax.imshow(pixels, cmap=colours, vmin=0, vmax=255, interpolation="nearest")
    ax.set(title=title, xticks=[], yticks=[])
figure.show()

# %%
# Borders
# -------
#
# A ramp, smoothed by a mean of seven pixels: each border extension assumes other pixels beyond the end. ``"shrink"``
# assumes none, and truncates the window instead.

ramp = np.arange(12.0)
figure, panels = plt.subplots(2, 3, figsize=(9, 4.8), sharex=True, sharey=True)
extensions = {
    "reflect": ramp[:4][::-1], "mirror": ramp[1:5][::-1], "nearest": np.full(4, ramp[0]),
    "wrap": ramp[-4:], "constant": np.zeros(4), "shrink": None,
}  # fmt: skip
for ax, (border, before) in zip(panels.flat, extensions.items(), strict=True):
    result = npsubpix.convolve(ramp, np.full(7, 1 / 7), border=border)
    if before is not None:
        ax.plot(np.arange(-4, 0), before, "o", mfc="none", color="gray", ms=5, label="assumed")
    ax.plot(ramp[:8], "o", color="#0072b2", ms=5, label="pixels")
    ax.plot(result[:8], color="#d55e00", lw=2, label="mean of seven")
    ax.axvspan(-4.5, -0.5, color="black", alpha=0.05)
    ax.set_title(f'border="{border}"')
figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
for ax in panels[1]:
    ax.set_xlabel("position (pixels)")
for ax in panels[:, 0]:
    ax.set_ylabel("value")
figure.show()

# %%
# Weights of both signs, such as those of a derivative, keep their meaning: of a constant image with missing pixels, the
# derivative is 0 and not the size of the gap.

flat = np.where(np.isnan(image), np.nan, 100.0)
sobel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
derivative = npsubpix.correlate(flat, sobel, nan_policy="omit", border="shrink")
print("greatest derivative of a constant image:", np.nanmax(np.abs(derivative)))
