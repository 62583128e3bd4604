"""Find a template in a photograph, and the flow between two images, by correlation without borders."""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import skimage.data
from skimage.feature import match_template

import npsubpix

OUT, folder = Path(sys.argv[1]), Path(skimage.data.__file__).parent

# [read]
with npsubpix.open_image(folder / "coins.png") as file:
    image = file.read().astype(float)
template = image[98:148, 79:127]
print(f"{image.shape[0]} x {image.shape[1]} pixels, template of {template.shape[0]} x {template.shape[1]}")
# [end]


# [score]
def score(image, template):
    """Zero-mean normalised cross-correlation of a template with each window that lies inside of the image."""
    pattern = template - template.mean()
    rows, columns = (slice(n // 2, n // 2 + 1 - n or None) for n in template.shape)
    energy = template.size * npsubpix.window_var(image, template.shape, border="nearest")[rows, columns]
    scale = np.sqrt(np.maximum(energy, 1e-12) * (pattern**2).sum())
    return npsubpix.correlate(image, pattern, mode="valid") / scale


scores = score(image, template)
print("as skimage.feature.match_template:", np.allclose(scores, match_template(image, template), atol=1e-6))
# [end]

# [find]
matches = npsubpix.find_peaks(scores, threshold_abs=0.45, min_distance=25)
centres = matches.coords + (np.array(template.shape) - 1) / 2
print(matches)
# [end]

# [flow]
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
first, second = (rng.poisson(frame + 10).astype(float) for frame in frames)
# [end]

# [piv]
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
# [end]

# [draw]
figure, axes = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
axes[0].imshow(image, cmap="gray")
axes[0].plot(centres[:, 1], centres[:, 0], "+", color="tab:orange", ms=14, mew=2)
axes[0].add_patch(plt.Rectangle((79, 98), 48, 50, fill=False, color="tab:cyan", lw=2))
axes[0].set(title="the template (frame) and its matches", xlabel="x (pixels)", ylabel="y (pixels)")
axes[1].imshow(first, cmap="gray", vmax=np.percentile(first, 99.5))
speed = np.hypot(*flow.T)
arrows = axes[1].quiver(
    places[:, 1], places[:, 0], flow[:, 1], flow[:, 0], speed, angles="xy", scale_units="xy", scale=0.2, cmap="viridis"
)
figure.colorbar(arrows, ax=axes[1], label="displacement (pixels)")
axes[1].set(title="flow, arrows five times as long", xlabel="x (pixels)", ylabel="y (pixels)")
figure.savefig(OUT / "templates.png", dpi=100)
# [end]
