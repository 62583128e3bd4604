// Noise of pixels, and what the standard errors of all methods of refinement share.

struct Vector {
  double at[3];
};

struct Matrix {
  double at[9];
};

// A position: the image and its number, where refinement started and ended, and half-widths of its window.
struct Row {
  Volume v;
  Index frame;
  Place start, centre, half;
  double at[3];
};

// The offset, the electrons per count and the floor, which is a standard deviation where electrons per count are
// infinite, else a variance; and how far apart two frames and two pixels are in each, one after the other.
struct Noise {
  const double *offsets, *factors, *floors;
  Index steps[6];

  // The variance of a pixel in squared units of the image; NaN if it is not known.
  __device__ __forceinline__ double variance(const Row& r, Index d, Index i, Index j) const {
    const Index place = (d * r.v.height + i) * r.v.width + j, frame = r.frame;
    const double signal = r.v.at(d, i, j) - offsets[frame * steps[0] + place * steps[1]];
    const double factor = factors[frame * steps[2] + place * steps[3]];
    const double floor = floors[frame * steps[4] + place * steps[5]];
    const double total = (isfinite(factor) ? floor : floor * fabs(floor)) + (signal > 0.0 ? signal : 0.0) / factor;
    return total >= 0.0 && isfinite(total) ? total : not_a_number();
  }
};

// The inverse of a matrix; not finite if there is none.
FORMULA Matrix inverted(const Matrix& matrix) {
  double m[9], largest = 0;
  for (int k = 0; k < 9; ++k) largest = fmax(largest, fabs(matrix.at[k]));
  const double scale = unit_scale(largest);
  for (int k = 0; k < 9; ++k) m[k] = scale * matrix.at[k];
  const double first = m[4] * m[8] - m[5] * m[7], second = m[5] * m[6] - m[3] * m[8], third = m[3] * m[7] - m[4] * m[6];
  const double s = scale / (m[0] * first + m[1] * second + m[2] * third);
  return {{s * first, s * (m[2] * m[7] - m[1] * m[8]), s * (m[1] * m[5] - m[2] * m[4]),
           s * second, s * (m[0] * m[8] - m[2] * m[6]), s * (m[2] * m[3] - m[0] * m[5]),
           s * third, s * (m[1] * m[6] - m[0] * m[7]), s * (m[0] * m[4] - m[1] * m[3])}};
}

FORMULA Vector times(const Matrix& m, double u, double v, double w) {
  return {{m.at[0] * u + m.at[1] * v + m.at[2] * w, m.at[3] * u + m.at[4] * v + m.at[5] * w,
           m.at[6] * u + m.at[7] * v + m.at[8] * w}};
}

FORMULA void add_squares(Vector& sum, const Vector& slope, double variance) {
  for (int k = 0; k < 3; ++k) sum.at[k] += slope.at[k] * slope.at[k] * variance;
}

// Whether a pixel is one of those just outside the box around the start, in which the background is measured.
FORMULA bool is_on_ring(const Row& r, Place q) {
  const Index outer = r.half.d > 0 ? 1 : 0;
  const Index d = apart(q.d, r.start.d) - r.half.d, i = apart(q.i, r.start.i) - r.half.i,
              j = apart(q.j, r.start.j) - r.half.j;
  return d <= outer && i <= 1 && j <= 1 && (d > 0 || i > 0 || j > 0);
}

// The variance of those pixels, each of which moves the position by `share`.
FORMULA Vector ring_variance(const Task& t, const Row& r, const Noise& noise, const Vector& share) {
  const Place wider = {r.half.d + (r.half.d > 0 ? 1 : 0), r.half.i + 1, r.half.j + 1};
  const Box box = box_around(t, r.start, r.start, wider);
  double total = 0;
  for (Index k = 0; k < box.pixels(); ++k) {
    const Place q = box.at(k);
    if (is_on_ring(r, q)) total += noise.variance(r, q.d, q.i, q.j);
  }
  Vector sum = {{0, 0, 0}};
  add_squares(sum, share, total);
  return sum;
}

// Add the variance of a pixel of the window, which may be one of those around the box too.
FORMULA void add_beside_ring(Vector& sum, const Vector& slope, const Vector& share, bool on_ring, double variance) {
  for (int k = 0; k < 3; ++k)
    sum.at[k] += slope.at[k] * (slope.at[k] + (on_ring ? 2.0 * share.at[k] : 0.0)) * variance;
}

// Write standard errors; NaN for a position, or an axis, that was not refined.
template <typename Variance>
FORMULA void write_errors(const Task& t, Place half, const Index* centres, const double* coords, const int* flags,
                          double* errors, Variance variance) {
  const int fixed[3] = {FLAG_FIXED_Z, FLAG_FIXED_Y, FLAG_FIXED_X};
  for (Index k = first_thread(); k < t.count; k += all_threads()) {
    double* out = errors + k * t.axes;
    for (Index a = 0; a < t.axes; ++a) out[a] = not_a_number();
    if (flags[k] & FLAGS_REJECTED) continue;
    const double* at = coords + k * t.axes;
    const Row r = {t.volume(t.frames[k]), t.frames[k], t.start(k),
                   {centres[3 * k], centres[3 * k + 1], centres[3 * k + 2]}, half,
                   {t.axes == 3 ? at[0] : 0.0, at[t.axes - 2], at[t.axes - 1]}};
    const Vector found = variance(r);
    for (Index a = 0; a < t.axes; ++a)
      if (!(flags[k] & fixed[3 - t.axes + a])) out[a] = sqrt(found.at[3 - t.axes + a]);
  }
}
