"""
Galaxies of the Hubble deep field at their sizes
================================================

Galaxies and stars of any size are found in one call, each with its position, its radius and its brightness.

The picture is the Hubble deep field as it comes with scikit-image (NASA, ESA and the Hubble Deep Field team).
`npsubpix.find_blobs` looks for blobs with standard deviations from 1 to 25 pixels.
"""

import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import npsubpix
from npsubpix.plotting import draw_peaks

sky = skimage.data.hubble_deep_field().mean(axis=-1)
blobs = npsubpix.find_blobs(sky, 1, 25, threshold_abs=20)
galaxies = blobs[blobs.ok]
print(galaxies)

# %%
# Rows that are not ``ok`` have a flag that says why; most of these lie at the border, where a part of the blob is
# missing. Their number by reason:

reasons, counts = np.unique(np.array(blobs.flag_names())[~blobs.ok], return_counts=True)
for reason, count in zip(reasons, counts, strict=True):
    print(f"{count:4d} {reason}")

# %%
# Circles have the radius of each blob, √2 times the standard deviation of the Gaussian that fits it. A part of the
# field, enlarged:

figure, ax = plt.subplots(figsize=(7.2, 6.6))
draw_peaks(sky, galaxies, ax=ax)
ax.set(xlim=(330, 680), ylim=(640, 330), title="circles: the radii of blobs")
figure.show()

# %%
# The whole field, and all sizes. Stars and faint galaxies are as wide as the telescope's own blur, bright galaxies
# wider:

figure, ax = plt.subplots(figsize=(6.4, 4.4))
ax.plot(galaxies.sigma, galaxies.amplitude, "o", ms=3.5, alpha=0.35, mew=0)
ax.set(xscale="log", yscale="log")
ax.set(xlabel="standard deviation of the blob (pixels)", ylabel="height above the background (grey levels)")
ax.set_xticks([1, 2, 3, 5, 10, 20], ["1", "2", "3", "5", "10", "20"])
ax.set_yticks([20, 50, 100, 200], ["20", "50", "100", "200"])
ax.minorticks_off()
figure.show()

# %%
# Where galaxies overlap, ``overlap`` says how much of the smaller one may lie in the larger one. The table goes on as
# those of peaks do: ``galaxies.to_pandas()``, ``galaxies.save("galaxies.csv")``. `npsubpix.find_blobs` describes all
# options.
