// Levels of a scale space: responses to blobs, their extrema in space and scale, and the neighbours of these.
#include "formulas.cuh"

// Pixel of which one beyond the ends, by two at most, is the reflection.
FORMULA Index reflected(Index i, Index n) {
  if (i < 0) i = -1 - i;
  if (i >= n) i = 2 * n - 1 - i;
  return within(i, 0, n - 1);
}

// A pixel and the axes around it.
struct Spot {
  const Pixel* x;
  Index place[3], shape[3], stride[3];

  FORMULA double at(Index axis, Index by) const {
    return x[(reflected(place[axis] + by, shape[axis]) - place[axis]) * stride[axis]];
  }
  FORMULA double at(Index a, Index by, Index b, Index other) const {
    const Index first = (reflected(place[a] + by, shape[a]) - place[a]) * stride[a];
    return x[first + (reflected(place[b] + other, shape[b]) - place[b]) * stride[b]];
  }
  // Second derivative, and first and mixed ones, of fourth order, by the weights of the table.
  FORMULA double second(Index axis, const double* w) const {
    return w[0] * *x + w[1] * (at(axis, -1) + at(axis, 1)) + w[2] * (at(axis, -2) + at(axis, 2));
  }
  FORMULA double slope(Index a, Index b, Index other, const double* w) const {
    return w[3] * (at(a, 1, b, other) - at(a, -1, b, other)) + w[4] * (at(a, 2, b, other) - at(a, -2, b, other));
  }
  FORMULA double mixed(Index a, Index b, const double* w) const {
    return w[3] * (slope(a, b, 1, w) - slope(a, b, -1, w)) + w[4] * (slope(a, b, 2, w) - slope(a, b, -2, w));
  }
};

FORMULA Spot spot_at(const Pixel* x, Index k, Index depth, Index height, Index width) {
  return {x + k,
          {k / width / height, k / width % height, k % width},
          {depth, height, width},
          {height * width, width, 1}};
}

KERNEL blob_laplacian(const Pixel* x, Index depth, Index height, Index width, double fz, double fy, double fx,
                      const double* weights, Pixel* out) {
  for (Index k = first_thread(); k < depth * height * width; k += all_threads()) {
    const Spot spot = spot_at(x, k, depth, height, width);
    double sum = fy * spot.second(1, weights) + fx * spot.second(2, weights);
    if (fz > 0) sum += fz * spot.second(0, weights);
    out[k] = (Pixel)-sum;
  }
}

KERNEL blob_hessian(const Pixel* x, Index depth, Index height, Index width, double fz, double fy, double fx,
                    const double* weights, Pixel* out) {
  for (Index k = first_thread(); k < depth * height * width; k += all_threads()) {
    const Spot spot = spot_at(x, k, depth, height, width);
    const double b = -fy * spot.second(1, weights), c = -fx * spot.second(2, weights);
    const double p = sqrt(fy * fx) * spot.mixed(1, 2, weights);
    const double minor = b * c - p * p;
    double value = 0;
    if (fz > 0) {
      const double a = -fz * spot.second(0, weights);
      const double q = sqrt(fz * fx) * spot.mixed(0, 2, weights), r = sqrt(fz * fy) * spot.mixed(0, 1, weights);
      const double det = a * minor - r * (r * c - q * p) + q * (r * p - q * b);
      if (minor > 0 && det * c > 0) value = 3 * pow(fabs(det), 1.0 / 3);
    } else if (minor > 0) {
      value = 2 * sqrt(minor);
    }
    out[k] = (Pixel)(c > 0 ? value : -value);
  }
}

FORMULA bool is_extremum(const Pixel* below, const Pixel* x, const Pixel* above, Index k, Index depth, Index height,
                         Index width, Pixel sign, Pixel low) {
  const Pixel v = sign * x[k];
  if (!(v > low)) return false;
  const Index z = k / width / height, i = k / width % height, j = k % width;
  for (Index d = greatest<Index>(z - 1, 0); d < least(z + 2, depth); ++d)
    for (Index r = greatest<Index>(i - 1, 0); r < least(i + 2, height); ++r)
      for (Index c = greatest<Index>(j - 1, 0); c < least(j + 2, width); ++c) {
        const Index other = (d * height + r) * width + c;
        if (!(v > sign * below[other]) || !(v >= sign * above[other])) return false;
        if (!(other < k ? v > sign * x[other] : v >= sign * x[other])) return false;
      }
  return true;
}

// Count the extrema of each part of an image; or write their places, where those of each part start.
KERNEL blob_extrema(const Pixel* below, const Pixel* x, const Pixel* above, Index depth, Index height, Index width,
                    double sign, double low, Index part, const Index* starts, Index* places, Index* counts) {
  const Index size = depth * height * width;
  for (Index n = first_thread(); n * part < size; n += all_threads()) {
    Index found = 0;
    for (Index k = n * part; k < least((n + 1) * part, size); ++k) {
      if (!is_extremum(below, x, above, k, depth, height, width, (Pixel)sign, (Pixel)low)) continue;
      if (places) places[starts[n] + found] = k;
      ++found;
    }
    if (counts) counts[n] = found;
  }
}

// Neighbours of places in three levels; those beyond the image are the pixel at its end.
KERNEL blob_neighbours(const Pixel* below, const Pixel* x, const Pixel* above, Index depth, Index height, Index width,
                       const Index* places, Index count, Pixel* out) {
  for (Index n = first_thread(); n < 81 * count; n += all_threads()) {
    const Index k = places[n / 81], level = n / 27 % 3;
    const Index z = within(k / width / height + n / 9 % 3 - 1, 0, depth - 1);
    const Index i = within(k / width % height + n / 3 % 3 - 1, 0, height - 1);
    const Index j = within(k % width + n % 3 - 1, 0, width - 1);
    const Pixel* from = level == 0 ? below : level == 1 ? x : above;
    out[n] = from[(z * height + i) * width + j];
  }
}

// Whether pixels are gaps, 1, and have one within reach along each axis, 2.
KERNEL blob_gaps(const bool* gaps, Index depth, Index height, Index width, const Index* pixels, const Index* reach,
                 Index count, UInt8* codes) {
  for (Index n = first_thread(); n < count; n += all_threads()) {
    const Index *p = pixels + 3 * n, *r = reach + 3 * n;
    UInt8 code = gaps[(p[0] * height + p[1]) * width + p[2]] ? 1 : 0;
    for (Index z = greatest<Index>(p[0] - r[0], 0); z <= least(p[0] + r[0], depth - 1); ++z)
      for (Index i = greatest<Index>(p[1] - r[1], 0); i <= least(p[1] + r[1], height - 1); ++i)
        for (Index j = greatest<Index>(p[2] - r[2], 0); j <= least(p[2] + r[2], width - 1); ++j)
          if (gaps[(z * height + i) * width + j]) code |= 2;
    codes[n] = code;
  }
}
