// Normal equations of the quadratic fitted to the logarithm of the signal of 3 x 3 (x 3) pixels.

#define TERMS 10

// The image, the axes that are free, the background, and the signal of the pixel at which a walk starts.
struct Signal {
  FreeAxes free;
  double background, height;
};

// The terms of the quadratic at an offset from the pixel in the middle.
struct Terms {
  double at[TERMS];
};

FORMULA Terms terms_of(Index a, Index b, Index c) {
  return {{1.0, (double)c, (double)b, (double)a, (double)(c * c), (double)(b * b), (double)(a * a), (double)(b * c),
           (double)(a * c), (double)(a * b)}};
}

// Solve equations in place whose matrix is given by its factor of Cholesky, in the lower half.
FORMULA void substitute(const double (&factor)[TERMS][TERMS], double (&right)[TERMS]) {
  for (int k = 0; k < TERMS; ++k) {
    double s = right[k];
    for (int m = 0; m < k; ++m) s -= factor[k][m] * right[m];
    right[k] = s / factor[k][k];
  }
  for (int k = TERMS - 1; k >= 0; --k) {
    double s = right[k];
    for (int m = k + 1; m < TERMS; ++m) s -= factor[m][k] * right[m];
    right[k] = s / factor[k][k];
  }
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
  }
  substitute(normal, right);
  return true;
}

// Sum the normal equations of the fit along the free axes; whether all pixels are finite. Coefficients that belong to a
// fixed axis are 0.
FORMULA bool add_normal_equations(const Signal& s, Index d, Index i, Index j, double (&normal)[TERMS][TERMS],
                                  double (&right)[TERMS]) {
  for (int k = 0; k < TERMS; ++k) {
    right[k] = 0;
    for (int m = 0; m < TERMS; ++m) normal[k][m] = 0;
  }
  const Volume& v = s.free.v;
  const Index ed = s.free.ed, ei = s.free.ei, ej = s.free.ej;
  for (Index a = -ed; a <= ed; ++a)
    for (Index b = -ei; b <= ei; ++b)
      for (Index c = -ej; c <= ej; ++c) {
        const double signal = (v.at(d + a, i + b, j + c) - s.background) / s.height;
        if (!isfinite(signal)) return false;
        if (!(signal > 0.0)) continue;
        const double logarithm = log(signal);
        const Terms term = terms_of(a, b, c);
        for (int k = 0; k < TERMS; ++k) {
          const double part = signal * term.at[k];
          right[k] += part * logarithm;
          for (int m = 0; m <= k; ++m) normal[k][m] += part * term.at[m];
        }
      }
  if (!ej) normal[1][1] = normal[4][4] = normal[7][7] = normal[8][8] = 1.0;
  if (!ei) normal[2][2] = normal[5][5] = normal[7][7] = normal[9][9] = 1.0;
  if (!ed) normal[3][3] = normal[6][6] = normal[8][8] = normal[9][9] = 1.0;
  return true;
}
