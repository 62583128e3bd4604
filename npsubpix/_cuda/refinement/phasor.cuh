// Phasors: the phase of the first Fourier coefficient of a box along each axis (K. J. A. Martens et al., J. Chem. Phys.
// 148, 123311, 2018). `tables` are those of `phasor_tables`: weights, cosines and sines per axis, `length` of each.
struct Phasor {
  Volume v;
  Place half;
  const double* tables;
  Index length;

  __device__ __forceinline__ double weight(int axis, Index k) const { return tables[3 * axis * length + k]; }
  __device__ __forceinline__ double cosine(int axis, Index k) const { return tables[(3 * axis + 1) * length + k]; }
  __device__ __forceinline__ double sine(int axis, Index k) const { return tables[(3 * axis + 2) * length + k]; }
};

// How far from its middle a box has a spot, from its Fourier coefficient: less than a quarter of it.
FORMULA double phase_shift(double cosine, double sine, Index length) {
  return atan(sine / cosine) * (double)length / 6.283185307179586;
}

// Pixels count as differences from the one in the middle.
FORMULA Fit fit_phasor(const Phasor& p, Index d, Index i, Index j) {
  const Index hd = p.half.d, hi = p.half.i, hj = p.half.j;
  const double centre = p.v.at(d, i, j);
  double cd = 0, sd = 0, ci = 0, si = 0, cj = 0, sj = 0, magnitude = 0;
  for (Index a = 0; a <= 2 * hd; ++a)
    for (Index b = 0; b <= 2 * hi; ++b) {
      double weighted = 0, cosine = 0, sine = 0;
      for (Index c = 0; c <= 2 * hj; ++c) {
        const double value = p.v.at(d - hd + a, i - hi + b, j - hj + c) - centre;
        weighted += p.weight(2, c) * value;
        cosine += p.cosine(2, c) * value;
        sine += p.sine(2, c) * value;
        magnitude += fabs(value);
      }
      const double across = p.weight(0, a) * p.weight(1, b);
      cj += across * cosine;
      sj += across * sine;
      ci += p.weight(0, a) * p.cosine(1, b) * weighted;
      si += p.weight(0, a) * p.sine(1, b) * weighted;
      cd += p.cosine(0, a) * p.weight(1, b) * weighted;
      sd += p.sine(0, a) * p.weight(1, b) * weighted;
    }
  if (!isfinite(magnitude)) return {0, 0, 0, 0, FLAG_NONFINITE};
  const double least = CENTROID_LEAST_MASS * magnitude;
  const bool flat = fmax(fabs(ci), fabs(si)) <= least || fmax(fabs(cj), fabs(sj)) <= least;
  if (flat || (hd > 0 && fmax(fabs(cd), fabs(sd)) <= least)) return {0, 0, 0, 0, FLAG_SINGULAR};
  const bool saddle = (ci > 0.0) != (cj > 0.0) || (hd > 0 && (cd > 0.0) != (ci > 0.0));
  return {hd > 0 ? phase_shift(cd, sd, 2 * hd + 1) : 0.0, phase_shift(ci, si, 2 * hi + 1),
          phase_shift(cj, sj, 2 * hj + 1), 0.0, saddle ? FLAG_SADDLE : 0};
}

// The box around a pixel has to lie in the image.
struct PhasorFit {
  static __device__ __forceinline__ Fit fit(const Phasor& p, Index d, Index i, Index j) {
    return fit_phasor(p, d, i, j);
  }
  static __device__ __forceinline__ bool has_around(const Phasor& p, Index d, Index i, Index j) {
    return d >= p.half.d && d < p.v.depth - p.half.d && i >= p.half.i && i < p.v.height - p.half.i &&
           j >= p.half.j && j < p.v.width - p.half.j;
  }
};

KERNEL refine_phasor(ARGUMENTS, const double* tables, Index length) {
  TASK;
  const Place half = {half_z, half_y, half_x};
  refine_each(t, extent, max_shift, coords, values, flags, centres, [=](const Volume& v, Place p) {
    const Phasor box = {v, half, tables, length};
    const Index steps = (Index)max_shift + 1;
    return located(v, follow<PhasorFit>(box, p.d, p.i, p.j, n_iters, MOVE_THRESHOLD, infinity(), steps, true));
  });
}
