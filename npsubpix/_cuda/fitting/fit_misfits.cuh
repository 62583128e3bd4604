// Whether a fit leaves residuals that are not noise.

// Whether residuals have a shape that the model has not. Residuals that are within the noise as a whole, or less than
// the least share of the signal, are not looked at, nor boxes of less than five rows.
template <typename Model>
ROUTINE bool is_misshapen(const Solution<Model>& s, const Images& m, const Box& box, Model& model) {
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
