// The Moffat function, integrated over pixels by quadrature: see `_cpu/fitting/moffat.py`.

template <bool FREE_WIDTH, bool FREE_BETA>
struct Moffat {
  static constexpr int axes = 2, widths = FREE_WIDTH + FREE_BETA, limited = FREE_BETA, held = FREE_BETA;
  static constexpr int exponent = FREE_BETA ? 3 + FREE_WIDTH : -1;

  static __device__ __forceinline__ int width_of(int) { return FREE_WIDTH ? 3 : -1; }

  double beta, alpha, ratio, inverse, scale, by_exponent;
  Nodes nodes;

  __device__ __forceinline__ void prepare(const double* parameters, const double* sigma, const double* constants) {
    const double ln2 = 0.6931471805599453, width = FREE_WIDTH ? parameters[3] : sigma[0];
    const double* table = constants + (FREE_BETA ? 3 * widths : 0);
    beta = FREE_BETA ? 1.0 / parameters[FREE_BETA ? exponent : 0] : table[396];
    const double power = exp2(1.0 / beta);
    ratio = sqrt(2.0 * ln2 / (power - 1.0));  // of alpha to sigma
    alpha = width * ratio;
    inverse = 1.0 / (alpha * alpha);
    scale = (beta - 1.0) / (3.141592653589793 * alpha * alpha);
    by_exponent = -0.5 * alpha * power * ln2 / (power - 1.0);  // the derivative of alpha with respect to 1 / beta
    nodes = choose_nodes(table, width);
  }
  __device__ __forceinline__ double pixel(double* slopes, const double* parameters, double, double j, double i) const {
    double total = 0, by_v = 0, by_u = 0, by_alpha = 0, by_beta = 0;
    for (int k = 0; k < nodes.count; ++k) {
      const double v = j - parameters[0] + nodes.y[k], u = i - parameters[1] + nodes.x[k];
      const double from_one = (v * v + u * u) * inverse, t = 1.0 + from_one, logarithm = log(t);
      const double value = nodes.weight[k] * exp(-beta * logarithm), part = value / t;
      total += value;
      by_v += part * v, by_u += part * u;
      by_alpha += part * from_one, by_beta += value * logarithm;
    }
    slopes[0] = 2.0 * beta * scale * inverse * by_v;
    slopes[1] = 2.0 * beta * scale * inverse * by_u;
    const double slope = 2.0 * scale * (beta * by_alpha - total) / alpha;
    if (FREE_WIDTH) slopes[3] = slope * ratio;
    if (FREE_BETA)
      slopes[FREE_BETA ? exponent : 0] =
          slope * by_exponent - beta * beta * scale * (total / (beta - 1.0) - by_beta);
    return scale * total;
  }
};
