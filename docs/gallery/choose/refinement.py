"""
Which refinement method? Bias and error against signal
======================================================

Seven ways to a sub-pixel position on the same simulated spots: which is right, which is near the bound, and from which
signal on.

Spots with a standard deviation of 1.3 pixels, from 100 to 100,000 photons on a background of 5 per pixel, at random
places within their pixels.
"""

import matplotlib.pyplot as plt
import numpy as np

import npsubpix

rng = np.random.default_rng(3)
centres = np.stack(np.mgrid[12:372:24, 12:372:24], axis=-1).reshape(-1, 2)  # 225 spots per image
methods = {
    "parabola": {},
    "quadratic": {},
    "log_quadratic": {"radius": 5},
    "centroid": {"radius": 4},
    "phasor": {"radius": 4},
    "radial": {"radius": 4},
    "fit": {"radius": 4, "camera": npsubpix.Camera()},
}

# %%
# Measure
# -------
#
# `npsubpix.refine_peaks` starts at the pixel of each spot, so that all methods measure the same spots.
# `npsubpix.assess` compares with the truth, and `npsubpix.cramer_rao` knows the least error that is possible.

fluxes = np.geomspace(100, 1e5, 7)
rms = {name: [] for name in methods}
bound = []
for flux in fluxes:
    truth = centres + rng.uniform(-0.5, 0.5, centres.shape)
    image = npsubpix.simulate_spots((372, 372), truth, flux=flux, sigma=1.3, background=5, rng=rng).astype(np.uint16)
    bound.append(npsubpix.cramer_rao(flux, 1.3, 5).coords_std.mean())
    for name, options in methods.items():
        found = npsubpix.refine_peaks(image, np.rint(truth), method=name, **options)
        away = (found.coords - truth)[found.ok]
        rms[name].append(np.sqrt(np.mean(away**2)))

print(f"{'photons':>14}" + "".join(f"{flux:9.0f}" for flux in fluxes))
for name, values in {**rms, "least possible": bound}.items():
    print(f"{name:>14}" + "".join(f"{value:9.4f}" for value in values))

# %%
# Error against signal
# --------------------
#
# All methods that use the whole spot follow the bound until their own bias takes over. Fits to 3 × 3 pixels know less
# of the spot, and those that take a Gaussian for a parabola stop where their bias begins.

styles = {
    "parabola": ("#cc79a7", "v", "-"), "quadratic": ("#d55e00", "s", "-"), "log_quadratic": ("#e69f00", "D", "-"),
    "centroid": ("#56b4e9", "o", "-"), "phasor": ("#009e73", "^", "-"), "radial": ("#666666", "P", ":"),
    "fit": ("#0072b2", "X", "-"),
}  # fmt: skip
figure, ax = plt.subplots(figsize=(7, 5))
for name, values in rms.items():
    colour, marker, line = styles[name]
    ax.plot(fluxes, values, line, marker=marker, color=colour, label=name, ms=6, lw=1.6)
ax.plot(fluxes, bound, "--", color="black", lw=1.5, label="least possible")
ax.set(xscale="log", yscale="log", xlabel="photons in a spot", ylabel="error along an axis, rms (pixels)")
ax.legend(loc="lower left", ncols=2)
figure.show()

# %%
# Bias over the pixel
# -------------------
#
# With half a million photons and no noise, the mean error over the place of a spot within its pixel is left: a wave
# means that positions are drawn to pixels ("pixel locking"). Five of the methods lie on the line of zero.

phase = np.linspace(-0.5, 0.5, 225)
truth = centres + np.column_stack([phase, rng.permutation(phase)])
image = npsubpix.render_spots(truth, (372, 372), std=1.3, amplitude=5e5, integrate=True) + 5
image = np.rint(image).astype(np.uint16)
figure, ax = plt.subplots(figsize=(7, 4.2))
for name, options in methods.items():
    found = npsubpix.refine_peaks(image, np.rint(truth), method=name, **options)
    colour, marker, line = styles[name]
    bins = np.digitize(phase, np.linspace(-0.5, 0.5, 16)[1:-1])
    error = np.where(found.ok, found.coords[:, 0] - truth[:, 0], np.nan)
    ax.plot(
        [phase[bins == k].mean() for k in range(15)], [np.nanmean(error[bins == k]) for k in range(15)],
        line, marker=marker, color=colour, label=name, ms=5, lw=1.4,
    )  # fmt: skip
ax.set(xlabel="position within the pixel (pixels)", ylabel="mean error (pixels)")
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
figure.show()

# %%
# On isolated round spots the phasor costs least, and is as good as the fit; with neighbours, take the centroid; where
# standard errors are needed, the fit. A quadratic is right for wide structures and for corners of other shapes, where
# no model of a spot holds.
