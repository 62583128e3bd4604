// Fits of spots together with their neighbours, one thread per spot, in phases: `_definitions/crowds.py` has the
// equations, `_cpu/fitting/sweeps.py` and `joint.py` the same steps.

// Write the light of a spot, without background, as far as it reaches.
template <typename Model>
ROUTINE void write_light(const Crowd& c, const Options& o, Index k) {
  double moved[Model::count], slopes[Model::count];
  for (int a = 0; a < Model::count; ++a) {
    moved[a] = c.parameters[k * Model::count + a];
    if (a < Model::axes) moved[a] += (double)c.margins[3 - Model::axes + a];
    if (a > Model::axes + Model::widths) moved[a] = 0.0;
  }
  Model model = {moved, o.sigma, o.constants, c.wide};
  double* out = c.light + k * c.wide_size;
  model.begin();
  for (Index d = 0; d < c.wide[0]; ++d) {
    model.begin_plane(d);
    for (Index j = 0; j < c.wide[1]; ++j) {
      model.begin_row(j);
      for (Index i = 0; i < c.wide[2]; ++i) *out++ = model.at(d, j, i, slopes);
    }
  }
}

ROUTINE void clear_light(const Crowd& c, Index k) {
  for (Index i = 0; i < c.wide_size; ++i) c.light[k * c.wide_size + i] = 0.0;
}

// Write the light of neighbours in the box of a spot.
ROUTINE void sum_neighbours(const Crowd& c, const Box& own, const Index* frames, const Index* pixels, const Index* box,
                            Index k, int axes) {
  double* out = c.others + k * c.size;
  for (Index i = 0; i < c.size; ++i) out[i] = 0.0;
  for (Index e = c.offsets[k]; e < c.offsets[k + 1]; ++e) {
    const Index other = c.neighbours[e];
    const double* light = c.light + other * c.wide_size;
    each_shared(c, own, box_of(frames, pixels, box, c.rows[other], axes), [&](Index d, Index j, Index i, Index there) {
      out[(d * own.length[1] + j) * own.length[2] + i] += light[there];
    });
  }
}

// Write where a spot begins: the flux of its brightest pixels, and the usual width; return flags.
template <typename Model>
ROUTINE int begin_crowded(double* parameters, State& state, const Images& m, const Box& b, const double* start,
                          const Options& o) {
  constexpr int axes = Model::axes, count = Model::count;
  const Summary s = summarize(m, b);
  state = {0.0, infinity(), 0.0, 0.0, (double)(s.pixels - count), 1.0};
  if (s.flags & FITFLAGS_REJECTED) return s.flags;
  if (s.pixels <= count) return s.flags | FITFLAG_SINGULAR;
  for (int a = 0; a < count; ++a) parameters[a] = 0.0;
  parameters[axes] = 1.0;
  for (int a = 0; a < axes; ++a) {
    parameters[a] = start[a];
    const int width = Model::width_of(a);
    const double length = (double)b.length[3 - axes + a];
    const double known = fmax(fmin(o.sigma[a], FIT_WIDEST_SIGMA * length), FIT_START_SIGMA);
    if (width >= 0) parameters[width] = o.sigma[a] > 0 ? known : (length - 1) / 6;
  }
  double found = infinity(), kept[count];
  for (int which = 0; which < Model::starts; ++which) {
    begin_shape<Model>(parameters, m, b, o, which);
    if (Model::starts == 1) break;
    Model model = {parameters, o.sigma, o.constants, b.length};
    double pixels = 0, sum = 0, values = 0, squares = 0, products = 0, value_squares = 0;
    each_mean(m, b, model, [&](const Datum& p, double mean, const double*, Index) {
      pixels += 1, sum += mean, values += p.value;
      squares += mean * mean, products += mean * p.value, value_squares += p.value * p.value;
    });
    const double spot = squares - sum * sum / pixels, rise = fmax(products - sum * values / pixels, 0.0);
    const double misfit = value_squares - values * values / pixels - (spot > 0.0 ? rise * rise / spot : 0.0);
    if (!(misfit < found)) continue;
    found = misfit;
    for (int a = 0; a < count; ++a) kept[a] = parameters[a];
  }
  for (int a = 0; a < count && found < infinity(); ++a) parameters[a] = kept[a];
  double flux = 0.0, inner = 0.0;
  for (int whole = 0; whole < 2 && !(inner > FIT_EQUAL * s.size); ++whole) {
    double top = 0.0, bottom = 0.0;
    inner = 0.0;
    Model model = {parameters, o.sigma, o.constants, b.length};
    each_mean(m, b, model, [&](const Datum& p, double mean, const double*, Index k) {
      const Index at[3] = {k / (b.length[1] * b.length[2]), k / b.length[2] % b.length[1], k % b.length[2]};
      for (int a = 0; a < 3 && !whole; ++a)
        if (at[a] > (b.length[a] - 1) / 2 + 1 || at[a] < (b.length[a] - 1) / 2 - 1) return;
      top += mean * (p.value - s.level), bottom += mean * mean, inner += fabs(p.value - s.level);
    });
    flux = bottom > 0.0 ? top / bottom : 0.0;
  }
  if (!(inner > FIT_EQUAL * s.size)) return s.flags | FITFLAG_SINGULAR;
  flux = fmax(flux, FIT_LEAST_FLUX * inner);
  state.least = m.estimator == MLE ? FIT_LEAST_BACKGROUND - s.least_spread : -infinity();
  state.scale = flux;
  parameters[axes] = flux;
  parameters[Model::last] = fmax(s.level, state.least);
  return s.flags;
}

// Sum the normal equations of a spot; return chi2.
template <typename Model>
ROUTINE double sum_equations(Equations<Model::count>& e, const double* parameters, const Images& m, const Box& b,
                             const Options& o) {
  double chi2 = 0.0;
  e.clear();
  Model model = {parameters, o.sigma, o.constants, b.length};
  each_mean(m, b, model, [&](const Datum& p, double mean, const double* slopes, Index) {
    const double weight = weight_of(m, p, mean), residual = p.value - mean;
    e.add(weight, slopes, residual);
    chi2 += weight * residual * residual;
  });
  return chi2;
}

// Take one step of a spot; return flags. `moves` tells whether it still moves.
template <typename Model>
ROUTINE int step_crowded(double* parameters, State& state, double* history, const Images& m, const Box& b,
                         const Options& o, bool linear, int& moves) {
  constexpr int axes = Model::axes, count = Model::count;
  Equations<count> e;
  Solution<Model> s;
  double lower[count][count], steps[count], before[count], decrement = 0.0;
  const double chi2 = sum_equations<Model>(e, parameters, m, b, o);
  for (int a = 0; a < count; ++a) s.parameters[a] = before[a] = parameters[a];
  for (int a = 0; linear && a <= axes + Model::widths; ++a) {
    if (a == axes) continue;
    for (int k = 0; k < count; ++k) e.matrix[greatest(a, k)][least(a, k)] = a == k ? 1.0 : 0.0;
    e.gradient[a] = 0.0;
  }
  bool holds;
  moves = MOVES;
  if (!direction(s, steps, lower, e, o, state.least, decrement, holds) || !isfinite(decrement)) return FITFLAG_SINGULAR;
  if (m.estimator == LSQ) state.variance = fmax(chi2 / state.degrees, 1e-300);
  const double flux = parameters[axes];
  const bool ends =
      decrement <= FIT_SWEEP_STOP * state.variance + FIT_RELATIVE_STOP * flux * flux * e.matrix[axes][axes];
  if (!ends && !linear) {
    state.damping = decrement > FIT_SWEEP_GROWTH * state.before ? fmax(state.damping * 4.0, FIT_DAMPING)
                                                                : state.damping * FIT_EASING;
    if (state.damping < 0.1 * FIT_DAMPING) state.damping = 0.0;
    state.before = decrement;
    if (state.damping > 0.0) {
      if (!factor(lower, e.matrix, s.used, state.damping)) return FITFLAG_SINGULAR;
      forward(steps, lower, e.gradient, s.used);
    }
  }
  backward(steps, lower, s.used);
  for (int a = s.used; a < count; ++a) steps[a] = 0.0;
  move<Model>(parameters, steps, o.constants, b, state.least);
  for (int a = 0; a < count; ++a) {
    history[count + a] = history[a];
    history[a] = parameters[a] - before[a];
    history[2 * count + a] = e.matrix[a][a];
  }
  if (parameters[axes] < FIT_LEAST_FLUX * FIT_LEAST_FLUX * state.scale) return FITFLAG_NEGATIVE_FLUX;
  double furthest = 0.0;
  for (int a = 0; a < axes; ++a) {
    if (!(parameters[a] >= -1.0 && parameters[a] <= (double)b.length[3 - axes + a])) return FITFLAG_TOO_FAR;
    furthest = fmax(furthest, fabs(parameters[a] - before[a]));
  }
  moves = ends && !linear && furthest < FIT_SWEEP_STEP ? RESTS : MOVES;
  return 0;
}

// Take a spot further along its last steps, if these shrink in a constant ratio; return whether they do.
template <typename Model>
ROUTINE bool leap(double* parameters, const State& state, const double* history, const Box& b, const Options& o) {
  constexpr int count = Model::count;
  double steps[count], product = 0.0, square = 0.0, before = 0.0;
  for (int a = 0; a < count; ++a) {
    const double weight = history[2 * count + a], now = history[a], then = history[count + a];
    product += weight * now * then, square += weight * now * now, before += weight * then * then;
  }
  if (!(product * product > FIT_LEAP_ALIGNED * square * before)) return false;
  const double ratio = fmin(product / before, FIT_LEAP_RATIO);
  if (!(ratio > FIT_LEAP_LEAST)) return false;
  for (int a = 0; a < count; ++a) steps[a] = ratio / (1.0 - ratio) * history[a];
  move<Model>(parameters, steps, o.constants, b, state.least);
  return true;
}

// Squared change of the light of neighbours since the last step, in units of the variances of pixels.
ROUTINE double change(const Crowd& c, const Images& m, Box b, const State& state, Index k) {
  double total = 0.0;
  const double *others = c.others + k * c.size, *seen = c.seen + k * c.size;
  b.others = nullptr;
  each_pixel(m, b, [&](const Datum& p, Index d, Index j, Index i) {
    if (!p.counts) return;
    const Index at = (d * b.length[1] + j) * b.length[2] + i;
    const double difference = others[at] - seen[at];
    total += (m.estimator == MLE ? 1.0 / fmax(p.value + p.spread, 1.0) : p.spread / state.variance) * difference *
             difference;
  });
  return total;
}

// Write the row of a spot that does not move, with the errors of a fit that knows the others; return flags.
template <typename Model>
ROUTINE int finish_crowded(double* row, double* moments, double* matrices, const Crowd& c, Index k, const Images& m,
                           Box b, const Options& o, const double* start, Index n, const Index (&shape)[3]) {
  constexpr int axes = Model::axes, count = Model::count;
  double* parameters = c.parameters + k * count;
  Solution<Model> s;
  Equations<count> e;
  double lower[count][count], steps[count], decrement, both[2 * count * count];
  bool holds;
  for (int a = 0; a < count; ++a) s.parameters[a] = parameters[a];
  const Summary all = summarize(m, b);
  b.others = c.others + k * c.size;
  const Summary alone = summarize(m, b);
  s.flags = 0;
  s.degrees = all.pixels - count;
  sum_equations<Model>(e, parameters, m, b, o);
  if (!direction(s, steps, lower, e, o, c.states[k].least, decrement, holds)) return FITFLAG_SINGULAR;
  for (int a = 0; a < axes; ++a)
    if (!(fabs(parameters[a] - start[a]) <= o.max_shift)) return FITFLAG_TOO_FAR;
  for (int a = 0; a < 2 * count * count; ++a) both[a] = 0.0;
  finish(s, m, b, e, o, moments, both, 0.0);
  if (m.estimator == LSQ && greatest(all.ties, alone.ties) > FIT_MOST_TIED) s.flags |= FITFLAG_POOR_FIT;
  if (s.used < count || holds) s.flags |= FITFLAG_AT_BOUND;
  for (int a = 0; a < count; ++a)
    for (int r = 0; r < count; ++r) {
      const bool is_free = a < s.used && r < s.used && !s.held[a] && !s.held[r];
      double* own = c.covariances + k * 2 * count * count + a * count + r;
      own[0] = is_free ? s.covariance[a][r] : 0.0;
      own[count * count] = is_free && m.estimator == LSQ ? both[count * count + a * count + r] : 0.0;
      for (int kind = 0; matrices && kind < 2; ++kind)
        matrices[(kind * count + a) * count + r] = is_free ? own[kind * count * count] : not_a_number();
    }
  for (int a = 0; a < count; ++a) {
    row[a] = parameters[a];
    row[count + a] = a < s.used && !s.held[a] ? fmax(s.covariance[a][a], 0.0) : not_a_number();
  }
  Model model = {parameters, o.sigma, o.constants, b.length};
  double narrowest = infinity();
  for (int a = 0; a < axes; ++a) {
    row[2 * count + a] = model.width(a);
    narrowest = fmin(narrowest, model.width(a));
  }
  row[2 * count + axes] = s.chi2;
  row[2 * count + axes + 1] = s.ratio;
  each_mean(m, b, model, [&](const Datum& p, double mean, const double*, Index at) {
    c.weights[k * c.size + at] = weight_of(m, p, mean);
    c.signals[k * c.size + at] = fmax(mean - parameters[Model::last] + p.light, 0.0);
  });
  if (o.keyed > 0 && has_neighbour(o, n, FIT_BLENDED * narrowest, axes, shape)) s.flags |= FITFLAG_BLENDED;
  return s.flags;
}

// One phase of all spots; of sweeps, of those of one colour.
template <typename Model>
FORMULA void fit_crowd(const Crowd& c, const Images& m, const Options& o, const Index* frames, const Index* pixels,
                       const Index* box, double* rows, double* moments, double* matrices, int* flags, int* n_iters,
                       Index phase, Index colour, bool linear) {
  constexpr int axes = Model::axes, count = Model::count, columns = 2 * count + axes + 2;
  const Index shape[3] = {m.depth, m.height, m.width};
  for (Index k = first_thread(); k < c.count; k += all_threads()) {
    const Index n = c.rows[k];
    int *moves = c.moves + k, *moved = c.moves + c.count + k;
    double *parameters = c.parameters + k * count, *history = c.histories + 3 * k * count, start[axes];
    Box b = box_of(frames, pixels, box, n, axes);
    for (int a = 0; a < axes; ++a) start[a] = o.places[n * axes + a] - (double)b.first[3 - axes + a];
    if (phase == BEGIN) {
      flags[n] = begin_crowded<Model>(parameters, c.states[k], m, b, start, o);
      n_iters[n] = 0;
      *moves = *moved = flags[n] & FITFLAGS_REJECTED ? RESTS : MOVES;
      for (int a = 0; a < 3 * count; ++a) history[a] = 0.0;
      for (Index i = 0; i < c.size; ++i) c.seen[k * c.size + i] = c.weights[k * c.size + i] = 0.0;
      if (*moves == MOVES) write_light<Model>(c, o, k);
      else clear_light(c, k);
    } else if (phase == SWEEP) {
      if (c.colours[k] != colour || *moves == RESTS) continue;
      sum_neighbours(c, b, frames, pixels, box, k, axes);
      if (*moves == LOOKS && FIT_SWEEP_CHANGE >= change(c, m, b, c.states[k], k)) continue;
      for (Index i = 0; i < c.size; ++i) c.seen[k * c.size + i] = c.others[k * c.size + i];
      b.others = c.others + k * c.size;
      int found = step_crowded<Model>(parameters, c.states[k], history, m, b, o, linear, *moved);
      for (int a = 0; a < axes; ++a)
        if (*moved == RESTS && !(fabs(parameters[a] - start[a]) <= o.max_shift)) found = FITFLAG_TOO_FAR, *moved = MOVES;
      ++n_iters[n];
      flags[n] |= found;
      if (found) clear_light(c, k);  // it leaves the frame, and its neighbours have to move
      else write_light<Model>(c, o, k);
    } else if (phase == LEAP) {
      if (linear && *moves == MOVES && leap<Model>(parameters, c.states[k], history, b, o)) write_light<Model>(c, o, k);
      *moved = RESTS;
    } else if (phase == FINISH) {
      if (!(flags[n] & FITFLAGS_REJECTED) && *moved == MOVES &&
          c.states[k].before > FIT_SWEEP_MOVING * c.states[k].variance)
        flags[n] |= FITFLAG_NOT_CONVERGED;
      double *row = rows + n * columns, *own_moments = moments + n * (8 + count),
             *own_matrices = matrices ? matrices + n * 2 * count * count : nullptr;
      for (int a = 0; a < 2 * count * count; ++a) c.covariances[k * 2 * count * count + a] = 0.0;
      for (int a = 0; m.estimator == LSQ && a < 8 + count; ++a) own_moments[a] = 0.0;
      for (int a = 0; a < columns; ++a) row[a] = not_a_number();
      for (int a = 0; own_matrices && a < 2 * count * count; ++a) own_matrices[a] = not_a_number();
      if (!(flags[n] & FITFLAGS_REJECTED)) {
        sum_neighbours(c, b, frames, pixels, box, k, axes);
        flags[n] |= finish_crowded<Model>(row, own_moments, own_matrices, c, k, m, b, o, start, n, shape);
      }
      const bool rejected = flags[n] & FITFLAGS_REJECTED;
      if (rejected) flags[n] &= ~(FITFLAG_POOR_FIT | FITFLAG_AT_BOUND);
      for (int a = 0; a < axes; ++a)
        row[a] = rejected ? o.places[n * axes + a] : parameters[a] + (double)b.first[3 - axes + a];
    } else if (!(flags[n] & FITFLAGS_REJECTED)) {
      couple<Model>(c, o, m, frames, pixels, box, flags, k);
    }
  }
}

#define CROWD_ARGUMENTS                                                                                             \
  ARGUMENTS, Index crowded, const Index *crowd_rows, const Index *offsets, const Index *neighbours,                 \
      const Index *colours, Index margin_0, Index margin_1, Index margin_2, double *light, double *others,          \
      double *seen, double *parameters, double *histories, double *covariances, double *weights, double *signals,   \
      double *transfers, double *shared, double *strengths, double *states, int *moves, Index phase, Index colour,  \
      bool linear
#define CROWD(...)                                                                                                  \
  SETUP                                                                                                             \
  const Index wide[3] = {box_0 + 2 * margin_0, box_1 + 2 * margin_1, box_2 + 2 * margin_2};                         \
  const Crowd c = {crowded, crowd_rows, offsets, neighbours, colours, {margin_0, margin_1, margin_2},               \
                   {wide[0], wide[1], wide[2]}, box_0 * box_1 * box_2, wide[0] * wide[1] * wide[2], light, others,  \
                   seen, parameters, histories, covariances, weights, signals, transfers, shared, strengths,        \
                   (State*)states, moves};                                                                          \
  fit_crowd<__VA_ARGS__>(c, m, o, frames, pixels, box, rows, moments, covariance ? matrices : nullptr, flags,       \
                         iterations, phase, colour, linear)
