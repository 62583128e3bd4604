// Images and boxes of pixels in electrons, and what visits them.

#define MLE 0
#define WLS 1
#define LSQ 2

// A map of one number, of a number per pixel, or of one per pixel and frame.
struct Map {
  const double* values;
  Index of_frame, of_pixel;

  __device__ __forceinline__ double at(Index frame, Index pixel) const {
    return values[frame * of_frame + pixel * of_pixel];
  }
};

// Images of shape (images, depth, height, width), a mask or none, and maps of the camera.
struct Images {
  const Pixel* x;
  const bool* mask;
  Index images, masks, depth, height, width;
  Map offset, factor, variance;
  double excess;
  int estimator;
};

// A pixel of a box in electrons, and its read variance for likelihoods, or its weight for least squares.
// The light of neighbours is taken from it, and adds to the read variance.
struct Datum {
  double value, spread;
  int flags;
  bool counts;
  double light;
};

FORMULA Datum datum(const Images& m, Index frame, Index d, Index j, Index i) {
  const bool likelihood = m.estimator == MLE;
  const double absent = likelihood ? infinity() : 0.0;
  if (d < 0 || d >= m.depth || j < 0 || j >= m.height || i < 0 || i >= m.width)
    return {0.0, absent, FITFLAG_PARTIAL_WINDOW, false, 0.0};
  const Index p = (d * m.height + j) * m.width + i, pixels = m.depth * m.height * m.width;
  if (m.mask && m.mask[(m.masks > 1 ? frame * pixels : 0) + p]) return {0.0, absent, FITFLAG_MASKED, false, 0.0};
  const double factor = m.factor.at(frame, p) / m.excess, variance = m.variance.at(frame, p);
  const double value = ((double)m.x[frame * pixels + p] - m.offset.at(frame, p)) * factor, error = variance * factor;
  const double spread = likelihood ? variance * factor * factor : 1.0 / (error * error);
  const bool right = likelihood ? spread >= 0.0 : error > 0.0;
  if (right && spread == absent) return {0.0, spread, 0, false, 0.0};
  if (!(right && factor > 0.0 && isfinite(factor) && isfinite(value))) return {value, spread, FITFLAG_NONFINITE, true, 0.0};
  return {value, spread, likelihood && value + spread < 0.0 ? FITFLAG_NEGATIVE_PIXELS : 0, true, 0.0};
}

// The box of a spot, and the light of its neighbours in it, or none.
struct Box {
  Index first[3], length[3], frame;
  const double* others;

  __device__ __forceinline__ Datum at(const Images& m, Index d, Index j, Index i) const {
    Datum p = datum(m, frame, first[0] + d, first[1] + j, first[2] + i);
    if (others && p.counts) {
      p.light = others[(d * length[1] + j) * length[2] + i];
      p.value -= p.light;
      if (m.estimator == MLE) p.spread += p.light;
    }
    return p;
  }
};

// Call a function of each pixel of a box.
template <typename Visit>
FORMULA void each_pixel(const Images& m, const Box& box, Visit visit) {
  for (Index d = 0; d < box.length[0]; ++d)
    for (Index j = 0; j < box.length[1]; ++j)
      for (Index i = 0; i < box.length[2]; ++i) visit(box.at(m, d, j, i), d, j, i);
}

// Call a function of each pixel that counts, its mean by a model, the derivatives of that, and its place in the box.
template <typename Model, typename Visit>
FORMULA void each_mean(const Images& m, const Box& box, Model& model, Visit visit) {
  double slopes[Model::count];
  model.begin();
  for (Index d = 0; d < box.length[0]; ++d) {
    model.begin_plane(d);
    for (Index j = 0; j < box.length[1]; ++j) {
      model.begin_row(j);
      for (Index i = 0; i < box.length[2]; ++i) {
        const Datum p = box.at(m, d, j, i);
        if (!p.counts) continue;
        visit(p, model.at(d, j, i, slopes), slopes, (d * box.length[1] + j) * box.length[2] + i);
      }
    }
  }
}

FORMULA double weight_of(const Images& m, const Datum& p, double mean) {
  return m.estimator == MLE ? 1.0 / fmax(mean + p.spread, FIT_LEAST_MEAN) : p.spread;
}

// How fits are made, and the starts sorted by their pixels.
struct Options {
  double sigma[3];
  const double* constants;
  Index n_iters;
  double stop, max_shift;
  bool whole;
  const Index *keys, *order, *own_keys;
  const double* places;
  Index count, keyed;
};

// A fit, in coordinates of its box.
template <typename Model>
struct Solution {
  double parameters[Model::count], chi2, ratio;
  double covariance[Model::count][Model::count];
  int flags, n_iters, used;
  bool held[Model::count];
  Index degrees;
};

