// A measured point spread function: the cubic spline through its samples, see `_cpu/fitting/psf.py`.

// Four coefficients along an axis: the first of them, their weights, and the derivatives of these by the position.
struct SplineAxis {
  Index first;
  bool inside;
  double weights[4], slopes[4];

  // `axis` are the number of coefficients, the samples per pixel, and the place of the centre.
  __device__ __forceinline__ SplineAxis(const double* axis, double distance) {
    const double position = axis[2] + axis[1] * distance, base = floor(position), t = position - base, u = 1.0 - t;
    inside = base >= 1.0 && base <= axis[0] - 3.0;
    first = inside ? (Index)base - 1 : 0;
    weights[0] = u * u * u / 6.0;
    weights[1] = 2.0 / 3.0 - t * t * (1.0 - 0.5 * t);
    weights[2] = 2.0 / 3.0 - u * u * (1.0 - 0.5 * u);
    weights[3] = t * t * t / 6.0;
    slopes[0] = 0.5 * axis[1] * u * u;
    slopes[1] = axis[1] * t * (2.0 - 1.5 * t);
    slopes[2] = axis[1] * u * (1.5 * u - 2.0);
    slopes[3] = -0.5 * axis[1] * t * t;
  }
};

template <int AXES>
struct MeasuredPsf {
  static constexpr int axes = AXES, widths = 0, limited = 0, held = 0, exponent = -1;

  static __device__ __forceinline__ int width_of(int) { return -1; }

  const double* constants;

  __device__ __forceinline__ void prepare(const double*, const double*, const double* numbers) { constants = numbers; }
  __device__ __forceinline__ double pixel(double* slopes, const double* parameters, double d, double j, double i) const {
    const double *axis_y = constants + 3 * (AXES - 2), *axis_x = constants + 3 * (AXES - 1);
    const SplineAxis y(axis_y, j - parameters[AXES - 2]), x(axis_x, i - parameters[AXES - 1]);
    const SplineAxis z(constants, AXES == 3 ? d - parameters[0] : 0.0);
    for (int a = 0; a < AXES; ++a) slopes[a] = 0.0;
    if (!y.inside || !x.inside || (AXES == 3 && !z.inside)) return 0.0;
    const Index width = (Index)axis_x[0], height = (Index)axis_y[0];
    double value = 0.0;
    for (int c = 0; c < (AXES == 3 ? 4 : 1); ++c) {
      const Index plane = AXES == 3 ? z.first + c : 0;
      const double* at = constants + 3 * AXES + (plane * height + y.first) * width + x.first;
      double in_plane = 0.0, by_y = 0.0, by_x = 0.0;
      for (int b = 0; b < 4; ++b) {
        double in_row = 0.0, by_row = 0.0;
        for (int a = 0; a < 4; ++a) {
          const double coefficient = at[b * width + a];
          in_row += coefficient * x.weights[a];
          by_row += coefficient * x.slopes[a];
        }
        in_plane += in_row * y.weights[b];
        by_y += in_row * y.slopes[b];
        by_x += by_row * y.weights[b];
      }
      const double weight = AXES == 3 ? z.weights[c] : 1.0;
      value += weight * in_plane;
      if (AXES == 3) slopes[0] += z.slopes[c] * in_plane;
      slopes[AXES - 2] += weight * by_y;
      slopes[AXES - 1] += weight * by_x;
    }
    return value;
  }
};
