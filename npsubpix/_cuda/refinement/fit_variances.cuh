// Variances of positions that are those of fits to 3 x 3 (x 3) pixels.

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
