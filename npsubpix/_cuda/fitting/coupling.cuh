// How the errors of spots that are fitted together depend on each other: `_definitions/crowds.py` has the equations.

// Write T and G for each neighbour, in units of the standard errors of fits alone, and the norms of T.
template <typename Model>
ROUTINE void couple(const Crowd& c, const Options& o, const Images& m, const Index* frames, const Index* pixels,
                    const Index* box, const int* flags, Index k) {
  constexpr int axes = Model::axes, count = Model::count, kept = axes + 1 + Model::widths;
  const Box own = box_of(frames, pixels, box, c.rows[k], axes);
  const double* inverse = c.covariances + k * 2 * count * count;
  const int kinds = m.estimator == LSQ ? 2 : 1;
  double moved[2][count];
  for (int a = 0; a < count; ++a)
    moved[0][a] = c.parameters[k * count + a] + (a < axes ? (double)c.margins[3 - axes + a] : 0.0);
  for (Index e = c.offsets[k]; e < c.offsets[k + 1]; ++e) {
    const Index other = c.neighbours[e];
    c.strengths[e] = 0.0;
    if (flags[c.rows[other]] & FITFLAGS_REJECTED) continue;
    const Box there = box_of(frames, pixels, box, c.rows[other], axes);
    const double* others = c.covariances + other * 2 * count * count;
    const double flux = c.parameters[other * count + axes], *light = c.light + other * c.wide_size;
    double sum = 0.0;
    each_shared(c, own, there, [&](Index d, Index j, Index i, Index place) {
      sum += c.weights[k * c.size + (d * own.length[1] + j) * own.length[2] + i] * light[place] * light[place];
    });
    if (FIT_JOINT_LIGHT > others[axes * count + axes] / (flux * flux) * sum) continue;
    for (int a = 0; a < count; ++a)
      moved[1][a] = c.parameters[other * count + a] + (a < axes ? (double)c.margins[3 - axes + a] : 0.0);
    Model mine = {moved[0], o.sigma, o.constants, c.wide}, its = {moved[1], o.sigma, o.constants, c.wide};
    mine.begin();
    its.begin();
    double reached[count][kept], both[2][count][count], slopes[2][count];
    for (int a = 0; a < count; ++a) {
      for (int r = 0; r < kept; ++r) reached[a][r] = 0.0;
      for (int r = 0; r < count; ++r) both[0][a][r] = both[1][a][r] = 0.0;
    }
    each_shared(c, own, there, [&](Index d, Index j, Index i, Index place) {
      const Index at = (d * own.length[1] + j) * own.length[2] + i;
      const double weight = c.weights[k * c.size + at];
      if (!(weight > 0.0)) return;
      const Index z = place / (c.wide[1] * c.wide[2]), y = place / c.wide[2] % c.wide[1], x = place % c.wide[2];
      mine.begin_plane(d + c.margins[0]), mine.begin_row(j + c.margins[1]);
      its.begin_plane(z), its.begin_row(y);
      mine.at(d + c.margins[0], j + c.margins[1], i + c.margins[2], slopes[0]);
      its.at(z, y, x, slopes[1]);
      for (int a = 0; a < count; ++a)
        for (int r = 0; r < kept; ++r) reached[a][r] += weight * slopes[0][a] * slopes[1][r];
      const Index inner[3] = {z - c.margins[0], y - c.margins[1], x - c.margins[2]};
      for (int a = 0; a < 3; ++a)
        if (inner[a] < 0 || inner[a] >= own.length[a]) return;
      const double product =
          weight * c.weights[other * c.size + (inner[0] * own.length[1] + inner[1]) * own.length[2] + inner[2]];
      if (!(product > 0.0)) return;
      const double shared = sqrt(product), signal = c.signals[k * c.size + at];
      for (int a = 0; a < count; ++a)
        for (int r = 0; r < count; ++r) {
          const double term = shared * slopes[0][a] * slopes[1][r];
          both[0][a][r] += term;
          both[1][a][r] += signal * term;
        }
    });
    double norm = 0.0, half[count][count];
    for (int a = 0; a < count; ++a)
      for (int r = 0; r < kept; ++r) {
        double total = 0.0;
        for (int q = 0; q < count; ++q) total += inverse[a * count + q] * reached[q][r];
        total *= scale_of(others, r, count) / scale_of(inverse, a, count);
        c.transfers[(e * count + a) * kept + r] = total;
        norm += total * total;
      }
    c.strengths[e] = sqrt(norm);
    for (int kind = 0; kind < kinds; ++kind) {
      for (int a = 0; a < count; ++a)
        for (int r = 0; r < count; ++r) {
          half[a][r] = 0.0;
          for (int q = 0; q < count; ++q) half[a][r] += inverse[a * count + q] * both[kind][q][r];
        }
      for (int a = 0; a < count; ++a)
        for (int r = 0; r < count; ++r) {
          double total = 0.0;
          for (int q = 0; q < count; ++q) total += half[a][q] * others[q * count + r];
          c.shared[((e * kinds + kind) * count + a) * count + r] =
              total / (scale_of(inverse, a, count) * scale_of(others, r, count));
        }
    }
  }
}
