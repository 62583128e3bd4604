// Models that are evaluated pixel by pixel: the flux and the background around a `Spot`. This has the number of its axes
// and those of its parameters; the parameter that is the width along an axis; `prepare`, for numbers that all pixels
// share; and `pixel`, which returns the share of the flux in a pixel and writes its derivatives with respect to the
// position, `slopes[:axes]`, and to the shape, `slopes[axes + 1 : axes + 1 + widths]`.

// Nodes for the integral of a spot over a pixel: offsets along y and x, and weights.
struct Nodes {
  const double *y, *x, *weight;
  int count;
};

// Choose nodes for a spot of a width: see `nodes` of `_definitions/spot_models.py`.
FORMULA Nodes choose_nodes(const double* table, double width) {
  const int first = width >= FIT_NARROW ? 0 : width >= FIT_NARROWER ? 16 : width >= FIT_NARROWEST ? 44 : 80;
  const int count = width >= FIT_NARROW ? 16 : width >= FIT_NARROWER ? 28 : width >= FIT_NARROWEST ? 36 : 52;
  return {table + first, table + 132 + first, table + 264 + first, count};
}

template <typename Spot, bool PLANE>
struct Pixelwise {
  static constexpr int axes = Spot::axes, widths = Spot::widths, count = axes + 2 + widths + (PLANE ? axes : 0);
  static constexpr int last = count - 1;
  static constexpr int limited = Spot::limited, held = Spot::held, exponent = Spot::exponent, depth = -1, starts = 1;
  static constexpr bool has_curves = false;

  static __device__ __forceinline__ int width_of(int a) { return Spot::width_of(a); }

  const double *parameters, *sigma, *constants;
  const Index* box;  // depth, height and width; the depth of an image is 1
  Spot spot;

  __device__ __forceinline__ double width(int a) const {
    const int k = width_of(a);
    return k >= 0 ? parameters[k] : sigma[a];
  }
  __device__ __forceinline__ void begin() { spot.prepare(parameters, sigma, constants); }
  __device__ __forceinline__ void begin_plane(Index) {}
  __device__ __forceinline__ void begin_row(Index) {}

  // Write the derivatives at a pixel; return its mean.
  __device__ __forceinline__ double at(Index d, Index j, Index i, double* slopes) const {
    const double flux = parameters[axes], value = spot.pixel(slopes, parameters, (double)d, (double)j, (double)i);
    for (int a = 0; a < axes; ++a) slopes[a] *= flux;
    slopes[axes] = value;
    for (int a = axes + 1; a < axes + 1 + widths; ++a) slopes[a] *= flux;
    double mean = flux * value + parameters[last];
    if (PLANE) {
      const double from[3] = {(double)d - 0.5 * (double)(box[0] - 1), (double)j - 0.5 * (double)(box[1] - 1),
                              (double)i - 0.5 * (double)(box[2] - 1)};
      for (int a = 0; a < axes; ++a) {
        slopes[last - axes + a] = from[3 - axes + a];
        mean += parameters[last - axes + a] * from[3 - axes + a];
      }
    }
    slopes[last] = 1.0;
    return mean;
  }
};
