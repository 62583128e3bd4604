"""
A custom window function on two images: depth from stereo
=========================================================

A function of two windows, written in a line of NumPy, becomes a stereo matcher with sub-pixel disparities.

The photographs of a motorcycle come with scikit-image, in a quarter of their size here, with the true disparities
(Middlebury stereo data set, Scharstein et al. 2014).
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import npsubpix

left, right, true = skimage.data.stereo_motorcycle()
reduce = 4


def smaller(pixels):
    """Return the means of blocks of 4 × 4 pixels; the block of a disparity with gaps is NaN."""
    height, width = (side // reduce for side in pixels.shape)
    return pixels[: height * reduce, : width * reduce].reshape(height, reduce, width, reduce).mean(axis=(1, 3))


left, right = (smaller(pixels.mean(axis=-1)) for pixels in (left, right))
true = smaller(np.where(np.isfinite(true), true, np.nan)) / reduce
print(left.shape, f"disparities from {np.nanmin(true):.1f} to {np.nanmax(true):.1f} pixels")

# %%
# A function of two windows
# -------------------------
#
# `npsubpix.window_map` compiles a function of windows into a loop over all pixels. This one is the mean absolute
# difference of two windows, each less its own mean, so that a difference of exposure does not matter:


def unlike(a, b):
    """Return how much two windows differ beyond their brightness."""
    return np.abs((a - a.mean()) - (b - b.mean())).mean()


disparities = np.arange(1, 18)
costs = np.stack([
    npsubpix.window_map(unlike, left, np.roll(right, disparity, axis=1), size=7, border="nearest")
    for disparity in disparities
])  # fmt: skip
print(f"{costs.shape[0]} maps of costs, each a function of {left.size} pairs of windows")

# %%
# Between the pixels
# ------------------
#
# The least cost has the right disparity to a pixel. Two lines through the costs beside it, equally steep, meet at the
# disparity to a fraction of a pixel, as costs of absolute differences have a corner there:

best = costs.argmin(axis=0)
inner = np.clip(best, 1, len(disparities) - 2)
before, at, after = (np.take_along_axis(costs, (inner + step)[None], 0)[0] for step in (-1, 0, 1))
shift = 0.5 * (before - after) / (np.maximum(before, after) - at + 1e-9)
whole, found = disparities[best].astype(float), disparities[inner] + np.clip(shift, -0.5, 0.5)
for name, result in (("whole pixels", whole), ("sub-pixel", found)):
    result[:, : disparities[-1]] = np.nan  # of which the right image has no counterpart
    error = np.abs(result - true)
    near = np.mean(error[np.isfinite(error)] < 0.5)
    print(f"{name}: median error {np.nanmedian(error):.3f} pixels, {near:.1%} within half a pixel")

# %%
# Nearer objects have larger disparities. White pixels have none that is known.

figure, panels = plt.subplots(1, 3, figsize=(11, 2.7), sharey=True)
panels[0].imshow(left)
for ax, pixels in zip(panels[1:], (found, true), strict=True):
    shown = ax.imshow(pixels, cmap="cividis", vmin=1, vmax=17, interpolation="nearest")
for ax, title in zip(panels, ("left image", "disparity, measured", "disparity, true"), strict=True):
    ax.set(title=title, xticks=[], yticks=[])
figure.colorbar(shown, ax=panels, label="disparity (pixels)", shrink=0.9)
figure.show()

# %%
# The distribution of errors shows what the sub-pixel step is worth; without it, disparities are whole numbers.

figure, ax = plt.subplots(figsize=(6, 3.6))
bins = np.linspace(-1.5, 1.5, 76)
for name, result, style in (("whole pixels", whole, {"color": "#d55e00"}), ("sub-pixel", found, {"color": "#0072b2"})):
    error = result - true
    ax.hist(error[np.isfinite(error)], bins, histtype="step", lw=2, label=name, **style)
ax.set(xlabel="error of the disparity (pixels)", ylabel="pixels")
ax.legend()
figure.show()
