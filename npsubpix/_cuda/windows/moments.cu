// Variances and centroids of windows, at a cost that hardly grows with their size; with weights, pixel by pixel.
#include "formulas.cuh"
#include "ends.cuh"
#include "windows.cuh"
#include "tiles.cuh"

// A part of a window: how many pixels it has, their sum, in two numbers of which the second is what the
// first leaves, and the sum of squares of differences from their mean. Parts are joined by the
// difference d of the means, with n and m pixels: d**2 n m / (n + m) is added to the squares. All is
// positive, and d has its digits however far from 0 the pixels are.
struct Squares {
  double count, high, low, squares;
};

// The sum of two numbers, and what it leaves.
FORMULA double rest_of_sum(double a, double b, double sum) {
  const double other = sum - a;
  return (a - (sum - other)) + (b - other);
}

FORMULA Squares joined(const Squares& a, const Squares& b) {
  if (a.count == 0) return b;
  if (b.count == 0) return a;
  const double n = a.count, m = b.count, p = a.high * m, q = b.high * n, high = a.high + b.high;
  double d = p - q, low = 0;
  if (isfinite(high)) low = a.low + b.low + rest_of_sum(a.high, b.high, high);
  if (isfinite(d)) d += rest_of_sum(p, -q, d) + (fma(a.high, m, -p) - fma(b.high, n, -q)) + (a.low * m - b.low * n);
  return {n + m, high, low, a.squares + b.squares + d * d / (n * m * (n + m))};
}

struct Variances {
  typedef Squares Part;
  double fill;
  bool root;

  // The difference of a pixel from itself: 0, or NaN if it is not finite.
  __device__ __forceinline__ Squares of(Real v) const { return {1, (double)v, 0, (double)v - (double)v}; }
  __device__ __forceinline__ Squares none() const { return {0, 0, 0, 0}; }
  __device__ __forceinline__ Squares repeated(Index a, Index b, Index c) const {
    const double n = (double)(a * b * c), sum = fill * n;
    return {n, sum, isfinite(sum) ? fma(fill, n, -sum) : 0.0, fill - fill};
  }
  __device__ __forceinline__ Squares join(const Squares& a, const Squares& b, Index, Index) const {
    return joined(a, b);
  }
  __device__ __forceinline__ void write(const Squares& s, Index k, Real* out) const {
    const double v = s.squares / s.count;
    out[k] = (Real)(root ? sqrt(v) : v);
  }
};

// A part of a window: the sum of its pixels, and that of each times its distance from where the part begins.
struct Moments {
  double mass, by[3];
};

struct Centroids {
  typedef Moments Part;
  double fill;
  Windows image;

  __device__ __forceinline__ Moments of(Real v) const { return {(double)v, {0, 0, 0}}; }
  __device__ __forceinline__ Moments none() const { return {0, {0, 0, 0}}; }
  __device__ __forceinline__ Moments repeated(Index a, Index b, Index c) const {
    const double mass = fill * (double)(a * b * c);
    return {mass, {0.5 * mass * (double)(a - 1), 0.5 * mass * (double)(b - 1), 0.5 * mass * (double)(c - 1)}};
  }
  __device__ __forceinline__ Moments join(const Moments& a, const Moments& b, Index axis, Index span) const {
    Moments sum = {a.mass + b.mass, {a.by[0] + b.by[0], a.by[1] + b.by[1], a.by[2] + b.by[2]}};
    for (Index n = 0; n < 3; ++n)
      if (n == axis) sum.by[n] += (double)span * b.mass;
    return sum;
  }
  __device__ __forceinline__ void write(const Moments& m, Index k, double* out) const {
    const Index count = image.count();
    const bool known = m.mass != 0 && isfinite(m.mass);
    const Index place[3] = {image.z.place(image.oz(k)), image.y.place(image.oy(k)), image.x.place(image.ox(k))};
    for (Index n = 0; n < 3; ++n) out[n * count + k] = known ? (double)place[n] + m.by[n] / m.mass : not_a_number();
  }
};

KERNEL fold_squares(const Real* x, const bool* skipped, const Squares* parts, WINDOWS(p), PASS, WINDOWS(i),
                    double fill, bool root,
                    Squares* made, Real* out) {
  fold_tiles(Variances{fill, root}, x, skipped, parts, AS_WINDOWS(p), AS_TILES, AS_PASS, made, out);
}

KERNEL join_squares(const Squares* parts, const Squares* remainder, REMAINDER, WINDOWS(i), double fill, bool root,
                    Squares* made, Real* out) {
  join_remainder(Variances{fill, root}, parts, remainder, AS_REMAINDER, made, out);
}

KERNEL fold_moments(const Real* x, const bool* skipped, const Moments* parts, WINDOWS(p), PASS, WINDOWS(i),
                    double fill, bool,
                    Moments* made, double* out) {
  fold_tiles(Centroids{fill, AS_WINDOWS(i)}, x, skipped, parts, AS_WINDOWS(p), AS_TILES, AS_PASS, made, out);
}

KERNEL join_moments(const Moments* parts, const Moments* remainder, REMAINDER, WINDOWS(i), double fill, bool,
                    Moments* made, double* out) {
  join_remainder(Centroids{fill, AS_WINDOWS(i)}, parts, remainder, AS_REMAINDER, made, out);
}

// With a footprint or weights: pixels count whose weight is not 0.

#define SUM 0
#define MEAN 1
#define VARIANCE 2
#define DEVIATION 3

KERNEL footprint_moments(const Real* x, const bool* skipped, WINDOWS(w), const double* pixel_weights, double fill,
                         Index wanted, Real* out) {
  const Windows w = AS_WINDOWS(w);
  for (Index o = first_thread(); o < w.count(); o += all_threads()) {
    double sum = 0, total = 0, squares = 0;
    visit_window(x, skipped, w, (Real)fill, o, [&](Real v, Index n) {
      if (pixel_weights[n] == 0) return;
      sum += pixel_weights[n] * (double)v;
      total += pixel_weights[n];
    });
    double v = wanted == SUM ? sum : sum / total;
    if (wanted >= VARIANCE) {
      visit_window(x, skipped, w, (Real)fill, o, [&](Real pixel, Index n) {
        const double d = (double)pixel - v;
        if (pixel_weights[n] != 0) squares += pixel_weights[n] * (d * d);
      });
      v = wanted == VARIANCE ? squares / total : sqrt(squares / total);
    }
    out[o] = (Real)v;
  }
}

KERNEL footprint_centroids(const Real* x, const bool* skipped, WINDOWS(w), const double* pixel_weights, double fill,
                           double* out) {
  const Windows w = AS_WINDOWS(w);
  const Centroids fold = {fill, w};
  for (Index o = first_thread(); o < w.count(); o += all_threads()) {
    Moments m = fold.none();
    visit_window(x, skipped, w, (Real)fill, o, [&](Real v, Index n) {
      if (pixel_weights[n] == 0) return;
      const double share = pixel_weights[n] * (double)v;
      m.mass += share;
      m.by[0] += share * (double)(n / w.x.window / w.y.window);
      m.by[1] += share * (double)(n / w.x.window % w.y.window);
      m.by[2] += share * (double)(n % w.x.window);
    });
    fold.write(m, o, out);
  }
}
