// The Gaussian model: values integrated over pixels, and their derivatives with respect to its parameters.

#define FIXED 0
#define FREE 1
#define ELLIPTICAL 2
#define ASTIGMATIC 3

// Lines of an axis that a thread keeps; those of longer boxes are computed for each pixel.
#define KEPT_LINES 32

// The integral of a Gaussian over a pixel, its derivatives with respect to the position and to the width, and those of
// the latter with respect to both. The second derivative with respect to the position is that by the width over it.
struct Line {
  double value, by_position, by_width, by_both, by_width_twice;
};

FORMULA Line line_at(Index k, double centre, double width) {
  const double inverse = 1.0 / width, density = 0.3989422804014327 * inverse;
  const double low = ((double)k - 0.5 - centre) * inverse, high = ((double)k + 0.5 - centre) * inverse;
  const double at_low = density * exp(-0.5 * low * low), at_high = density * exp(-0.5 * high * high);
  return {0.5 * (erf(high * 0.7071067811865476) - erf(low * 0.7071067811865476)), at_low - at_high,
          low * at_low - high * at_high, (at_low * (low * low - 1.0) - at_high * (high * high - 1.0)) * inverse,
          (low * at_low * (low * low - 2.0) - high * at_high * (high * high - 2.0)) * inverse};
}

// The width along an axis at z on a curve, and its derivative: see `AstigmaticCurve`.
struct Width {
  double value, slope;
};

FORMULA Width width_at(double z, const double* curve) {
  const double u = (z - curve[1]) / curve[2], square = 1.0 + u * u * (1.0 + u * (curve[3] + u * curve[4]));
  const double rise = u * (2.0 + u * (3.0 * curve[3] + 4.0 * u * curve[4]));
  return {fmax(curve[0] * sqrt(fmax(square, 0.0)), FIT_LEAST_WIDTH),
          square > 0.0 ? 0.5 * curve[0] / curve[2] * rise / sqrt(square) : 0.0};
}

// A model of `AXES` dimensions. Its parameters are positions, the flux, widths, slopes of the background along each
// axis, and the background at the centre of the box.
template <int AXES, int WIDTH, bool PLANE>
struct Gaussian {
  static constexpr int axes = AXES, widths = WIDTH == FIXED ? 0 : WIDTH == ELLIPTICAL ? AXES : AXES - 1;
  static constexpr int count = AXES + 2 + widths + (PLANE ? AXES : 0), last = count - 1;
  static constexpr int limited = WIDTH == ASTIGMATIC, held = limited, exponent = -1, depth = limited ? AXES + 1 : -1;
  static constexpr int starts = WIDTH == ASTIGMATIC ? 2 : 1;
  static constexpr bool has_curves = AXES == 2 && WIDTH != ASTIGMATIC;

  // The parameter that is the width along an axis; -1 where it is fixed.
  static __device__ __forceinline__ int width_of(int a) {
    if (WIDTH == FIXED || WIDTH == ASTIGMATIC) return -1;
    if (WIDTH == ELLIPTICAL) return AXES + 1 + a;
    return AXES == 3 && a > 0 ? AXES + 2 : AXES + 1;
  }

  const double *parameters, *sigma, *constants;
  const Index* box;  // depth, height and width; the depth of an image is 1
  Line z, y, kept[KEPT_LINES];

  __device__ __forceinline__ double width(int a) const {
    if (WIDTH == ASTIGMATIC) return width_at(parameters[AXES + 1], constants + 5 + 5 * a).value;
    const int k = width_of(a);
    return k >= 0 ? parameters[k] : sigma[a];
  }
  // On a curve of widths, the derivative with respect to the width is that with respect to z.
  __device__ __forceinline__ Line along(int a, Index k) const {
    if (WIDTH != ASTIGMATIC) return line_at(k, parameters[a], width(a));
    const Width own = width_at(parameters[AXES + 1], constants + 5 + 5 * a);
    Line line = line_at(k, parameters[a], own.value);
    line.by_width *= own.slope;
    return line;
  }
  __device__ __forceinline__ void begin() {
    for (int i = 0; i < KEPT_LINES && i < box[2]; ++i) kept[i] = along(AXES - 1, i);
    z = {1, 0, 0};
  }
  __device__ __forceinline__ void begin_plane(Index d) {
    if (AXES == 3) z = along(0, d);
  }
  __device__ __forceinline__ void begin_row(Index j) { y = along(AXES - 2, j); }

  // Write the derivatives at a pixel; return its mean.
  __device__ __forceinline__ double at(Index d, Index j, Index i, double* slopes) const {
    const Line x = i < KEPT_LINES ? kept[i] : along(AXES - 1, i);
    const double flux = parameters[AXES], here = z.value * y.value * x.value;
    if (AXES == 3) slopes[0] = flux * z.by_position * y.value * x.value;
    slopes[AXES - 2] = flux * z.value * y.by_position * x.value;
    slopes[AXES - 1] = flux * z.value * y.value * x.by_position;
    slopes[AXES] = here;
    const double by_z = flux * z.by_width * y.value * x.value, by_y = flux * z.value * y.by_width * x.value,
                 by_x = flux * z.value * y.value * x.by_width;
    if (WIDTH == FREE && AXES == 3) slopes[AXES + 1] = by_z;
    if (WIDTH == FREE || WIDTH == ASTIGMATIC) slopes[AXES == 3 ? AXES + 2 : AXES + 1] = by_y + by_x;
    if (WIDTH == ELLIPTICAL) {
      if (AXES == 3) slopes[AXES + 1] = by_z;
      slopes[2 * AXES - 1] = by_y;
      slopes[2 * AXES] = by_x;
    }
    double mean = flux * here + parameters[last];
    if (PLANE) {
      const double from[3] = {(double)d - 0.5 * (double)(box[0] - 1), (double)j - 0.5 * (double)(box[1] - 1),
                              (double)i - 0.5 * (double)(box[2] - 1)};
      for (int a = 0; a < AXES; ++a) {
        slopes[last - AXES + a] = from[3 - AXES + a];
        mean += parameters[last - AXES + a] * from[3 - AXES + a];
      }
    }
    slopes[last] = 1.0;
    return mean;
  }
  // Add the second derivatives of the mean at a pixel, times a number, to the lower triangle of a matrix.
  __device__ __forceinline__ void add_curves(double (&out)[count][count], double number, Index i) const {
    const Line x = i < KEPT_LINES ? kept[i] : along(1, i);
    const double scaled = number * parameters[AXES];
    constexpr int s = AXES + 1, t = WIDTH == ELLIPTICAL ? AXES + 2 : s;  // the widths along y and x
    out[0][0] += scaled * y.by_width / width(0) * x.value;
    out[1][0] += scaled * y.by_position * x.by_position;
    out[1][1] += scaled * y.value * x.by_width / width(1);
    out[2][0] += number * y.by_position * x.value;
    out[2][1] += number * y.value * x.by_position;
    if (WIDTH == FIXED) return;
    out[s][0] += scaled * y.by_both * x.value;
    out[s][1] += scaled * y.by_width * x.by_position;
    out[s][2] += number * y.by_width * x.value;
    out[s][s] += scaled * y.by_width_twice * x.value;
    out[t][0] += scaled * y.by_position * x.by_width;
    out[t][1] += scaled * y.value * x.by_both;
    out[t][2] += number * y.value * x.by_width;
    out[t][t] += scaled * y.value * x.by_width_twice;
    out[t][s] += (s == t ? 2.0 : 1.0) * scaled * y.by_width * x.by_width;
  }
};
