// Standard errors of refined positions, one thread per position: the independent noise of pixels, propagated through each
// method. `_cpu/refinement/fit_errors.py` and `window_errors.py` have the equations.
#include "formulas.cuh"
#include "quadratic.cuh"
#include "fits.cuh"
#include "places.cuh"
#include "normal_equations.cuh"
#include "cells.cuh"
#include "variances.cuh"
#include "fit_variances.cuh"
#include "window_variances.cuh"

#define ARGUMENTS                                                                                                     \
  const Pixel *x, Index images, Index depth, Index height, Index width, const Index *frames, const Index *starts,     \
      Index count, Index axes, const Index *centres, const double *coords, const int *flags, Index half_z,            \
      Index half_y, Index half_x, double spread_z, double spread_y, double spread_x, const double *offset,            \
      const double *factor, const double *variance, Index step0, Index step1, Index step2, Index step3, Index step4,  \
      Index step5, double *errors
#define TASK                                                                                   \
  const Task t = {x, nullptr, images, depth, height, width, frames, starts, count, axes};      \
  const Noise noise = {offset, factor, variance, {step0, step1, step2, step3, step4, step5}};  \
  const Place half = {half_z, half_y, half_x};                                                 \
  [[maybe_unused]] const double spread[3] = {spread_z, spread_y, spread_x}
#define EACH(variance) \
  write_errors(t, half, centres, coords, flags, errors, [=](const Row& r) { return variance; })

KERNEL refine_quadratic_errors(ARGUMENTS) {
  TASK;
  EACH(fit_variance<Central>(r, noise));
}

KERNEL refine_parabola_errors(ARGUMENTS) {
  TASK;
  EACH(fit_variance<Unmixed>(r, noise));
}

KERNEL refine_least_squares_errors(ARGUMENTS) {
  TASK;
  EACH(fit_variance<Averaged>(r, noise));
}

KERNEL refine_saddle_errors(ARGUMENTS, const double* along_i, const double* along_j) {
  TASK;
  EACH(saddle_variance(r, noise, along_i, along_j));
}

KERNEL refine_log_quadratic_errors(ARGUMENTS) {
  TASK;
  EACH(log_quadratic_variance(t, r, noise));
}

// `lines` has room for three lines of `longest` numbers per thread.
KERNEL refine_centroid_errors(ARGUMENTS, double* lines, Index longest) {
  TASK;
  double* own = lines + first_thread() * 3 * longest;
  EACH(centroid_variance(t, r, noise, spread, own, longest));
}

KERNEL refine_phasor_errors(ARGUMENTS, const double* tables, Index length) {
  TASK;
  EACH(phasor_variance(r, noise, tables, length));
}

KERNEL refine_radial_errors(ARGUMENTS) {
  TASK;
  EACH(radial_variance(t, r, noise, spread));
}
