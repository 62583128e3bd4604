// A Gaussian with axes of any direction, integrated over pixels by quadrature: see `_cpu/fitting/rotated.py`.

struct Rotated {
  static constexpr int axes = 2, widths = 3, limited = 1, held = 0, exponent = -1;

  static __device__ __forceinline__ int width_of(int a) { return 3 + a; }

  double yy, yx, xx, scale, free;
  Nodes nodes;

  __device__ __forceinline__ void prepare(const double* parameters, const double*, const double* constants) {
    const double y = parameters[3], x = parameters[4], correlation = parameters[5];
    free = 1.0 - correlation * correlation;
    yy = 1.0 / (free * y * y), yx = correlation / (free * y * x), xx = 1.0 / (free * x * x);
    scale = 1.0 / (6.283185307179586 * y * x * sqrt(free));
    const double mean = 0.5 * (y * y + x * x), half = 0.5 * (y * y - x * x), mixed = correlation * y * x;
    const double narrowest = mean - sqrt(half * half + mixed * mixed);
    nodes = choose_nodes(constants + 3 * widths, sqrt(fmax(narrowest, 0.0)));
  }
  __device__ __forceinline__ double pixel(double* slopes, const double* parameters, double, double j, double i) const {
    double total = 0, by_v = 0, by_u = 0, by_vv = 0, by_vu = 0, by_uu = 0;
    for (int k = 0; k < nodes.count; ++k) {
      const double v = j - parameters[0] + nodes.y[k], u = i - parameters[1] + nodes.x[k];
      const double square = yy * v * v - 2.0 * yx * v * u + xx * u * u;
      const double value = nodes.weight[k] * exp(-0.5 * fmax(square, 0.0));
      total += value;
      by_v += value * v, by_u += value * u;
      by_vv += value * v * v, by_vu += value * v * u, by_uu += value * u * u;
    }
    const double y = parameters[3], x = parameters[4], correlation = parameters[5];
    slopes[0] = scale * (yy * by_v - yx * by_u);
    slopes[1] = scale * (xx * by_u - yx * by_v);
    slopes[3] = scale * (yy * by_vv - yx * by_vu - total) / y;
    slopes[4] = scale * (xx * by_uu - yx * by_vu - total) / x;
    const double square = yy * by_vv - 2.0 * yx * by_vu + xx * by_uu;
    slopes[5] = scale * (correlation * (total - square) + by_vu / (y * x)) / free;
    return scale * total;
  }
};
