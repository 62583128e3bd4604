"""Fits of spots together in float64: all parameters at once, each spot on the pixels and the background of its own box.

The equations of all spots are solved by Newton's method with dense matrices, and errors are those of all equations.
"""

from __future__ import annotations

import numpy as np

from tests.reference.fitting import Spot, means


def light(shape, box, margin, pixel, vector, width, sigma) -> np.ndarray:
    """Light of a spot, without background, in the pixels that it reaches; `vector` has positions in the image."""
    axes = len(shape)
    spot = Spot(box, width, sigma)
    place = np.array(vector, float)
    reached = tuple(length + 2 * m for length, m in zip(box, margin, strict=True))
    origin = np.array(pixel) - (np.array(reached) - 1) // 2
    free = {"fixed": 0, "free": axes - 1, "elliptical": axes}[width]
    own = place[axes + 1 : axes + 1 + free]
    if width == "fixed":
        own = spot.sigma
    elif width == "free":
        own = (own[0],) * 2 if axes == 2 else (own[0], own[1], own[1])
    values = means(reached, place[:axes] - origin, place[axes], own, (0.0,) * axes, 0.0)
    out = np.zeros(shape)
    inside = [slice(max(o, 0), min(o + n, s)) for o, n, s in zip(origin, reached, shape, strict=True)]
    out[tuple(inside)] = values[tuple(slice(i.start - o, i.stop - o) for i, o in zip(inside, origin, strict=True))]
    return out


class Crowd:
    """Spots of an image, of which every vector of parameters ends with the background of its own box."""

    def __init__(self, data, pixels, box, width="free", sigma=None, plane=False, variance=None, weights=None):
        self.data, self.pixels, self.box = np.asarray(data, float), np.asarray(pixels), tuple(box)
        self.width, self.sigma, self.plane, self.variance, self.weights = width, sigma, plane, variance, weights
        self.margin = tuple((n + 1) // 4 for n in self.box)
        self.axes = self.data.ndim

    def windows(self):
        for pixel in self.pixels:
            origin = pixel - (np.array(self.box) - 1) // 2
            low = np.maximum(origin, 0)
            yield tuple(
                slice(a, min(o + n, s)) for a, o, n, s in zip(low, origin, self.box, self.data.shape, strict=True)
            )

    def backgrounds(self, vector, window, pixel):
        slopes = vector[-1 - self.axes : -1] if self.plane else (0.0,) * self.axes
        places = np.meshgrid(*(np.arange(w.start, w.stop) for w in window), indexing="ij")
        return vector[-1] + sum(s * (p - c) for s, p, c in zip(slopes, places, pixel, strict=True))

    def of(self, vectors):
        """Light of each spot, and the means of its box."""
        spots = [light(self.data.shape, self.box, self.margin, p, v, self.width, self.sigma)
                 for p, v in zip(self.pixels, vectors, strict=True)]  # fmt: skip
        frame = sum(spots)
        boxes = [
            frame[w] + self.backgrounds(v, w, p) for v, w, p in zip(vectors, self.windows(), self.pixels, strict=True)
        ]
        return spots, boxes

    def noise(self, mean, window):
        if self.weights is not None:
            return 1 / np.broadcast_to(self.weights, self.data.shape)[window]
        return mean + np.broadcast_to(self.variance, self.data.shape)[window]

    def slopes(self, vectors):
        """Derivatives of the light of each spot in the image, and of its box with respect to its background."""
        out = []
        for vector, window, pixel in zip(vectors, self.windows(), self.pixels, strict=True):
            rows, own = [], []
            kept = len(vector) - 1 - self.axes * self.plane
            for k in range(len(vector)):
                step = np.zeros(len(vector))
                step[k] = 1e-5 * max(1.0, abs(vector[k]))
                args = self.data.shape, self.box, self.margin, pixel
                both = [
                    (light(*args, v, self.width, self.sigma), self.backgrounds(v, window, pixel))
                    for v in (vector + step, vector - step)
                ]
                if k < kept:
                    rows.append((both[0][0] - both[1][0]) / (2 * step[k]))
                own.append(((both[0][0] - both[1][0])[window] + both[0][1] - both[1][1]) / (2 * step[k]))
            out.append((np.array(rows), np.array(own)))
        return out

    def matrices(self, vectors):
        """The derivatives of all equations, and their covariance."""
        _, boxes = self.of(vectors)
        slopes, windows = self.slopes(vectors), list(self.windows())
        size, count = len(vectors[0]), len(vectors)
        response, covariance = np.zeros((2, count * size, count * size))
        for i in range(count):
            noise, rows = self.noise(boxes[i], windows[i]), slice(i * size, (i + 1) * size)
            weighted = slopes[i][1] / noise
            spread = np.zeros((size, *self.data.shape))
            spread[(slice(None), *windows[i])] = slopes[i][1] / np.sqrt(noise)
            for j in range(count):
                columns = slice(j * size, (j + 1) * size)
                other = slopes[j][0][(slice(None), *windows[i])]
                found = np.tensordot(weighted, slopes[i][1] if i == j else other, (range(1, self.axes + 1),) * 2)
                response[rows, columns][:, : found.shape[1]] = found
                again = np.zeros((size, *self.data.shape))
                again[(slice(None), *windows[j])] = slopes[j][1] / np.sqrt(self.noise(boxes[j], windows[j]))
                covariance[rows, columns] = np.tensordot(spread, again, (range(1, self.axes + 1),) * 2)
        return response, covariance

    def fit(self, start):
        """Return the vectors that solve the equations of all spots, and their covariance."""
        start = np.array(start, float)
        windows = list(self.windows())

        def equations(flat):
            vectors = flat.reshape(start.shape)
            _, boxes = self.of(vectors)
            slopes = self.slopes(vectors)
            return np.concatenate(
                [
                    np.tensordot(
                        own, (self.data[w] - mean) / self.noise(mean, w), (range(1, self.axes + 1), range(self.axes))
                    )
                    for (_, own), mean, w in zip(slopes, boxes, windows, strict=True)
                ]
            )  # fmt: skip

        found = start.ravel()
        for _ in range(40):  # Newton's method, with expected derivatives
            response, _ = self.matrices(found.reshape(start.shape))
            step = np.linalg.solve(response, equations(found))
            found = found + step
            if np.abs(step / np.maximum(np.abs(found), 1)).max() < 1e-9:
                break
        response, covariance = self.matrices(found.reshape(start.shape))
        inverse = np.linalg.inv(response)
        return found.reshape(start.shape), inverse @ covariance @ inverse.T
