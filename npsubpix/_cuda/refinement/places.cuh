// Pixels of stacks of images, positions at which refinement starts, and boxes around them.

struct Place {
  Index d, i, j;
};

// The input: images of shape (images, depth, height, width), a mask or none, and `count` starts of `axes`
// coordinates, with the image of each.
struct Task {
  const Pixel* x;
  const bool* mask;
  Index images, depth, height, width;
  const Index *frames, *starts;
  Index count, axes;

  __device__ __forceinline__ Volume volume(Index image) const {
    return {x + image * depth * height * width, depth, height, width};
  }
  __device__ __forceinline__ Place start(Index k) const {
    const Index* s = starts + k * axes;
    return {axes == 3 ? s[0] : 0, s[axes - 2], s[axes - 1]};
  }
  // A pixel of an image that does not exist is outside: to check its number, the host would have to wait.
  __device__ __forceinline__ bool holds(Index image, Place p) const {
    return image >= 0 && image < images && p.d >= 0 && p.d < depth && p.i >= 0 && p.i < height && p.j >= 0 &&
           p.j < width;
  }
};

// The pixels that a method used on its way from its start to its last centre.
struct Box {
  Place low, high;  // first pixels, and those after the last

  __device__ __forceinline__ Index width() const { return high.j - low.j; }
  __device__ __forceinline__ Index plane() const { return (high.i - low.i) * width(); }
  __device__ __forceinline__ Index pixels() const { return (high.d - low.d) * plane(); }
  __device__ __forceinline__ Place at(Index k) const {
    return {low.d + k / plane(), low.i + k % plane() / width(), low.j + k % width()};
  }
};

FORMULA Box box_around(const Task& t, Place a, Place b, Place half) {
  return {{greatest(least(a.d, b.d) - half.d, (Index)0), greatest(least(a.i, b.i) - half.i, (Index)0),
           greatest(least(a.j, b.j) - half.j, (Index)0)},
          {least(greatest(a.d, b.d) + half.d + 1, t.depth), least(greatest(a.i, b.i) + half.i + 1, t.height),
           least(greatest(a.j, b.j) + half.j + 1, t.width)}};
}

// The mean of the pixels just outside a box, as `ring_mean` has it, by one thread.
FORMULA double mean_around(const Task& t, const Volume& v, Place p, Place h, Index& pixels) {
  const Box box = box_around(t, p, p, {h.d + (h.d > 0 ? 1 : 0), h.i + 1, h.j + 1});
  const double first = v.at(box.low.d, box.low.i, box.low.j);
  double total = 0;
  pixels = 0;
  for (Index k = 0; k < box.pixels(); ++k) {
    const Place q = box.at(k);
    if (apart(q.d, p.d) <= h.d && apart(q.i, p.i) <= h.i && apart(q.j, p.j) <= h.j) continue;
    total += v.at(q.d, q.i, q.j) - first;
    ++pixels;
  }
  return pixels > 0 ? first + total / (double)pixels : 0.0;
}
