// Quadratic fits around a voxel, and the walk from voxel to voxel that repeats them. Derivatives are
// central differences over the 3 x 3 x 3 neighbours, in double precision whatever the image holds.

struct Volume {
  const Pixel* x;
  Index depth, height, width;

  __device__ __forceinline__ double at(Index d, Index i, Index j) const {
    return (double)x[(d * height + i) * width + j];
  }
  __device__ __forceinline__ bool has_around(Index d, Index i, Index j) const {
    return d >= 1 && d <= depth - 2 && i >= 1 && i <= height - 2 && j >= 1 && j <= width - 2;
  }
};

struct Gradient3 {
  double x, y, z;
};

struct Hessian3 {
  double xx, yy, zz, xy, xz, yz;
};

// A Hessian times a power of two that makes its largest entry about 1, which changes no digit and
// keeps products of tiny or huge responses in range; with the power, that entry, and the determinant.
struct Scaled3 {
  Hessian3 unit;
  double scale, largest, det;
};

// The shift to the stationary point, the difference in value between it and the voxel, and flags.
struct Fit {
  double sd, si, sj, gain;
  int flags;
};

// Where a walk ended: the voxel of its last fit, and that fit.
struct Walk {
  Index d, i, j;
  Fit fit;
};

FORMULA double central_difference(double before, double after) { return 0.5 * (after - before); }

FORMULA double second_difference(double before, double centre, double after) { return after - 2.0 * centre + before; }

FORMULA double mixed_difference(double low_low, double low_high, double high_low, double high_high) {
  return 0.25 * (high_high - high_low - low_high + low_low);
}

// The power of two that brings m > 0 to [0.5, 1); 1 for 0, infinity and NaN.
FORMULA double unit_scale(double m) {
  if (m == 0.0 || !isfinite(m)) return 1.0;
  int exponent;
  frexp(m, &exponent);
  return ldexp(1.0, least(-exponent, 1000));
}

FORMULA Gradient3 gradient3d(const Volume& v, Index d, Index i, Index j) {
  return {central_difference(v.at(d, i, j - 1), v.at(d, i, j + 1)),
          central_difference(v.at(d, i - 1, j), v.at(d, i + 1, j)),
          central_difference(v.at(d - 1, i, j), v.at(d + 1, i, j))};
}

FORMULA Hessian3 hessian3d(const Volume& v, Index d, Index i, Index j) {
  const double c = v.at(d, i, j);
  Hessian3 h;
  h.xx = second_difference(v.at(d, i, j - 1), c, v.at(d, i, j + 1));
  h.yy = second_difference(v.at(d, i - 1, j), c, v.at(d, i + 1, j));
  h.zz = second_difference(v.at(d - 1, i, j), c, v.at(d + 1, i, j));
  h.xy = mixed_difference(v.at(d, i - 1, j - 1), v.at(d, i - 1, j + 1), v.at(d, i + 1, j - 1), v.at(d, i + 1, j + 1));
  h.xz = mixed_difference(v.at(d - 1, i, j - 1), v.at(d - 1, i, j + 1), v.at(d + 1, i, j - 1), v.at(d + 1, i, j + 1));
  h.yz = mixed_difference(v.at(d - 1, i - 1, j), v.at(d - 1, i + 1, j), v.at(d + 1, i - 1, j), v.at(d + 1, i + 1, j));
  return h;
}

FORMULA double largest_entry(const Hessian3& h) {
  return fmax(fmax(fmax(fabs(h.xx), fabs(h.yy)), fabs(h.zz)), fmax(fmax(fabs(h.xy), fabs(h.xz)), fabs(h.yz)));
}

FORMULA Scaled3 scaled3d(const Hessian3& h) {
  const double m = largest_entry(h), s = unit_scale(m);
  const Hessian3 u = {s * h.xx, s * h.yy, s * h.zz, s * h.xy, s * h.xz, s * h.yz};
  const double det = u.xx * (u.yy * u.zz - u.yz * u.yz) - u.xy * (u.xy * u.zz - u.yz * u.xz) +
                     u.xz * (u.xy * u.yz - u.yy * u.xz);
  return {u, s, s * m, det};
}

// Solve a symmetric system of three by Cramer's rule.
FORMULA Gradient3 solved3d(const Hessian3& h, double det, double rx, double ry, double rz) {
  const double a = ry * h.zz - h.yz * rz, b = ry * h.yz - h.yy * rz, c = h.xy * rz - ry * h.xz;
  return {(rx * (h.yy * h.zz - h.yz * h.yz) - h.xy * a + h.xz * b) / det,
          (h.xx * a - rx * (h.xy * h.zz - h.yz * h.xz) + h.xz * c) / det,
          (rx * (h.xy * h.yz - h.yy * h.xz) - h.xx * b - h.xy * c) / det};
}

// The shift to the stationary point of a quadratic, its gain and flags.
FORMULA Fit stationary3d(const Hessian3& hessian, const Gradient3& g) {
  const Scaled3 h = scaled3d(hessian);
  if (!isfinite(h.det)) return {0, 0, 0, 0, FLAG_NONFINITE};
  const double m = h.largest;
  if (fabs(h.det) <= SINGULAR_TOLERANCE * m * m * m) return {0, 0, 0, 0, FLAG_SINGULAR};
  const Gradient3 s = solved3d(h.unit, h.det, -h.scale * g.x, -h.scale * g.y, -h.scale * g.z);
  const bool definite = h.unit.xx * h.unit.yy - h.unit.xy * h.unit.xy > 0.0 && h.unit.xx * h.det > 0.0;
  return {s.z, s.y, s.x, 0.5 * (g.x * s.x + g.y * s.y + g.z * s.z), definite ? 0 : FLAG_SADDLE};
}

FORMULA Fit fit_quadratic3d(const Volume& v, Index d, Index i, Index j) {
  return stationary3d(hessian3d(v, d, i, j), gradient3d(v, d, i, j));
}

// A fit for `follow`, and whether a pixel has all the neighbours that it uses.
struct Quadratic3d {
  static __device__ __forceinline__ Fit fit(const Volume& v, Index d, Index i, Index j) {
    return fit_quadratic3d(v, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Volume& v, Index d, Index i, Index j) {
    return v.has_around(d, i, j);
  }
};

FORMULA Index step(double shift, double threshold) { return (Index)(shift > threshold) - (Index)(shift < -threshold); }

FORMULA bool is_finite(const Fit& f) {
  return isfinite(f.sd) && isfinite(f.si) && isfinite(f.sj) && isfinite(f.gain);
}

FORMULA double longest_shift(const Fit& f) { return fmax(fmax(fabs(f.sd), fabs(f.si)), fabs(f.sj)); }

FORMULA Index apart(Index a, Index b) { return a < b ? b - a : a - b; }

// Repeat the fit, moving by one voxel at a time, until it stays at its voxel. With a rejecting flag, the
// voxel is that of the start.
template <typename Fitting, typename Image>
FORMULA Walk follow(const Image& v, Index d0, Index i0, Index j0, Index n_iters, double threshold, double limit,
                    Index radius, bool depth_steps) {
  const Walk start = {d0, i0, j0, {0, 0, 0, 0, 0}};
  const auto rejected = [=](int flags) {
    Walk w = start;
    w.fit.flags = flags;
    return w;
  };
  Index d = d0, i = i0, j = j0, mark_d = d0, mark_i = i0, mark_j = j0, moves = 0, lap = 1;
  if (!Fitting::has_around(v, d, i, j)) return rejected(FLAG_AT_BORDER);
  for (Index n = 0; n < n_iters; ++n) {
    Fit f = Fitting::fit(v, d, i, j);
    if (f.flags & (FLAG_NONFINITE | FLAG_SINGULAR)) return rejected(f.flags);
    if (!is_finite(f)) return rejected(FLAG_NONFINITE);
    const Index dd = depth_steps ? step(f.sd, threshold) : 0, di = step(f.si, threshold), dj = step(f.sj, threshold);
    if (dd == 0 && di == 0 && dj == 0) {
      if (longest_shift(f) > limit) return rejected(FLAG_TOO_FAR);
      if (d != d0 || i != i0 || j != j0) f.flags |= FLAG_MOVED;
      return {d, i, j, f};
    }
    d += dd, i += di, j += dj;
    // Brent's test for a cycle: such a walk would go on for ever.
    if (d == mark_d && i == mark_i && j == mark_j) return rejected(FLAG_NOT_CONVERGED);
    if (++moves == lap) {
      mark_d = d, mark_i = i, mark_j = j;
      moves = 0;
      lap *= 2;
    }
    if (!Fitting::has_around(v, d, i, j)) return rejected(FLAG_AT_BORDER);
    if (greatest(greatest(apart(d, d0), apart(i, i0)), apart(j, j0)) > radius) return rejected(FLAG_TOO_FAR);
  }
  return rejected(FLAG_NOT_CONVERGED);
}
