// Where fits begin: background from the border of a box, flux, position and widths from moments.

struct Summary {
  int flags;
  Index pixels;
  double level, size, least_spread, top;
  Index ties;
};

ROUTINE Summary summarize(const Images& m, const Box& box) {
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
ROUTINE double begin(double* parameters, const Images& m, const Box& box, const Summary& s, const double* start,
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

// Write the parameters of a shape, other than widths, with which a fit begins. On a curve of widths, z is that of the
// least squares among some depths on one side of the focus, of which there are two starts.
template <typename Model>
FORMULA void begin_shape(double* parameters, const Images& m, const Box& box, const Options& o, int which) {
  constexpr int axes = Model::axes, depth = Model::depth;
  if (Model::exponent >= 0) parameters[greatest(Model::exponent, 0)] = FIT_START_INVERSE_BETA;
  if (depth < 0) return;
  const double *curve = o.constants + 3 * Model::widths, low = curve[0], high = curve[1];
  const double focus = fmin(fmax(0.5 * (curve[3] + curve[8]), low), high);
  const double begin = which == 0 ? low : focus, end = which == 0 ? focus : high;
  double trial[Model::count], found = infinity();
  for (int k = 0; k < FIT_DEPTHS; ++k) {
    for (int a = 0; a < Model::count; ++a) trial[a] = parameters[a];
    trial[axes] = 1.0;
    trial[Model::last] = 0.0;
    trial[greatest(depth, 0)] = begin + ((double)k + 0.5) / FIT_DEPTHS * (end - begin);
    Model model = {trial, o.sigma, o.constants, box.length};
    double pixels = 0, sum = 0, values = 0, squares = 0, products = 0, value_squares = 0;
    each_mean(m, box, model, [&](const Datum& p, double mean, const double*, Index) {
      pixels += 1, sum += mean, values += p.value;
      squares += mean * mean, products += mean * p.value, value_squares += p.value * p.value;
    });
    const double spot = squares - sum * sum / pixels, rise = fmax(products - sum * values / pixels, 0.0);
    const double misfit = value_squares - values * values / pixels - (spot > 0.0 ? rise * rise / spot : 0.0);
    if (misfit < found) found = misfit, parameters[greatest(depth, 0)] = trial[greatest(depth, 0)];
  }
}

