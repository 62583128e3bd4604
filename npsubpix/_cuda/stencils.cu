// Correlation with small kernels: a block takes a tile of pixels into shared memory, where each is
// once, and so are the weights that look at it.
#include "formulas.cuh"
#include "ends.cuh"
#include "finish.cuh"

// Results of a tile along an axis, and of a thread down a column of it.
#define SIDE 32
#define DOWN (SIDE * SIDE / THREADS)
#define ROOM (SIDE + MOST_TAPS - 1)

// Weights (kz, ky, kx), of which no more than MOST_TAPS along y and x; with steps of one pixel.
KERNEL correlate_tiles(const Real* x, const Real* weights, Index images, Index depth, Index height, Index width,
                       Index kz, Index ky, Index kx, Index fz, Index fy, Index fx, Index nz, Index ny, Index nx,
                       Index border, double fill, bool integer, double low, double high, Real* out) {
  __shared__ Real pixels[ROOM][ROOM];
  __shared__ Real plane_weights[MOST_TAPS * MOST_TAPS];
  const Finish finish = {integer, low, high};
  const Index tall = (ny + SIDE - 1) / SIDE, wide = (nx + SIDE - 1) / SIDE;
  const int column = threadIdx.x % SIDE, top = threadIdx.x / SIDE * DOWN;
  for (Index task = blockIdx.x; task < images * nz * tall * wide; task += gridDim.x) {
    const Index left = task % wide * SIDE, up = task / wide % tall * SIDE, plane = task / wide / tall;
    Real sums[DOWN] = {0};
    for (Index a = 0; a < kz; ++a) {
      const Index d = folded(plane % nz + fz + a, depth, border);
      const Real* image = x + (plane / nz * depth + greatest(d, (Index)0)) * height * width;
      const int rows = SIDE + (int)ky - 1, columns = SIDE + (int)kx - 1;
      for (int k = threadIdx.x; k < rows * columns; k += THREADS) {
        const Index i = folded(up + fy + k / columns, height, border), j = folded(left + fx + k % columns, width, border);
        pixels[k / columns][k % columns] = d < 0 || i < 0 || j < 0 ? (Real)fill : image[i * width + j];
      }
      for (int k = threadIdx.x; k < ky * kx; k += THREADS) plane_weights[k] = weights[a * ky * kx + k];
      __syncthreads();
      for (int n = 0; n < kx; ++n) {
        Real seen[DOWN];  // pixels that the results of the thread see with the same weight
        for (int m = 1; m < DOWN; ++m) seen[m] = pixels[top + m - 1][column + n];
        for (int r = 0; r < ky; ++r) {
          for (int m = 1; m < DOWN; ++m) seen[m - 1] = seen[m];
          seen[DOWN - 1] = pixels[top + r + DOWN - 1][column + n];
          const Real w = plane_weights[r * kx + n];
          for (int m = 0; m < DOWN; ++m) sums[m] += w * seen[m];
        }
      }
      __syncthreads();
    }
    for (int m = 0; m < DOWN; ++m) {
      const Index i = up + top + m, j = left + column;
      if (i < ny && j < nx) out[(plane * ny + i) * nx + j] = finish(sums[m]);
    }
  }
}
