// Gaussians through the 3 x 3 (x 3) pixels around a pixel: the quadratic fitted to the logarithm of the signal, the
// difference from the background around. Each pixel has the weight of its signal.

// A fit along the free axes.
FORMULA Fit fit_log(const Signal& s, Index d, Index i, Index j) {
  const Volume& v = s.free.v;
  const Index ed = s.free.ed, ei = s.free.ei, ej = s.free.ej;
  double normal[TERMS][TERMS], right[TERMS];
  if (!add_normal_equations(s, d, i, j, normal, right)) return {0, 0, 0, 0, FLAG_NONFINITE};
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
  refine_each(t, extent, max_shift, coords, values, flags, centres,
              [=](const Volume& v, Place p) { return log_quadratic(t, v, p, n_iters, max_shift, half); });
}
