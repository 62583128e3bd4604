// Two images that are compared, the projection of pixels from one to the other, and their values and gradients.

// The residual of a pixel p of the fixed image F is M(W p) - gain F(p) - bias, for the
// moving image M and a matrix W. Both images come as coefficients of cubic splines, F as pixels too.

struct Pair {
  const Real *fixed, *fixed_spline, *moving;
  const bool *fixed_mask, *moving_mask;  // true for pixels to ignore, null for none
  Index height, width, moving_height, moving_width;
  double m[3][3], gain, bias;
};

#define PAIR                                                                                                       \
  const Real *fixed, const Real *fixed_spline, const Real *moving, const bool *fixed_mask, const bool *moving_mask,\
      Index height, Index width, Index moving_height, Index moving_width, double m00, double m01, double m02,      \
      double m10, double m11, double m12, double m20, double m21, double m22, double gain, double bias
#define PAIR_OF_ARGUMENTS                                                                                          \
  Pair {                                                                                                           \
    fixed, fixed_spline, moving, fixed_mask, moving_mask, height, width, moving_height, moving_width,              \
        {{m00, m01, m02}, {m10, m11, m12}, {m20, m21, m22}}, gain, bias                                            \
  }

// Where a pixel goes, and one over the depth of the projected point.
struct Projected {
  double y, x, inverse_depth;
};

FORMULA Projected project(const Pair& p, double y, double x) {
  const double inverse = 1.0 / (p.m[2][0] * y + p.m[2][1] * x + p.m[2][2]);
  return {(p.m[0][0] * y + p.m[0][1] * x + p.m[0][2]) * inverse, (p.m[1][0] * y + p.m[1][1] * x + p.m[1][2]) * inverse,
          inverse};
}

// A value and its gradient.
struct Spline {
  double value, y, x;
};

FORMULA Spline moving_at(const Pair& p, double y, double x) {
  Real v[2][4], u[2][4];
  const double row = floor(y), column = floor(x);
  weigh_bspline<3, 2>((Real)(y - row), v);
  weigh_bspline<3, 2>((Real)(x - column), u);
  Real value = 0, along_y = 0, along_x = 0;
#pragma unroll
  for (int a = 0; a < 4; ++a) {
    const Real* line = p.moving + fold_pixel((Index)row - 1 + a, p.moving_height, MIRROR) * p.moving_width;
    Real sum = 0, slope = 0;
#pragma unroll
    for (int b = 0; b < 4; ++b) {
      const Real c = line[fold_pixel((Index)column - 1 + b, p.moving_width, MIRROR)];
      sum += u[0][b] * c;
      slope += u[1][b] * c;
    }
    value += v[0][a] * sum;
    along_y += v[1][a] * sum;
    along_x += v[0][a] * slope;
  }
  return {(double)value, (double)along_y, (double)along_x};
}

// The gradient of the fixed image at a pixel that is not at the border.
FORMULA Spline fixed_gradient(const Pair& p, Index i, Index j) {
  const Real* c = p.fixed_spline + i * p.width + j;
  const Index w = p.width;
  const Real up = c[-w], down = c[w], left = c[-1], right = c[1];
  const Real a = c[-w - 1], b = c[-w + 1], d = c[w - 1], e = c[w + 1];
  return {0, (double)((down - up) / 3 + (d - a + e - b) / 12), (double)((right - left) / 3 + (b - a + e - d) / 12)};
}
