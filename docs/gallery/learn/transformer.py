"""
A spatial transformer that learns with an integer kernel
========================================================

A network learns to centre an object although its images are resampled by nearest pixels, whose gradient is zero.

A spatial transformer network (Jaderberg et al. 2015) predicts a transform and resamples its input accordingly. Sampling
at the nearest pixel moves images by whole pixels: cheap, free of blur, and constant between its jumps, so that nothing
can be learned from its gradient. `npsubpix.Nearest` with a ``surrogate`` samples the nearest pixel, and hands on the
gradient of linear interpolation.
"""

import matplotlib.pyplot as plt
import torch

from npsubpix import Nearest, affine_grid, grid_sample

torch.set_num_threads(1)  # which is fastest for small images
y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
middle = torch.tensor([[11.5, 11.5]])


def blob(centres):
    """Return images (N, 1, 24, 24) of a blob at each centre (x, y)."""
    dx, dy = x - centres[:, 0, None, None], y - centres[:, 1, None, None]
    return torch.exp(-(dx**2 + dy**2) / 20)[:, None]


def moved(network, images, method):
    """Resample images by the shift that a network predicts for each."""
    theta = torch.cat([torch.eye(2).expand(len(images), 2, 2), network(images)[:, :, None]], 2)
    return grid_sample(images, affine_grid(theta, images.shape), method)


# %%
# Train
# -----
#
# The loss is the mean squared difference from a blob in the middle. Nothing tells the network where the blob was.


def train(method, steps):
    """Return the trained network, and the loss at each step."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(576, 32), torch.nn.Tanh(), torch.nn.Linear(32, 2))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        images = blob(middle + 8 * torch.rand(32, 2) - 4)
        loss = (moved(network, images, method) - blob(middle)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return network, losses


networks, losses = {}, {}
networks["nearest"], losses["nearest"] = train(Nearest(), steps=60)
networks["nearest, surrogate"], losses["nearest, surrogate"] = train(Nearest(surrogate="linear"), steps=200)

# %%
# Where was it?
# -------------
#
# The predicted shift is the position of the blob, which the network was never told. On new images:

with torch.no_grad():
    centres = middle + 8 * torch.rand(500, 2) - 4
    for name, network in networks.items():
        error = (network(blob(centres)) * 12 - (centres - middle)).abs().mean()  # in pixels
        print(f"{name:18}  mean position error {error:.4f} pixels")

# %%
# The same images before and after, by nearest pixels: each is moved by whole pixels, and stays sharp.

with torch.no_grad():
    images = blob(middle + torch.tensor([[-4.0, 3.0], [3.5, 3.5], [0.5, -4.0], [-2.5, -3.0]]))
    after = {name: moved(networks[name], images, Nearest()) for name in ("nearest", "nearest, surrogate")}
figure, panels = plt.subplots(3, 4, figsize=(6.4, 4.4))
rows = {
    "input": images,
    "trained without\na surrogate": after["nearest"],
    "trained with\na surrogate": after["nearest, surrogate"],
}
for line, (name, pictures) in zip(panels, rows.items(), strict=True):
    for ax, picture in zip(line, pictures, strict=True):
        ax.imshow(picture[0].numpy(), cmap="cividis", interpolation="nearest")
        ax.plot(11.5, 11.5, "+", color="white", ms=10)
        ax.set(xticks=[], yticks=[])
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
figure.show()

# %%
# Without a surrogate the loss does not fall, however long the training:

figure, ax = plt.subplots(figsize=(6, 3.8))
for (name, values), style in zip(losses.items(), ("--", "-"), strict=True):
    ax.plot(values, style, lw=2, label=name)
ax.set(xlabel="step", ylabel="mean squared difference", yscale="log")
ax.legend(title="sampling")
figure.show()
