// Quadratics fitted by least squares to the 3 x 3 (x 3) pixels around a pixel, and saddles of images. First, second and
// mixed derivatives are the central differences, averaged over all lines, or planes, of the window.

// The gradient and the Hessian of the fit in the middle, and how far it is above the pixel there.
struct Derivatives {
  Gradient3 g;
  Hessian3 h;
  double above;
};

// Derivatives along fixed axes are 0. Pixels count as their differences from the pixel itself, so that a constant is
// exact.
FORMULA Derivatives derivatives(const FreeAxes& f, Index d, Index i, Index j) {
  const Volume& v = f.v;
  const Index ed = f.ed, ei = f.ei, ej = f.ej;
  const double centre = v.at(d, i, j);
  double total = 0, gx = 0, gy = 0, gz = 0, xx = 0, yy = 0, zz = 0, xy = 0, xz = 0, yz = 0;
  for (Index a = -ed; a <= ed; ++a)
    for (Index b = -ei; b <= ei; ++b)
      for (Index c = -ej; c <= ej; ++c) {
        const double value = v.at(d + a, i + b, j + c) - centre;
        total += value;
        gx += (double)c * value;
        gy += (double)b * value;
        gz += (double)a * value;
        xx += (double)(3 * c * c - 2) * value;
        yy += (double)(3 * b * b - 2) * value;
        zz += (double)(3 * a * a - 2) * value;
        xy += (double)(b * c) * value;
        xz += (double)(a * c) * value;
        yz += (double)(a * b) * value;
      }
  const double nd = (double)(2 * ed + 1), ni = (double)(2 * ei + 1), nj = (double)(2 * ej + 1);
  const Hessian3 h = {ej ? xx / (nd * ni) : 0.0, ei ? yy / (nd * nj) : 0.0, ed ? zz / (ni * nj) : 0.0,
                      0.25 * xy / nd,            0.25 * xz / ni,            0.25 * yz / nj};
  return {{0.5 * gx / (nd * ni), 0.5 * gy / (nd * nj), 0.5 * gz / (ni * nj)},
          h,
          total / (nd * ni * nj) - (h.xx + h.yy + h.zz) / 3.0};
}

FORMULA Fit fit_free_least_squares(const FreeAxes& f, Index d, Index i, Index j) {
  Derivatives of = derivatives(f, d, i, j);
  const double fixed = copysign(largest_entry(of.h), of.h.xx + of.h.yy + of.h.zz);
  if (!f.ej) of.h.xx = fixed;
  if (!f.ei) of.h.yy = fixed;
  if (!f.ed) of.h.zz = fixed;
  Fit fit = stationary3d(of.h, of.g);
  fit.sd *= (double)f.ed, fit.si *= (double)f.ei, fit.sj *= (double)f.ej;
  fit.gain += of.above;
  return fit;
}

struct FreeLeastSquares {
  static __device__ __forceinline__ Fit fit(const FreeAxes& f, Index d, Index i, Index j) {
    return fit_free_least_squares(f, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const FreeAxes& f, Index d, Index i, Index j) {
    return has_free_neighbours(f, d, i, j);
  }
};

struct LeastSquares2d {
  static __device__ __forceinline__ Fit fit(const Volume& v, Index d, Index i, Index j) {
    return fit_free_least_squares({v, 0, 1, 1}, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Volume& v, Index, Index i, Index j) {
    return has_around_in_plane(v, i, j);
  }
};

struct LeastSquares3d {
  static __device__ __forceinline__ Fit fit(const Volume& v, Index d, Index i, Index j) {
    return fit_free_least_squares({v, 1, 1, 1}, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Volume& v, Index d, Index i, Index j) {
    return v.has_around(d, i, j);
  }
};

// An image, and the distances from its border that a pixel needs.
struct Clear {
  Volume v;
  Index ri, rj;
};

// A fit to 3 x 3 pixels that is flagged unless the surface has a saddle.
struct Saddle {
  static __device__ __forceinline__ Fit fit(const Clear& image, Index d, Index i, Index j) {
    Fit fit = fit_free_least_squares({image.v, 0, 1, 1}, d, i, j);
    fit.flags = fit.flags == FLAG_SADDLE ? 0 : fit.flags ? fit.flags : FLAG_EXTREMUM;
    return fit;
  }
  static __device__ __forceinline__ bool has_around(const Clear& image, Index, Index i, Index j) {
    return i >= image.ri && i < image.v.height - image.ri && j >= image.rj && j < image.v.width - image.rj;
  }
};

// Walk from the strongest saddle near a pixel, that of the least determinant, to the pixel of the best fit.
FORMULA Located saddle(const Clear& image, Place p, Index n_iters, double max_shift) {
  const Volume& v = image.v;
  const Index reach = max_shift < SADDLE_SEARCH ? (Index)max_shift : SADDLE_SEARCH;
  double lowest = 0;
  Place start = p;
  for (Index b = p.i - reach; b <= p.i + reach; ++b)
    for (Index c = p.j - reach; c <= p.j + reach; ++c) {
      if (!Saddle::has_around(image, p.d, b, c)) continue;
      const Hessian3 h = derivatives({v, 0, 1, 1}, p.d, b, c).h;
      const double det = h.xx * h.yy - h.xy * h.xy;
      if (det < lowest) lowest = det, start.i = b, start.j = c;
    }
  const Index steps = (Index)max_shift + 1;
  Walk w = follow<Saddle>(image, p.d, start.i, start.j, n_iters, MOVE_THRESHOLD, infinity(), steps, false);
  if (!(w.fit.flags & FLAGS_REJECTED) && (w.i != p.i || w.j != p.j)) w.fit.flags |= FLAG_MOVED;
  w.fit.sd = 0;
  return located(v, w);
}

KERNEL refine_least_squares2d(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, WALK(LeastSquares2d, FreeLeastSquares, false));
}

KERNEL refine_least_squares3d(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, WALK(LeastSquares3d, FreeLeastSquares, true));
}

KERNEL refine_saddle(ARGUMENTS) {
  TASK;
  refine_each(t, extent, max_shift, coords, values, flags, centres, [=](const Volume& v, Place p) {
    return saddle({v, half_y, half_x}, p, n_iters, max_shift);
  });
}
