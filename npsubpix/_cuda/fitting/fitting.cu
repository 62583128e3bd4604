// Fits of spots, one thread per spot: Fisher scoring, or Gauss-Newton for least squares, and standard errors.
// `_cpu/fitting/solver.py` has the equations.
#include "fitting_definitions.cuh"
#include "formulas.cuh"
#include "gaussian.cuh"
#include "linear.cuh"
#include "misfits.cuh"

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
struct Datum {
  double value, spread;
  int flags;
  bool counts;
};

FORMULA Datum datum(const Images& m, Index frame, Index d, Index j, Index i) {
  const bool likelihood = m.estimator == MLE;
  const double absent = likelihood ? infinity() : 0.0;
  if (d < 0 || d >= m.depth || j < 0 || j >= m.height || i < 0 || i >= m.width)
    return {0.0, absent, FITFLAG_PARTIAL_WINDOW, false};
  const Index p = (d * m.height + j) * m.width + i, pixels = m.depth * m.height * m.width;
  if (m.mask && m.mask[(m.masks > 1 ? frame * pixels : 0) + p]) return {0.0, absent, FITFLAG_MASKED, false};
  const double factor = m.factor.at(frame, p) / m.excess, variance = m.variance.at(frame, p);
  const double value = ((double)m.x[frame * pixels + p] - m.offset.at(frame, p)) * factor, error = variance * factor;
  const double spread = likelihood ? variance * factor * factor : 1.0 / (error * error);
  const bool right = likelihood ? spread >= 0.0 : error > 0.0;
  if (right && spread == absent) return {0.0, spread, 0, false};
  if (!(right && factor > 0.0 && isfinite(factor) && isfinite(value))) return {value, spread, FITFLAG_NONFINITE, true};
  return {value, spread, likelihood && value + spread < 0.0 ? FITFLAG_NEGATIVE_PIXELS : 0, true};
}

struct Box {
  Index first[3], length[3], frame;

  __device__ __forceinline__ Datum at(const Images& m, Index d, Index j, Index i) const {
    return datum(m, frame, first[0] + d, first[1] + j, first[2] + i);
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
  Index degrees;
};

struct Summary {
  int flags;
  Index pixels;
  double level, size, least_spread, top;
  Index ties;
};

FORMULA Summary summarize(const Images& m, const Box& box) {
  Summary s = {0, 0, 0.0, 0.0, infinity(), -infinity(), 0};
  double outer = 0, whole = 0;
  Index outer_count = 0;
  each_pixel(m, box, [&](const Datum& p, Index d, Index j, Index i) {
    s.flags |= p.flags;
    if (!p.counts) return;
    ++s.pixels;
    whole += p.value;
    s.size += fabs(p.value);
    s.least_spread = fmin(s.least_spread, p.spread);
    if (p.value >= s.top) {
      s.ties = p.value > s.top ? 1 : s.ties + 1;
      s.top = p.value;
    }
    if ((box.length[0] > 1 && (d == 0 || d == box.length[0] - 1)) || j == 0 || j == box.length[1] - 1 || i == 0 ||
        i == box.length[2] - 1) {
      outer += p.value;
      ++outer_count;
    }
  });
  const double mean = whole / (double)greatest(s.pixels, (Index)1);
  s.level = outer_count > 0 ? fmin(outer / (double)outer_count, mean) : mean;
  return s;
}

// Write the parameters at which a fit begins; return the scale of its flux, 0 if all pixels are equal.
template <typename Model>
FORMULA double begin(double* parameters, const Images& m, const Box& box, const Summary& s, const double* start,
                     const Options& o) {
  constexpr int axes = Model::axes;
  double mass = 0, first[3] = {0}, second[3] = {0}, flux = 0, size = 0;
  const double scale = fmax(s.level, 1.0);
  each_pixel(m, box, [&](const Datum& p, Index d, Index j, Index i) {
    if (!p.counts) return;
    const double above = p.value - s.level, at[3] = {(double)d, (double)j, (double)i};
    flux += above;
    size += fabs(above);
    double w = fmax(above, 0.0);
    if (m.estimator == MLE && p.spread > FIT_NOISY_PIXEL * scale) w = 0.0;
    mass += w;
    for (int a = 0; a < 3; ++a) first[a] += w * at[a], second[a] += w * at[a] * at[a];
  });
  if (!(size > FIT_EQUAL * s.size)) return 0.0;
  flux = fmax(flux, FIT_LEAST_FLUX * size);
  for (int k = 0; k < Model::count; ++k) parameters[k] = 0.0;
  parameters[axes] = flux;
  parameters[Model::last] = s.level;
  for (int a = 0; a < axes; ++a) {
    const int b = 3 - axes + a;
    const double mean = mass > 0 ? first[b] / mass : 0.5 * (double)(box.length[b] - 1);
    parameters[a] = o.whole ? mean : start[a];
    const int width = Model::width_of(a);
    if (width < 0) continue;
    const double variance = mass > 0 ? second[b] / mass - mean * mean : 1.0;
    const double moment = fmin(sqrt(fmax(variance, 0.0)), FIT_WIDEST_START * (double)box.length[b]);
    const double known = fmin(o.sigma[a], FIT_WIDEST_SIGMA * (double)box.length[b]);
    parameters[width] = o.sigma[a] > 0 ? fmax(known, FIT_START_SIGMA) : fmax(moment, FIT_START_WIDTH);
  }
  return flux;
}

FORMULA double limited(double step, double most) { return fmin(fmax(step, -most), most); }

// Take a step, limited so that no pixel's mean becomes negative, and the spot does not leave its box.
template <typename Model>
FORMULA void move(double* parameters, const double* steps, const Box& box, double least) {
  constexpr int axes = Model::axes;
  for (int a = 0; a < axes; ++a) {
    const int width = Model::width_of(a);
    parameters[a] += limited(steps[a], 0.5 * fmax(width >= 0 ? parameters[width] : 1.0, 1.0));
  }
  const double flux = parameters[axes];
  parameters[axes] = fmax(flux + steps[axes], FIT_FLUX_STEP * flux);
  for (int a = 0; a < axes; ++a) {
    const int k = Model::width_of(a);
    if (k < 0 || (a > 0 && k == Model::width_of(a - 1))) continue;
    const double wider = parameters[k] + limited(steps[k], 0.3 * parameters[k]);
    parameters[k] = fmin(fmax(wider, FIT_LEAST_WIDTH), FIT_MOST_WIDTH * (double)box.length[3 - axes + a]);
  }
  for (int k = axes + 1 + Model::widths; k < Model::last; ++k) parameters[k] += steps[k];
  double level = parameters[Model::last] + steps[Model::last];
  const double lowest = isfinite(least) ? least + 0.2 * (parameters[Model::last] - least) : least;
  if (level < lowest) {
    level = lowest;
    if (level - least < FIT_LEAST_BACKGROUND) level = least;
  }
  parameters[Model::last] = level;
}

// Write the moments of squared residuals, and the variances of parameters if pixels had their signal as variance: see
// `_definitions/fitting.py`.
template <typename Model>
FORMULA void residual_moments(double* out, double* by_signal, const Solution<Model>& s, const Images& m, const Box& box, Model& model) {
  constexpr int count = Model::count;
  const double background = s.parameters[Model::last];
  Equations<count> signals;
  signals.clear();
  double degrees = -(double)count, s0 = 0, s1 = 0, kept_signal = 0, own = 0, t0 = 0, t1 = 0, t2 = 0;
  each_mean(m, box, model, [&](const Datum& p, double mean, const double* slopes, Index) {
    const double residual = p.value - mean, q = residual * residual, signal = fmax(mean - background, 0.0);
    const double leverage = quadratic_form(s.covariance, slopes);
    signals.add(signal, slopes, residual);
    degrees += 1, s0 += q, s1 += signal * q, kept_signal += signal * (1.0 - leverage);
    own += signal * signal * (1.0 - 2.0 * leverage);
  });
  each_mean(m, box, model, [&](const Datum&, double mean, const double*, Index) {
    const double signal = fmax(mean - background, 0.0), offset = signal - kept_signal / degrees;
    t0 += offset * offset, t1 += offset * offset * signal, t2 += offset * offset * signal * signal;
  });
  double product[count][count];
  multiply(product, s.covariance, signals.matrix);
  for (int a = 0; a < count; ++a) {
    double total = 0.0;
    for (int b = 0; b < count; ++b) {
      own += product[a][b] * product[b][a];
      total += product[a][b] * s.covariance[b][a];
    }
    out[8 + a] = total;
    for (int b = 0; by_signal && b < count; ++b) {
      double& entry = by_signal[a * count + b];
      entry = 0.0;
      for (int k = 0; k < count; ++k) entry += product[a][k] * s.covariance[k][b];
    }
  }
  const double moments[8] = {degrees, s0, s1, kept_signal, own, t0, t1, t2};
  for (int k = 0; k < 8; ++k) out[k] = moments[k];
}

// Whether residuals have a shape that the model has not. Residuals that are within the noise as a whole, or less than
// the least share of the signal, are not looked at, nor boxes of less than five rows.
template <typename Model>
FORMULA bool is_misshapen(const Solution<Model>& s, const Images& m, const Box& box, Model& model) {
  constexpr int axes = Model::axes;
  const bool unweighted = m.estimator == LSQ;
  const double background = s.parameters[Model::last], degrees = (double)s.degrees;
  double squares = 0, power = 0, signals = 0;
  each_mean(m, box, model, [&](const Datum& p, double mean, const double*, Index) {
    const double weight = weight_of(m, p, mean), signal = fmax(mean - background, 0.0), residual = p.value - mean;
    squares += weight * residual * residual, power += weight * signal * signal, signals += signal;
  });
  if (squares <= FIT_SHAPE * FIT_SHAPE * power || !(signals > 0.0) || box.length[0] * box.length[1] < 5) return false;
  if (!unweighted && squares <= degrees) return false;
  Misfit misfit;
  misfit.begin(box.length[0] > 1);
  each_mean(m, box, model, [&](const Datum& p, double mean, const double*, Index k) {
    const Index i = k % box.length[2], j = k / box.length[2] % box.length[1], d = k / (box.length[2] * box.length[1]);
    const double weight = weight_of(m, p, mean), signal = fmax(mean - background, 0.0);
    const Hermite flat = {{1.0, 0.0, 0.0, 0.0, 0.0}};
    const Hermite z = axes == 3 ? hermite((double)d, s.parameters[0], model.width(0)) : flat;
    const Hermite y = hermite((double)j, s.parameters[axes - 2], model.width(axes - 2));
    const Hermite x = hermite((double)i, s.parameters[axes - 1], model.width(axes - 1));
    misfit.add(weight, p.value - mean, signal, z, y, x);
  });
  return misfit.is_one(squares, power, signals, degrees, unweighted);
}

// Write the covariance, chi2 and likelihood at the parameters of an information matrix; flag fits that are poor.
template <typename Model>
FORMULA void finish(Solution<Model>& s, const Images& m, const Box& box, const Equations<Model::count>& e,
                    const Options& o, double* moments, double* matrices) {
  constexpr int count = Model::count;
  double lower[count][count];
  factor(lower, e.matrix, s.used, 0.0);
  invert(s.covariance, lower, s.used);
  Model model = {s.parameters, o.sigma, box.length};
  const double background = s.parameters[Model::last];
  double chi2 = 0, ratio = 0, signal = 0, excess = 0, noise = 0, shared = 0, spread = 0;
  double kept[FIT_KEPT_ROW], before = 0;  // the residuals of the last row, and the last one
  Index kept_at[FIT_KEPT_ROW], at = -1, pixels = 0;
  for (Index i = 0; i < FIT_KEPT_ROW; ++i) kept_at[i] = -1;
  each_mean(m, box, model, [&](const Datum& p, double mean, const double*, Index k) {
    const double weight = weight_of(m, p, mean), residual = p.value - mean, above = mean - background;
    ++pixels;
    chi2 += weight * residual * residual;
    signal += above * above, excess += residual * residual, noise += 1.0 / weight;
    const Index i = k % box.length[2];
    if (at == k - 1 && i > 0) shared += residual * before, spread += residual * before * residual * before;
    before = residual, at = k;
    if (box.length[2] <= FIT_KEPT_ROW) {
      if (kept_at[i] >= 0 && kept_at[i] == k - box.length[2] && k / box.length[2] % box.length[1] > 0) {
        const double product = residual * kept[i];
        shared += product, spread += product * product;
      }
      kept[i] = residual, kept_at[i] = k;
    }
    if (m.estimator == MLE) {
      const double expected = fmax(mean + p.spread, FIT_LEAST_MEAN), found = p.value + p.spread;
      ratio += found > 0.0 ? found * log(expected / found) + found - expected : -expected;
    }
  });
  s.chi2 = chi2 / (double)s.degrees;
  s.ratio = fmin(ratio, 0.0);
  if (m.estimator == WLS) s.ratio = -0.5 * chi2;
  const double degrees = (double)s.degrees;
  bool poor = chi2 > degrees + FIT_SIGNIFICANT * sqrt(3.0 * degrees) &&
              excess - noise > FIT_MISFIT * FIT_MISFIT * signal;
  if (m.estimator == LSQ) {
    s.ratio = chi2 > 0.0 ? -0.5 * (double)pixels * log(chi2 / (double)pixels) : infinity();
    poor = shared > FIT_ALIKE * sqrt(spread) && excess > FIT_MISFIT * FIT_MISFIT * signal;
    residual_moments(moments, matrices ? matrices + count * count : nullptr, s, m, box, model);
  }
  if (poor || is_misshapen(s, m, box, model)) s.flags |= FITFLAG_POOR_FIT;
  for (int k = 0; matrices && k < count * count; ++k)
    if (k / count < s.used && k % count < s.used) matrices[k] = s.covariance[k / count][k % count];
}

// Iterate from a start, in coordinates of the box.
template <typename Model>
FORMULA void solve(Solution<Model>& s, const Images& m, const Box& box, const double* start, const Options& o,
                   double* moments, double* matrices) {
  constexpr int count = Model::count, axes = Model::axes, last = Model::last;
  const Summary summary = summarize(m, box);
  s.flags = summary.flags, s.n_iters = 0, s.used = count;
  if (s.flags & FITFLAGS_REJECTED) return;
  s.degrees = summary.pixels - count;
  const double scale = s.degrees > 0 ? begin<Model>(s.parameters, m, box, summary, start, o) : 0.0;
  if (scale == 0.0) {
    s.flags |= FITFLAG_SINGULAR;
    return;
  }
  const double least = m.estimator == MLE ? FIT_LEAST_BACKGROUND - summary.least_spread : -infinity();
  s.parameters[last] = fmax(s.parameters[last], least);
  double damping = 0.0, before = infinity(), lower[count][count], steps[count];
  Equations<count> e;
  for (Index n = 0; n < o.n_iters; ++n) {
    s.n_iters = (int)n + 1;
    double chi2 = 0.0;
    e.clear();
    Model model = {s.parameters, o.sigma, box.length};
    each_mean(m, box, model, [&](const Datum& p, double mean, const double* slopes, Index) {
      const double weight = weight_of(m, p, mean), residual = p.value - mean;
      e.add(weight, slopes, residual);
      chi2 += weight * residual * residual;
    });
    s.used = count;
    if (!factor(lower, e.matrix, s.used, 0.0)) {
      s.flags |= FITFLAG_SINGULAR;
      return;
    }
    double decrement = forward(steps, lower, e.gradient, s.used);
    const double flux = s.parameters[axes];
    if (s.parameters[last] <= least) {
      backward(steps, lower, s.used);
      s.used = steps[last] <= 0.0 ? last : count;  // the background stays where it is
      decrement = forward(steps, lower, e.gradient, s.used);
    }
    const double variance = m.estimator == LSQ ? chi2 / (double)s.degrees : 1.0;
    const bool ends = decrement <= o.stop * variance + FIT_RELATIVE_STOP * flux * flux * e.matrix[axes][axes];
    if (!ends) {
      damping = decrement > (damping == 0.0 ? FIT_CONTRACTION : 1.0) * before ? fmax(damping * 4.0, FIT_DAMPING) : damping * FIT_EASING;
      if (damping < 0.1 * FIT_DAMPING) damping = 0.0;
      before = decrement;
      if (damping > 0.0) {
        if (!factor(lower, e.matrix, s.used, damping)) {
          s.flags |= FITFLAG_SINGULAR;
          return;
        }
        forward(steps, lower, e.gradient, s.used);
      }
    }
    backward(steps, lower, s.used);
    for (int k = s.used; k < count; ++k) steps[k] = 0.0;
    if (ends) finish(s, m, box, e, o, moments, matrices);  // at the parameters of the information, which the last step hardly changes
    move<Model>(s.parameters, steps, box, least);
    if (!isfinite(decrement)) s.flags |= FITFLAG_SINGULAR;
    if (s.parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * scale) s.flags |= FITFLAG_NEGATIVE_FLUX;
    for (int a = 0; a < axes; ++a)
      if (!(s.parameters[a] >= -1.0 && s.parameters[a] <= (double)box.length[3 - axes + a]))
        s.flags |= FITFLAG_TOO_FAR;
    if (ends) {
      if (s.used < count) s.flags |= FITFLAG_AT_BOUND;
      if (m.estimator == LSQ && summary.ties > FIT_MOST_TIED) s.flags |= FITFLAG_POOR_FIT;
      for (int a = 0; a < axes; ++a)
        if (!(fabs(s.parameters[a] - start[a]) <= o.max_shift)) s.flags |= FITFLAG_TOO_FAR;
    }
    if (ends || (s.flags & FITFLAGS_REJECTED)) return;
  }
  s.flags |= FITFLAG_NOT_CONVERGED;
}

// Whether another start of the same image is nearer than a distance.
FORMULA bool has_neighbour(const Options& o, Index row, double distance, int axes, const Index (&shape)[3]) {
  const Index key = o.own_keys[row], reach = (Index)ceil(distance) + 1, width = shape[2], height = shape[1];
  const Index j = key / width % height, d = axes == 3 ? key / (width * height) % shape[0] : 0;
  const Index planes = axes == 3 ? reach : 0;
  for (Index dd = greatest(-planes, -d); dd <= least(planes, shape[0] - 1 - d); ++dd)
    for (Index jj = greatest(-reach, -j); jj <= least(reach, height - 1 - j); ++jj) {
      const Index here = key + (dd * height + jj) * width;
      Index low = 0, high = o.keyed;
      while (low < high) {
        const Index middle = (low + high) / 2;
        if (o.keys[middle] < here - reach) low = middle + 1;
        else high = middle;
      }
      for (; low < o.keyed && o.keys[low] <= here + reach; ++low) {
        const Index other = o.order[low];
        if (other == row) continue;
        double square = 0.0;
        for (int a = 0; a < axes; ++a) {
          const double step = o.places[other * axes + a] - o.places[row * axes + a];
          square += step * step;
        }
        if (square < distance * distance) return true;
      }
    }
  return false;
}

// Fit spots whose boxes are around pixels. A row has the parameters, their variances, the widths of all axes, chi2 and
// the likelihood. Variances of least squares are those for noise of variance 1; the moments of residuals tell what the
// noise is.
template <typename Model>
FORMULA void fit_each(const Images& m, const Options& o, const Index* frames, const Index* pixels, const Index* box,
                      double* rows, double* moments, double* matrices, int* flags, int* n_iters) {
  constexpr int count = Model::count, axes = Model::axes, columns = 2 * count + axes + 2;
  const Index shape[3] = {m.depth, m.height, m.width};
  for (Index n = first_thread(); n < o.count; n += all_threads()) {
    Box b = {{0, 0, 0}, {box[0], box[1], box[2]}, frames[n]};
    double start[axes];
    bool finite = true, inside = frames[n] >= 0 && frames[n] < m.images;
    for (int a = 0; a < axes; ++a) {
      const Index pixel = pixels[n * axes + a], length = box[3 - axes + a];
      b.first[3 - axes + a] = o.whole ? 0 : pixel - (length - 1) / 2;
      start[a] = o.places[n * axes + a] - (double)b.first[3 - axes + a];
      finite = finite && isfinite(o.places[n * axes + a]);
      inside = inside && pixel >= 0 && pixel < shape[3 - axes + a];
    }
    Solution<Model> s;
    s.n_iters = 0;
    s.flags = !finite ? FITFLAG_NONFINITE : inside ? 0 : FITFLAG_PARTIAL_WINDOW | FITFLAG_SINGULAR;
    if (!s.flags) solve(s, m, b, start, o, moments + n * (8 + count), matrices ? matrices + n * 2 * count * count : nullptr);
    double* row = rows + n * columns;
    const bool rejected = s.flags & FITFLAGS_REJECTED;
    if (rejected) s.flags &= ~(FITFLAG_POOR_FIT | FITFLAG_AT_BOUND);  // of a fit that does not count
    for (int k = 0; m.estimator == LSQ && rejected && k < 8 + count; ++k) moments[n * (8 + count) + k] = 0.0;
    for (int k = 0; matrices && rejected && k < 2 * count * count; ++k)
      matrices[n * 2 * count * count + k] = not_a_number();
    for (int k = 0; k < columns; ++k) row[k] = not_a_number();
    for (int a = 0; a < axes; ++a)
      row[a] = rejected ? o.places[n * axes + a] : s.parameters[a] + (double)b.first[3 - axes + a];
    if (!rejected) {
      double narrowest = infinity();
      for (int k = 0; k < count; ++k) {
        if (k >= axes) row[k] = s.parameters[k];
        if (k < s.used) row[count + k] = fmax(s.covariance[k][k], 0.0);
      }
      for (int a = 0; a < axes; ++a) {
        const int k = Model::width_of(a);
        const double width = k >= 0 ? s.parameters[k] : o.sigma[a];
        row[2 * count + a] = width;
        narrowest = fmin(narrowest, width);
      }
      row[columns - 2] = s.chi2;
      row[columns - 1] = s.ratio;
      if (o.keyed > 0 && has_neighbour(o, n, FIT_BLENDED * narrowest, axes, shape)) s.flags |= FITFLAG_BLENDED;
    }
    flags[n] = s.flags;
    n_iters[n] = s.n_iters;
  }
}

#define ARGUMENTS                                                                                                   \
  const Pixel *x, const bool *mask, Index images, Index masks, Index depth, Index height, Index width,              \
      const double *offset, Index offset_frame, Index offset_pixel, const double *factors, Index factor_frame,      \
      Index factor_pixel, const double *variances, Index variance_frame, Index variance_pixel, double excess,       \
      Index estimator, double sigma_0, double sigma_1, double sigma_2, Index n_iters, double stop,                  \
      double max_shift, bool whole, const Index *keys, const Index *order, const Index *own_keys, Index keyed,      \
      const double *places, Index count, const Index *frames, const Index *pixels, Index box_0, Index box_1,        \
      Index box_2, double *rows, double *moments, double *matrices, bool covariance, int *flags, int *iterations
#define FIT(AXES, WIDTH, PLANE)                                                                                     \
  const Images m = {x, mask, images, masks, depth, height, width, {offset, offset_frame, offset_pixel},             \
                    {factors, factor_frame, factor_pixel}, {variances, variance_frame, variance_pixel}, excess,     \
                    (int)estimator};                                                                                \
  const Options o = {{sigma_0, sigma_1, sigma_2}, n_iters, stop, max_shift, whole, keys, order, own_keys, places,   \
                     count, keyed};                                                                                 \
  const Index box[3] = {box_0, box_1, box_2};                                                                       \
  fit_each<Gaussian<AXES, WIDTH, PLANE>>(m, o, frames, pixels, box, rows, moments, covariance ? matrices : nullptr, flags, iterations)

KERNEL fit_gaussian2d_free(ARGUMENTS) { FIT(2, FREE, false); }
KERNEL fit_gaussian2d_free_plane(ARGUMENTS) { FIT(2, FREE, true); }
KERNEL fit_gaussian2d_fixed(ARGUMENTS) { FIT(2, FIXED, false); }
KERNEL fit_gaussian2d_fixed_plane(ARGUMENTS) { FIT(2, FIXED, true); }
KERNEL fit_gaussian2d_elliptical(ARGUMENTS) { FIT(2, ELLIPTICAL, false); }
KERNEL fit_gaussian2d_elliptical_plane(ARGUMENTS) { FIT(2, ELLIPTICAL, true); }
KERNEL fit_gaussian3d_free(ARGUMENTS) { FIT(3, FREE, false); }
KERNEL fit_gaussian3d_free_plane(ARGUMENTS) { FIT(3, FREE, true); }
KERNEL fit_gaussian3d_fixed(ARGUMENTS) { FIT(3, FIXED, false); }
KERNEL fit_gaussian3d_fixed_plane(ARGUMENTS) { FIT(3, FIXED, true); }
KERNEL fit_gaussian3d_elliptical(ARGUMENTS) { FIT(3, ELLIPTICAL, false); }
KERNEL fit_gaussian3d_elliptical_plane(ARGUMENTS) { FIT(3, ELLIPTICAL, true); }
