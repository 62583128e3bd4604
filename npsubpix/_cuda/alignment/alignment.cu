// Direct alignment: images at all scales, and the sums over pixels from which normal equations follow.
#include "formulas.cuh"
#include "block.cuh"
#include "sampling_definitions.cuh"
#include "borders.cuh"
#include "weights.cuh"
#include "image_pairs.cuh"

// The number of bad pixels of an image, and the least, the greatest and the sum of the good ones.
KERNEL align_survey(const Real* x, const bool* mask, Index count, Index parts, Index part_size, double* out) {
  for (Index part = blockIdx.x; part < parts; part += gridDim.x) {
    double sums[2] = {0, 0}, low = infinity(), high = -infinity();
    for (Index k = part * part_size + threadIdx.x; k < least((part + 1) * part_size, count); k += blockDim.x) {
      const double v = (double)x[k];
      const bool bad = !isfinite(v) || (mask && mask[k]);
      sums[0] += bad;
      sums[1] += bad ? 0.0 : v;
      low = bad ? low : fmin(low, v);
      high = bad ? high : fmax(high, v);
    }
    sum_over_block(sums);
    low = -raise_over_block(-low);
    high = raise_over_block(high);
    if (threadIdx.x != 0) continue;
    out[part * 4] = sums[0];
    out[part * 4 + 1] = low;
    out[part * 4 + 2] = high;
    out[part * 4 + 3] = sums[1];
  }
}

// Bad pixels: their mask, and the values that replace them, so that splines do not ring around them.

KERNEL align_bad_pixels(const Real* x, const bool* mask, Index count, bool* bad) {
  for (Index k = first_thread(); k < count; k += all_threads()) bad[k] = !isfinite(x[k]) || (mask && mask[k]);
}

// The row of the nearest good pixel of each column, -1 for none; the upper one of two.
// A thread has a part of a column, and looks beyond its ends no farther than the first good pixel.
KERNEL align_nearest_rows(const bool* bad, Index height, Index width, Index part, Index* rows) {
  for (Index k = first_thread(); k < (height + part - 1) / part * width; k += all_threads()) {
    const Index j = k % width, begin = k / width * part, end = least(begin + part, height);
    Index last = begin - 1;
    while (last >= 0 && bad[last * width + j]) --last;
    for (Index i = begin; i < end; ++i) {
      if (!bad[i * width + j]) last = i;
      rows[i * width + j] = last;
    }
    last = end;
    while (last < height && bad[last * width + j]) ++last;
    for (Index i = end - 1; i >= begin; --i) {
      if (!bad[i * width + j]) last = i;
      const Index above = rows[i * width + j];
      if (last < height && (above < 0 || last - i < i - above)) rows[i * width + j] = last;
    }
  }
}

// Bad pixels get the nearest good one.
KERNEL align_fill(const Real* x, const bool* bad, const Index* rows, Index height, Index width, Real* out) {
  for (Index k = first_thread(); k < height * width; k += all_threads()) {
    Index from = k, best = height * height + width * width + 1;
    for (Index d = 0; bad[k] && d < width && d * d < best; ++d)
      for (int side = -1; side <= 1; side += 2) {
        const Index j = k % width + side * d, row = j >= 0 && j < width ? rows[k / width * width + j] : -1;
        const Index apart = row - k / width, far = d * d + apart * apart;
        if (row >= 0 && far < best) best = far, from = row * width + j;
      }
    out[k] = x[from];
  }
}

// Bad pixels get the mean of their neighbours.
KERNEL align_smooth(const Real* x, const bool* bad, Index height, Index width, Real* out) {
  for (Index k = first_thread(); k < height * width; k += all_threads()) {
    const Index i = k / width, j = k % width;
    const Index above = greatest(i - 1, (Index)0) * width + j, below = least(i + 1, height - 1) * width + j;
    const Index left = i * width + greatest(j - 1, (Index)0), right = i * width + least(j + 1, width - 1);
    out[k] = bad[k] ? (x[above] + x[below] + x[left] + x[right]) / 4 : x[k];
  }
}

// Neighbours of bad pixels are bad too: their gradients depend on the values filled in.
KERNEL align_grow(const bool* bad, Index height, Index width, bool* out) {
  for (Index k = first_thread(); k < height * width; k += all_threads()) {
    const Index i = k / width, j = k % width;
    bool any = false;
    for (Index a = greatest(i - 1, (Index)0); a <= least(i + 1, height - 1); ++a)
      for (Index b = greatest(j - 1, (Index)0); b <= least(j + 1, width - 1); ++b) any = any || bad[a * width + b];
    out[k] = any;
  }
}

// Means of two by two pixels, or whether any of them is bad; `height` and `width` are those of the result.
KERNEL align_halve(const Real* x, Index across, Index height, Index width, Real* out) {
  for (Index k = first_thread(); k < height * width; k += all_threads()) {
    const Real* p = x + k / width * 2 * across + k % width * 2;
    out[k] = ((p[0] + p[across]) + (p[1] + p[across + 1])) * (Real)0.25;
  }
}

KERNEL align_halve_mask(const bool* bad, Index across, Index height, Index width, bool* out) {
  for (Index k = first_thread(); k < height * width; k += all_threads()) {
    const bool* p = bad + k / width * 2 * across + k % width * 2;
    out[k] = p[0] || p[1] || p[across] || p[across + 1];
  }
}

// An image times a factor, less a pedestal.
KERNEL align_in_unit(const Real* x, Index count, double factor, double pedestal, Real* out) {
  for (Index k = first_thread(); k < count; k += all_threads()) out[k] = x[k] * (Real)factor - (Real)pedestal;
}

// An image less a mean, times a window along each axis, padded with zeros; bad pixels become 0.
KERNEL align_centred(const Real* x, const bool* mask, const double* rows, const double* columns, Index height,
                     Index width, double mean, Index full_height, Index full_width, double* out) {
  for (Index k = first_thread(); k < full_height * full_width; k += all_threads()) {
    const Index i = k / full_width, j = k % full_width;
    const bool inside = i < height && j < width && !(mask && mask[i * width + j]);
    const double v = inside ? (double)x[i * width + j] - mean : 0.0;
    out[k] = inside && isfinite(v) ? v * rows[i] * columns[j] : 0.0;
  }
}

// Residuals of every `step`-th pixel but those at the border; NaN where there is none.
KERNEL align_residuals(PAIR, Index step, Index rows, Index columns, double* out) {
  const Pair p = PAIR_OF_ARGUMENTS;
  for (Index k = first_thread(); k < rows * columns; k += all_threads()) {
    const Index i = 1 + k / columns * step, j = 1 + k % columns * step;
    const Projected to = project(p, (double)i, (double)j);
    const bool inside = to.y >= 0 && to.y <= moving_height - 1 && to.x >= 0 && to.x <= moving_width - 1;
    const bool ignored = !inside || (fixed_mask && fixed_mask[i * width + j]);
    out[k] = ignored ? not_a_number() : moving_at(p, to.y, to.x).value - gain * (double)fixed[i * width + j] - bias;
  }
}

// Sums over pixels: products of features, the signals of `_definitions/alignment/normal_equations.py` times 1, x and y
// about the centre of the fixed image.
#define FIXED 9
#define ONE_FEATURE 10
#define RESIDUAL 11
#define CROSSED 12
#define IS_INSIDE 21
#define WEIGHT 22
#define FEATURES 23

// Distance from the last position whose window is inside the moving image.
#define INSET 1e-9

FORMULA bool has_bad_corner(const bool* bad, Index width, Index a, Index b) {
  const bool* p = bad + a * width + b;
  return p[0] || p[1] || p[width] || p[width + 1];
}

// A gradient, over the depth of a projected point and times it, as the features from `to` on.
FORMULA void write_gradient(double* to, const Pair& p, Spline g, Projected at, bool perspective, double y, double x) {
  if (perspective) g = {0, g.y * at.inverse_depth, g.x * at.inverse_depth};
  const double cy = 0.5 * (double)(p.height - 1), cx = 0.5 * (double)(p.width - 1);
  const double signals[3] = {g.y, g.x, perspective ? -(g.y * (at.y - cy) + g.x * (at.x - cx)) : 0.0};
  for (int n = 0; n < 3; ++n) {
    to[3 * n] = signals[n];
    to[3 * n + 1] = signals[n] * x;
    to[3 * n + 2] = signals[n] * y;
  }
}

// Weights of `_definitions/alignment/losses.py`.
#define STEP 0
#define SCORES 1

FORMULA double weight_of(double residual, double scale, Index loss, Index use) {
  const double u = fabs(residual) / scale;
  if (loss == 0) return use == SCORES ? u * u : 1;
  if (loss == 1) {
    if (use == SCORES) return u < 1 ? u * u : 1;
    return u <= 1 ? 1 : use == STEP ? 1 / u : 0;
  }
  if (u >= 1) return 0;
  const double v = 1 - u * u;
  if (use == SCORES) return v * v * u * v * v * u;
  return use == STEP ? v * v : v * (1 - 5 * u * u);
}

// Whether a pixel that is projected to a position is compared: it lies in the moving image without its margin, and
// neither it nor a pixel around its position is masked.
FORMULA bool is_compared(const Pair& p, Index i, Index j, Projected at, Index margin) {
  if (i < 1 || i >= p.height - 1 || j < 1 || j >= p.width - 1) return false;
  if (p.fixed_mask && p.fixed_mask[i * p.width + j]) return false;
  const double y = at.y + EDGE, x = at.x + EDGE;  // rounding of a shift by whole pixels does not change the choice
  if (!(y >= margin && y < p.moving_height - 1 - margin && x >= margin && x < p.moving_width - 1 - margin)) return false;
  return !(p.moving_mask && has_bad_corner(p.moving_mask, p.moving_width, (Index)y, (Index)x));
}

// Write the features of a pixel, all 0 if it is ignored.
FORMULA void write_features(double* to, const Pair& p, const Pair& overlap, Index i, Index j, Index margin,
                            double scale, Index loss, Index use, bool inverse, bool perspective, bool crossed) {
  for (int n = 0; n < FEATURES; ++n) to[n] = 0;
  if (!is_compared(p, i, j, project(overlap, (double)i, (double)j), margin)) return;
  Projected at = project(p, (double)i, (double)j);
  if (!(at.y >= 0 && at.y <= p.moving_height - 1 && at.x >= 0 && at.x <= p.moving_width - 1)) return;
  // Positions moved a little since they were chosen: those of small images stay where windows do on the CPU.
  at.y = fmin(fmax(at.y, 1.0), (double)(p.moving_height - 2) - INSET);
  at.x = fmin(fmax(at.x, 1.0), (double)(p.moving_width - 2) - INSET);
  const Spline there = moving_at(p, at.y, at.x);
  const double y = (double)i - 0.5 * (double)(p.height - 1), x = (double)j - 0.5 * (double)(p.width - 1);
  const double pixel = (double)p.fixed[i * p.width + j], residual = there.value - p.gain * pixel - p.bias;
  if (inverse) {
    const Projected here = {(double)i, (double)j, 1};
    const Spline g = fixed_gradient(p, i, j);
    write_gradient(to, p, {0, -p.gain * g.y, -p.gain * g.x}, here, perspective, y, x);
    // The gradient of the moving image, as that of the image warped by the matrix, times -1.
    const double w = -at.inverse_depth;
    const Spline back = {0,
                         w * ((p.m[0][0] - at.y * p.m[2][0]) * there.y + (p.m[1][0] - at.x * p.m[2][0]) * there.x),
                         w * ((p.m[0][1] - at.y * p.m[2][1]) * there.y + (p.m[1][1] - at.x * p.m[2][1]) * there.x)};
    if (crossed) write_gradient(to + CROSSED, p, back, here, perspective, y, x);
  } else {
    write_gradient(to, p, there, at, perspective, y, x);
  }
  to[FIXED] = pixel;
  to[ONE_FEATURE] = to[IS_INSIDE] = 1;
  to[RESIDUAL] = residual;
  to[WEIGHT] = weight_of(residual, scale, loss, use);
}

// The features that the n-th sum multiplies: each in `used` with itself and those after it; each in `used` with each
// in `across`; then weights alone, and pixels.
struct Factors {
  int a, b;
};

FORMULA Factors factors_of(int n, Index used, Index across) {
  for (int a = 0; a < FEATURES; ++a)
    for (int b = a; b < FEATURES; ++b)
      if ((used >> a & 1) && (used >> b & 1) && n-- == 0) return {a, b};
  for (int a = 0; a < FEATURES; ++a)
    for (int b = 0; b < FEATURES; ++b)
      if ((used >> a & 1) && (across >> b & 1) && n-- == 0) return {a, b};
  return n == 0 ? Factors{IS_INSIDE, IS_INSIDE} : Factors{-1, -1};
}

// Sums over parts of the fixed image. A block writes the features of as many pixels as it has threads,
// and each thread then takes one of the products, or a share of its pixels.
KERNEL align_equations(PAIR, double o00, double o01, double o02, double o10, double o11, double o12, double o20,
                       double o21, double o22, Index margin, double scale, Index loss, Index use, bool inverse,
                       bool perspective, bool crossed, Index used, Index across, Index sums, Index parts, Index tiles,
                       double* out) {
  __shared__ double features[THREADS][FEATURES];
  const Pair p = PAIR_OF_ARGUMENTS;
  Pair overlap = p;
  const double chosen[3][3] = {{o00, o01, o02}, {o10, o11, o12}, {o20, o21, o22}};
  for (int a = 0; a < 3; ++a)
    for (int b = 0; b < 3; ++b) overlap.m[a][b] = chosen[a][b];
  const Index shares = THREADS / sums, share = threadIdx.x / sums;
  const Factors factors = factors_of((int)(threadIdx.x % sums), used, across);
  for (Index part = blockIdx.x; part < parts; part += gridDim.x) {
    double sum = 0;
    for (Index tile = part * tiles; tile < (part + 1) * tiles; ++tile) {
      const Index k = tile * THREADS + threadIdx.x;
      __syncthreads();
      write_features(features[threadIdx.x], p, overlap, k / width, k % width, margin, scale, loss, use, inverse,
                     perspective, crossed);
      __syncthreads();
      if (share >= shares) continue;
      for (Index n = share; n < THREADS; n += shares) {
        const double* f = features[n];
        sum += factors.a < 0 ? f[IS_INSIDE] : f[WEIGHT] * f[factors.a] * f[factors.b];
      }
    }
    if (share < shares) out[(part * shares + share) * sums + threadIdx.x % sums] = sum;
  }
}

// Sum the rows of an array.
KERNEL align_sum(const double* rows, Index count, Index sums, double* out) {
  for (Index n = blockIdx.x; n < sums; n += gridDim.x) {
    double total[1] = {0};
    for (Index k = threadIdx.x; k < count; k += blockDim.x) total[0] += rows[k * sums + n];
    sum_over_block(total);
    if (threadIdx.x == 0) out[n] = total[0];
  }
}

// The second difference along both axes, with the standard deviation of the noise of a pixel.
FORMULA double second_difference(const Real* x, Index width, Index i, Index j) {
  const Real* c = x + i * width + j;
  const double corners = (double)(c[-width - 1] + c[-width + 1] + c[width - 1] + c[width + 1]);
  const double sides = (double)(c[-width] + c[width] + c[-1] + c[1]);
  return (corners - 2 * sides + 4 * (double)c[0]) / 6;
}

// Sums over the pixels compared: squared second differences of both images, 1, products of both, and these squared.
KERNEL align_likeness(PAIR, const Real* moving_pixels, double fixed_mean, double moving_mean, Index margin,
                      Index parts, Index part_size, double* out) {
  const Pair p = PAIR_OF_ARGUMENTS;
  for (Index part = blockIdx.x; part < parts; part += gridDim.x) {
    double sums[5] = {0, 0, 0, 0, 0};
    const Index end = least((part + 1) * part_size, height * width);
    for (Index k = part * part_size + threadIdx.x; k < end; k += blockDim.x) {
      const Index i = k / width, j = k % width;
      const Projected at = project(p, (double)i, (double)j);
      if (!is_compared(p, i, j, at, margin)) continue;
      const Index row = (Index)(at.y + 0.5), column = (Index)(at.x + 0.5);  // the nearest pixel of the moving image
      const double a = second_difference(fixed, width, i, j);
      const double b = second_difference(moving_pixels, moving_width, row, column);
      const double there = (double)moving_pixels[row * moving_width + column] - moving_mean;
      const double product = ((double)fixed[k] - fixed_mean) * there;
      sums[0] += a * a;
      sums[1] += b * b;
      sums[2] += 1;
      sums[3] += product;
      sums[4] += product * product;
    }
    sum_over_block(sums);
    for (int n = 0; n < 5; ++n)
      if (threadIdx.x == 0) out[part * 5 + n] = sums[n];
  }
}

// The difference of a pixel from those two pixels away, but for the greatest and the least; 0 if more than one neighbour
// differs as well.
FORMULA double deviation(const Real* x, Index width, Index i, Index j, double sharpness) {
  const Real* c = x + i * width + j;
  double total = 0, low = infinity(), high = -infinity();
  for (Index a = -2; a <= 2; a += 2)
    for (Index b = -2; b <= 2; b += 2) {
      if (a == 0 && b == 0) continue;
      const double value = (double)c[a * width + b];
      total += value;
      low = fmin(low, value);
      high = fmax(high, value);
    }
  const double around = (total - low - high) / 6, here = (double)c[0] - around;
  int similar = 0;
  for (Index a = -1; a <= 1; ++a)
    for (Index b = -1; b <= 1; ++b)
      if ((a != 0 || b != 0) && sharpness * fabs((double)c[a * width + b] - around) >= fabs(here) && ++similar > 1)
        return 0;
  return here;
}

// True for pixels that stand out in both images.
KERNEL align_fixed_pattern(const Real* fixed, const Real* moving, Index height, Index width, double sharpness,
                           bool* found) {
  for (Index k = first_thread(); k < height * width; k += all_threads()) {
    const Index i = k / width, j = k % width;
    found[k] = false;
    if (i < 2 || i >= height - 2 || j < 2 || j >= width - 2) continue;
    const double a = deviation(fixed, width, i, j, sharpness);
    if (a == 0) continue;
    const double b = deviation(moving, width, i, j, sharpness);
    found[k] = (a > 0 && b > 0) || (a < 0 && b < 0);
  }
}
