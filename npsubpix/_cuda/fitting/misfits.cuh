// Whether residuals have a shape that spots of a model have not: see `_definitions/misfits.py`.

// The shape, the factor and the orders of each term.
static __device__ const int MISFIT_TERMS[][5] = MISFITS;

// A Gaussian times Hermite's polynomials of orders 0 to 4, along an axis.
struct Hermite {
  double of[5];
};

FORMULA Hermite hermite(double place, double centre, double width) {
  const double u = (place - centre) / fmax(width, FIT_SHAPE_WIDTH), square = u * u, g = exp(-0.5 * square);
  return {{g, g * u, g * (square - 1.0), g * (square - 3.0) * u, g * ((square - 6.0) * square + 3.0)}};
}

// Sums over a box, for each shape, of its product with residuals, of its square, and of that times the signal.
struct Misfit {
  double score[MISFIT_SHAPES], own[MISFIT_SHAPES], by_signal[MISFIT_SHAPES];
  int shapes;

  __device__ __forceinline__ void begin(bool volume) {
    shapes = volume ? MISFIT_SHAPES : MISFIT_FLAT;
    for (int k = 0; k < MISFIT_SHAPES; ++k) score[k] = own[k] = by_signal[k] = 0.0;
  }
  __device__ __forceinline__ void add(double weight, double residual, double signal, const Hermite& z,
                                      const Hermite& y, const Hermite& x) {
    double shape[MISFIT_SHAPES] = {0};
    for (const auto& t : MISFIT_TERMS)
      if (t[0] < shapes && (shapes > MISFIT_FLAT || t[2] == 0))
        shape[t[0]] += (double)t[1] * z.of[t[2]] * y.of[t[3]] * x.of[t[4]];
    for (int k = 0; k < shapes; ++k) {
      const double weighted = weight * shape[k];
      score[k] += weighted * residual;
      own[k] += weighted * shape[k];
      by_signal[k] += weighted * shape[k] * signal;
    }
  }
  // Whether the sums are those of a misfit; `squares` and `power` are the weighted sums of squared residuals and of the
  // squared signal.
  __device__ __forceinline__ bool is_one(double squares, double power, double signals, double degrees,
                                         bool unweighted) const {
    double significance = 0.0, elongated = 0.0, share = 0.0;
    for (int k = 0; k < shapes; ++k) {
      if (!(own[k] > 0.0)) continue;
      share += score[k] * score[k] / own[k];
      const double noise = unweighted ? fmax(own[k] / degrees, by_signal[k] / signals) * squares : own[k];
      significance += score[k] * score[k] / noise;
      if (k < MISFIT_ELONGATED) elongated += score[k] * score[k] / noise;
    }
    return share > FIT_SHAPE * FIT_SHAPE * power &&
           (significance > (unweighted ? FIT_SHAPE_SIGNIFICANT_UNWEIGHTED : FIT_SHAPE_SIGNIFICANT) ||
            elongated > (unweighted ? FIT_SHAPE_ELONGATED_UNWEIGHTED : FIT_SHAPE_ELONGATED));
  }
};
