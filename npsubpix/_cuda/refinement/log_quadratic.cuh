// Gaussians through the 3 x 3 (x 3) pixels around a pixel: the quadratic fitted to the logarithm of the signal, the
// difference from the background around. Each pixel has the weight of its signal.

#define TERMS 10

// The image, the axes that are free, the background, and the signal of the pixel at which a walk starts.
struct Signal {
  FreeAxes free;
  double background, height;
};

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

// Solve normal equations in place by the factors of Cholesky, from the lower half; whether they determine all.
FORMULA bool solve_normal(double (&normal)[TERMS][TERMS], double (&right)[TERMS]) {
  for (int k = 0; k < TERMS; ++k) {
    double pivot = normal[k][k];
    for (int m = 0; m < k; ++m) pivot -= normal[k][m] * normal[k][m];
    if (!(pivot > FIT_LEAST_PIVOT * normal[k][k])) return false;
    const double root = sqrt(pivot);
    normal[k][k] = root;
    for (int row = k + 1; row < TERMS; ++row) {
      double s = normal[row][k];
      for (int m = 0; m < k; ++m) s -= normal[row][m] * normal[k][m];
      normal[row][k] = s / root;
    }
    double s = right[k];
    for (int m = 0; m < k; ++m) s -= normal[k][m] * right[m];
    right[k] = s / root;
  }
  for (int k = TERMS - 1; k >= 0; --k) {
    double s = right[k];
    for (int m = k + 1; m < TERMS; ++m) s -= normal[m][k] * right[m];
    right[k] = s / normal[k][k];
  }
  return true;
}

// A fit along the free axes; coefficients that belong to a fixed axis are 0.
FORMULA Fit fit_log(const Signal& s, Index d, Index i, Index j) {
  const Volume& v = s.free.v;
  const Index ed = s.free.ed, ei = s.free.ei, ej = s.free.ej;
  double normal[TERMS][TERMS] = {{0}}, right[TERMS] = {0};
  for (Index a = -ed; a <= ed; ++a)
    for (Index b = -ei; b <= ei; ++b)
      for (Index c = -ej; c <= ej; ++c) {
        const double signal = (v.at(d + a, i + b, j + c) - s.background) / s.height;
        if (!isfinite(signal)) return {0, 0, 0, 0, FLAG_NONFINITE};
        if (!(signal > 0.0)) continue;
        const double logarithm = log(signal);
        const double term[TERMS] = {1.0,           (double)c,     (double)b,     (double)a,     (double)(c * c),
                                    (double)(b * b), (double)(a * a), (double)(b * c), (double)(a * c), (double)(a * b)};
        for (int k = 0; k < TERMS; ++k) {
          const double part = signal * term[k];
          right[k] += part * logarithm;
          for (int m = 0; m <= k; ++m) normal[k][m] += part * term[m];
        }
      }
  if (!ej) normal[1][1] = normal[4][4] = normal[7][7] = normal[8][8] = 1.0;
  if (!ei) normal[2][2] = normal[5][5] = normal[7][7] = normal[9][9] = 1.0;
  if (!ed) normal[3][3] = normal[6][6] = normal[8][8] = normal[9][9] = 1.0;
  if (!solve_normal(normal, right)) return {0, 0, 0, 0, FLAG_SINGULAR};
  Hessian3 h = {2.0 * right[4], 2.0 * right[5], 2.0 * right[6], right[7], right[8], right[9]};
  const double fixed = copysign(largest_entry(h), h.xx + h.yy + h.zz);
  if (!ej) h.xx = fixed;
  if (!ei) h.yy = fixed;
  if (!ed) h.zz = fixed;
  Fit fit = stationary3d(h, {right[1], right[2], right[3]});
  fit.sd *= (double)ed, fit.si *= (double)ei, fit.sj *= (double)ej;
  fit.gain = s.background + s.height * exp(right[0] + fit.gain) - v.at(d, i, j);
  return fit;
}

struct LogQuadratic {
  static __device__ __forceinline__ Fit fit(const Signal& s, Index d, Index i, Index j) { return fit_log(s, d, i, j); }
  static __device__ __forceinline__ bool has_around(const Signal& s, Index d, Index i, Index j) {
    return has_free_neighbours(s.free, d, i, j);
  }
};

// Walk to the pixel of the best fit; axes along which it starts at the border stay.
FORMULA Located log_quadratic(const Task& t, const Volume& v, Place p, Index n_iters, double max_shift, Place h) {
  const bool volume = h.d > 0;
  const Index ed = volume && p.d >= 1 && p.d <= v.depth - 2, ei = p.i >= 1 && p.i <= v.height - 2,
              ej = p.j >= 1 && p.j <= v.width - 2;
  Index pixels;
  const double background = mean_around(t, v, p, h, pixels), height = v.at(p.d, p.i, p.j) - background;
  if (pixels == 0 || ed + ei + ej == 0) return stay(v, p, FLAG_AT_BORDER);
  if (!isfinite(height)) return stay(v, p, FLAG_NONFINITE);
  if (height == 0.0) return stay(v, p, FLAG_SINGULAR);
  const Signal signal = {{v, ed, ei, ej}, background, height};
  Walk w = follow<LogQuadratic>(signal, p.d, p.i, p.j, n_iters, MOVE_THRESHOLD, infinity(), (Index)max_shift + 1, true);
  if (!(w.fit.flags & FLAGS_REJECTED))
    w.fit.flags |= (volume && !ed ? FLAG_FIXED_Z : 0) | (ei ? 0 : FLAG_FIXED_Y) | (ej ? 0 : FLAG_FIXED_X);
  return located(v, w);
}

KERNEL refine_log_quadratic(ARGUMENTS) {
  TASK;
  const Place half = {half_z, half_y, half_x};
  refine_each(t, extent, max_shift, coords, values, flags,
              [=](const Volume& v, Place p) { return log_quadratic(t, v, p, n_iters, max_shift, half); });
}
