// Correlation by tiles: a block takes pixels into shared memory, where each is once, and the weights
// that look at them. For small kernels each pixel of the image, but for edges of tiles, is taken once.
#include "formulas.cuh"
#include "ends.cuh"
#include "finish.cuh"

// Results of a tile along an axis, and of a thread down a column of it.
#define SIDE 32
#define DOWN (SIDE * SIDE / THREADS)
#define ROOM (SIDE + MOST_TAPS - 1)

// Weights of a part of a kernel.
struct Taps {
  int down, along;
};

FORMULA void add_products(const Real (&pixels)[ROOM][ROOM], const Real* weights, Taps taps, int top, int column,
                          Real (&sums)[DOWN]) {
  for (int n = 0; n < taps.along; ++n) {
    Real seen[DOWN];  // pixels that the results of the thread see with the same weight
    for (int m = 1; m < DOWN; ++m) seen[m] = pixels[top + m - 1][column + n];
    for (int r = 0; r < taps.down; ++r) {
      for (int m = 1; m < DOWN; ++m) seen[m - 1] = seen[m];
      seen[DOWN - 1] = pixels[top + r + DOWN - 1][column + n];
      const Real w = weights[r * taps.along + n];
      for (int m = 0; m < DOWN; ++m) sums[m] += w * seen[m];
    }
  }
}

// Weights (kz, ky, kx), of each plane of which up to MOST_TAPS x MOST_TAPS are taken at a time.
KERNEL correlate_tiles(const Real* x, const Real* weights, Index images, Index depth, Index height, Index width,
                       Index kz, Index ky, Index kx, Index fz, Index fy, Index fx, Index nz, Index ny, Index nx,
                       Index border, double fill, bool integer, double low, double high, Real* out) {
  __shared__ Real pixels[ROOM][ROOM];
  __shared__ Real tile_weights[MOST_TAPS * MOST_TAPS];
  const Finish finish = {integer, low, high};
  const Index parts_down = (ky + MOST_TAPS - 1) / MOST_TAPS, parts_along = (kx + MOST_TAPS - 1) / MOST_TAPS;
  const Index tall = (ny + SIDE - 1) / SIDE, wide = (nx + SIDE - 1) / SIDE;
  const int column = threadIdx.x % SIDE, top = threadIdx.x / SIDE * DOWN;
  for (Index task = blockIdx.x; task < images * nz * tall * wide; task += gridDim.x) {
    const Index left = task % wide * SIDE, up = task / wide % tall * SIDE, plane = task / wide / tall;
    Real sums[DOWN] = {0};
    for (Index part = 0; part < kz * parts_down * parts_along; ++part) {
      const Index c = part % parts_along * MOST_TAPS, r = part / parts_along % parts_down * MOST_TAPS;
      const Index a = part / parts_along / parts_down;
      const Taps own = {(int)least(ky - r, (Index)MOST_TAPS), (int)least(kx - c, (Index)MOST_TAPS)};
      const Index d = folded(plane % nz + fz + a, depth, border);
      const Real* image = x + (plane / nz * depth + greatest(d, (Index)0)) * height * width;
      const int rows = SIDE + own.down - 1, columns = SIDE + own.along - 1;
      for (int k = threadIdx.x; k < rows * columns; k += THREADS) {
        const Index i = folded(up + fy + r + k / columns, height, border);
        const Index j = folded(left + fx + c + k % columns, width, border);
        pixels[k / columns][k % columns] = d < 0 || i < 0 || j < 0 ? (Real)fill : image[i * width + j];
      }
      for (int k = threadIdx.x; k < own.down * own.along; k += THREADS)
        tile_weights[k] = weights[(a * ky + r + k / own.along) * kx + c + k % own.along];
      __syncthreads();
      add_products(pixels, tile_weights, own, top, column, sums);
      __syncthreads();
    }
    for (int m = 0; m < DOWN; ++m) {
      const Index i = up + top + m, j = left + column;
      if (i < ny && j < nx) out[(plane * ny + i) * nx + j] = finish(sums[m]);
    }
  }
}
