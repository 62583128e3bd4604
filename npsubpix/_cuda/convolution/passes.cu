// Correlation along one axis at a time, for kernels that are the product of a line of weights for each.
#include "formulas.cuh"
#include "block.cuh"
#include "ends.cuh"
#include "finish.cuh"

// Weights that are taken at a time.
#define TAPS 32
// Results of a block: along a row by each thread, and columns and rows of them down columns.
#define EACH 4
#define ROW (EACH * THREADS)
#define WIDE 32
#define TALL 64
#define STEP (THREADS / WIDE)

// The lines along z, y and x through the largest weight of a kernel, the first two divided by it. The
// kernel has to be the product of the line along x and of the plane of other axes, and this plane that
// of the lines along y and z, each up to `tolerance` times the largest weight; otherwise the line along
// x is NaN. The constant border extension of an axis is `fill` correlated with the lines along the axes
// before it, which are x, then y.
KERNEL correlate_factors(const Real* kernel, Index kz, Index ky, Index kx, double tolerance, double fill, double* lines,
                         double* fills) {
  __shared__ double tops[THREADS];
  __shared__ Index places[THREADS];
  const Index count = kz * ky * kx;
  double top = -1;
  Index place = 0;
  for (Index k = threadIdx.x; k < count; k += blockDim.x) {
    const double w = fabs((double)kernel[k]);
    if (w > top) top = w, place = k;
  }
  tops[threadIdx.x] = top, places[threadIdx.x] = place;
  for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) {
      const double other = tops[threadIdx.x + half];
      const Index there = places[threadIdx.x + half];
      if (other > tops[threadIdx.x] || (other == tops[threadIdx.x] && there < places[threadIdx.x]))
        tops[threadIdx.x] = other, places[threadIdx.x] = there;
    }
  }
  __syncthreads();
  top = tops[0], place = places[0];
  const double largest = (double)kernel[place];
  const Index d = place / kx / ky, i = place / kx % ky, j = place % kx;
  double *z = lines, *y = lines + kz, *x = lines + kz + ky;
  for (Index k = threadIdx.x; k < kz + ky + kx; k += blockDim.x) {
    const Index along_y = k - kz, along_x = k - kz - ky;
    if (along_x >= 0) lines[k] = (double)kernel[(d * ky + i) * kx + along_x];
    else if (largest == 0) lines[k] = 0;
    else lines[k] = (double)kernel[along_y >= 0 ? (d * ky + along_y) * kx + j : (k * ky + i) * kx + j] / largest;
  }
  __syncthreads();
  double far[1] = {0};
  for (Index k = threadIdx.x; k < count; k += blockDim.x) {
    const double plane = (double)kernel[k - k % kx + j], across = largest == 0 ? 0.0 : plane / largest;
    const bool line_fits = fabs(across * x[k % kx] - (double)kernel[k]) <= tolerance * top;
    const bool plane_fits = fabs(z[k / kx / ky] * y[k / kx % ky] * largest - plane) <= tolerance * top;
    if (!line_fits || !plane_fits) far[0] += 1;
  }
  sum_over_block(far);
  if (threadIdx.x == 0) {
    if (far[0] > 0) x[0] = not_a_number();
    double sum = 0;
    for (Index k = 0; k < kx; ++k) sum += x[k];
    fills[2] = fill;
    fills[1] = fill * sum;
    sum = 0;
    for (Index k = 0; k < ky; ++k) sum += y[k];
    fills[0] = fills[1] * sum;
  }
}

// A line of pixels `apart` from each other, and its border extension.
struct Line {
  const Real* pixels;
  Index size, apart, border;
  Real fill;

  __device__ __forceinline__ Real operator[](Index place) const {
    const Index k = folded(place, size, border);
    return k < 0 ? fill : pixels[k * apart];
  }
};

// The weight of a pass, or its magnitude.
FORMULA Real weight_of(double w, bool magnitudes) { return (Real)(magnitudes ? fabs(w) : w); }

#define ALONG                                                                                                      \
  Index size, Index first, Index count, Index border, bool magnitudes, const double *line, Index taps,            \
      const double *fill, bool add, bool integer, double low, double high

// Along the last axis. A block takes a part of a row into shared memory.
KERNEL correlate_rows(const Real* x, Index rows, ALONG, Real* out) {
  __shared__ Real pixels[ROW + TAPS];
  __shared__ Real weights[TAPS];
  const Finish finish = {integer, low, high};
  const Index parts = (count + ROW - 1) / ROW;
  for (Index task = blockIdx.x; task < rows * parts; task += gridDim.x) {
    const Index row = task / parts, begin = task % parts * ROW, made = least(count - begin, (Index)ROW);
    const Line source = {x + row * size, size, 1, border, (Real)*fill};
    Real sums[EACH] = {0};
    for (Index k = 0; k < taps; k += TAPS) {
      const int taken = (int)least(taps - k, (Index)TAPS);
      for (Index j = threadIdx.x; j < made + taken - 1; j += THREADS) pixels[j] = source[begin + first + k + j];
      if ((int)threadIdx.x < taken) weights[threadIdx.x] = weight_of(line[k + threadIdx.x], magnitudes);
      __syncthreads();
      for (int m = 0; m < EACH; ++m)
        if (threadIdx.x + m * THREADS < made)
          for (int n = 0; n < taken; ++n) sums[m] += weights[n] * pixels[threadIdx.x + m * THREADS + n];
      __syncthreads();
    }
    for (int m = 0; m < EACH; ++m) {
      const Index j = begin + threadIdx.x + m * THREADS;
      if (j >= count) break;
      Real* place = out + row * count + j;
      *place = finish(add ? *place + sums[m] : sums[m]);
    }
  }
}

// Along another axis: lines of pixels that are `inner` apart. A block takes parts of neighbouring
// lines into shared memory.
KERNEL correlate_columns(const Real* x, Index outer, Index inner, ALONG, Real* out) {
  __shared__ Real pixels[TALL + TAPS][WIDE];
  __shared__ Real weights[TAPS];
  const Finish finish = {integer, low, high};
  const Index across = (inner + WIDE - 1) / WIDE, down = (count + TALL - 1) / TALL;
  const unsigned column = threadIdx.x % WIDE, row = threadIdx.x / WIDE;
  for (Index task = blockIdx.x; task < outer * across * down; task += gridDim.x) {
    const Index j = task % across * WIDE + column, begin = task / across % down * TALL, o = task / across / down;
    const Index made = j < inner ? least(count - begin, (Index)TALL) : 0;
    const Line source = {x + o * size * inner + j, size, inner, border, (Real)*fill};
    Real sums[TALL / STEP] = {0};
    for (Index k = 0; k < taps; k += TAPS) {
      const int taken = (int)least(taps - k, (Index)TAPS);
      if (made > 0)
        for (Index i = row; i < made + taken - 1; i += STEP) pixels[i][column] = source[begin + first + k + i];
      if ((int)threadIdx.x < taken) weights[threadIdx.x] = weight_of(line[k + threadIdx.x], magnitudes);
      __syncthreads();
      for (int m = 0; m < TALL / STEP; ++m)
        if (row + m * STEP < made)
          for (int n = 0; n < taken; ++n) sums[m] += weights[n] * pixels[row + m * STEP + n][column];
      __syncthreads();
    }
    for (int m = 0; m < TALL / STEP; ++m) {
      const Index i = row + m * STEP;
      if (i >= made) break;
      Real* place = out + (o * count + begin + i) * inner + j;
      *place = finish(add ? *place + sums[m] : sums[m]);
    }
  }
}

// Sums of the weights of a line whose pixels are inside of the image and of all, and of the magnitudes inside.
struct LineSum {
  double inside, all, parts;
};

FORMULA LineSum sum_line(const double* line, Index taps, Index place, Index size) {
  LineSum s = {0, 0, 0};
  for (Index k = 0; k < taps; ++k) {
    s.all += line[k];
    if (place + k < 0 || place + k >= size) continue;
    s.inside += line[k];
    s.parts += fabs(line[k]);
  }
  return s;
}

// Windows that are clipped to the image, from their sums of weights times pixels and of magnitudes of weights times
// pixels: pixels beyond the border are the mean of the others, weighted by magnitudes.
KERNEL correlate_clipped(const Real* products, const Real* means, Index images, Index depth, Index height, Index width,
                         Index kz, Index ky, Index kx, Index fz, Index fy, Index fx, Index nz, Index ny, Index nx,
                         const double* along_z, const double* along_y, const double* along_x, bool integer, double low,
                         double high, Real* out) {
  const Finish finish = {integer, low, high};
  for (Index k = first_thread(); k < images * nz * ny * nx; k += all_threads()) {
    const Index z = k / nx / ny % nz + fz, y = k / nx % ny + fy, x = k % nx + fx;
    const bool clipped = z < 0 || y < 0 || x < 0 || z + kz > depth || y + ky > height || x + kx > width;
    Real v = products[k];
    if (clipped) {
      const LineSum a = sum_line(along_z, kz, z, depth), b = sum_line(along_y, ky, y, height);
      const LineSum c = sum_line(along_x, kx, x, width);
      const double gap = a.all * b.all * c.all - a.inside * b.inside * c.inside;
      v += (Real)(gap * ((double)means[k] / (a.parts * b.parts * c.parts)));
    }
    out[k] = finish(v);
  }
}
