// Background and noise of boxes, clipped about their median. One block per box, which reads its pixels once for each
// number that it needs: they are neither sorted nor copied.
#include "formulas.cuh"
#include "block.cuh"
#include "boxes.cuh"
#include "keys.cuh"

typedef Real Value;

// A box of an image of a stack, and the pixels of it that do not count: masked ones, and those near clipped ones.
struct Box {
  const Real* x;  // at the first pixel of the box, as the two that follow
  const bool* mask;
  UInt8* near;
  Index row, plane;  // steps in memory
  Index depth, height, width;

  __device__ __forceinline__ Index pixels() const { return depth * height * width; }
  __device__ __forceinline__ Value value(Index place) const { return x[place]; }
  // Whether the pixel at (j, k) of a plane counts, which is at a place in memory.
  __device__ __forceinline__ bool counts(Index, Index, Index place) const {
    return !(mask && mask[place]) && !(near && near[place]);
  }
};

#include "clipping.cuh"

// The range of an axis in an ellipsoid around a pixel, and squared distances in units of the radius.
FORMULA Index begin_near(Index k, Index radius) { return greatest(k - radius, (Index)0); }
FORMULA Index end_near(Index k, Index radius, Index length) { return least(k + radius + 1, length); }
FORMULA double square_of(Index k, Index radius) {
  const double part = (double)k / (double)greatest(radius, (Index)1);
  return part * part;
}

// Find the pixels of a box that are near one that is not kept.
FORMULA void find_near(const Box& b, const Kept& kept, Index rz, Index ry, Index rx, UInt8* near) {
  for (Walker w(b); w.n < b.pixels(); w.step(b)) near[w.place(b)] = 0;
  __syncthreads();
  visit(b, [&](Real v, const Walker& at) {
    if (kept.has(v)) return;
    for (Index i = begin_near(at.i, rz); i < end_near(at.i, rz, b.depth); ++i)
      for (Index j = begin_near(at.j, ry); j < end_near(at.j, ry, b.height); ++j) {
        const double line = square_of(i - at.i, rz) + square_of(j - at.j, ry);
        for (Index k = begin_near(at.k, rx); k < end_near(at.k, rx, b.width); ++k)
          if (line + square_of(k - at.k, rx) <= ELLIPSOID_LIMIT) near[i * b.plane + j * b.row + k] = 1;
      }
  });
  __syncthreads();
}

// Background, noise, range of the pixels of the background, whether the noise is a guess, and number of good pixels of
// each box. The noise of a box of equal pixels is NaN. `near` has one byte per pixel, or is absent if no pixels around
// clipped ones are left out.
KERNEL background_boxes(const Real* x, const bool* mask, Index images, Index depth, Index height, Index width,
                        Index nz, Index ny, Index nx, Index rz, Index ry, Index rx, bool use_mean, UInt8* near,
                        double* background, double* noise, double* lows, double* highs, bool* guessed,
                        Index* good) {
  for (Index n = blockIdx.x; n < images * nz * ny * nx; n += gridDim.x) {
    const Index c = n % nx, r = n / nx % ny, s = n / (nx * ny) % nz, image = n / (nx * ny * nz);
    const Index i = begin_of_box(s, depth, nz), j = begin_of_box(r, height, ny), k = begin_of_box(c, width, nx);
    const Index first = ((image * depth + i) * height + j) * width + k;
    Box b = {x + first, mask ? mask + first : nullptr, nullptr, width, height * width,
             begin_of_box(s + 1, depth, nz) - i, begin_of_box(r + 1, height, ny) - j,
             begin_of_box(c + 1, width, nx) - k};
    const Kept any = {0, -infinity(), infinity(), 0.0};
    Kept all = kept_of(b, any, 0.0, 0.0, infinity(), infinity());
    double centre = not_a_number(), deviation = not_a_number();
    Kept kept = {0, infinity(), -infinity(), 0.0};
    bool guess = false;
    if (all.count > 0) {
      const Middle m = middle_of(b, all);
      const double middle = m.at(all.count / 2);
      const double step = step_of(m);
      all = kept_of(b, any, middle, 0.0, infinity(), infinity());
      Clipped result = clip(b, all, m, middle, step);
      if (near && result.kept.count < all.count) {
        find_near(b, result.kept, rz, ry, rx, near + first);
        b.near = near + first;
        const Kept left = kept_of(b, any, middle, 0.0, infinity(), infinity());
        if ((double)left.count >= LEAST_GROWN * (double)all.count)
          result = clip(b, left, middle_of(b, left), middle, step);
      }
      centre = middle + (use_mean ? result.mean : result.median);
      kept = result.kept;
      if (step > 0) {
        deviation = result.noise;
        guess = result.guessed;
      }
    }
    if (threadIdx.x == 0) {
      background[n] = centre;
      noise[n] = deviation;
      lows[n] = kept.low;
      highs[n] = kept.high;
      guessed[n] = guess;
      good[n] = all.count;
    }
  }
}
