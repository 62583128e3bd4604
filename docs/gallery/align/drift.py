"""
Drift, measured and removed
===========================

A sample moves by two pixels during a movie; its molecules alone tell how far, to a hundredth of a pixel.

The table below stands for a movie of 5,000 frames with 9,000 localizations of 500 molecules in rings. The true drift is
known here, and tells whether the standard errors can be believed.
"""

import matplotlib.pyplot as plt
import numpy as np

import npsubpix

rng = np.random.default_rng(1)
n_frames, n_molecules = 5000, 500
time = np.arange(n_frames) / n_frames
truth = np.column_stack([1.5 * np.sin(3 * time) - time, 2.5 * time**2 + 0.3 * np.cos(9 * time)])
rings = rng.uniform(4, 60, (n_molecules // 10, 1, 2))
angle = np.linspace(0, 2 * np.pi, 10, endpoint=False)
molecules = (rings + 0.6 * np.stack([np.sin(angle), np.cos(angle)], axis=1)).reshape(-1, 2)
frame = rng.integers(0, n_frames, 9000)
which = rng.integers(0, n_molecules, 9000)
std = rng.uniform(0.05, 0.15, (9000, 1)) * np.ones(2)
found = molecules[which] + truth[frame] + std * rng.normal(size=std.shape)
table = npsubpix.Peaks(
    found, np.ones(9000), np.rint(found).astype(int), np.zeros(9000, np.int32), frame, coords_std=std
)

# %%
# From molecules
# --------------
#
# `npsubpix.drift_of` renders segments of the movie as images, and correlates pairs of them (redundant
# cross-correlation, Wang et al. 2014). Then it fits a spline to all localizations at once, without pixels.

drift = npsubpix.drift_of(table)
print(drift)

# %%
# `npsubpix.apply_drift` returns a table of the same class, with positions moved, and errors of positions and of the
# drift combined:

moved = npsubpix.apply_drift(table, drift)
places = molecules[which] + truth[frame].mean(axis=0)
for name, spots in (("before", table), ("after", moved)):
    print(f"{name}: {np.sqrt(((spots.coords - places) ** 2).mean()):.3f} pixels from the molecules")
print(f"standard errors say {np.sqrt((moved.coords_std**2).mean()):.3f}")

# %%
# Rings of molecules, each localization drawn as a Gaussian of 0.1 pixels:

zoom, corner = 16, rings[0, 0] + truth[frame].mean(axis=0) - 3.2
figure, panels = plt.subplots(1, 2, figsize=(8.2, 4.4), sharey=True)
for ax, (name, spots) in zip(panels, (("before", table), ("after", moved)), strict=True):
    picture = npsubpix.render_spots(zoom * (spots.coords - corner), (6 * zoom, 6 * zoom), std=zoom * 0.1)
    ax.imshow(picture, cmap="inferno", origin="lower", extent=(0, 6, 0, 6), interpolation="bilinear")
    ax.set(title=f"{name} correction", xlabel="x (pixels)")
panels[0].set_ylabel("y (pixels)")
figure.show()

# %%
# Can the error be believed?
# --------------------------

wrong = drift.shift - (truth[drift.frame] - truth[frame].mean(axis=0))
print(f"error of the drift: {np.sqrt((wrong**2).mean()):.4f} pixels")
print(f"in units of its standard errors: {np.sqrt(((wrong / drift.shift_std) ** 2).mean()):.2f}")

# %%
# From beads
# ----------
#
# Beads that stay in the image are linked from frame to frame, and their mean motion is the drift. Each frame is
# measured for itself, so that vibrations are seen too.

beads = np.array([[10.0, 12.0], [50.0, 20.0], [31.0, 55.0]])
every = np.repeat(np.arange(n_frames), 3)
seen = np.tile(beads, (n_frames, 1)) + truth[every] + rng.normal(0, 0.03, (3 * n_frames, 2))
tracked = npsubpix.drift_of(seen, frame=every, method="tracks")
print(tracked)
error = tracked.shift - (truth - truth.mean(axis=0))
print(f"error of the drift: {np.sqrt((error**2).mean()):.4f} pixels")

# %%
# Both, with the true drift. Below: the error of the drift from molecules, and a band of two standard errors.

figure, (upper, *lower) = plt.subplots(3, 1, figsize=(7.2, 6.4), height_ratios=[2.4, 1, 1], sharex=True)
for k, (axis, colour) in enumerate(zip("yx", ("#0072b2", "#d55e00"), strict=True)):
    upper.plot(tracked.frame, tracked.shift[:, k], ",", color=colour, alpha=0.4)
    upper.plot(drift.frame, drift.shift[:, k], color=colour, lw=2.5, label=f"{axis}, from molecules")
    upper.plot(truth[:, k] - truth[frame, k].mean(), "--", color="black", lw=1, label="truth" if k else None)
    lower[k].fill_between(drift.frame, -2 * drift.shift_std[:, k], 2 * drift.shift_std[:, k], color=colour, alpha=0.25)
    lower[k].plot(drift.frame, wrong[:, k], color=colour, lw=1)
    lower[k].axhline(0, color="gray", lw=0.8, zorder=0)
    lower[k].set_ylabel(f"error in {axis}\n(pixels)")
upper.plot([], [], ".", color="gray", label="from three beads, frame by frame")
upper.set(ylabel="drift (pixels)")
upper.legend()
lower[-1].set_xlabel("frame")
figure.show()
