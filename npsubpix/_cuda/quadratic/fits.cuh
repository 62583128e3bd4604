// Fits around a pixel of an image, whose depth is 1, and fits of one axis at a time.

FORMULA bool has_around_in_plane(const Volume& v, Index i, Index j) {
  return i >= 1 && i <= v.height - 2 && j >= 1 && j <= v.width - 2;
}

FORMULA Fit fit_quadratic2d(const Volume& v, Index d, Index i, Index j) {
  const double c = v.at(d, i, j), gx = central_difference(v.at(d, i, j - 1), v.at(d, i, j + 1)),
               gy = central_difference(v.at(d, i - 1, j), v.at(d, i + 1, j));
  double xx = second_difference(v.at(d, i, j - 1), c, v.at(d, i, j + 1));
  double yy = second_difference(v.at(d, i - 1, j), c, v.at(d, i + 1, j));
  double xy =
      mixed_difference(v.at(d, i - 1, j - 1), v.at(d, i - 1, j + 1), v.at(d, i + 1, j - 1), v.at(d, i + 1, j + 1));
  double m = fmax(fmax(fabs(xx), fabs(yy)), fabs(xy));
  const double scale = unit_scale(m), rx = -scale * gx, ry = -scale * gy;
  xx *= scale, yy *= scale, xy *= scale, m *= scale;
  const double det = xx * yy - xy * xy;
  if (!isfinite(det)) return {0, 0, 0, 0, FLAG_NONFINITE};
  if (fabs(det) <= SINGULAR_TOLERANCE * m * m) return {0, 0, 0, 0, FLAG_SINGULAR};
  const double sx = (rx * yy - ry * xy) / det, sy = (ry * xx - rx * xy) / det;
  return {0, sy, sx, 0.5 * (gx * sx + gy * sy), det > 0.0 ? 0 : FLAG_SADDLE};
}

// The shift to the vertex of the parabola through three pixels, its gain, second difference and flags.
struct Vertex {
  double shift, gain, curvature;
  int flags;
};

FORMULA Vertex vertex(double before, double centre, double after) {
  const double g = central_difference(before, after), h = second_difference(before, centre, after);
  if (!isfinite(h)) return {0, 0, h, FLAG_NONFINITE};
  // The rounding of the pixels themselves can bend a straight line by this much.
  if (fabs(h) <= SINGULAR_TOLERANCE * fmax(fabs(g), fabs(h))) return {0, 0, h, FLAG_SINGULAR};
  const double shift = -g / h;
  return {shift, 0.5 * g * shift, h, 0};
}

FORMULA Fit fit_parabola2d(const Volume& v, Index d, Index i, Index j) {
  const Vertex a = vertex(v.at(d, i - 1, j), v.at(d, i, j), v.at(d, i + 1, j));
  const Vertex b = vertex(v.at(d, i, j - 1), v.at(d, i, j), v.at(d, i, j + 1));
  int flags = a.flags | b.flags;
  if (flags == 0 && (a.curvature > 0.0) != (b.curvature > 0.0)) flags = FLAG_SADDLE;
  return {0, a.shift, b.shift, a.gain + b.gain, flags};
}

FORMULA Fit fit_parabola3d(const Volume& v, Index d, Index i, Index j) {
  Fit f = fit_parabola2d(v, d, i, j);
  const Vertex a = vertex(v.at(d - 1, i, j), v.at(d, i, j), v.at(d + 1, i, j));
  f.flags |= a.flags;
  const double along = second_difference(v.at(d, i - 1, j), v.at(d, i, j), v.at(d, i + 1, j));
  if (f.flags == 0 && (a.curvature > 0.0) != (along > 0.0)) f.flags = FLAG_SADDLE;
  f.sd = a.shift;
  f.gain += a.gain;
  return f;
}

// An image some axes of which are free, 1, and the others, 0, held fixed.
struct FreeAxes {
  Volume v;
  Index ed, ei, ej;
};

// A fit along the free axes. Neighbours along a fixed axis are replaced by the pixel, so that all differences along
// it are 0; its second difference gets the sign and the size of the others.
FORMULA Fit fit_free_quadratic(const FreeAxes& f, Index d, Index i, Index j) {
  const Volume& v = f.v;
  const Index ed = f.ed, ei = f.ei, ej = f.ej;
  const double c = v.at(d, i, j);
  const Gradient3 g = {central_difference(v.at(d, i, j - ej), v.at(d, i, j + ej)),
                       central_difference(v.at(d, i - ei, j), v.at(d, i + ei, j)),
                       central_difference(v.at(d - ed, i, j), v.at(d + ed, i, j))};
  Hessian3 h;
  h.xx = second_difference(v.at(d, i, j - ej), c, v.at(d, i, j + ej));
  h.yy = second_difference(v.at(d, i - ei, j), c, v.at(d, i + ei, j));
  h.zz = second_difference(v.at(d - ed, i, j), c, v.at(d + ed, i, j));
  h.xy = mixed_difference(v.at(d, i - ei, j - ej), v.at(d, i - ei, j + ej), v.at(d, i + ei, j - ej),
                          v.at(d, i + ei, j + ej));
  h.xz = mixed_difference(v.at(d - ed, i, j - ej), v.at(d - ed, i, j + ej), v.at(d + ed, i, j - ej),
                          v.at(d + ed, i, j + ej));
  h.yz = mixed_difference(v.at(d - ed, i - ei, j), v.at(d - ed, i + ei, j), v.at(d + ed, i - ei, j),
                          v.at(d + ed, i + ei, j));
  const double fixed = copysign(largest_entry(h), h.xx + h.yy + h.zz);
  if (!ej) h.xx = fixed;
  if (!ei) h.yy = fixed;
  if (!ed) h.zz = fixed;
  Fit fit = stationary3d(h, g);
  fit.sd *= (double)ed, fit.si *= (double)ei, fit.sj *= (double)ej;
  return fit;
}

FORMULA Fit fit_free_parabola(const FreeAxes& f, Index d, Index i, Index j) {
  const Volume& v = f.v;
  const double c = v.at(d, i, j);
  Fit fit = {0, 0, 0, 0, 0};
  bool up = false, down = false;
  const auto add = [&](double before, double after) {
    const Vertex a = vertex(before, c, after);
    fit.gain += a.gain;
    fit.flags |= a.flags;
    up = up || a.curvature > 0.0;
    down = down || a.curvature < 0.0;
    return a.shift;
  };
  if (f.ed) fit.sd = add(v.at(d - 1, i, j), v.at(d + 1, i, j));
  if (f.ei) fit.si = add(v.at(d, i - 1, j), v.at(d, i + 1, j));
  if (f.ej) fit.sj = add(v.at(d, i, j - 1), v.at(d, i, j + 1));
  if (fit.flags == 0 && up && down) fit.flags = FLAG_SADDLE;
  return fit;
}

FORMULA bool has_free_neighbours(const FreeAxes& f, Index d, Index i, Index j) {
  return d >= f.ed && d < f.v.depth - f.ed && i >= f.ei && i < f.v.height - f.ei && j >= f.ej && j < f.v.width - f.ej;
}

struct FreeQuadratic {
  static __device__ __forceinline__ Fit fit(const FreeAxes& f, Index d, Index i, Index j) {
    return fit_free_quadratic(f, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const FreeAxes& f, Index d, Index i, Index j) {
    return has_free_neighbours(f, d, i, j);
  }
};

struct FreeParabola {
  static __device__ __forceinline__ Fit fit(const FreeAxes& f, Index d, Index i, Index j) {
    return fit_free_parabola(f, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const FreeAxes& f, Index d, Index i, Index j) {
    return has_free_neighbours(f, d, i, j);
  }
};

struct Quadratic2d {
  static __device__ __forceinline__ Fit fit(const Volume& v, Index d, Index i, Index j) {
    return fit_quadratic2d(v, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Volume& v, Index, Index i, Index j) {
    return has_around_in_plane(v, i, j);
  }
};

struct Parabola2d {
  static __device__ __forceinline__ Fit fit(const Volume& v, Index d, Index i, Index j) {
    return fit_parabola2d(v, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Volume& v, Index, Index i, Index j) {
    return has_around_in_plane(v, i, j);
  }
};

struct Parabola3d {
  static __device__ __forceinline__ Fit fit(const Volume& v, Index d, Index i, Index j) {
    return fit_parabola3d(v, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Volume& v, Index d, Index i, Index j) {
    return v.has_around(d, i, j);
  }
};
