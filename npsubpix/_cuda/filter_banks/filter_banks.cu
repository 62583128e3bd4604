// Banks of filters, and their adjoints, as products of matrices whose entries are looked up in images.
#include "formulas.cuh"

// A block makes SIDE x SIDE entries of a product, a thread PATCH x PATCH of them, from DEEP terms at a time.
#define SIDE 64
#define PATCH 4
#define DEEP 16

// Images (count, channels, height, width), filters (made, channels / groups, kh, kw), results (count, made, nh, nw).
struct Bank {
  Index count, channels, height, width, made, groups, kh, kw, nh, nw, top, left, sh, sw, dh, dw;

  __device__ __forceinline__ Index taken() const { return channels / groups; }  // channels of a group
  __device__ __forceinline__ Index own() const { return made / groups; }        // filters of a group
  __device__ __forceinline__ Index taps() const { return kh * kw; }
  __device__ __forceinline__ Index weights() const { return taken() * taps(); }  // of a filter
  __device__ __forceinline__ Index windows() const { return nh * nw; }
  __device__ __forceinline__ Index pixels() const { return height * width; }
};

#define BANK                                                                                                      \
  Index count, Index channels, Index height, Index width, Index made, Index groups, Index kh, Index kw, Index nh, \
      Index nw, Index top, Index left, Index sh, Index sw, Index dh, Index dw
#define AS_BANK \
  { count, channels, height, width, made, groups, kh, kw, nh, nw, top, left, sh, sw, dh, dw }

// The sums over k from `from` to `to` of a(row, k) times b(k, column), of a tile of rows and columns.
// Terms are added in the order of k.
template <typename A, typename B, typename Write>
FORMULA void multiply(Index rows, Index columns, Index from, Index to, Index row, Index column, A a, B b, Write write) {
  __shared__ Real left[DEEP][SIDE + 1];
  __shared__ Real right[DEEP][SIDE + 1];
  const int i = threadIdx.x / (SIDE / PATCH), j = threadIdx.x % (SIDE / PATCH);
  Real sums[PATCH][PATCH] = {{0}};
  for (Index k = from; k < to; k += DEEP) {
    for (int n = threadIdx.x; n < SIDE * DEEP; n += THREADS) {
      // Neighbouring threads read neighbouring weights, and neighbouring pixels.
      const Index r = row + n / DEEP, c = column + n % SIDE, of_row = k + n % DEEP, of_column = k + n / SIDE;
      left[n % DEEP][n / DEEP] = r < rows && of_row < to ? a(r, of_row) : (Real)0;
      right[n / SIDE][n % SIDE] = c < columns && of_column < to ? b(of_column, c) : (Real)0;
    }
    __syncthreads();
    for (int n = 0; n < DEEP && k + n < to; ++n)
      for (int u = 0; u < PATCH; ++u)
        for (int v = 0; v < PATCH; ++v)
          sums[u][v] += left[n][i + u * (SIDE / PATCH)] * right[n][j + v * (SIDE / PATCH)];
    __syncthreads();
  }
  for (int u = 0; u < PATCH; ++u)
    for (int v = 0; v < PATCH; ++v) {
      const Index r = row + i + u * (SIDE / PATCH), c = column + j + v * (SIDE / PATCH);
      if (r < rows && c < columns) write(r, c, sums[u][v]);
    }
}

FORMULA Index tiles_of(Index n) { return (n + SIDE - 1) / SIDE; }

// What filter weight k of a group's filters sees in window w of all images; 0 in the padding.
FORMULA Real seen_by(const Bank& s, const Real* x, Index group, Index k, Index w) {
  const Index i = w / s.nw % s.nh * s.sh + k / s.kw % s.kh * s.dh - s.top, j = w % s.nw * s.sw + k % s.kw * s.dw - s.left;
  if (i < 0 || i >= s.height || j < 0 || j >= s.width) return 0;
  const Index channel = group * s.taken() + k / s.taps();
  return x[((w / s.windows() * s.channels + channel) * s.height + i) * s.width + j];
}

// Rows are filters, columns are windows of all images, terms are weights of a filter.
KERNEL bank_filter(const Real* x, const Real* filters, const Real* bias, BANK, Real* out) {
  const Bank s = AS_BANK;
  const Index down = tiles_of(s.own()), across = tiles_of(count * s.windows());
  for (Index task = blockIdx.x; task < groups * down * across; task += gridDim.x) {
    const Index group = task / down / across, first = group * s.own();
    multiply(
        s.own(), count * s.windows(), 0, s.weights(), task % down * SIDE, task / down % across * SIDE,
        [=](Index f, Index k) { return filters[(first + f) * s.weights() + k]; },
        [=](Index k, Index w) { return seen_by(s, x, group, k, w); },
        [=](Index f, Index w, Real sum) {
          out[(w / s.windows() * made + first + f) * s.windows() + w % s.windows()] =
              bias ? sum + bias[first + f] : sum;
        });
  }
}

// Rows are channels, columns are pixels of all images, terms are filters and the places in them.
KERNEL bank_by_image(const Real* by_result, const Real* filters, BANK, Real* grad) {
  const Bank s = AS_BANK;
  const Index down = tiles_of(s.taken()), across = tiles_of(count * s.pixels());
  for (Index task = blockIdx.x; task < groups * down * across; task += gridDim.x) {
    const Index group = task / down / across, first = group * s.own();
    multiply(
        s.taken(), count * s.pixels(), 0, s.own() * s.taps(), task % down * SIDE, task / down % across * SIDE,
        [=](Index c, Index k) {
          return filters[((first + k / s.taps()) * s.taken() + c) * s.taps() + k % s.taps()];
        },
        [=](Index k, Index p) {  // the window that sees the pixel through this place
          const Index i = p / width % height + top - k / kw % kh * dh, j = p % width + left - k % kw * dw;
          if (i < 0 || j < 0 || i % sh != 0 || j % sw != 0 || i / sh >= nh || j / sw >= nw) return (Real)0;
          return by_result[((p / s.pixels() * made + first + k / s.taps()) * nh + i / sh) * nw + j / sw];
        },
        [=](Index c, Index p, Real sum) {
          grad[(p / s.pixels() * channels + group * s.taken() + c) * s.pixels() + p % s.pixels()] = sum;
        });
  }
}

// Rows are filters, columns are their weights, terms are windows: those of a part, for each part.
KERNEL bank_by_filters(const Real* x, const Real* by_result, BANK, Index parts, Index part_size, double* sums) {
  const Bank s = AS_BANK;
  const Index down = tiles_of(s.own()), across = tiles_of(s.weights()), of_group = down * across;
  for (Index task = blockIdx.x; task < parts * groups * of_group; task += gridDim.x) {
    const Index part = task / of_group / groups, group = task / of_group % groups, first = group * s.own();
    const Index from = part * part_size, to = least(from + part_size, count * s.windows());
    multiply(
        s.own(), s.weights(), from, to, task % down * SIDE, task / down % across * SIDE,
        [=](Index f, Index w) {
          return by_result[(w / s.windows() * made + first + f) * s.windows() + w % s.windows()];
        },
        [=](Index w, Index k) { return seen_by(s, x, group, k, w); },
        [=](Index f, Index k, Real sum) { sums[(part * made + first + f) * s.weights() + k] = (double)sum; });
  }
}
