// Variances of positions that are those of windows: centroids, phasors, and centres of radial symmetry.

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
