// Fits of spots, one thread per spot: Fisher scoring, or Newton's method for least squares, and standard errors.
// `_cpu/fitting/solver.py` has the equations. A file of kernels includes this one and its models.

// Iterate from a start, in coordinates of the box: from one of the starts of a model, or from `kept` parameters.
template <typename Model>
FORMULA void solve(Solution<Model>& s, const Images& m, const Box& box, const double* start, const Options& o,
                   double* moments, double* matrices, int which, const double* kept) {
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
  begin_shape<Model>(s.parameters, m, box, o, which);
  for (int k = 0; k < count; ++k) {
    if (kept) s.parameters[k] = kept[k];
    s.held[k] = false;
  }
  bool holds = false, turned_before = false;
  const bool curves = Model::has_curves && m.estimator != MLE;
  const double least = m.estimator == MLE ? FIT_LEAST_BACKGROUND - summary.least_spread : -infinity();
  s.parameters[last] = fmax(s.parameters[last], least);
  double damping = 0.0, before = 0.0, lower[count][count], curved[count][count], steps[count];
  Equations<count> e;
  for (Index n = 0; n < o.n_iters; ++n) {
    s.n_iters = (int)n + 1;
    double chi2 = 0.0;
    e.clear();
    for (int a = 0; a < count; ++a)
      for (int b = 0; b <= a; ++b) curved[a][b] = 0.0;
    Model model = {s.parameters, o.sigma, o.constants, box.length};
    each_mean(m, box, model, [&](const Datum& p, double mean, const double* slopes, Index at) {
      const double weight = weight_of(m, p, mean), residual = p.value - mean;
      e.add(weight, slopes, residual);
      if constexpr (Model::has_curves)
        if (curves) model.add_curves(curved, weight * residual, at % box.length[2]);
      chi2 += weight * residual * residual;
    });
    double decrement = 0.0;
    if (!direction(s, steps, lower, e, o, least, decrement, holds)) {
      s.flags |= FITFLAG_SINGULAR;
      return;
    }
    const double flux = s.parameters[axes];
    const double variance = m.estimator == LSQ ? chi2 / (double)s.degrees : 1.0;
    const double limit = o.stop * variance + FIT_RELATIVE_STOP * flux * flux * e.matrix[axes][axes];
    bool turned = curves && n > 0 && damping == 0.0 && turn(steps, lower, e, curved);
    bool falls = decrement * decrement <= limit * before && decrement <= FIT_NEARLY * limit;
    if (turned && turned_before && decrement <= FIT_NEARLY_CURVED * limit)
      falls = falls || decrement * decrement * decrement <= FIT_CAUTION * limit * before * before;
    const bool ends = decrement <= limit || (falls && damping == 0.0);
    if (!ends) {
      // damped steps contract slowly where parameters are correlated, without being too long
      const double most = (damping == 0.0 ? FIT_CONTRACTION : 1.0) * before;
      damping = n > 0 && decrement > most ? fmax(damping * 4.0, FIT_DAMPING) : damping * FIT_EASING;
      if (damping < 0.1 * FIT_DAMPING) damping = 0.0;
      before = decrement;
      if (damping > 0.0) {
        if (!factor(lower, e.matrix, s.used, damping)) {
          s.flags |= FITFLAG_SINGULAR;
          return;
        }
        forward(steps, lower, e.gradient, s.used);
        turned = false;
      }
    }
    if (!turned) backward(steps, lower, s.used);
    turned_before = turned;
    for (int k = s.used; k < count; ++k) steps[k] = 0.0;
    if (ends) {  // at the parameters of the information, which the last step hardly changes
      const Equations<count> copy = e;  // a reference to `e` itself would keep it out of registers
      double gain = 0.0;  // of the last step
      for (int k = 0; m.estimator != MLE && k < s.used; ++k) gain += e.gradient[k] * steps[k];
      finish(s, m, box, copy, o, moments, matrices, gain);
    }
    move<Model>(s.parameters, steps, o.constants, box, least);
    if (!isfinite(decrement)) s.flags |= FITFLAG_SINGULAR;
    if (s.parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * scale) s.flags |= FITFLAG_NEGATIVE_FLUX;
    for (int a = 0; a < axes; ++a)
      if (!(s.parameters[a] >= -1.0 && s.parameters[a] <= (double)box.length[3 - axes + a]))
        s.flags |= FITFLAG_TOO_FAR;
    if (ends) {
      if (s.used < count || holds) s.flags |= FITFLAG_AT_BOUND;
      if (m.estimator == LSQ && summary.ties > FIT_MOST_TIED) s.flags |= FITFLAG_POOR_FIT;
      for (int a = 0; a < axes; ++a)
        if (!(fabs(s.parameters[a] - start[a]) <= o.max_shift)) s.flags |= FITFLAG_TOO_FAR;
    }
    if (ends || (s.flags & FITFLAGS_REJECTED)) return;
  }
  s.flags |= FITFLAG_NOT_CONVERGED;
}

// Fit from each start of a model, and keep the fit of the greatest likelihood.
template <typename Model>
FORMULA void solve_best(Solution<Model>& s, const Images& m, const Box& box, const double* start, const Options& o,
                        double* moments, double* matrices) {
  constexpr int starts = Model::starts;
  double best = -infinity(), kept[Model::count] = {0};
  int total = 0, flags = 0;
  for (int which = 0; which < starts + (starts > 1); ++which) {  // one call, which compilers repeat in place
    const bool last = which == starts;
    if (last && best == -infinity()) {
      s.flags = flags;
      break;
    }
    solve(s, m, box, start, o, moments, matrices, which, last ? kept : nullptr);
    total += s.n_iters;
    if (starts == 1 || last) break;
    if (s.flags & FITFLAGS_REJECTED) {
      if (best == -infinity()) flags = s.flags;
      continue;
    }
    const double score = m.estimator == MLE ? s.ratio : -s.chi2;
    if (!(score > best)) continue;
    best = score;
    for (int k = 0; k < Model::count; ++k) kept[k] = s.parameters[k];
  }
  s.n_iters = total;
}

// Whether another start of the same image is nearer than a distance.
ROUTINE bool has_neighbour(const Options& o, Index row, double distance, int axes, const Index (&shape)[3]) {
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
    Box b = {{0, 0, 0}, {box[0], box[1], box[2]}, frames[n], nullptr};
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
    if (!s.flags)
      solve_best(s, m, b, start, o, moments + n * (8 + count), matrices ? matrices + n * 2 * count * count : nullptr);
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
        if (k < s.used && !s.held[k]) row[count + k] = fmax(s.covariance[k][k], 0.0);
      }
      const Model model = {s.parameters, o.sigma, o.constants, b.length};
      for (int a = 0; a < axes; ++a) {
        const double width = model.width(a);
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
      Index estimator, double sigma_0, double sigma_1, double sigma_2, const double *constants, Index n_iters,        \
      double stop, double max_shift, bool whole, const Index *keys, const Index *order, const Index *own_keys, Index keyed,      \
      const double *places, Index count, const Index *frames, const Index *pixels, Index box_0, Index box_1,        \
      Index box_2, double *rows, double *moments, double *matrices, bool covariance, int *flags, int *iterations
#define SETUP                                                                                                       \
  const Images m = {x, mask, images, masks, depth, height, width, {offset, offset_frame, offset_pixel},             \
                    {factors, factor_frame, factor_pixel}, {variances, variance_frame, variance_pixel}, excess,     \
                    (int)estimator};                                                                                \
  const Options o = {{sigma_0, sigma_1, sigma_2}, constants, n_iters, stop, max_shift, whole, keys, order, own_keys, \
                     places, count, keyed};                                                                         \
  const Index box[3] = {box_0, box_1, box_2};
#define FIT(...)                                                                                                    \
  SETUP                                                                                                             \
  fit_each<__VA_ARGS__>(m, o, frames, pixels, box, rows, moments, covariance ? matrices : nullptr, flags, iterations)
