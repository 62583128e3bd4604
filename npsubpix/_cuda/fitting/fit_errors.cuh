// Standard errors and the quality of a fit.

// Write the moments of squared residuals, and the variances of parameters if pixels had their signal as variance: see
// `_definitions/fitting.py`.
template <typename Model>
ROUTINE void residual_moments(double* out, double* by_signal, const Solution<Model>& s, const Images& m, const Box& box, Model& model) {
  constexpr int count = Model::count;
  const double background = s.parameters[Model::last];
  Equations<count> signals;
  signals.clear();
  double degrees = -(double)count, s0 = 0, s1 = 0, kept_signal = 0, own = 0, t0 = 0, t1 = 0, t2 = 0;
  each_mean(m, box, model, [&](const Datum& p, double mean, const double* slopes, Index) {
    const double residual = p.value - mean, q = residual * residual, signal = fmax(mean - background + p.light, 0.0);
    const double leverage = quadratic_form(s.covariance, slopes);
    signals.add(signal, slopes, residual);
    degrees += 1, s0 += q, s1 += signal * q, kept_signal += signal * (1.0 - leverage);
    own += signal * signal * (1.0 - 2.0 * leverage);
  });
  each_mean(m, box, model, [&](const Datum& p, double mean, const double*, Index) {
    const double signal = fmax(mean - background + p.light, 0.0), offset = signal - kept_signal / degrees;
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

// Write the covariance, chi2 and likelihood at the parameters of an information matrix; flag fits that are poor. The
// last step reduces chi2 by the gain.
template <typename Model>
ROUTINE void finish(Solution<Model>& s, const Images& m, const Box& box, const Equations<Model::count>& e,
                    const Options& o, double* moments, double* matrices, double gain) {
  constexpr int count = Model::count;
  double lower[count][count];
  factor(lower, e.matrix, s.used, 0.0);
  invert(s.covariance, lower, s.used);
  for (int k = 0; k < count; ++k)
    if (s.held[k]) s.covariance[k][k] = 0.0;
  Model model = {s.parameters, o.sigma, o.constants, box.length};
  const double background = s.parameters[Model::last];
  double chi2 = 0, ratio = 0, signal = 0, excess = 0, noise = 0, shared = 0, spread = 0;
  double kept[FIT_KEPT_ROW], before = 0;  // the residuals of the last row, and the last one
  Index kept_at[FIT_KEPT_ROW], at = -1, pixels = 0;
  for (Index i = 0; i < FIT_KEPT_ROW; ++i) kept[i] = 0.0, kept_at[i] = -1;
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
  chi2 = fmax(chi2 - gain, 0.0);
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
  for (int k = 0; matrices && k < count * count; ++k) {
    const int a = k / count, b = k % count;
    matrices[k] = a < s.used && b < s.used && !s.held[a] && !s.held[b] ? s.covariance[a][b] : not_a_number();
  }
}

