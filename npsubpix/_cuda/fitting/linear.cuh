// Normal equations of one fit, and their solution by Cholesky's factors.

template <int N>
struct Equations {
  double matrix[N][N], gradient[N];  // the lower triangle

  __device__ __forceinline__ void clear() {
    for (int a = 0; a < N; ++a) {
      gradient[a] = 0.0;
      for (int b = 0; b <= a; ++b) matrix[a][b] = 0.0;
    }
  }
  __device__ __forceinline__ void add(double weight, const double* slopes, double residual) {
    for (int a = 0; a < N; ++a) {
      const double product = weight * slopes[a];
      gradient[a] += product * residual;
      for (int b = 0; b <= a; ++b) matrix[a][b] += product * slopes[b];
    }
  }
};

// Write Cholesky's factor of the first rows of a matrix, its diagonal raised; return whether it is regular.
template <int N>
FORMULA bool factor(double (&lower)[N][N], const double (&matrix)[N][N], int count, double damping) {
  for (int a = 0; a < count; ++a)
    for (int b = 0; b <= a; ++b) {
      double value = matrix[a][b];
      if (a == b) value *= 1.0 + damping;
      for (int k = 0; k < b; ++k) value -= lower[a][k] * lower[b][k];
      if (a == b) {
        if (!(value > FIT_LEAST_PIVOT * matrix[a][a])) return false;
        lower[a][a] = sqrt(value);
      } else {
        lower[a][b] = value / lower[b][b];
      }
    }
  return true;
}

// Solve the factor times x = values; return the squared length of x.
template <int N>
FORMULA double forward(double (&out)[N], const double (&lower)[N][N], const double (&values)[N], int count) {
  double length = 0.0;
  for (int a = 0; a < count; ++a) {
    double value = values[a];
    for (int k = 0; k < a; ++k) value -= lower[a][k] * out[k];
    out[a] = value / lower[a][a];
    length += out[a] * out[a];
  }
  return length;
}

// Solve the transposed factor times x = out, in place.
template <int N>
FORMULA void backward(double (&out)[N], const double (&lower)[N][N], int count) {
  for (int k = count - 1; k >= 0; --k) {
    out[k] /= lower[k][k];
    for (int a = 0; a < k; ++a) out[a] -= lower[k][a] * out[k];
  }
}

// Write the inverse of the matrix of a factor.
template <int N>
FORMULA void invert(double (&out)[N][N], const double (&lower)[N][N], int count) {
  for (int a = 0; a < count; ++a) {
    double unit[N] = {0}, column[N] = {0};
    unit[a] = 1.0;
    forward(column, lower, unit, count);
    backward(column, lower, count);
    for (int r = 0; r < count; ++r) out[r][a] = column[r];
  }
}

// Return v' M v for a symmetric matrix M.
template <int N>
FORMULA double quadratic_form(const double (&matrix)[N][N], const double* v) {
  double total = 0.0;
  for (int a = 0; a < N; ++a) {
    double inner = 0.0;
    for (int b = 0; b < a; ++b) inner += matrix[a][b] * v[b];
    total += v[a] * (2.0 * inner + matrix[a][a] * v[a]);
  }
  return total;
}

// Write A M, for a symmetric matrix M of which the lower triangle is known.
template <int N>
FORMULA void multiply(double (&out)[N][N], const double (&covariance)[N][N], const double (&matrix)[N][N]) {
  for (int a = 0; a < N; ++a)
    for (int b = 0; b < N; ++b) {
      out[a][b] = 0.0;
      for (int k = 0; k < N; ++k) out[a][b] += covariance[a][k] * (k >= b ? matrix[k][b] : matrix[b][k]);
    }
}
