// Standard errors of refined positions, one thread per position: the independent noise of pixels, propagated through each
// method. `_cpu/refinement/fit_errors.py` and `window_errors.py` have the equations.
#include "formulas.cuh"
#include "quadratic.cuh"
#include "fits.cuh"
#include "places.cuh"
#include "normal_equations.cuh"
#include "cells.cuh"
#include "variances.cuh"

// Derivatives along the free axes are sums of pixels times these weights, by the offset of a pixel.
struct Derivative {
  double gradient[3], seconds[3], mixed[3];  // of mixed ones: depth and rows, depth and columns, rows and columns
};

struct Central {
  static __device__ __forceinline__ Derivative at(const FreeAxes& f, Index a, Index b, Index c) {
    const double in_d = b == 0 && c == 0, in_i = a == 0 && c == 0, in_j = a == 0 && b == 0;
    return {{0.5 * (double)a * in_d, 0.5 * (double)b * in_i, 0.5 * (double)c * in_j},
            {in_d * (double)(f.ed * (3 * a * a - 2)), in_i * (double)(f.ei * (3 * b * b - 2)),
             in_j * (double)(f.ej * (3 * c * c - 2))},
            {c == 0 ? 0.25 * (double)(a * b) : 0.0, b == 0 ? 0.25 * (double)(a * c) : 0.0,
             a == 0 ? 0.25 * (double)(b * c) : 0.0}};
  }
};

struct Unmixed {
  static __device__ __forceinline__ Derivative at(const FreeAxes& f, Index a, Index b, Index c) {
    Derivative w = Central::at(f, a, b, c);
    w.mixed[0] = w.mixed[1] = w.mixed[2] = 0;
    return w;
  }
};

struct Averaged {
  static __device__ __forceinline__ Derivative at(const FreeAxes& f, Index a, Index b, Index c) {
    const double nd = (double)(2 * f.ed + 1), ni = (double)(2 * f.ei + 1), nj = (double)(2 * f.ej + 1);
    return {{0.5 * (double)a / (ni * nj), 0.5 * (double)b / (nd * nj), 0.5 * (double)c / (nd * ni)},
            {(double)(f.ed * (3 * a * a - 2)) / (ni * nj), (double)(f.ei * (3 * b * b - 2)) / (nd * nj),
             (double)(f.ej * (3 * c * c - 2)) / (nd * ni)},
            {0.25 * (double)(a * b) / nj, 0.25 * (double)(a * c) / ni, 0.25 * (double)(b * c) / nd}};
  }
};

FORMULA FreeAxes free_axes(const Row& r) {
  const Place p = r.centre;
  const Volume& v = r.v;
  return {v, r.half.d > 0 && p.d >= 1 && p.d <= v.depth - 2, p.i >= 1 && p.i <= v.height - 2,
          p.j >= 1 && p.j <= v.width - 2};
}

// Call a function of each offset along the free axes.
template <typename Visit>
FORMULA void each_offset(const FreeAxes& f, Visit visit) {
  for (Index a = -f.ed; a <= f.ed; ++a)
    for (Index b = -f.ei; b <= f.ei; ++b)
      for (Index c = -f.ej; c <= f.ej; ++c) visit(a, b, c);
}

FORMULA Matrix inverse_hessian(const FreeAxes& f, const double (&seconds)[3], const double (&mixed)[3]) {
  double fixed = 0;
  for (int k = 0; k < 3; ++k) fixed = fmax(fixed, fmax(fabs(seconds[k]), fabs(mixed[k])));
  return inverted({{f.ed ? seconds[0] : fixed, mixed[0], mixed[1], mixed[0], f.ei ? seconds[1] : fixed, mixed[2],
                    mixed[1], mixed[2], f.ej ? seconds[2] : fixed}});
}

// By how much changes of the gradient and of the Hessian move the stationary point.
FORMULA Vector moved(const Matrix& inverse, const double (&s)[3], const Derivative& w) {
  return times(inverse, -(w.gradient[0] + w.seconds[0] * s[0] + w.mixed[0] * s[1] + w.mixed[1] * s[2]),
               -(w.gradient[1] + w.mixed[0] * s[0] + w.seconds[1] * s[1] + w.mixed[2] * s[2]),
               -(w.gradient[2] + w.mixed[1] * s[0] + w.mixed[2] * s[1] + w.seconds[2] * s[2]));
}

template <typename Weights>
FORMULA Vector fit_variance(const Row& r, const Noise& noise) {
  const FreeAxes f = free_axes(r);
  const Place p = r.centre;
  const double middle = r.v.at(p.d, p.i, p.j);
  double seconds[3] = {0}, mixed[3] = {0};
  each_offset(f, [&](Index a, Index b, Index c) {
    const double value = r.v.at(p.d + a, p.i + b, p.j + c) - middle;
    const Derivative w = Weights::at(f, a, b, c);
    for (int k = 0; k < 3; ++k) seconds[k] += w.seconds[k] * value, mixed[k] += w.mixed[k] * value;
  });
  const Matrix inverse = inverse_hessian(f, seconds, mixed);
  const double shift[3] = {r.at[0] - (double)p.d, r.at[1] - (double)p.i, r.at[2] - (double)p.j};
  Vector sum = {{0, 0, 0}};
  each_offset(f, [&](Index a, Index b, Index c) {
    const double variance = noise.variance(r, p.d + a, p.i + b, p.j + c);
    add_squares(sum, moved(inverse, shift, Weights::at(f, a, b, c)), variance);
  });
  return sum;
}

// A saddle in an image that was smoothed: each of its pixels is a mean of pixels with noise, with the weights `along_i` and
// `along_j`.
FORMULA Vector saddle_variance(const Row& r, const Noise& noise, const double* along_i, const double* along_j) {
  const FreeAxes f = {r.v, 0, 1, 1};
  const Place p = r.centre;
  const double middle = r.v.at(0, p.i, p.j);
  double seconds[3] = {0}, mixed[3] = {0};
  each_offset(f, [&](Index a, Index b, Index c) {
    const double value = r.v.at(0, p.i + b, p.j + c) - middle;
    const Derivative w = Averaged::at(f, a, b, c);
    for (int k = 0; k < 3; ++k) seconds[k] += w.seconds[k] * value, mixed[k] += w.mixed[k] * value;
  });
  const Matrix inverse = inverse_hessian(f, seconds, mixed);
  const double shift[3] = {0.0, r.at[1] - (double)p.i, r.at[2] - (double)p.j};
  Vector slopes[9];
  each_offset(f, [&](Index a, Index b, Index c) {
    slopes[3 * (b + 1) + c + 1] = moved(inverse, shift, Averaged::at(f, a, b, c));
  });
  const Index hi = r.half.i, hj = r.half.j;
  Vector sum = {{0, 0, 0}};
  for (Index b = -hi; b <= hi; ++b)
    for (Index c = -hj; c <= hj; ++c) {
      Vector slope = {{0, 0, 0}};
      for (Index m = -1; m <= 1; ++m)
        for (Index n = -1; n <= 1; ++n) {
          const Index i = b - m + hi - 1, j = c - n + hj - 1;
          if (i < 0 || i > 2 * (hi - 1) || j < 0 || j > 2 * (hj - 1)) continue;
          for (int k = 1; k < 3; ++k) slope.at[k] += along_i[i] * along_j[j] * slopes[3 * (m + 1) + n + 1].at[k];
        }
      add_squares(sum, slope, noise.variance(r, 0, p.i + b, p.j + c));
    }
  return sum;
}

FORMULA Vector log_quadratic_variance(const Task& t, const Row& r, const Noise& noise) {
  const FreeAxes f = free_axes(r);
  const Place p = r.centre;
  Index around;
  const double background = mean_around(t, r.v, r.start, r.half, around);
  const double height = r.v.at(r.start.d, r.start.i, r.start.j) - background;
  double normal[TERMS][TERMS], right[TERMS];
  if (!(add_normal_equations({f, background, height}, p.d, p.i, p.j, normal, right) && solve_normal(normal, right)))
    return {{not_a_number(), not_a_number(), not_a_number()}};
  const double seconds[3] = {2.0 * right[6], 2.0 * right[5], 2.0 * right[4]}, mixed[3] = {right[9], right[8], right[7]};
  const Matrix inverse = inverse_hessian(f, seconds, mixed);
  const double shift[3] = {r.at[0] - (double)p.d, r.at[1] - (double)p.i, r.at[2] - (double)p.j};
  Vector slopes[27], share = {{0, 0, 0}};
  each_offset(f, [&](Index a, Index b, Index c) {
    Vector& slope = slopes[(a + 1) * 9 + (b + 1) * 3 + c + 1];
    slope = {{0, 0, 0}};
    const double signal = (r.v.at(p.d + a, p.i + b, p.j + c) - background) / height;
    if (!(signal > 0.0)) return;
    const Terms term = terms_of(a, b, c);
    double excess = log(signal) + 1.0, own[TERMS];
    for (int k = 0; k < TERMS; ++k) excess -= term.at[k] * right[k];
    for (int k = 0; k < TERMS; ++k) own[k] = term.at[k] * excess / height;
    substitute(normal, own);
    slope = moved(inverse, shift, {{own[3], own[2], own[1]},
                                   {2.0 * own[6], 2.0 * own[5], 2.0 * own[4]},
                                   {own[9], own[8], own[7]}});
    for (int k = 0; k < 3; ++k) share.at[k] -= slope.at[k] / (double)around;
  });
  Vector sum = ring_variance(t, r, noise, share);
  each_offset(f, [&](Index a, Index b, Index c) {
    const Place q = {p.d + a, p.i + b, p.j + c};
    add_beside_ring(sum, slopes[(a + 1) * 9 + (b + 1) * 3 + c + 1], share, is_on_ring(r, q),
                    noise.variance(r, q.d, q.i, q.j));
  });
  return sum;
}

// The window of a centroid.
struct Spreads {
  Box box;
  double at[3], spread[3];

  __device__ __forceinline__ double offset(int axis, const Place& q) const {
    return (double)(axis == 0 ? q.d : axis == 1 ? q.i : q.j) - at[axis];
  }
  __device__ __forceinline__ double weight(int axis, const Place& q) const {
    const double u = spread[axis] > 0.0 ? offset(axis, q) / spread[axis] : 0.0;
    return exp(-0.5 * u * u);
  }
  __device__ __forceinline__ Index low(int axis) const {
    return axis == 0 ? box.low.d : axis == 1 ? box.low.i : box.low.j;
  }
  __device__ __forceinline__ Index length(int axis) const {
    return (axis == 0 ? box.high.d : axis == 1 ? box.high.i : box.high.j) - low(axis);
  }
};

// Write by how much planes, whose sums `slopes` has, move the vertex of the Gaussian through them, each divided by its
// weight. `shift` is by how much the vertex moves with the window. Whether the planes determine one.
FORMULA bool vertex_slopes(const Spreads& w, int axis, double mass, double* slopes, double& shift) {
  double s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, t0 = 0, t1 = 0, t2 = 0;
  const auto offset = [&](Index n) { return (double)(w.low(axis) + n) - w.at[axis]; };
  const auto weight = [&](Index n) {
    const double u = offset(n) / w.spread[axis];
    return exp(-0.5 * u * u);
  };
  for (Index n = 0; n < w.length(axis); ++n) {
    const double signal = slopes[n] / mass, u = offset(n);
    if (!(signal > 0.0)) continue;
    const double own = weight(n) * signal * signal, v = own * log(signal);
    s0 += own, s1 += own * u, s2 += own * u * u, s3 += own * u * u * u, s4 += own * u * u * u * u;
    t0 += v, t1 += v * u, t2 += v * u * u;
  }
  const double det = s0 * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s2 * s3) + s2 * (s1 * s3 - s2 * s2);
  const Matrix inverse = inverted({{s0, s1, s2, s1, s2, s3, s2, s3, s4}});
  const Vector fit = times(inverse, t0, t1, t2);
  const double bend = fit.at[2], vertex = -0.5 * fit.at[1] / bend;
  if (!(det > LEAST_CURVED * s0 * s2 * s4 && bend < 0.0)) return false;
  shift = 0;
  for (Index n = 0; n < w.length(axis); ++n) {
    const double signal = slopes[n] / mass, u = offset(n);
    slopes[n] = 0;
    if (!(signal > 0.0)) continue;
    double share = 0, power = 1;
    for (int m = 0; m < 3; ++m, power *= u)
      share -= (inverse.at[3 + m] + 2.0 * vertex * inverse.at[6 + m]) * (0.5 / bend) * power;
    const double residual = log(signal) - fit.at[0] - fit.at[1] * u - bend * u * u;
    slopes[n] = share * signal * (2.0 * residual + 1.0) / mass;
    shift += share * signal * signal * residual * weight(n) * u / (w.spread[axis] * w.spread[axis]);
  }
  return true;
}

// `slopes` has room for three lines of `longest` numbers.
FORMULA Vector centroid_variance(const Task& t, const Row& r, const Noise& noise, const double (&spread)[3],
                                 double* slopes, Index longest) {
  Index around;
  const double background = mean_around(t, r.v, r.start, r.half, around);
  const Spreads w = {box_around(t, r.centre, r.centre, r.half), {r.at[0], r.at[1], r.at[2]},
                     {spread[0], spread[1], spread[2]}};
  const Index starts[3] = {r.start.d, r.start.i, r.start.j}, lengths[3] = {t.depth, t.height, t.width},
              half[3] = {r.half.d, r.half.i, r.half.j};
  bool cut[3], still[3], by_vertex[3] = {false, false, false};
  for (int a = 0; a < 3; ++a) {
    still[a] = starts[a] == 0 || starts[a] == lengths[a] - 1;
    cut[a] = w.length(a) <= 2 * half[a] || starts[a] < half[a] || starts[a] + half[a] >= lengths[a];
    for (Index n = 0; n < w.length(a); ++n) slopes[a * longest + n] = 0;
  }
  double mass = 0, jacobian[9] = {0}, levels[3] = {0};
  if (cut[0] || cut[1] || cut[2]) {
    for (Index k = 0; k < w.box.pixels(); ++k) {
      const Place q = w.box.at(k);
      const double wd = w.weight(0, q), wi = w.weight(1, q), wj = w.weight(2, q), v = r.v.at(q.d, q.i, q.j) - background;
      slopes[q.d - w.low(0)] += wi * wj * v;
      slopes[longest + q.i - w.low(1)] += wd * wj * v;
      slopes[2 * longest + q.j - w.low(2)] += wd * wi * v;
      mass += wd * wi * wj * v;
    }
  }
  for (int a = 0; a < 3; ++a) {
    double shift = 0;
    if (still[a]) jacobian[4 * a] = 1;
    else if (cut[a] && vertex_slopes(w, a, mass, slopes + a * longest, shift)) {
      by_vertex[a] = true;
      jacobian[4 * a] = shift - 1.0;
    }
  }
  const auto slope = [&](int a, const Place& q) {
    if (still[a]) return 0.0;
    return by_vertex[a] ? slopes[a * longest + (a == 0 ? q.d : a == 1 ? q.i : q.j) - w.low(a)] : w.offset(a, q);
  };
  for (Index k = 0; k < w.box.pixels(); ++k) {
    const Place q = w.box.at(k);
    const double weight = w.weight(0, q) * w.weight(1, q) * w.weight(2, q);
    const double v = weight * (r.v.at(q.d, q.i, q.j) - background);
    for (int a = 0; a < 3; ++a) {
      if (still[a]) continue;
      const double own = slope(a, q);
      levels[a] -= weight * own;
      for (int b = 0; b < 3; ++b)
        if (spread[b] > 0.0 && (b != a || !by_vertex[a]))
          jacobian[3 * a + b] += v * own * w.offset(b, q) / (spread[b] * spread[b]);
      if (!by_vertex[a]) jacobian[4 * a] -= v;
    }
  }
  Matrix negative;
  for (int k = 0; k < 9; ++k) negative.at[k] = -jacobian[k];
  const Matrix inverse = inverted(negative);
  const double count = (double)around;
  const Vector share = times(inverse, levels[0] / count, levels[1] / count, levels[2] / count);
  Vector sum = ring_variance(t, r, noise, share);
  for (Index k = 0; k < w.box.pixels(); ++k) {
    const Place q = w.box.at(k);
    const double weight = w.weight(0, q) * w.weight(1, q) * w.weight(2, q);
    const Vector own = times(inverse, weight * slope(0, q), weight * slope(1, q), weight * slope(2, q));
    add_beside_ring(sum, own, share, is_on_ring(r, q), noise.variance(r, q.d, q.i, q.j));
  }
  return sum;
}

// `tables` are those of `phasor_tables`, `length` the length of each.
FORMULA Vector phasor_variance(const Row& r, const Noise& noise, const double* tables, Index length) {
  const Place p = r.centre;
  const Index half[3] = {r.half.d, r.half.i, r.half.j};
  const double middle = r.v.at(p.d, p.i, p.j);
  double cosines[3] = {0}, sines[3] = {0};
  Vector sum = {{0, 0, 0}};
  for (int pass = 0; pass < 2; ++pass)
    for (Index a = 0; a <= 2 * half[0]; ++a)
      for (Index b = 0; b <= 2 * half[1]; ++b)
        for (Index c = 0; c <= 2 * half[2]; ++c) {
          const Index at[3] = {a, b, c};
          const Place q = {p.d - half[0] + a, p.i - half[1] + b, p.j - half[2] + c};
          const double v = pass ? noise.variance(r, q.d, q.i, q.j) : r.v.at(q.d, q.i, q.j) - middle;
          for (int axis = 0; axis < 3; ++axis) {
            const int e = (axis + 1) % 3, f = (axis + 2) % 3;
            const double across = tables[3 * e * length + at[e]] * tables[3 * f * length + at[f]];
            const double cosine = tables[(3 * axis + 1) * length + at[axis]],
                         sine = tables[(3 * axis + 2) * length + at[axis]];
            if (!pass) {
              cosines[axis] += across * cosine * v, sines[axis] += across * sine * v;
            } else if (half[axis] > 0) {
              const double squared = cosines[axis] * cosines[axis] + sines[axis] * sines[axis];
              const double slope = across * (sine * cosines[axis] - cosine * sines[axis]) / squared *
                                   (double)(2 * half[axis] + 1) / 6.283185307179586;
              sum.at[axis] += slope * slope * v;
            }
          }
        }
  return sum;
}

// A cell between pixels: its offset from the position and its gradient, in units of the spreads.
struct Cell {
  double u[3], g[3], weight, along, square;
  bool is_far;
};

FORMULA Cell cell_at(const Row& r, const double (&spread)[3], Place q) {
  const bool volume = r.half.d > 0;
  Cell c;
  c.u[0] = volume ? ((double)q.d + 0.5 - r.at[0]) / spread[0] : 0.0;
  c.u[1] = ((double)q.i + 0.5 - r.at[1]) / spread[1], c.u[2] = ((double)q.j + 0.5 - r.at[2]) / spread[2];
  c.g[0] = 0;
  if (volume)
    gradient3d(r.v, q.d - 1, q.i - 1, q.j - 1, c.g[0], c.g[1], c.g[2]);
  else
    gradient2d(r.v, q.d, q.i - 1, q.j - 1, c.g[1], c.g[2]);
  const double nearest = 0.5 / fmax(fmax(spread[0], spread[1]), spread[2]);
  double distance = 0;
  c.along = c.square = 0;
  for (int k = 0; k < 3; ++k) {
    c.g[k] *= spread[k];
    distance += c.u[k] * c.u[k], c.along += c.u[k] * c.g[k], c.square += c.g[k] * c.g[k];
  }
  c.is_far = distance > nearest * nearest;
  c.weight = 1.0 / sqrt(fmax(distance, nearest * nearest));
  return c;
}

// `centre` is the pixel around which the box is.
FORMULA Vector radial_variance(const Task& t, const Row& r, const Noise& noise, const double (&spread)[3]) {
  const bool volume = r.half.d > 0;
  const bool still[3] = {!volume || r.start.d == 0 || r.start.d == t.depth - 1,
                         r.start.i == 0 || r.start.i == t.height - 1, r.start.j == 0 || r.start.j == t.width - 1};
  const Place p = r.centre, h = r.half;
  const Box cells = {{volume ? greatest(p.d - h.d, (Index)1) : p.d, greatest(p.i - h.i, (Index)1),
                      greatest(p.j - h.j, (Index)1)},
                     {volume ? least(p.d + h.d, t.depth - 2) : p.d + 1, least(p.i + h.i, t.height - 2),
                      least(p.j + h.j, t.width - 2)}};
  Matrix jacobian = {{0, 0, 0, 0, 0, 0, 0, 0, 0}};
  for (Index k = 0; k < cells.pixels(); ++k) {
    const Cell c = cell_at(r, spread, cells.at(k));
    for (int m = 0; m < 3; ++m) {
      const double balance = c.square * c.u[m] - c.along * c.g[m];
      jacobian.at[4 * m] += c.weight * c.square;
      for (int n = 0; n < 3; ++n) {
        jacobian.at[3 * m + n] -= c.weight * c.g[m] * c.g[n];
        if (c.is_far) jacobian.at[3 * m + n] -= c.weight * c.weight * c.weight * balance * c.u[n];
      }
    }
  }
  for (int m = 0; m < 3; ++m)
    for (int n = 0; still[m] && n < 3; ++n) jacobian.at[3 * m + n] = m == n ? 1.0 : 0.0;
  const Matrix inverse = inverted(jacobian);
  const Index deep = volume ? 1 : 0;
  const Box pixels = {{cells.low.d - deep, cells.low.i - 1, cells.low.j - 1},
                      {cells.high.d + 2 * deep, cells.high.i + 2, cells.high.j + 2}};
  Vector sum = {{0, 0, 0}};
  for (Index k = 0; k < pixels.pixels(); ++k) {
    const Place q = pixels.at(k);
    double moves[3] = {0};
    for (Index a = 0; a < (volume ? 4 : 1); ++a)
      for (Index b = 0; b < 4; ++b)
        for (Index e = 0; e < 4; ++e) {
          const Place first = {volume ? q.d - a + 1 : q.d, q.i - b + 1, q.j - e + 1};
          if (first.d < cells.low.d || first.d >= cells.high.d || first.i < cells.low.i || first.i >= cells.high.i ||
              first.j < cells.low.j || first.j >= cells.high.j)
            continue;
          const Cell c = cell_at(r, spread, first);
          const Index at[3] = {a, b, e};
          for (int n = volume ? 0 : 1; n < 3; ++n) {
            if (at[n] == 1 || at[n] == 2) continue;
            double part = (at[n] == 3 ? c.weight : -c.weight) * spread[n] / 3.0;
            for (int o = volume ? 0 : 1; o < 3; ++o)
              if (o != n) part *= across(at[o]);
            for (int m = 0; m < 3; ++m)
              moves[m] += part * (2.0 * c.u[m] * c.g[n] - c.g[m] * c.u[n] - (m == n ? c.along : 0.0));
          }
        }
    for (int m = 0; m < 3; ++m)
      if (still[m]) moves[m] = 0;
    add_squares(sum, times(inverse, moves[0], moves[1], moves[2]), noise.variance(r, q.d, q.i, q.j));
  }
  for (int m = 0; m < 3; ++m) sum.at[m] *= spread[m] * spread[m];
  return sum;
}

#define ARGUMENTS                                                                                                     \
  const Pixel *x, Index images, Index depth, Index height, Index width, const Index *frames, const Index *starts,     \
      Index count, Index axes, const Index *centres, const double *coords, const int *flags, Index half_z,            \
      Index half_y, Index half_x, double spread_z, double spread_y, double spread_x, const double *offset,            \
      const double *factor, const double *variance, Index step0, Index step1, Index step2, Index step3, Index step4,  \
      Index step5, double *errors
#define TASK                                                                                   \
  const Task t = {x, nullptr, images, depth, height, width, frames, starts, count, axes};      \
  const Noise noise = {offset, factor, variance, {step0, step1, step2, step3, step4, step5}};  \
  const Place half = {half_z, half_y, half_x};                                                 \
  [[maybe_unused]] const double spread[3] = {spread_z, spread_y, spread_x}
#define EACH(variance) \
  write_errors(t, half, centres, coords, flags, errors, [=](const Row& r) { return variance; })

KERNEL refine_quadratic_errors(ARGUMENTS) {
  TASK;
  EACH(fit_variance<Central>(r, noise));
}

KERNEL refine_parabola_errors(ARGUMENTS) {
  TASK;
  EACH(fit_variance<Unmixed>(r, noise));
}

KERNEL refine_least_squares_errors(ARGUMENTS) {
  TASK;
  EACH(fit_variance<Averaged>(r, noise));
}

KERNEL refine_saddle_errors(ARGUMENTS, const double* along_i, const double* along_j) {
  TASK;
  EACH(saddle_variance(r, noise, along_i, along_j));
}

KERNEL refine_log_quadratic_errors(ARGUMENTS) {
  TASK;
  EACH(log_quadratic_variance(t, r, noise));
}

// `lines` has room for three lines of `longest` numbers per thread.
KERNEL refine_centroid_errors(ARGUMENTS, double* lines, Index longest) {
  TASK;
  double* own = lines + first_thread() * 3 * longest;
  EACH(centroid_variance(t, r, noise, spread, own, longest));
}

KERNEL refine_phasor_errors(ARGUMENTS, const double* tables, Index length) {
  TASK;
  EACH(phasor_variance(r, noise, tables, length));
}

KERNEL refine_radial_errors(ARGUMENTS) {
  TASK;
  EACH(radial_variance(t, r, noise, spread));
}
