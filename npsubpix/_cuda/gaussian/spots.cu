// Many Gaussians in one image, each within its own box, and the adjoint.
//
// Images have shape (depth, height, width), with one pixel along missing axes, where
// standard deviations are infinite, and so weights 1. A block draws a tile of the image: it lists the
// spots that reach it, in their order, and adds them up in double precision. So a faint spot on a
// bright one is not rounded away, and sums are always the same.
#include "formulas.cuh"
#include "block.cuh"
#include "normal.cuh"

#define TILE_ROWS 32
#define TILE_COLUMNS 32
#define ROWS_OF_THREAD 4
#define BATCH 8

#define DENSITY 0.3989422804014327    // 1 / sqrt(2 pi)
#define AREA 1.2533141373155003       // sqrt(pi / 2)
#define ROOT_HALF 0.7071067811865476  // sqrt(1 / 2)

// A spot along (z, y, x). One with an invalid standard deviation reaches every pixel, and is NaN.
struct Spot {
  double position[3], std[3], amplitude;
  Index first[3], last[3];  // pixels that it reaches, and the one after the last; none if it is not drawn
};

struct Spots {
  const double *coords, *stds, *amplitudes;
  Index count, axes, depth, height, width;
  double truncate;
  bool integrate;

  __device__ __forceinline__ Index size(int a) const { return a == 0 ? depth : a == 1 ? height : width; }
  __device__ __forceinline__ Spot spot(Index n) const;
};

__device__ __forceinline__ Spot Spots::spot(Index n) const {
  Spot s;
  s.amplitude = amplitudes[n];
  bool drawn = isfinite(s.amplitude), right = true;
  for (int a = 0; a < 3; ++a) {
    const Index k = n * axes + a - 3 + axes;
    s.position[a] = a < 3 - axes ? 0.0 : coords[k];
    s.std[a] = a < 3 - axes ? infinity() : stds[k];
    drawn = drawn && isfinite(s.position[a]);
    right = right && (a < 3 - axes || (s.std[a] > 0 && isfinite(s.std[a])));
  }
  if (!right) s.amplitude = not_a_number();
  for (int a = 0; a < 3; ++a) {
    const double reach = truncate * s.std[a] + (integrate ? 0.5 : 0.0);
    const double low = fmax(ceil(s.position[a] - reach), 0.0);
    const double high = fmin(floor(s.position[a] + reach), (double)size(a) - 1.0);
    s.first[a] = s.last[a] = 0;
    if (drawn && right && low <= high) s.first[a] = (Index)low, s.last[a] = (Index)high + 1;
    if (drawn && !right) s.last[a] = size(a);
  }
  return s;
}

FORMULA bool overlaps(const Spot& s, int a, Index begin, Index end) { return s.first[a] < end && s.last[a] > begin; }

// A weight along an axis, and its derivatives with respect to the position and to the standard deviation.
struct Weight {
  double value, by_position, by_std;
};

FORMULA Weight point_weight(double j, double position, double inverse, double height, double constant) {
  const double u = standard_distance(j - position, inverse), w = height * exp(-0.5 * u * u);
  return {w, w * u * inverse, w * (u * u - constant) * inverse};
}

// The mean over a pixel of a Gaussian much wider than a pixel.
FORMULA Weight wide_weight(double j, double position, double inverse, double height, double constant) {
  const double curvature = inverse * inverse / 24, u = standard_distance(j - position, inverse), q = u * u;
  const double w = height * exp(-0.5 * q), mean = 1 + curvature * (q - 1), slope = 1 + curvature * (q - 3);
  return {w * mean, w * u * slope * inverse,
          w * (q * slope - 2 * curvature * (q - 1) - constant * mean) * inverse};
}

// The mean over a pixel, by the integral up to its edges.
FORMULA Weight edge_weight(double j, double position, double inverse, double height, double constant) {
  const double low = standard_distance(j - 0.5 - position, inverse);
  const double high = standard_distance(j + 0.5 - position, inverse);
  const double at_low = exp(-0.5 * low * low), at_high = exp(-0.5 * high * high);
  const double w = AREA / inverse * (erf(high * ROOT_HALF) - erf(low * ROOT_HALF));
  return {height * w, height * (at_low - at_high),
          height * (low * at_low - high * at_high + (1 - constant) * w * inverse)};
}

// The weight of pixel j along axis a; 0 where the spot does not reach.
FORMULA Weight weight_along(const Spot& s, int a, Index j, bool normalize, bool integrate) {
  if (j < s.first[a] || j >= s.last[a]) return {0, 0, 0};
  const double inverse = fmin(1.0 / s.std[a], GAUSSIAN_STEEPEST);
  const bool falls = normalize && inverse > 0;  // the height of the Gaussian with its width
  const double height = falls ? inverse * DENSITY : 1.0, constant = falls ? 1.0 : 0.0;
  if (!integrate) return point_weight((double)j, s.position[a], inverse, height, constant);
  if (inverse < GAUSSIAN_WIDE) return wide_weight((double)j, s.position[a], inverse, height, constant);
  return edge_weight((double)j, s.position[a], inverse, height, constant);
}

// Weights of a tile for a few spots at a time, in shared memory.
struct TileWeights {
  double level[BATCH], rows[BATCH][TILE_ROWS], columns[BATCH][TILE_COLUMNS];
};

FORMULA void weigh_tile(TileWeights& tile, const Spots& spots, const Index* listed, int count, Index d, Index top,
                        Index left, bool normalize) {
  for (int k = threadIdx.x; k < count * (1 + TILE_ROWS + TILE_COLUMNS); k += blockDim.x) {
    const int n = k / (1 + TILE_ROWS + TILE_COLUMNS), place = k % (1 + TILE_ROWS + TILE_COLUMNS);
    const Spot s = spots.spot(listed[n]);
    if (place == 0)
      tile.level[n] = s.amplitude * weight_along(s, 0, d, normalize, spots.integrate).value;
    else if (place <= TILE_ROWS)
      tile.rows[n][place - 1] = weight_along(s, 1, top + place - 1, normalize, spots.integrate).value;
    else
      tile.columns[n][place - 1 - TILE_ROWS] =
          weight_along(s, 2, left + place - 1 - TILE_ROWS, normalize, spots.integrate).value;
  }
}

// List those of THREADS spots that reach a tile, in their order; return the number of them.
FORMULA int list_spots(Index* listed, const Spots& spots, Index begin, Index d, Index top, Index left) {
  __shared__ int counts[THREADS];
  const Index n = begin + threadIdx.x;
  bool hit = false;
  if (n < spots.count) {
    const Spot s = spots.spot(n);
    hit = overlaps(s, 0, d, d + 1) && overlaps(s, 1, top, top + TILE_ROWS) && overlaps(s, 2, left, left + TILE_COLUMNS);
  }
  counts[threadIdx.x] = hit;
  for (unsigned reach = 1; reach < blockDim.x; reach *= 2) {  // how many of the threads up to each have one
    __syncthreads();
    const int before = threadIdx.x >= reach ? counts[threadIdx.x - reach] : 0;
    __syncthreads();
    counts[threadIdx.x] += before;
  }
  if (hit) listed[counts[threadIdx.x] - 1] = n;
  __syncthreads();
  const int total = counts[THREADS - 1];
  __syncthreads();
  return total;
}

KERNEL spots_draw(const double* coords, const double* stds, const double* amplitudes, Index count, Index axes,
                  Index depth, Index height, Index width, double truncate, bool integrate, bool normalize,
                  Pixel* out) {
  __shared__ Index listed[THREADS];
  __shared__ TileWeights weights;
  const Spots spots = {coords, stds, amplitudes, count, axes, depth, height, width, truncate, integrate};
  const Index across = (width + TILE_COLUMNS - 1) / TILE_COLUMNS, down = (height + TILE_ROWS - 1) / TILE_ROWS;
  const int column = threadIdx.x % TILE_COLUMNS, row = threadIdx.x / TILE_COLUMNS * ROWS_OF_THREAD;
  for (Index tile = blockIdx.x; tile < depth * down * across; tile += gridDim.x) {
    const Index left = tile % across * TILE_COLUMNS, top = tile / across % down * TILE_ROWS, d = tile / across / down;
    double sums[ROWS_OF_THREAD] = {0};
    for (Index begin = 0; begin < count; begin += THREADS) {
      const int hits = list_spots(listed, spots, begin, d, top, left);
      for (int k = 0; k < hits; k += BATCH) {
        const int count_of_batch = least(BATCH, hits - k);
        weigh_tile(weights, spots, listed + k, count_of_batch, d, top, left, normalize);
        __syncthreads();
        for (int n = 0; n < count_of_batch; ++n) {
          const double here = weights.level[n] * weights.columns[n][column];
          for (int r = 0; r < ROWS_OF_THREAD; ++r) sums[r] += here * weights.rows[n][row + r];
        }
        __syncthreads();
      }
    }
    for (int r = 0; r < ROWS_OF_THREAD; ++r)
      if (top + row + r < height && left + column < width)
        out[(d * height + top + row + r) * width + left + column] = (Pixel)sums[r];
  }
}

// The adjoint gathers from the box of each spot, one block a spot: derivatives by position and by
// standard deviation along (z, y, x), and by amplitude.
KERNEL spots_gather(const double* coords, const double* stds, const double* amplitudes, Index count, Index axes,
                    Index depth, Index height, Index width, double truncate, bool integrate, bool normalize,
                    const Pixel* cotangent, double* by_coords, double* by_stds, double* by_amplitudes) {
  const Spots spots = {coords, stds, amplitudes, count, axes, depth, height, width, truncate, integrate};
  for (Index n = blockIdx.x; n < count; n += gridDim.x) {
    const Spot s = spots.spot(n);
    const Index rows = s.last[1] - s.first[1], columns = s.last[2] - s.first[2];
    const Index pixels = (s.last[0] - s.first[0]) * rows * columns;
    double sums[7] = {0};
    for (Index k = threadIdx.x; k < pixels; k += blockDim.x) {
      const Index d = s.first[0] + k / columns / rows, i = s.first[1] + k / columns % rows;
      const Index j = s.first[2] + k % columns;
      const Weight z = weight_along(s, 0, d, normalize, integrate), y = weight_along(s, 1, i, normalize, integrate);
      const Weight x = weight_along(s, 2, j, normalize, integrate);
      const double c = (double)cotangent[(d * height + i) * width + j];
      sums[0] += c * z.by_position * y.value * x.value;
      sums[1] += c * z.value * y.by_position * x.value;
      sums[2] += c * z.value * y.value * x.by_position;
      sums[3] += c * z.by_std * y.value * x.value;
      sums[4] += c * z.value * y.by_std * x.value;
      sums[5] += c * z.value * y.value * x.by_std;
      sums[6] += c * z.value * y.value * x.value;
    }
    sum_over_block(sums);
    if (threadIdx.x != 0) continue;
    for (int a = 3 - (int)axes; a < 3; ++a) {
      by_coords[n * axes + a - 3 + axes] = pixels ? s.amplitude * sums[a] : 0.0;
      by_stds[n * axes + a - 3 + axes] = pixels ? s.amplitude * sums[3 + a] : 0.0;
    }
    by_amplitudes[n] = pixels && s.amplitude != s.amplitude ? s.amplitude : sums[6];
  }
}
