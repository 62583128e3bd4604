// Sub-pixel refinement of positions.
#include "formulas.cuh"
#include "block.cuh"
#include "quadratic.cuh"
#include "fits.cuh"
#include "places.cuh"
#include "normal_equations.cuh"
#include "cells.cuh"

// A refined position, its value and flags, and the pixel at which refinement ended.
struct Located {
  double d, i, j, value;
  int flags;
  Place centre;
};

FORMULA Located stay(const Volume& v, Place p, int flags) {
  return {(double)p.d, (double)p.i, (double)p.j, v.at(p.d, p.i, p.j), flags, p};
}

FORMULA double furthest(const Located& to, Place from) {
  return fmax(fmax(fabs(to.d - (double)from.d), fabs(to.i - (double)from.i)), fabs(to.j - (double)from.j));
}

// Where a walk ended.
FORMULA Located located(const Volume& v, const Walk& w) {
  return {(double)w.d + w.fit.sd, (double)w.i + w.fit.si,           (double)w.j + w.fit.sj,
          v.at(w.d, w.i, w.j) + w.fit.gain, w.fit.flags, {w.d, w.i, w.j}};
}

// Walk to the pixel of the best fit. Axes along which the start lies at the border stay.
template <typename Fitting, typename FreeFitting>
FORMULA Located walk(const Volume& v, Place p, bool volume, Index n_iters, double max_shift) {
  const Index steps = (Index)max_shift + 1;
  const Index ed = volume && p.d >= 1 && p.d <= v.depth - 2, ei = p.i >= 1 && p.i <= v.height - 2,
              ej = p.j >= 1 && p.j <= v.width - 2;
  const int fixed = (volume && !ed ? FLAG_FIXED_Z : 0) | (ei ? 0 : FLAG_FIXED_Y) | (ej ? 0 : FLAG_FIXED_X);
  if (ed + ei + ej == 0) return stay(v, p, FLAG_AT_BORDER);
  const FreeAxes free = {v, ed, ei, ej};
  Walk w = fixed ? follow<FreeFitting>(free, p.d, p.i, p.j, n_iters, MOVE_THRESHOLD, infinity(), steps, true)
                 : follow<Fitting>(v, p.d, p.i, p.j, n_iters, MOVE_THRESHOLD, infinity(), steps, true);
  if (!(w.fit.flags & FLAGS_REJECTED)) w.fit.flags |= fixed;
  return located(v, w);
}

FORMULA bool is_masked(const Task& t, Index image, Place p) {
  return t.mask[((image * t.depth + p.d) * t.height + p.i) * t.width + p.j];
}

FORMULA void write_place(const Task& t, Index k, double d, double i, double j, double* coords) {
  double* out = coords + k * t.axes;
  if (t.axes == 3) out[0] = d;
  out[t.axes - 2] = i;
  out[t.axes - 1] = j;
}

// Write a refined position; one that was rejected is reset to its start, with the value of its pixel. `centres` are the
// pixels at which refinement ended, if these are wanted.
FORMULA void write_located(const Task& t, Index k, Located to, bool masked, double max_shift, double* coords,
                           double* values, int* flags, Index* centres) {
  const Place p = t.start(k);
  if (centres) centres[3 * k] = to.centre.d, centres[3 * k + 1] = to.centre.i, centres[3 * k + 2] = to.centre.j;
  if (!(to.flags & FLAGS_REJECTED) && !(furthest(to, p) <= max_shift)) to.flags = FLAG_TOO_FAR;
  if (masked) to.flags |= FLAG_MASKED;
  flags[k] = to.flags;
  if (to.flags & FLAGS_REJECTED) to = stay(t.volume(t.frames[k]), p, to.flags);
  write_place(t, k, to.d, to.i, to.j, coords);
  values[k] = to.value;
}

FORMULA void write_outside(const Task& t, Index k, double* coords, double* values, int* flags) {
  const Place p = t.start(k);
  write_place(t, k, (double)p.d, (double)p.i, (double)p.j, coords);
  values[k] = not_a_number();
  flags[k] = FLAG_AT_BORDER;
}

// One thread per start, for methods that use few pixels.
template <typename Locate>
FORMULA void refine_each(const Task& t, Place extent, double max_shift, double* coords, double* values, int* flags,
                         Index* centres, Locate locate) {
  for (Index k = first_thread(); k < t.count; k += all_threads()) {
    const Place p = t.start(k);
    if (!t.holds(t.frames[k], p)) {
      write_outside(t, k, coords, values, flags);
      continue;
    }
    const Located to = locate(t.volume(t.frames[k]), p);
    bool masked = false;
    if (t.mask) {
      const Box box = box_around(t, p, to.centre, extent);
      for (Index n = 0; n < box.pixels() && !masked; ++n) masked = is_masked(t, t.frames[k], box.at(n));
    }
    write_located(t, k, to, masked, max_shift, coords, values, flags, centres);
  }
}

// One block per start, for methods whose threads share the pixels of a window.
template <typename Locate>
FORMULA void refine_by_blocks(const Task& t, Place extent, double max_shift, double* coords, double* values, int* flags,
                              Index* centres, Locate locate) {
  for (Index k = blockIdx.x; k < t.count; k += gridDim.x) {
    const Place p = t.start(k);
    if (!t.holds(t.frames[k], p)) {
      if (threadIdx.x == 0) write_outside(t, k, coords, values, flags);
      continue;
    }
    const Located to = locate(t.volume(t.frames[k]), p);
    double masked[1] = {0};
    if (t.mask) {
      const Box box = box_around(t, p, to.centre, extent);
      for (Index n = threadIdx.x; n < box.pixels(); n += blockDim.x)
        if (is_masked(t, t.frames[k], box.at(n))) masked[0] = 1;
      sum_over_block(masked);
    }
    if (threadIdx.x == 0) write_located(t, k, to, masked[0] > 0, max_shift, coords, values, flags, centres);
  }
}

#define ARGUMENTS                                                                                                  \
  const Pixel *x, const bool *mask, Index images, Index depth, Index height, Index width, const Index *frames,     \
      const Index *starts, Index count, Index axes, Index extent_z, Index extent_y, Index extent_x, Index n_iters, \
      double max_shift, Index half_z, Index half_y, Index half_x, double spread_z, double spread_y,                \
      double spread_x, double *coords, double *values, int *flags, Index *centres
#define TASK                                                                           \
  const Task t = {x, mask, images, depth, height, width, frames, starts, count, axes}; \
  const Place extent = {extent_z, extent_y, extent_x}
#define WALK(Fitting, FreeFitting, volume) \
  [=](const Volume& v, Place p) { return walk<Fitting, FreeFitting>(v, p, volume, n_iters, max_shift); }

KERNEL refine_quadratic2d(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, WALK(Quadratic2d, FreeQuadratic, false));
}

KERNEL refine_quadratic3d(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, WALK(Quadratic3d, FreeQuadratic, true));
}

KERNEL refine_parabola2d(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, WALK(Parabola2d, FreeParabola, false));
}

KERNEL refine_parabola3d(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, WALK(Parabola3d, FreeParabola, true));
}

KERNEL refine_none(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres,
              [=](const Volume& v, Place p) { return stay(v, p, 0); });
}

// The centroid under a Gaussian window that moves with it. One block per start: its threads share the
// pixels, and all of them get the sums.

// The mean of the pixels just outside a box of half-widths h, as far as they are in the image, and their number.
// Differences from one of them are summed, so that the mean of equal pixels is exact.
struct Ring {
  double mean, pixels;
};

FORMULA Ring ring_mean(const Task& t, const Volume& v, Place p, Place h) {
  const Index outer = h.d > 0 ? 1 : 0;
  const Box box = box_around(t, p, p, {h.d + outer, h.i + 1, h.j + 1});
  const double first = v.at(box.low.d, box.low.i, box.low.j);
  double sums[2] = {0, 0};
  for (Index k = threadIdx.x; k < box.pixels(); k += blockDim.x) {
    const Place q = box.at(k);
    if (apart(q.d, p.d) <= h.d && apart(q.i, p.i) <= h.i && apart(q.j, p.j) <= h.j) continue;
    sums[0] += v.at(q.d, q.i, q.j) - first;
    sums[1] += 1;
  }
  sum_over_block(sums);
  return {sums[1] > 0 ? first + sums[0] / sums[1] : 0.0, sums[1]};
}

FORMULA double window_weight(double distance, double spread) {
  const double u = spread > 0.0 ? distance / spread : 0.0;
  return exp(-0.5 * u * u);
}

// The shift of a Gaussian spot, from its first and second moments under the window. A window of variance
// s**2 pulls the centroid of a spot of variance p**2 towards its own centre by the factor 1 - m / s**2,
// where m = s**2 p**2 / (s**2 + p**2) is the variance of the spot under the window.
FORMULA double unshrunk(double first, double second, double mass, double spread) {
  if (spread <= 0.0) return 0.0;
  const double kept = 1.0 - second / (mass * spread * spread);
  return first / mass / fmin(fmax(kept, CENTROID_LEAST_FACTOR), 1.0);
}

// A window of half-widths h around a pixel, as far as it is in the image, and the weights around a position.
struct Window {
  Box box;
  double at[3], spread[3];

  __device__ __forceinline__ Index low(int axis) const {
    return axis == 0 ? box.low.d : axis == 1 ? box.low.i : box.low.j;
  }
  __device__ __forceinline__ Index length(int axis) const {
    return (axis == 0 ? box.high.d : axis == 1 ? box.high.i : box.high.j) - low(axis);
  }
  __device__ __forceinline__ double weight(Place q, int axis) const {
    return window_weight((double)(axis == 0 ? q.d : axis == 1 ? q.i : q.j) - at[axis], spread[axis]);
  }
};

// The shift to the vertex of the Gaussian through the planes of a window across an axis: for each, the sum of its
// pixels under the weights of the other axes. Planes without signal do not count. If the others determine no vertex,
// the shift by moments, where these are valid: next to no signal lies in the planes at the border of an axis that has
// `end` of them. Else NaN. See H. Guo, "A simple algorithm for fitting a Gaussian function", IEEE Signal Processing Magazine 28(5), 2011.
FORMULA double gaussian_step(const Volume& v, const Window& w, int axis, Index end, double background, double mass,
                             double moment) {
  double at_cut = 0;
  double s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, t0 = 0, t1 = 0, t2 = 0;
  for (Index n = 0; n < w.length(axis); ++n) {
    Box plane = w.box;
    const Index place = w.low(axis) + n;
    if (axis == 0) plane.low.d = place, plane.high.d = place + 1;
    if (axis == 1) plane.low.i = place, plane.high.i = place + 1;
    if (axis == 2) plane.low.j = place, plane.high.j = place + 1;
    double sum[1] = {0};
    for (Index k = threadIdx.x; k < plane.pixels(); k += blockDim.x) {
      const Place q = plane.at(k);
      sum[0] += w.weight(q, (axis + 1) % 3) * w.weight(q, (axis + 2) % 3) * (v.at(q.d, q.i, q.j) - background);
    }
    sum_over_block(sum);
    const double signal = sum[0] / mass, u = (double)place - w.at[axis], weight = window_weight(u, w.spread[axis]);
    if (place == 0 || place == end - 1) at_cut = fmax(at_cut, fabs(sum[0] * weight));
    if (!(signal > 0.0)) continue;
    const double own = weight * signal * signal;
    const double t = own * log(signal);
    s0 += own, s1 += own * u, s2 += own * u * u, s3 += own * u * u * u, s4 += own * u * u * u * u;
    t0 += t, t1 += t * u, t2 += t * u * u;
  }
  const double det = s0 * (s2 * s4 - s3 * s3) - s1 * (s1 * s4 - s2 * s3) + s2 * (s1 * s3 - s2 * s2);
  const double slope = s0 * (t1 * s4 - t2 * s3) - t0 * (s1 * s4 - s2 * s3) + s2 * (s1 * t2 - s2 * t1);
  const double bend = s0 * (s2 * t2 - s3 * t1) - s1 * (s1 * t2 - s2 * t1) + t0 * (s1 * s3 - s2 * s2);
  if (det > LEAST_CURVED * s0 * s2 * s4 && bend < 0.0) return -0.5 * slope / bend;
  return at_cut <= MOST_AT_CUT * fabs(mass) ? moment : not_a_number();
}

FORMULA bool is_inside(const Task& t, Place p) {
  return p.d >= 0 && p.d < t.depth && p.i >= 0 && p.i < t.height && p.j >= 0 && p.j < t.width;
}

// An axis along which the start lies at the border stays as it is; one along which the window is cut once, is measured
// by `gaussian_step` from then on.
FORMULA Located centroid(const Task& t, const Volume& v, Place start, Index n_iters, double max_shift,
                         Place h, const double (&spread)[3]) {
  Located to = stay(v, start, 0);
  const auto rejected = [&](int flags) {
    to.flags = flags;
    return to;
  };
  const bool still[3] = {start.d == 0 || start.d == t.depth - 1, start.i == 0 || start.i == t.height - 1,
                         start.j == 0 || start.j == t.width - 1};
  const Ring ring = ring_mean(t, v, start, h);
  const double background = ring.mean;
  if (ring.pixels == 0 || (still[0] && still[1] && still[2])) return rejected(FLAG_AT_BORDER);
  const int fixed = (still[0] && h.d > 0 ? FLAG_FIXED_Z : 0) | (still[1] ? FLAG_FIXED_Y : 0) |
                    (still[2] ? FLAG_FIXED_X : 0);
  const Index half[3] = {h.d, h.i, h.j}, length[3] = {t.depth, t.height, t.width};
  bool cut[3] = {false, false, false};
  for (Index n = 0; n < n_iters; ++n) {
    const Place c = {(Index)rint(to.d), (Index)rint(to.i), (Index)rint(to.j)};
    if (!is_inside(t, c)) return rejected(FLAG_AT_BORDER);
    const Window w = {box_around(t, c, c, h), {to.d, to.i, to.j}, {spread[0], spread[1], spread[2]}};
    for (int a = 0; a < 3; ++a) cut[a] = cut[a] || w.length(a) <= 2 * half[a];
    double sums[8] = {0};  // of weights, of their magnitudes, of weights times offset and times its square
    for (Index k = threadIdx.x; k < w.box.pixels(); k += blockDim.x) {
      const Place q = w.box.at(k);
      const double ud = (double)q.d - to.d, ui = (double)q.i - to.i, uj = (double)q.j - to.j;
      const double window = w.weight(q, 0) * w.weight(q, 1) * w.weight(q, 2);
      const double m = window * (v.at(q.d, q.i, q.j) - background);
      sums[0] += m;
      sums[1] += fabs(m);
      sums[2] += m * ud, sums[3] += m * ui, sums[4] += m * uj;
      sums[5] += m * ud * ud, sums[6] += m * ui * ui, sums[7] += m * uj * uj;
    }
    sum_over_block(sums);
    const double mass = sums[0];
    if (!isfinite(mass) || !isfinite(background)) return rejected(FLAG_NONFINITE);
    if (fabs(mass) <= CENTROID_LEAST_MASS * sums[1]) return rejected(FLAG_SINGULAR);
    double step[3];
    bool singular = false;
    for (int a = 0; a < 3; ++a) {
      step[a] = still[a] ? 0.0 : unshrunk(sums[2 + a], sums[5 + a], mass, spread[a]);
      if (cut[a] && !still[a]) step[a] = gaussian_step(v, w, a, length[a], background, mass, step[a]);
    }
    if (cut[0] || cut[1] || cut[2])
      for (int a = 0; a < 3; ++a) singular = singular || step[a] != step[a];
    if (singular) return rejected(FLAG_SINGULAR);
    if (!(isfinite(step[0]) && isfinite(step[1]) && isfinite(step[2]))) return rejected(FLAG_NONFINITE);
    to.d += step[0], to.i += step[1], to.j += step[2];
    if (furthest(to, start) > max_shift) return rejected(FLAG_TOO_FAR);
    if (fmax(fmax(fabs(step[0]), fabs(step[1])), fabs(step[2])) <= CENTROID_TOLERANCE) {
      const Place end = {(Index)rint(to.d), (Index)rint(to.i), (Index)rint(to.j)};
      if (!is_inside(t, end)) return rejected(FLAG_AT_BORDER);
      const bool moved = end.d != start.d || end.i != start.i || end.j != start.j;
      return {to.d, to.i, to.j, v.at(end.d, end.i, end.j), fixed | (moved ? FLAG_MOVED : 0), end};
    }
  }
  return rejected(FLAG_NOT_CONVERGED);
}

KERNEL refine_centroid(ARGUMENTS) {
  TASK;
  const Place half = {half_z, half_y, half_x};
  const double spread[3] = {spread_z, spread_y, spread_x};
  refine_by_blocks(t, extent, max_shift, coords, values, flags, centres,
                   [&](const Volume& v, Place p) { return centroid(t, v, p, n_iters, max_shift, half, spread); });
}

#include "least_squares.cuh"
#include "log_quadratic.cuh"
#include "phasor.cuh"
#include "radial.cuh"

// The nearest pixels of positions, -1 for a position that is not finite.
KERNEL refine_nearest(const double* points, Index count, Index axes, Index depth, Index height, Index width,
                      Index* starts) {
  const double sizes[3] = {(double)depth, (double)height, (double)width};
  for (Index k = first_thread(); k < count; k += all_threads()) {
    bool finite = true;
    for (int a = 0; a < axes; ++a) finite = finite && isfinite(points[k * axes + a]);
    for (int a = 0; a < axes; ++a) {
      const double nearest = finite ? floor(points[k * axes + a] + 0.5) : -1.0;
      starts[k * axes + a] = (Index)fmin(fmax(nearest, -1.0), sizes[3 - axes + a]);
    }
  }
}

// A position outside its image is returned unchanged, one that is not finite as NaN.
KERNEL refine_restore(const double* points, const Index* starts, const Index* frames, Index count, Index axes,
                      Index images, Index depth, Index height, Index width, double* coords, int* flags) {
  const Task t = {nullptr, nullptr, images, depth, height, width, frames, starts, count, axes};
  for (Index k = first_thread(); k < count; k += all_threads()) {
    if (t.holds(frames[k], t.start(k))) continue;
    bool finite = true;
    for (int a = 0; a < axes; ++a) finite = finite && isfinite(points[k * axes + a]);
    for (int a = 0; a < axes; ++a) coords[k * axes + a] = finite ? points[k * axes + a] : not_a_number();
    if (!finite) flags[k] = FLAG_NONFINITE;
  }
}

// Move positions by whole periods, to where periodic images have them: from -0.5 on, below their length - 0.5.
KERNEL refine_fold(Index count, Index axes, Index depth, Index height, Index width, double* coords) {
  const double sizes[3] = {(double)depth, (double)height, (double)width};
  for (Index k = first_thread(); k < count * axes; k += all_threads()) {
    const double period = sizes[3 - axes + k % axes];
    coords[k] -= period * floor((coords[k] + 0.5) / greatest(period, 1.0));
  }
}
