// Steps of a fit, limited so that it converges, and parameters that are held at their limits.

FORMULA double limited(double step, double most) { return fmin(fmax(step, -most), most); }

// Take a step, limited so that no pixel's mean becomes negative, and the spot does not leave its box.
template <typename Model>
FORMULA void move(double* parameters, const double* steps, const double* constants, const Box& box, double least) {
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
  for (int k = axes + 1 + Model::widths - Model::limited; k < axes + 1 + Model::widths; ++k) {
    const double* limits = constants + 3 * (k - axes - 1);
    parameters[k] = fmin(fmax(parameters[k] + limited(steps[k], limits[0]), limits[1]), limits[2]);
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

// Hold parameters that would pass their limits; return whether there are any. Rows and columns of these in the
// information matrix become 0 but for the diagonal.
template <typename Model>
FORMULA bool hold(Solution<Model>& s, Equations<Model::count>& e, const double* steps, const double* constants) {
  constexpr int first = Model::axes + 1, end = first + Model::widths;
  bool found = false;
  for (int k = end - Model::held; k < end; ++k) {
    const double *limits = constants + 3 * (k - first), value = s.parameters[k];
    s.held[k] = (value <= limits[1] && steps[k] <= 0.0) || (value >= limits[2] && steps[k] >= 0.0);
    if (!s.held[k]) continue;
    for (int a = 0; a < k; ++a) e.matrix[k][a] = 0.0;
    for (int a = k + 1; a < Model::count; ++a) e.matrix[a][k] = 0.0;
    e.gradient[k] = 0.0;
    found = true;
  }
  return found;
}

// Write the step of Newton, from the second derivatives of means that least squares add to the information; return
// false where its matrix is not as positive as it should be.
template <int N>
FORMULA bool turn(double (&steps)[N], const double (&lower)[N][N], const Equations<N>& e, double (&curved)[N][N]) {
  double own[N][N];
  for (int a = 0; a < N; ++a)
    for (int b = 0; b <= a; ++b) curved[a][b] = e.matrix[a][b] - curved[a][b];
  if (!factor(own, curved, N, 0.0)) return false;
  for (int a = 0; a < N; ++a)  // roots of pivots
    if (!(FIT_CURVED * own[a][a] * own[a][a] >= lower[a][a] * lower[a][a])) return false;
  forward(steps, own, e.gradient, N);
  backward(steps, own, N);
  return true;
}

// Solve the normal equations, but for a background and parameters at their limits; return whether they are regular. The
// steps are left as the solution of the first of the two triangular systems.
template <typename Model>
FORMULA bool direction(Solution<Model>& s, double (&steps)[Model::count], double (&lower)[Model::count][Model::count],
                       Equations<Model::count>& e, const Options& o, double least, double& decrement, bool& holds) {
  s.used = Model::count;
  holds = false;
  for (int a = 0; a < Model::count; ++a) s.held[a] = false;
  if (!factor(lower, e.matrix, s.used, 0.0)) return false;
  decrement = forward(steps, lower, e.gradient, s.used);
  if (Model::held > 0) {
    backward(steps, lower, s.used);
    holds = hold(s, e, steps, o.constants);
    if (holds) factor(lower, e.matrix, s.used, 0.0);
    decrement = forward(steps, lower, e.gradient, s.used);
  }
  if (s.parameters[Model::last] <= least) {
    backward(steps, lower, s.used);
    s.used = steps[Model::last] <= 0.0 ? Model::last : Model::count;
    decrement = forward(steps, lower, e.gradient, s.used);
  }
  return true;
}
