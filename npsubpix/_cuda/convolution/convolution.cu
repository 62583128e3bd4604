// Correlation with a kernel of weights, and its adjoint, by sums over windows.
#include "formulas.cuh"
#include "block.cuh"
#include "ends.cuh"
#include "finish.cuh"

// Beyond all places.
#define NOWHERE 0x7fffffffffffffffll

// The first place from `from` on that is a copy of pixel k.
FORMULA Index copy_of(Index k, Index from, Index n, Index border) {
  if (border == NOTHING || (border == NEAREST && k > 0 && k < n - 1)) return from <= k ? k : NOWHERE;
  if (n == 1) return from;
  if (border == NEAREST) return k == 0 ? (from <= 0 ? from : NOWHERE) : greatest(from, n - 1);
  const Index period = border == WRAP ? n : (border == MIRROR ? 2 * n - 2 : 2 * n);
  const Index ahead = from + modulo(k - from, period);
  if (border == WRAP) return ahead;
  const Index reversed = border == MIRROR ? period - k : period - 1 - k;
  return least(ahead, from + modulo(reversed - from, period));
}

// Along an axis: pixels, weights, the place of the first, steps between windows and between weights,
// and windows.
struct Axis {
  Index size, window, first, stride, dilation, count;

  __device__ __forceinline__ Index place(Index o, Index k) const { return first + o * stride + k * dilation; }
  // The window that has weight k at a place, -1 for none.
  __device__ __forceinline__ Index window_at(Index place, Index k) const {
    const Index from = place - first - k * dilation;
    return from >= 0 && from % stride == 0 && from / stride < count ? from / stride : -1;
  }
  __device__ __forceinline__ Index end() const { return first + (count - 1) * stride + (window - 1) * dilation + 1; }
};

struct Correlation {
  Axis z, y, x;
  Index border;
  bool left_out, omit;  // whether padding does not count, and NaN neither
  Real fill;

  __device__ __forceinline__ Index pixels() const { return z.size * y.size * x.size; }
  __device__ __forceinline__ Index windows() const { return z.count * y.count * x.count; }
  __device__ __forceinline__ Index weights() const { return z.window * y.window * x.window; }
};

// The pixel under a weight, and whether it counts.
struct Seen {
  Real value;
  bool counts;
};

FORMULA Seen seen(const Real* image, const Correlation& c, Index o, Index k) {
  const Index d = folded(c.z.place(o / c.x.count / c.y.count, k / c.x.window / c.y.window), c.z.size, c.border);
  const Index i = folded(c.y.place(o / c.x.count % c.y.count, k / c.x.window % c.y.window), c.y.size, c.border);
  const Index j = folded(c.x.place(o % c.x.count, k % c.x.window), c.x.size, c.border);
  const bool exists = d >= 0 && i >= 0 && j >= 0;
  const Real v = exists ? image[(d * c.y.size + i) * c.x.size + j] : c.fill;
  return {v, (exists || !c.left_out) && !(c.omit && v != v)};
}

// Sums over a window: of weights times pixels, and of magnitudes of weights, alone and times pixels, where pixels
// count; and of the weights of pixels that do not.
struct WindowSum {
  Real products, parts, means, gaps;

  // The sum of a window, in which a pixel that does not count is the mean of the others, weighted by magnitudes.
  __device__ __forceinline__ Real whole() const {
    return gaps != 0 || parts == 0 ? products + gaps * (means / parts) : products;
  }
};

FORMULA WindowSum sum_window(const Real* image, const Real* weights, const Correlation& c, Index o) {
  WindowSum s = {0, 0, 0, 0};
  for (Index k = 0; k < c.weights(); ++k) {
    const Seen at = seen(image, c, o, k);
    const Real w = weights[k], magnitude = w < 0 ? -w : w;
    if (at.counts) {
      s.products += w * at.value;
      s.means += magnitude * at.value;
      s.parts += magnitude;
    } else {
      s.gaps += w;
    }
  }
  return s;
}

#define GEOMETRY                                                                                                      \
  Index images, Index depth, Index height, Index width, Index kz, Index ky, Index kx, Index fz, Index fy, Index fx,   \
      Index sz, Index sy, Index sx, Index dz, Index dy, Index dx, Index nz, Index ny, Index nx, Index border,         \
      bool left_out, bool omit, double fill
#define CORRELATION                                                                                                   \
  {                                                                                                                   \
    {depth, kz, fz, sz, dz, nz}, {height, ky, fy, sy, dy, ny}, {width, kx, fx, sx, dx, nx}, border, left_out, omit,   \
        (Real)fill                                                                                                    \
  }

KERNEL correlate_windows(const Real* x, const Real* weights, GEOMETRY, bool integer, double low, double high,
                         Real* out) {
  const Correlation c = CORRELATION;
  const Finish finish = {integer, low, high};
  for (Index k = first_thread(); k < images * c.windows(); k += all_threads()) {
    const WindowSum s = sum_window(x + k / c.windows() * c.pixels(), weights, c, k % c.windows());
    out[k] = finish(left_out || omit ? s.whole() : s.products);
  }
}

// The adjoint. A window is its products plus G M / P, where G are the gaps, M the means and P the parts: the
// cotangent of the window is that of the products, and the cotangent times G / P is that of M.
KERNEL correlate_shares(const Real* x, const Real* weights, GEOMETRY, const Real* by_windows, Real* by_products,
                        Real* by_means, Real* means) {
  const Correlation c = CORRELATION;
  for (Index k = first_thread(); k < images * c.windows(); k += all_threads()) {
    const WindowSum s = sum_window(x + k / c.windows() * c.pixels(), weights, c, k % c.windows());
    by_products[k] = s.parts > 0 ? by_windows[k] : (Real)0;
    by_means[k] = s.parts > 0 ? by_windows[k] * (s.gaps / s.parts) : (Real)0;
    means[k] = s.parts > 0 ? s.means / s.parts : (Real)0;
  }
}

// Each pixel gathers from the windows that contain it, or a copy of it.
KERNEL correlate_by_image(const Real* x, const Real* weights, GEOMETRY, const Real* by_products, Real* grad) {
  const Correlation c = CORRELATION;
  for (Index k = first_thread(); k < images * c.pixels(); k += all_threads()) {
    const Index d = k / width / height % depth, i = k / width % height, j = k % width;
    const Real* own = by_products + k / c.pixels() * c.windows();
    Real sum = 0;
    for (Index z = copy_of(d, c.z.first, depth, border); z < c.z.end(); z = copy_of(d, z + 1, depth, border))
      for (Index y = copy_of(i, c.y.first, height, border); y < c.y.end(); y = copy_of(i, y + 1, height, border))
        for (Index u = copy_of(j, c.x.first, width, border); u < c.x.end(); u = copy_of(j, u + 1, width, border))
          for (Index n = 0; n < c.weights(); ++n) {
            const Index oz = c.z.window_at(z, n / kx / ky), oy = c.y.window_at(y, n / kx % ky);
            const Index ox = c.x.window_at(u, n % kx);
            if (oz >= 0 && oy >= 0 && ox >= 0) sum += weights[n] * own[(oz * ny + oy) * nx + ox];
          }
    grad[k] = omit && !isfinite(x[k]) ? (Real)0 : sum;
  }
}

// The same where windows and weights are one pixel apart: sum the gradients of all places that copy a pixel.
KERNEL correlate_fold(const Real* x, const Real* by_places, GEOMETRY, Real* grad) {
  const Correlation c = CORRELATION;
  const Index deep = nz + kz - 1, tall = ny + ky - 1, wide = nx + kx - 1;
  for (Index k = first_thread(); k < images * c.pixels(); k += all_threads()) {
    const Index d = k / width / height % depth, i = k / width % height, j = k % width;
    const Real* own = by_places + k / c.pixels() * deep * tall * wide;
    Real sum = 0;
    for (Index z = copy_of(d, fz, depth, border); z < c.z.end(); z = copy_of(d, z + 1, depth, border))
      for (Index y = copy_of(i, fy, height, border); y < c.y.end(); y = copy_of(i, y + 1, height, border))
        for (Index u = copy_of(j, fx, width, border); u < c.x.end(); u = copy_of(j, u + 1, width, border))
          sum += own[((z - fz) * tall + y - fy) * wide + u - fx];
    grad[k] = omit && !isfinite(x[k]) ? (Real)0 : sum;
  }
}

// Sums over parts of the windows, for each weight: of the gradients with respect to it, and to its magnitude.
KERNEL correlate_by_weights(const Real* x, GEOMETRY, const Real* by_products, const Real* by_means, const Real* means,
                            Index parts, Index part_size, double* sums) {
  const Correlation c = CORRELATION;
  for (Index task = blockIdx.x; task < parts * c.weights(); task += gridDim.x) {
    const Index begin = task / c.weights() * part_size, end = least(begin + part_size, images * c.windows());
    double total[2] = {0, 0};
    for (Index k = begin + threadIdx.x; k < end; k += blockDim.x) {
      const Seen at = seen(x + k / c.windows() * c.pixels(), c, k % c.windows(), task % c.weights());
      const bool counts = at.counts && !(omit && !isfinite(at.value));
      if (counts) total[0] += (double)by_products[k] * (double)at.value;
      if (!by_means) continue;
      if (counts) total[1] += (double)by_means[k] * ((double)at.value - (double)means[k]);
      else if (!at.counts) total[0] += (double)by_products[k] * (double)means[k];
    }
    sum_over_block(total);
    if (threadIdx.x == 0) {
      sums[task * 2] = total[0];
      sums[task * 2 + 1] = total[1];
    }
  }
}

// Add up the sums; gradients with respect to magnitudes get the sign of the weight.
KERNEL correlate_weights_gradient(const Real* weights, const double* sums, Index count, double* grad) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const double sign = weights[k] > 0 ? 1.0 : (weights[k] < 0 ? -1.0 : 0.0);
    grad[k] = sums[k * 2] + sign * sums[k * 2 + 1];
  }
}

KERNEL correlate_magnitudes(const Real* weights, Index count, Real* out) {
  for (Index k = first_thread(); k < count; k += all_threads()) out[k] = weights[k] < 0 ? -weights[k] : weights[k];
}
