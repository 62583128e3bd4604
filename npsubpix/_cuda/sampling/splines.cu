// B-spline filters: the coefficients of the splines through the pixels of images, and the padding of
// images before filtering.
//
// Each pole z of a filter is a causal recursion, c[k] = s[k] + z c[k - 1], and an anti-causal one,
// d[k] = -z c[k] + z d[k + 1]. Lines are cut into parts for many threads. The recursion of a part starts
// so many pixels before it that the power of the pole makes the initial value negligible.
//
// The first recursion fills pixels that are not finite, and the last one writes NaN as their coefficients.
#include "formulas.cuh"
#include "sampling_definitions.cuh"
#include "borders.cuh"

// The size of images, which follow each other.
struct Size {
  Index depth, height, width;

  __device__ __forceinline__ Index pixels() const { return depth * height * width; }
  __device__ __forceinline__ bool has(Index z, Index y, Index x) const {
    return z >= 0 && z < depth && y >= 0 && y < height && x >= 0 && x < width;
  }
  __device__ __forceinline__ Index place(Index z, Index y, Index x) const { return (z * height + y) * width + x; }
};

// A direction, from -1 to 1 along each axis.
struct Direction {
  Index z, y, x;

  __device__ __forceinline__ double share(Index steps) const {
    return 1 / ((double)steps * sqrt((double)(z * z + y * y + x * x)));
  }
};

// Call visit(direction) for all directions.
template <typename Visit>
FORMULA void visit_directions(Visit visit) {
#pragma unroll 1
  for (int k = 0; k < 27; ++k)
    if (k != 13) visit(Direction{k / 9 - 1, k / 3 % 3 - 1, k % 3 - 1});
}

// Steps from a pixel in a direction to the nearest good one, 0 if none is within reach.
FORMULA Index steps_to_good(const Real* image, const Size& size, Index z, Index y, Index x, const Direction& d) {
  for (Index k = 1; k <= FILL_REACH && size.has(z + k * d.z, y + k * d.y, x + k * d.x); ++k)
    if (isfinite(image[size.place(z + k * d.z, y + k * d.y, x + k * d.x)])) return k;
  return 0;
}

// The sums of the nearest good pixels in all directions times their weights, and of these.
struct Fill {
  double total, weight;
};

__device__ __noinline__ Fill sum_shares(const Real* image, Size size, Index z, Index y, Index x) {
  Fill fill = {0, 0};
  visit_directions([&](const Direction& d) {
    const Index steps = steps_to_good(image, size, z, y, x, d);
    if (steps == 0) return;
    fill.total += d.share(steps) * (double)image[size.place(z + steps * d.z, y + steps * d.y, x + steps * d.x)];
    fill.weight += d.share(steps);
  });
  return fill;
}

// The pixel of images at a place, filled if it is not finite.
FORMULA Real filled(const Real* in, const Size& size, Index place) {
  const Real v = in[place];
  if (isfinite(v)) return v;
  const Index k = place % size.pixels();
  const Real* image = in + (place - k);
  const Fill fill = sum_shares(image, size, k / size.width / size.height, k / size.width % size.height, k % size.width);
  return fill.weight > 0 ? (Real)(fill.total / fill.weight) : (Real)0;
}

// A run over lines of n pixels, `stride` apart.
struct Run {
  Index n, stride;
  double pole;
  Index rule, reach, part_size;
  Real factor;
  bool backward, fills;
  Size size;

  // The place of the k-th pixel of the run.
  __device__ __forceinline__ Index place(Index k) const { return (backward ? n - 1 - k : k) * stride; }
  __device__ __forceinline__ Index parts() const { return (n + part_size - 1) / part_size; }
  __device__ __forceinline__ Index begin(Index part) const { return part * part_size; }
  __device__ __forceinline__ Index end(Index part) const { return least(begin(part) + part_size, n); }
  __device__ __forceinline__ Real pixel(const Real* in, Index place) const {
    return fills ? filled(in, size, place) : in[place];
  }
  // The pixel of the run that a part begins at, to be right from its own first pixel on.
  __device__ __forceinline__ Index ahead(Index part) const { return greatest(begin(part) - reach, (Index)0); }
};

// The initial value of a run: a sum over the border extension.
FORMULA Real first_of(const Real* in, Index line, const Run& r) {
  const Index n = r.n;
  const double z = r.pole, own = (double)r.pixel(in, line + r.place(0));
  if (r.backward && r.rule == REFLECT) return (Real)(own * z / (z - 1));
  if (r.backward && r.rule == MIRROR) return (Real)((own + z * (double)in[line + r.place(1)]) * z / (z * z - 1));
  const Index period = r.rule == GRID_WRAP ? n : (r.rule == REFLECT ? 2 * n : 2 * n - 2);
  double sum = own, power = 1;
  for (Index k = 1; k < period; ++k) {
    power *= z;
    if (fabs(power) < SMALLEST_POWER) break;
    Index m = r.rule == GRID_WRAP ? n - k : (r.rule == REFLECT ? k - 1 : k);
    if (m >= n) m = period - k;
    sum += power * (double)r.pixel(in, line + r.place(m));
  }
  return (Real)((double)r.factor * sum / (1 - pow(z, (double)period)));
}

FORMULA Real next_of(Real previous, Real pixel, const Run& r) { return r.factor * pixel + (Real)r.pole * previous; }

#define RUN                                                                                                          \
  const Real *in, Index outer, Index n, Index inner, double pole, Index rule, Index reach, Index part_size,          \
      double factor, bool backward, bool fills, Index depth, Index height, Index width, const Real *original, Real *out
#define RUN_OF_ARGUMENTS                                                                                             \
  Run { n, inner, pole, rule, reach, part_size, (Real)factor, backward, fills, {depth, height, width} }

// A coefficient, NaN if the pixel of the original was not finite.
FORMULA Real coefficient(Real c, const Real* original, Index place) {
  return original && !isfinite(original[place]) ? (Real)not_a_number() : c;
}

// Along the middle of three axes: neighbouring threads go down neighbouring columns.
KERNEL spline_columns(RUN) {
  const Run r = RUN_OF_ARGUMENTS;
  for (Index task = first_thread(); task < outer * r.parts() * inner; task += all_threads()) {
    const Index part = task / inner % r.parts(), first = task / inner / r.parts() * n * inner + task % inner;
    Index k = r.ahead(part);
    Real c = k == 0 ? first_of(in, first, r) : r.factor * r.pixel(in, first + r.place(k));
    for (;;) {
      if (k >= r.begin(part)) out[first + r.place(k)] = coefficient(c, original, first + r.place(k));
      if (++k == r.end(part)) break;
      c = next_of(c, r.pixel(in, first + r.place(k)), r);
    }
  }
}

// Lines and pixels of them that a block has in shared memory.
#define LINES 64
#define TILE 32

// Along the last axis: tiles come and go by rows, and a thread goes along its line in between.
KERNEL spline_rows(RUN) {
  __shared__ Real tile[LINES][TILE + 1];
  const Run r = RUN_OF_ARGUMENTS;
  const Index groups = (outer + LINES - 1) / LINES;
  for (Index task = blockIdx.x; task < groups * r.parts(); task += gridDim.x) {
    const Index part = task % r.parts(), line = task / r.parts() * LINES, end = r.end(part);
    Real c = 0;
    for (Index from = r.ahead(part); from < end; from += TILE) {
      __syncthreads();
      for (Index t = threadIdx.x; t < LINES * TILE; t += blockDim.x)
        if (line + t / TILE < outer && from + t % TILE < end)
          tile[t / TILE][t % TILE] = r.pixel(in, (line + t / TILE) * n + r.place(from + t % TILE));
      __syncthreads();
      if (threadIdx.x < LINES && line + threadIdx.x < outer) {
        for (Index k = from; k < least(from + TILE, end); ++k) {
          Real& own = tile[threadIdx.x][k - from];
          c = k > from || from > r.ahead(part) ? next_of(c, own, r)
                                               : (k == 0 ? first_of(in, (line + threadIdx.x) * n, r) : r.factor * own);
          own = c;
        }
      }
      __syncthreads();
      for (Index t = threadIdx.x; t < LINES * TILE; t += blockDim.x) {
        const Index k = from + t % TILE;
        if (line + t / TILE < outer && k >= r.begin(part) && k < end)
          out[(line + t / TILE) * n + r.place(k)] =
              coefficient(tile[t / TILE][t % TILE], original, (line + t / TILE) * n + r.place(k));
      }
    }
  }
}

// Multiply each pixel of images by a factor, once for each axis along which it is at an end.
KERNEL spline_ends(const Real* in, Index images, Index depth, Index height, Index width, double factor, Real* out) {
  for (Index k = first_thread(); k < images * depth * height * width; k += all_threads()) {
    const Index size[3] = {depth, height, width}, at[3] = {k / width / height % depth, k / width % height, k % width};
    Real v = in[k];
    for (int a = 0; a < 3; ++a)
      if (size[a] > 1 && (at[a] == 0 || at[a] == size[a] - 1)) v *= (Real)factor;
    out[k] = v;
  }
}

// Cotangents of coefficients, 0 where the pixel was not finite or the cotangent is not.
KERNEL spline_good(const Real* original, const Real* cotangent, Index count, Real* out) {
  for (Index k = first_thread(); k < count; k += all_threads())
    out[k] = isfinite(original[k]) && isfinite(cotangent[k]) ? cotangent[k] : (Real)0;
}

// Add the cotangents of filled pixels to those of the pixels that they were the mean of. A good pixel finds the filled
// ones: those that follow each other from it in a direction.
KERNEL spline_unfill(const Real* original, const Real* cotangent, const Real* back, Index images, Index depth,
                     Index height, Index width, Real* out) {
  const Size size = {depth, height, width};
  for (Index k = first_thread(); k < images * size.pixels(); k += all_threads()) {
    const Index own = k % size.pixels(), z = own / width / height, y = own / width % height, x = own % width;
    if (!isfinite(original[k])) {
      out[k] = 0;
      continue;
    }
    const Real *image = original + (k - own), *of_image = back + (k - own);
    double sum = (double)back[k];
    visit_directions([&](const Direction& d) {
      for (Index n = 1; n <= FILL_REACH && size.has(z + n * d.z, y + n * d.y, x + n * d.x); ++n) {
        const Index there = size.place(z + n * d.z, y + n * d.y, x + n * d.x);
        if (isfinite(image[there])) break;
        const Fill fill = sum_shares(image, size, z + n * d.z, y + n * d.y, x + n * d.x);
        sum += d.share(n) / fill.weight * (double)of_image[there];
      }
    });
    out[k] = isfinite(cotangent[k]) ? (Real)sum : (Real)not_a_number();
  }
}

// Padding with a value, or with copies of the outermost pixels.

KERNEL spline_pad(const Real* in, Index images, Index depth, Index height, Index width, Index pad_z, Index pad_y,
                  Index pad_x, bool constant, double cval, Real* out) {
  const Index d = depth + 2 * pad_z, h = height + 2 * pad_y, w = width + 2 * pad_x;
  for (Index k = first_thread(); k < images * d * h * w; k += all_threads()) {
    const Index z = k / w / h % d - pad_z, y = k / w % h - pad_y, x = k % w - pad_x;
    const Index zi = within(z, 0, depth - 1), yi = within(y, 0, height - 1), xi = within(x, 0, width - 1);
    const bool inside = z == zi && y == yi && x == xi;
    const Index image = k / w / h / d;
    out[k] = inside || !constant ? in[((image * depth + zi) * height + yi) * width + xi] : (Real)cval;
  }
}

// Places of an axis that hold a copy of pixel k.
struct Copies {
  Index begin, end;
};

FORMULA Copies copies_of(Index k, Index n, Index pad, bool constant) {
  return {!constant && k == 0 ? 0 : k + pad, !constant && k == n - 1 ? n + 2 * pad : k + pad + 1};
}

KERNEL spline_unpad(const Real* in, Index images, Index depth, Index height, Index width, Index pad_z, Index pad_y,
                    Index pad_x, bool constant, Real* out) {
  const Index d = depth + 2 * pad_z, h = height + 2 * pad_y, w = width + 2 * pad_x;
  for (Index k = first_thread(); k < images * depth * height * width; k += all_threads()) {
    const Copies zs = copies_of(k / width / height % depth, depth, pad_z, constant);
    const Copies ys = copies_of(k / width % height, height, pad_y, constant);
    const Copies xs = copies_of(k % width, width, pad_x, constant);
    const Real* image = in + k / width / height / depth * d * h * w;
    Real sum = 0;
    for (Index z = zs.begin; z < zs.end; ++z)
      for (Index y = ys.begin; y < ys.end; ++y)
        for (Index x = xs.begin; x < xs.end; ++x) sum += image[(z * h + y) * w + x];
    out[k] = sum;
  }
}
