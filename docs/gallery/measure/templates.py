"""
Templates, and the flow between two images
==========================================

A template is found in a photograph, and the flow between two images of particles (PIV) is measured, to a fraction of a
pixel: both are correlations of windows, and peaks in them.

``correlate(mode="valid")`` compares a template with each window that lies inside of an image, and
`npsubpix.find_peaks` finds the best matches between the pixels.
"""

from pathlib import Path

import cv2
import matplotlib.pyplot as plt
import numpy as np
import skimage.data

import npsubpix

with npsubpix.open_image(Path(skimage.data.__file__).with_name("coins.png")) as file:
    image = file.read().astype(np.float32)
template = image[98:148, 79:127]
print(f"{image.shape[0]} x {image.shape[1]} pixels, template of {template.shape[0]} x {template.shape[1]}")

# %%
# A template in a photograph
# --------------------------
#
# Zero-mean normalised cross-correlation is 1 for a window that equals the template but for brightness and contrast. Its
# numerator is a correlation, and its denominator a standard deviation of windows. It is the score of OpenCV and of
# ``skimage.feature.match_template``:


def score(image, template):
    """Zero-mean normalised cross-correlation of a template with each window that lies inside of the image."""
    pattern = template - template.mean()
    rows, columns = (slice(n // 2, n // 2 + 1 - n or None) for n in template.shape)
    energy = template.size * npsubpix.window_var(image, template.shape, border="nearest")[rows, columns]
    scale = np.sqrt(np.maximum(energy, 1e-12) * (pattern**2).sum())
    return npsubpix.correlate(image, pattern, mode="valid") / scale


scores = score(image, template)
theirs = cv2.matchTemplate(image, template, cv2.TM_CCOEFF_NORMED)
print(f"greatest difference from cv2.matchTemplate: {np.abs(scores - theirs).max():.0e}")

# %%
# A match is a peak. Positions are those of the first pixel of the template; add half of its size for its centre:

matches = npsubpix.find_peaks(scores, threshold_abs=0.45, min_distance=25)
centres = matches.coords + (np.array(template.shape) - 1) / 2
print(matches)

figure, ax = plt.subplots(figsize=(6.4, 5))
ax.imshow(image)
ax.plot(centres[:, 1], centres[:, 0], "+", color="#e69f00", ms=14, mew=2)
ax.add_patch(plt.Rectangle((79, 98), 48, 50, fill=False, color="#56b4e9", lw=2))
ax.set(title="the template (frame) and its matches", xlabel="x (pixels)", ylabel="y (pixels)")
figure.show()

# %%
# Particle image velocimetry
# --------------------------
#
# Two images of particles in a vortex, with photon noise. Half of the motion is before the middle of the time between
# them, and half after it.

rng = np.random.default_rng(2)
particles = rng.uniform(0, 256, (9000, 2))


def velocity(points):
    """Displacement (y, x), in pixels, of a vortex around the middle of the image."""
    away = points - 127.5
    return 0.06 * np.stack([away[:, 1], -away[:, 0]], axis=1) * np.exp(-(away**2).sum(axis=1) / 8000)[:, None]


frames = [
    npsubpix.render_spots(particles + half * velocity(particles), (256, 256), std=1.1, amplitude=800.0, integrate=True)
    for half in (-0.5, 0.5)
]
first, second = (rng.poisson(frame + 10).astype(np.float32) for frame in frames)

# %%
# Each window of the first image is sought in a larger one of the second. ``"log_quadratic"`` is the three-point
# Gaussian fit of PIV in two dimensions; a peak at the border of the search region, or one that could not be refined, is
# left out:

window, reach, step = 32, 8, 16
rows, flow = [], []
for y in range(reach, 256 - window - reach + 1, step):
    for x in range(reach, 256 - window - reach + 1, step):
        patch = first[y : y + window, x : x + window]
        search = second[y - reach : y + window + reach, x - reach : x + window + reach]
        correlation = npsubpix.correlate(search, patch - patch.mean(), mode="valid")
        peak = npsubpix.find_peaks(correlation, num_peaks=1, refine="log_quadratic")
        rows.append((y + (window - 1) / 2, x + (window - 1) / 2))
        flow.append(peak.coords[0] - reach if len(peak) and peak.ok[0] else (np.nan, np.nan))
places, flow = np.array(rows), np.array(flow)
found = np.isfinite(flow).all(axis=1)
error = (flow - velocity(places))[found]
print(f"{found.sum()} of {len(flow)} windows, RMS error {np.sqrt((error**2).mean()):.3f} pixels per axis")
print("       y       x      dy      dx")
for (y, x), (dy, dx) in list(zip(places, flow, strict=True))[:5]:
    print(f"{y:8.1f}{x:8.1f}{dy:8.3f}{dx:8.3f}")

figure, ax = plt.subplots(figsize=(6.4, 5))
ax.imshow(first, vmax=3 * np.percentile(first, 99.5))
arrows = ax.quiver(
    *places.T[::-1], *flow.T[::-1], np.hypot(*flow.T), cmap="viridis",
    angles="xy", scale_units="xy", scale=0.2, width=0.006,
)  # fmt: skip
figure.colorbar(arrows, label="displacement (pixels)")
ax.set(title="flow, arrows five times as long", xlabel="x (pixels)", ylabel="y (pixels)")
figure.show()

# %%
# Displacements agree with those of OpenPIV: :doc:`/accuracy` compares both with the truth. For one shift between whole
# images use `npsubpix.align`, which gives its standard error.
