// Samples of images between pixels, their gradients, and the adjoints. A thread processes one position
// of an image and all channels, which share its weights. Kernels for windows of two and of four pixels
// per axis, in images of two and of three axes, keep the weights in registers; other kernels take any
// window.
#include "formulas.cuh"
#include "block.cuh"
#include "sampling_definitions.cuh"
#include "borders.cuh"
#include "weights.cuh"
#include "samples.cuh"

// Sums over a row of a window: by weights, their derivatives and their second derivatives.
template <int ORDERS>
struct Row {
  Real sums[ORDERS];
};

template <typename Taps, int AXES, int ORDERS>
FORMULA Row<ORDERS> sum_row(const Samples& s, const Real* image, const Window<Taps, AXES, ORDERS>& at, int a, int b) {
  const bool there = at.has_row(a, b);
  const Real* line = image + at.row(s, a, b);
  Row<ORDERS> row = {};
  visit_columns(at, [&](int k) {
    const Index j = at.pixels[2][k];
    const Real v = there && j >= 0 ? line[j] : s.cval;
    for (int order = 0; order < ORDERS; ++order) row.sums[order] += weighted(at.w[2][order][k], v);
  });
  return row;
}

// A value and its derivatives along (z, y, x).
struct Sums {
  Real value, z, y, x;
};

template <typename Taps, int AXES>
FORMULA Real sampled(const Samples& s, const Real* image, const Window<Taps, AXES, 1>& at) {
  Real total = 0;
  visit_rows(at, [&](int a, int b) { total += weighted(at.w[0][0][a] * at.w[1][0][b], sum_row(s, image, at, a, b).sums[0]); });
  return total;
}

template <typename Taps, int AXES>
FORMULA Sums sampled_with_gradient(const Samples& s, const Real* image, const Window<Taps, AXES, 2>& at) {
  Sums sums = {0, 0, 0, 0};
  visit_rows(at, [&](int a, int b) {
    const Row<2> row = sum_row(s, image, at, a, b);
    sums.value += weighted(at.w[0][0][a] * at.w[1][0][b], row.sums[0]);
    sums.z += weighted(at.w[0][1][a] * at.w[1][0][b], row.sums[0]);
    sums.y += weighted(at.w[0][0][a] * at.w[1][1][b], row.sums[0]);
    sums.x += weighted(at.w[0][0][a] * at.w[1][0][b], row.sums[1]);
  });
  return sums;
}

template <typename Taps, int AXES>
FORMULA void write_values(const Samples& s, Real* values) {
  for (Index k = first_thread(); k < s.images * s.count; k += all_threads()) {
    const Index b = k / s.count, n = k % s.count;
    const Window<Taps, AXES, 1> at = window_of<Taps, AXES, 1>(s, b, n);
#pragma unroll 1
    for (Index c = b * s.channels; c < (b + 1) * s.channels; ++c) {
      if (at.status == INSIDE)
        values[c * s.count + n] = sampled(s, s.x + c * s.pixels(), at);
      else
        values[c * s.count + n] = at.status == OUTSIDE ? s.cval : (Real)not_a_number();
    }
  }
}

// Write the derivatives along the axes of the image: the first at p, each other one `step` further.
FORMULA void write_along(const Samples& s, const Sums& sums, Real* p, Index step) {
  if (s.axes > 2) p[0] = sums.z;
  if (s.axes > 1) p[(s.axes - 2) * step] = sums.y;
  p[(s.axes - 1) * step] = sums.x;
}

// Where the derivative along the first axis is in an array (B, A, C, N); the next is channels * count further.
FORMULA Index place_along(const Samples& s, Index b, Index c, Index n) {
  return (b * s.axes * s.channels + c) * s.count + n;
}

template <typename Taps, int AXES>
FORMULA void write_gradients(const Samples& s, Real* values, Real* gradient) {
  for (Index k = first_thread(); k < s.images * s.count; k += all_threads()) {
    const Index b = k / s.count, n = k % s.count;
    const Window<Taps, AXES, 2> at = window_of<Taps, AXES, 2>(s, b, n);
#pragma unroll 1
    for (Index c = 0; c < s.channels; ++c) {
      const Index own = b * s.channels + c;
      const Real nothing = at.status == OUTSIDE ? (Real)0 : (Real)not_a_number();
      Sums sums = {at.status == OUTSIDE ? s.cval : nothing, nothing, nothing, nothing};
      if (at.status == INSIDE) sums = sampled_with_gradient(s, s.x + own * s.pixels(), at);
      values[own * s.count + n] = sums.value;
      write_along(s, sums, gradient + place_along(s, b, c, n), s.channels * s.count);
    }
  }
}

// The adjoint with respect to positions: derivatives of samples times the cotangents of these.

// Cotangents of a value and of its derivatives, 0 where absent.
FORMULA Sums cotangents_of(const Samples& s, const Real* values_cotangent, const Real* gradient_cotangent, Index b, Index c, Index n) {
  const Real* p = gradient_cotangent + (gradient_cotangent ? place_along(s, b, c, n) : 0);
  const Index step = s.channels * s.count;
  return {values_cotangent ? values_cotangent[(b * s.channels + c) * s.count + n] : (Real)0,
          gradient_cotangent && s.axes > 2 ? p[0] : (Real)0,
          gradient_cotangent && s.axes > 1 ? p[(s.axes - 2) * step] : (Real)0,
          gradient_cotangent ? p[(s.axes - 1) * step] : (Real)0};
}

template <typename Taps, int AXES>
FORMULA void add_second_derivatives(const Samples& s, const Real* image, const Window<Taps, AXES, 3>& at,
                                    const Sums& by, Sums& pull) {
  visit_rows(at, [&](int a, int b) {
    const Row<3> row = sum_row(s, image, at, a, b);
    const Real wz = at.w[0][0][a], dz = at.w[0][1][a], ez = at.w[0][2][a];
    const Real wy = at.w[1][0][b], dy = at.w[1][1][b], ey = at.w[1][2][b];
    const Real v = row.sums[0], slope = row.sums[1], curvature = row.sums[2];
    pull.z += weighted(by.value * dz * wy + by.z * ez * wy + by.y * dz * dy, v) + weighted(by.x * dz * wy, slope);
    pull.y += weighted(by.value * wz * dy + by.z * dz * dy + by.y * wz * ey, v) + weighted(by.x * wz * dy, slope);
    pull.x += weighted(by.value * wz * wy + by.z * dz * wy + by.y * wz * dy, slope) +
              weighted(by.x * wz * wy, curvature);
  });
}

FORMULA void write_pull(const Samples& s, Index b, Index n, int status, Sums pull, Real* coords_cotangent) {
  const Real nothing = status == UNKNOWN ? (Real)not_a_number() : (Real)0;
  const Real along[3] = {pull.z, pull.y, pull.x};
#pragma unroll
  for (int axis = 0; axis < 3; ++axis)
    if (axis >= 3 - s.axes)
      coords_cotangent[s.place(b, axis, n)] = status == INSIDE ? (Real)(along[axis] * s.factor[axis]) : nothing;
}

template <typename Taps, int AXES>
FORMULA void write_pulls(const Samples& s, const Real* values_cotangent, Real* coords_cotangent) {
  for (Index k = first_thread(); k < s.images * s.count; k += all_threads()) {
    const Index b = k / s.count, n = k % s.count;
    const Window<Taps, AXES, 2> at = window_of<Taps, AXES, 2>(s, b, n);
    Sums pull = {0, 0, 0, 0};
#pragma unroll 1
    for (Index c = b * s.channels; at.status == INSIDE && c < (b + 1) * s.channels; ++c) {
      const Sums sums = sampled_with_gradient(s, s.x + c * s.pixels(), at);
      const Real by = values_cotangent[c * s.count + n];
      pull = {0, pull.z + weighted(by, sums.z), pull.y + weighted(by, sums.y), pull.x + weighted(by, sums.x)};
    }
    write_pull(s, b, n, at.status, pull, coords_cotangent);
  }
}

template <typename Taps, int AXES>
FORMULA void write_second_pulls(const Samples& s, const Real* values_cotangent, const Real* gradient_cotangent, Real* coords_cotangent) {
  for (Index k = first_thread(); k < s.images * s.count; k += all_threads()) {
    const Index b = k / s.count, n = k % s.count;
    const Window<Taps, AXES, 3> at = window_of<Taps, AXES, 3>(s, b, n);
    Sums pull = {0, 0, 0, 0};
#pragma unroll 1
    for (Index c = 0; at.status == INSIDE && c < s.channels; ++c) {
      const Sums by = cotangents_of(s, values_cotangent, gradient_cotangent, b, c, n);
      add_second_derivatives(s, s.x + (b * s.channels + c) * s.pixels(), at, by, pull);
    }
    write_pull(s, b, n, at.status, pull, coords_cotangent);
  }
}

// The adjoint with respect to the image. Many samples add to one pixel at once, in any order, and the
// sum must not depend on it, so that integers are added. Each term is rounded to a multiple of a unit,
// and its remainder to a multiple of a second unit, 2**bits times as small. The first unit is 2**-bits
// of a power of two above all terms, so that neither sum overflows its 64 bits. Terms that are NaN or
// infinite set a bit.

#define ANY_NAN 1u
#define INFINITE_SUM 2u
#define MINUS_INFINITE_SUM 4u

struct Ledger {
  UInt64* sums;  // two for each pixel
  UInt32* nonfinite;
  double inverse_unit, steps;  // 1 / unit, 2**bits

  __device__ __noinline__ void add(Index pixel, double v) const {
    if (v == 0) return;
    if (!isfinite(v)) {
      atomicOr(nonfinite + pixel, v != v ? ANY_NAN : (v > 0 ? INFINITE_SUM : MINUS_INFINITE_SUM));
      return;
    }
    const double units = v * inverse_unit, whole = rint(units), remainder = rint((units - whole) * steps);
    if (whole != 0) atomicAdd(sums + 2 * pixel, (UInt64)(Int64)whole);
    if (remainder != 0) atomicAdd(sums + 2 * pixel + 1, (UInt64)(Int64)remainder);
  }
};

// The greatest finite magnitudes of parts of an array.
KERNEL sample_largest(const Real* x, Index count, Index parts, double* largest) {
  for (Index part = blockIdx.x; part < parts; part += gridDim.x) {
    double top = 0;
    for (Index k = part * blockDim.x + threadIdx.x; k < count; k += parts * blockDim.x) {
      const double v = fabs((double)x[k]);
      if (isfinite(v)) top = greatest(top, v);
    }
    top = raise_over_block(top);
    if (threadIdx.x == 0) largest[part] = top;
  }
}

// 1 / unit, for products of at most 32 times the greatest of all parts.
KERNEL sample_unit(const double* largest, Index parts, Index bits, double* inverse_unit) {
  double top = 0;
  for (Index k = threadIdx.x; k < parts; k += blockDim.x) top = greatest(top, largest[k]);
  top = raise_over_block(top);
  int exponent = 0;
  frexp(top, &exponent);
  if (blockIdx.x == 0 && threadIdx.x == 0) inverse_unit[0] = ldexp(1.0, (int)bits - 5 - greatest(exponent, (int)bits - 1028));
}

// Call visit(pixel, term) for each term of the sums of pixels, of position n of an image.
template <typename Taps, int AXES, typename Visit>
FORMULA void visit_terms(const Samples& s, const Real* values_cotangent, const Real* gradient_cotangent, Index image, Index n,
                         Visit visit) {
  const Window<Taps, AXES, 2> at = window_of<Taps, AXES, 2>(s, image, n);
#pragma unroll 1
  for (Index c = 0; at.status == INSIDE && c < s.channels; ++c) {
    const Sums by = cotangents_of(s, values_cotangent, gradient_cotangent, image, c, n);
    const Index own = (image * s.channels + c) * s.pixels();
    visit_rows(at, [&](int a, int b) {
      if (!at.has_row(a, b)) return;
      const Real wz = at.w[0][0][a], dz = at.w[0][1][a], wy = at.w[1][0][b], dy = at.w[1][1][b];
      const Real value = by.value * wz * wy + by.z * dz * wy + by.y * wz * dy, slope = by.x * wz * wy;
      visit_columns(at, [&](int j) {
        const double v = (double)(value * at.w[2][0][j] + slope * at.w[2][1][j]);
        if (at.pixels[2][j] >= 0) visit(own + at.row(s, a, b) + at.pixels[2][j], v);
      });
    });
  }
}

template <typename Taps, int AXES>
FORMULA void spread(const Samples& s, const Real* values_cotangent, const Real* gradient_cotangent, const double* inverse_unit,
                    Index bits, UInt64* sums, UInt32* nonfinite) {
  const Ledger ledger = {sums, nonfinite, inverse_unit[0], ldexp(1.0, (int)bits)};
  for (Index k = first_thread(); k < s.images * s.count; k += all_threads())
    visit_terms<Taps, AXES>(s, values_cotangent, gradient_cotangent, k / s.count, k % s.count,
                            [&](Index pixel, double v) { ledger.add(pixel, v); });
}

KERNEL sample_collect(const UInt64* sums, const UInt32* nonfinite, const double* inverse_unit, Index bits, Index count,
                      Real* out) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const double remainder = ldexp((double)(Int64)sums[2 * k + 1], -(int)bits);
    double v = ((double)(Int64)sums[2 * k] + remainder) / inverse_unit[0];
    if (nonfinite[k]) v = nonfinite[k] == INFINITE_SUM ? infinity() : (nonfinite[k] == MINUS_INFINITE_SUM ? -infinity() : not_a_number());
    out[k] = (Real)v;
  }
}

#define OUTS Real *values, Real *gradient
#define PULLS const Real *values_cotangent, const Real *gradient_cotangent, Real *coords_cotangent
#define SPREAD                                                                                               \
  const Real *values_cotangent, const Real *gradient_cotangent, const double *inverse_unit, Index bits, UInt64 *sums, UInt32 *nonfinite
#define SPREAD_ARGUMENTS values_cotangent, gradient_cotangent, inverse_unit, bits, sums, nonfinite

KERNEL sample_values_linear2(SAMPLES, Real* values) { write_values<TwoPixels, 2>(SAMPLES_OF_ARGUMENTS, values); }
KERNEL sample_gradients_linear2(SAMPLES, OUTS) { write_gradients<TwoPixels, 2>(SAMPLES_OF_ARGUMENTS, values, gradient); }
KERNEL sample_pulls_linear2(SAMPLES, const Real* values_cotangent, Real* out) { write_pulls<TwoPixels, 2>(SAMPLES_OF_ARGUMENTS, values_cotangent, out); }
KERNEL sample_spread_linear2(SAMPLES, SPREAD) { spread<TwoPixels, 2>(SAMPLES_OF_ARGUMENTS, SPREAD_ARGUMENTS); }

KERNEL sample_values_linear3(SAMPLES, Real* values) { write_values<TwoPixels, 3>(SAMPLES_OF_ARGUMENTS, values); }
KERNEL sample_gradients_linear3(SAMPLES, OUTS) { write_gradients<TwoPixels, 3>(SAMPLES_OF_ARGUMENTS, values, gradient); }
KERNEL sample_pulls_linear3(SAMPLES, const Real* values_cotangent, Real* out) { write_pulls<TwoPixels, 3>(SAMPLES_OF_ARGUMENTS, values_cotangent, out); }
KERNEL sample_spread_linear3(SAMPLES, SPREAD) { spread<TwoPixels, 3>(SAMPLES_OF_ARGUMENTS, SPREAD_ARGUMENTS); }

KERNEL sample_values_cubic2(SAMPLES, Real* values) { write_values<FourPixels, 2>(SAMPLES_OF_ARGUMENTS, values); }
KERNEL sample_gradients_cubic2(SAMPLES, OUTS) { write_gradients<FourPixels, 2>(SAMPLES_OF_ARGUMENTS, values, gradient); }
KERNEL sample_pulls_cubic2(SAMPLES, const Real* values_cotangent, Real* out) { write_pulls<FourPixels, 2>(SAMPLES_OF_ARGUMENTS, values_cotangent, out); }

KERNEL sample_values_any(SAMPLES, Real* values) { write_values<AnyPixels, 0>(SAMPLES_OF_ARGUMENTS, values); }
KERNEL sample_gradients_any(SAMPLES, OUTS) { write_gradients<AnyPixels, 0>(SAMPLES_OF_ARGUMENTS, values, gradient); }
KERNEL sample_spread_any(SAMPLES, SPREAD) { spread<AnyPixels, 0>(SAMPLES_OF_ARGUMENTS, SPREAD_ARGUMENTS); }

KERNEL sample_values_wide(SAMPLES, Real* values) { write_values<WidePixels, 0>(SAMPLES_OF_ARGUMENTS, values); }
KERNEL sample_gradients_wide(SAMPLES, OUTS) { write_gradients<WidePixels, 0>(SAMPLES_OF_ARGUMENTS, values, gradient); }
KERNEL sample_spread_wide(SAMPLES, SPREAD) { spread<WidePixels, 0>(SAMPLES_OF_ARGUMENTS, SPREAD_ARGUMENTS); }
KERNEL sample_second_pulls_wide(SAMPLES, PULLS) {
  write_second_pulls<WidePixels, 0>(SAMPLES_OF_ARGUMENTS, values_cotangent, gradient_cotangent, coords_cotangent);
}

// The greatest finite magnitudes of the terms of parts of the positions: weights that are divided by their sum may be of
// any size if some of them are negative.
KERNEL sample_largest_terms_wide(SAMPLES, const Real* values_cotangent, const Real* gradient_cotangent, Index parts,
                                 double* largest) {
  const Samples s = SAMPLES_OF_ARGUMENTS;
  for (Index part = blockIdx.x; part < parts; part += gridDim.x) {
    double top = 0;
    for (Index k = part * blockDim.x + threadIdx.x; k < s.images * s.count; k += parts * blockDim.x)
      visit_terms<WidePixels, 0>(s, values_cotangent, gradient_cotangent, k / s.count, k % s.count, [&](Index, double v) {
        if (isfinite(v)) top = greatest(top, fabs(v));
      });
    top = raise_over_block(top);
    if (threadIdx.x == 0) largest[part] = top;
  }
}

KERNEL sample_second_pulls_any(SAMPLES, PULLS) {
  write_second_pulls<AnyPixels, 0>(SAMPLES_OF_ARGUMENTS, values_cotangent, gradient_cotangent, coords_cotangent);
}

// Where the gradient of any channel, (B, A, C, N), is longer than a threshold.
KERNEL sample_steep(const Real* gradient, Index images, Index axes, Index channels, Index count, double threshold, bool* steep) {
  for (Index k = first_thread(); k < images * count; k += all_threads()) {
    bool found = false;
    for (Index c = 0; c < channels; ++c) {
      double squares = 0;
      for (Index a = 0; a < axes; ++a) {
        const double v = (double)gradient[((k / count * axes + a) * channels + c) * count + k % count];
        squares += v * v;
      }
      found = found || sqrt(squares) > threshold;
    }
    steep[k] = found;
  }
}

// One of two arrays (B, rows, N), or 0 for an absent one, by a condition (B, N).
KERNEL sample_choose(const bool* condition, const Real* here, const Real* elsewhere, Index images, Index rows, Index count,
                     Real* out) {
  for (Index k = first_thread(); k < images * rows * count; k += all_threads()) {
    const Real* chosen = condition[k / count / rows * count + k % count] ? here : elsewhere;
    out[k] = chosen ? chosen[k] : (Real)0;
  }
}
