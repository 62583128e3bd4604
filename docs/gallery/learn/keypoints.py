"""
Keypoints by soft-argmax, in torch
==================================

A small network learns where three landmarks are; soft-argmax turns its heat maps into positions between the pixels.

Images of 32 × 32 pixels hold a disc, a ring and a cross at random places, in noise. The network halves the resolution,
so that a pixel of a heat map is two pixels of the image wide.
"""

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Ellipse

import npsubpix

torch.set_num_threads(1)  # which is fastest for small images
torch.manual_seed(1)
side = 32
y, x = torch.meshgrid(torch.arange(float(side)), torch.arange(float(side)), indexing="ij")


def scene(count):
    """Return images (N, 1, 32, 32), and positions (N, 3, 2) of the disc, the ring and the cross, as (x, y)."""
    places = 5 + (side - 11) * torch.rand(count, 3, 2)
    dx = x - places[..., 0, None, None]
    dy = y - places[..., 1, None, None]
    distance = torch.sqrt(dx**2 + dy**2 + 1e-6)
    disc = torch.sigmoid(3 * (2.5 - distance[:, 0]))
    ring = torch.exp(-((distance[:, 1] - 3) ** 2))
    cross = torch.exp(-torch.minimum(dx[:, 2] ** 2, dy[:, 2] ** 2)) * (distance[:, 2] < 4)
    return (disc + ring + cross + 0.1 * torch.randn(count, side, side))[:, None], places


# %%
# The network
# -----------
#
# Its last layer has a map per landmark, at half of the resolution. `npsubpix.spatial_soft_argmax2d` returns the mean
# position of each map, from −1 to 1, differentiable in every pixel. No target map has to be drawn: the loss is the
# distance of positions.

network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 16, 5, stride=2, padding=2), torch.nn.ReLU(),
    torch.nn.Conv2d(16, 24, 5, padding=2), torch.nn.ReLU(),
    torch.nn.Conv2d(24, 3, 5, padding=2),
)  # fmt: skip
optimizer = torch.optim.Adam(network.parameters(), 4e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 8e-3, total_steps=220)
for _ in range(220):
    images, places = scene(32)
    positions = npsubpix.spatial_soft_argmax2d(network(images))  # (N, 3, 2), as (x, y) from -1 to 1
    loss = (positions - (2 * places / (side - 2) - 1)).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()

# %%
# Soft and hard
# -------------
#
# Pixel k of a map lies at pixel 2 k of the image. The maximum of the same maps knows positions to two pixels of the
# image only:

with torch.no_grad():
    images, places = scene(300)
    maps = network(images)
    soft = (npsubpix.spatial_soft_argmax2d(maps) + 1) * (side - 2) / 2
    top = maps.flatten(2).argmax(dim=-1)
    hard = 2.0 * torch.stack([top % maps.shape[-1], top // maps.shape[-1]], dim=-1)
for name, found in (("maximum", hard), ("soft-argmax", soft)):
    distance = torch.linalg.vector_norm(found - places, dim=-1)
    print(f"{name:12} median distance {distance.median():.3f} pixels, 90 % within {distance.quantile(0.9):.2f}")

# %%
# How sure is it?
# ---------------
#
# `npsubpix.spatial_moments` returns the covariance of each map beside its mean, drawn as ellipses of one standard
# deviation. A map with two maxima, where landmarks overlap, is wide:

moments = npsubpix.spatial_moments(maps)
colours, names = ("#e69f00", "#56b4e9", "#f0e442"), ("disc", "ring", "cross")
figure, panels = plt.subplots(2, 3, figsize=(8, 5.6))
for k, ax in enumerate(panels.flat):
    ax.imshow(images[k, 0].numpy(), vmin=-0.2, vmax=1.3, interpolation="nearest")
    for landmark, (colour, name) in enumerate(zip(colours, names, strict=True)):
        ax.plot(*soft[k, landmark].tolist(), "o", color=colour, ms=5, label=name)
        values, vectors = torch.linalg.eigh(moments.covariance[k, landmark].flip(0, 1))
        width, height = 4 * values.clamp(min=0).sqrt()  # two standard deviations wide, of pixels twice as large
        turn = torch.rad2deg(torch.atan2(vectors[1, 0], vectors[0, 0])).item()
        size = {"width": width.item(), "height": height.item(), "angle": turn}
        ax.add_patch(Ellipse(soft[k, landmark].tolist(), **size, fill=False, color=colour, lw=1.5))
    ax.plot(*places[k].T.numpy(), "+", color="#d55e00", ms=9, mew=1.5, label="truth")
    ax.set(xticks=[], yticks=[])
figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
figure.show()
