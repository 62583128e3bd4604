// The cotangent of a table of weights: see `_cpu/sampling/tables.py` for the formulas. A block sums over every n-th tile of
// positions, for a fixed n, so that results do not depend on the grid. Each thread of a block computes the terms of one
// position; then each sums those of the samples of the table that are its own, in order.
#include "formulas.cuh"
#include "block.cuh"
#include "sampling_definitions.cuh"
#include "borders.cuh"
#include "weights.cuh"
#include "samples.cuh"

#define MOST_PIXELS (2 * MOST_REACH)

// Along an axis: raw weights with their sum, pixels, and derivatives of a loss with respect to weights and their slopes.
struct Line {
  Placed placed;
  Jet raw[MOST_PIXELS], sum;
  double w[MOST_PIXELS], slope[MOST_PIXELS], by_weight[MOST_PIXELS], by_slope[MOST_PIXELS];
  Index pixels[MOST_PIXELS];
};

__device__ __noinline__ int place_line(const Samples& s, double c, int axis, Line& line) {
  line.placed = place_pixels<WidePixels>(s, c, axis, line.pixels);
  if (line.placed.status != INSIDE) return line.placed.status;
  const int count = WidePixels::count(s.weighing);
  WidePixels::weigh_raw(s.weighing, (Real)line.placed.distance, line.raw);
  line.sum = sum_of(line.raw, count);
  for (int k = 0; k < count; ++k) {
    line.w[k] = line.raw[k].f / line.sum.f;
    line.slope[k] = line.placed.slope * (line.raw[k].slope - line.w[k] * line.sum.slope) / line.sum.f;
    line.by_weight[k] = line.by_slope[k] = 0;
  }
  return INSIDE;
}

// A single pixel of weight 1, along an axis that the image lacks.
FORMULA void place_alone(Line& line) {
  line.w[0] = 1, line.slope[0] = line.by_weight[0] = line.by_slope[0] = 0, line.pixels[0] = 0;
}

// Cotangents of a value and of its derivatives along (z, y, x).
struct By {
  double value, z, y, x;
};

__device__ __noinline__ void add_window(const Samples& s, const Real* image, const By& by, Line (&lines)[3]) {
  const int count = WidePixels::count(s.weighing);
  Line &zs = lines[0], &ys = lines[1], &xs = lines[2];
#pragma unroll 1
  for (int a = 0; a < (s.axes > 2 ? count : 1); ++a)
#pragma unroll 1
    for (int b = 0; b < (s.axes > 1 ? count : 1); ++b) {
      const bool inside = zs.pixels[a] >= 0 && ys.pixels[b] >= 0;
      const Index row = (zs.pixels[a] * s.size[1] + ys.pixels[b]) * s.size[2];
      const double wz = zs.w[a], dz = zs.slope[a], wy = ys.w[b], dy = ys.slope[b];
#pragma unroll 1
      for (int k = 0; k < count; ++k) {
        const double wx = xs.w[k], dx = xs.slope[k];
        const double v = inside && xs.pixels[k] >= 0 ? (double)image[row + xs.pixels[k]] : (double)s.cval;
        if (!isfinite(v) && wz * wy * wx == 0) continue;  // a pixel of no weight, which does not count
        zs.by_weight[a] += v * (by.value * wy * wx + by.y * dy * wx + by.x * wy * dx);
        zs.by_slope[a] += v * by.z * wy * wx;
        ys.by_weight[b] += v * (by.value * wz * wx + by.z * dz * wx + by.x * wz * dx);
        ys.by_slope[b] += v * by.y * wz * wx;
        xs.by_weight[k] += v * (by.value * wz * wy + by.z * dz * wy + by.y * wz * dy);
        xs.by_slope[k] += v * by.x * wz * wy;
      }
    }
}

// Turn derivatives with respect to weights and their slopes into those with respect to raw ones.
__device__ __noinline__ void undo_division(int count, Line& line) {
  double mean = 0, of_slopes = 0, whole = 0;
  for (int k = 0; k < count; ++k) {
    line.by_weight[k] -= line.by_slope[k] * line.placed.slope * line.sum.slope / line.sum.f;
    mean += line.by_weight[k] * line.w[k];
    of_slopes += line.by_slope[k] * line.w[k];
    whole += line.by_slope[k] * line.slope[k];
  }
  for (int k = 0; k < count; ++k) {
    line.by_weight[k] = (line.by_weight[k] - mean - whole) / line.sum.f;
    line.by_slope[k] = line.placed.slope * (line.by_slope[k] - of_slopes) / line.sum.f;
  }
}

// The terms of a position; whether there are any.
FORMULA bool find_terms(const Samples& s, const Real* values_cotangent, const Real* gradient_cotangent, Index b, Index n,
                        Line (&lines)[3]) {
  int status = INSIDE;
#pragma unroll 1
  for (int axis = 0; axis < 3; ++axis)
    if (axis < 3 - s.axes)
      place_alone(lines[axis]);
    else
      status = greatest(status, place_line(s, s.position(b, axis, n), axis, lines[axis]));
  if (status != INSIDE) return false;
  bool any = false;
#pragma unroll 1
  for (Index c = 0; c < s.channels; ++c) {
    const Index own = b * s.channels + c, step = s.channels * s.count;
    const Real* p = gradient_cotangent + (gradient_cotangent ? (b * s.axes * s.channels + c) * s.count + n : 0);
    const By by = {values_cotangent ? (double)values_cotangent[own * s.count + n] : 0.0,
                   gradient_cotangent && s.axes > 2 ? (double)p[0] : 0.0,
                   gradient_cotangent && s.axes > 1 ? (double)p[(s.axes - 2) * step] : 0.0,
                   gradient_cotangent ? (double)p[(s.axes - 1) * step] : 0.0};
    // Samples that a loss leaves out may be NaN.
    if (by.value == 0 && by.z == 0 && by.y == 0 && by.x == 0) continue;
    add_window(s, s.x + own * s.pixels(), by, lines);
    any = true;
  }
  for (int axis = 3 - (int)s.axes; axis < 3; ++axis) undo_division(WidePixels::count(s.weighing), lines[axis]);
  return any;
}

KERNEL sample_table_pulls(SAMPLES, const Real* values_cotangent, const Real* gradient_cotangent, Index parts, double* sums) {
  __shared__ Index firsts[THREADS];
  __shared__ double lower[THREADS], upper[THREADS];
  const Samples s = SAMPLES_OF_ARGUMENTS;
  const Index total = s.images * s.count, tiles = (total + blockDim.x - 1) / blockDim.x;
  Line lines[3];
  for (Index part = blockIdx.x; part < parts; part += gridDim.x) {
    double* own = sums + part * samples;
    for (Index j = threadIdx.x; j < samples; j += blockDim.x) own[j] = 0;
    for (Index tile = part; tile < tiles; tile += parts) {
      const Index n = tile * blockDim.x + threadIdx.x;
      const bool any = n < total && find_terms(s, values_cotangent, gradient_cotangent, n / count, n % count, lines);
      for (int axis = 3 - (int)axes; axis < 3; ++axis)
        for (int k = 0; k < 2 * (int)reach; ++k) {
          firsts[threadIdx.x] = -2;  // of no sample
          if (any) {
            const Apart apart = apart_from(s.weighing, k, (double)(Real)lines[axis].placed.distance);
            const Segment at = segment_of(s.weighing, apart.distance, apart.grows);
            const double step = (apart.is_before ? at.scale : -at.scale) * lines[axis].by_slope[k];
            firsts[threadIdx.x] = at.first;
            lower[threadIdx.x] = lines[axis].by_weight[k] * (1 - at.fraction) - step;
            upper[threadIdx.x] = lines[axis].by_weight[k] * at.fraction + step;
          }
          __syncthreads();
          for (Index j = threadIdx.x; j < samples; j += blockDim.x) {
            double sum = 0;
            for (unsigned m = 0; m < blockDim.x; ++m) {
              if (firsts[m] == j) sum += lower[m];
              if (firsts[m] == j - 1) sum += upper[m];
            }
            own[j] += sum;
          }
          __syncthreads();
        }
    }
  }
}

// Sums over all parts, in order.
KERNEL sample_table_sums(const double* sums, Index parts, Index samples, double* out) {
  for (Index j = first_thread(); j < samples; j += all_threads()) {
    double sum = 0;
    for (Index part = 0; part < parts; ++part) sum += sums[part * samples + j];
    out[j] = sum;
  }
}
