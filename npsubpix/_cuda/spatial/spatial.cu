// Softmax, moments and expectations of whole maps, and their adjoints.
//
// A map is cut into parts of a fixed number of pixels, each of which one block sums up, shifted by its
// own maximum; parts are put together in order, in double precision, so that a result does not depend
// on how many blocks there are. Moments are taken about the middle of the map.
#include "formulas.cuh"
#include "block.cuh"
#include "softmax.cuh"

// MOMENTS numbers are kept of a part and of a map: maximum, sum, mean along (z, y, x), covariance zz, zy, zx, yy, yx, xx.
// Where pixels are weights themselves, sum and means of scaled pixels, which do not overflow, come in place of the first
// covariances.
#define SCALED 5

// A position on a map, or the distance to another.
struct Place {
  Index z, y, x;
};

FORMULA Place place_of(Index k, Index height, Index width) { return {k / width / height, k / width % height, k % width}; }

// Add a distance, without the divisions it would take to find the place anew.
FORMULA void advance(Place& p, Place by, Index height, Index width) {
  p.x += by.x;
  p.y += by.y;
  p.z += by.z;
  if (p.x >= width) p.x -= width, ++p.y;
  if (p.y >= height) p.y -= height, ++p.z;
}

// Stacks of maps, cut into parts.
struct Maps {
  const Pixel* x;
  const double* temperatures;  // none if pixels are weights themselves
  const Pixel* weights;        // of pixels, none if all are 1
  bool shared;                 // one map of weights for all
  Index maps, depth, height, width, parts, part_size;

  __device__ __forceinline__ Index pixels() const { return depth * height * width; }
  __device__ __forceinline__ Index begin(Index part) const { return part % parts * part_size; }
  __device__ __forceinline__ Index end(Index part) const { return least(begin(part) + part_size, pixels()); }
  __device__ __forceinline__ double temperature(Index map) const {
    return temperatures ? checked_temperature(temperatures[map]) : 1.0;
  }
  // Weights are checked here for the first time: NaN if they are negative or not finite.
  __device__ __forceinline__ Pixel factor(Index map, Index k) const {
    if (!weights) return 1;
    const Pixel w = weights[(shared ? 0 : map * pixels()) + k];
    return w >= 0 && isfinite(w) ? w : (Pixel)not_a_number();
  }
  // The weight of a pixel of a softmax; pixels of weight 0 may hold anything.
  __device__ __forceinline__ Pixel softmax_weight(Index map, Index k, Pixel shift, Pixel scale) const {
    const Pixel w = factor(map, k);
    if (w == 0) return 0;
    return shift == shift ? exponential(exponent(x[map * pixels() + k], shift, scale)) * w : shift;
  }
  __device__ __forceinline__ double plain_weight(Index map, Index k, double scale) const {
    const Pixel w = factor(map, k);
    return w == 0 ? 0.0 : (double)x[map * pixels() + k] * scale * (double)w;
  }
};

// The greatest pixel of a part that has weight; NaN if one of them is, or its weight.
FORMULA double highest_of_part(const Maps& m, Index map, Index part) {
  double top = -infinity();
  for (Index k = m.begin(part) + threadIdx.x; k < m.end(part); k += blockDim.x) {
    const Pixel w = m.factor(map, k);
    if (w != 0) top = raised(top, w == w ? (double)m.x[map * m.pixels() + k] : not_a_number());
  }
  top = raise_over_block(top);
  return m.temperature(map) == m.temperature(map) ? top : not_a_number();
}

KERNEL spatial_parts(const Pixel* x, const double* temperatures, const Pixel* weights, bool shared, Index maps,
                     Index depth, Index height, Index width, Index parts, Index part_size, bool second, double* out) {
  const Maps m = {x, temperatures, weights, shared, maps, depth, height, width, parts, part_size};
  const double mz = 0.5 * (double)(depth - 1), my = 0.5 * (double)(height - 1), mx = 0.5 * (double)(width - 1);
  const Place by = place_of(blockDim.x, height, width);
  for (Index part = blockIdx.x; part < maps * parts; part += gridDim.x) {
    const Index map = part / parts;
    const double top = temperatures ? highest_of_part(m, map, part) : 0.0;
    const Pixel shift = (Pixel)top, scale = (Pixel)(1.0 / m.temperature(map));
    double s[MOMENTS - 1] = {0};
    Place p = place_of(m.begin(part) + threadIdx.x, height, width);
    for (Index k = m.begin(part) + threadIdx.x; k < m.end(part); k += blockDim.x) {
      const double w = temperatures ? (double)m.softmax_weight(map, k, shift, scale) : m.plain_weight(map, k, 1.0);
      const double z = (double)p.z - mz, y = (double)p.y - my, along = (double)p.x - mx;
      s[0] += w;
      s[1] += w * z;
      s[2] += w * y;
      s[3] += w * along;
      if (second) {
        s[4] += w * z * z;
        s[5] += w * z * y;
        s[6] += w * z * along;
        s[7] += w * y * y;
        s[8] += w * y * along;
        s[9] += w * along * along;
      }
      if (!temperatures) {
        const double scaled = m.plain_weight(map, k, EXPECTATION_SCALE);
        s[SCALED - 1] += scaled;
        s[SCALED] += scaled * z;
        s[SCALED + 1] += scaled * y;
        s[SCALED + 2] += scaled * along;
      }
      advance(p, by, height, width);
    }
    sum_over_block(s);
    if (threadIdx.x == 0) {
      out[part * MOMENTS] = top;
      for (int n = 1; n < MOMENTS; ++n) out[part * MOMENTS + n] = s[n - 1];
    }
  }
}

// The factor from weights shifted by `shift` to weights shifted by `top`.
FORMULA double rescaling(double shift, double top, double scale) {
  return shift == top ? 1.0 : exp((shift - top) * scale);
}

// Put the parts of each map together: maximum, and sums shifted by it.
KERNEL spatial_merge(const double* of_parts, const double* temperatures, Index maps, Index parts, double* out) {
  for (Index map = blockIdx.x; map < maps; map += gridDim.x) {
    const double* own = of_parts + map * parts * MOMENTS;
    const double scale = temperatures ? 1.0 / checked_temperature(temperatures[map]) : 1.0;
    double top = -infinity();
    for (Index k = threadIdx.x; k < parts; k += blockDim.x) top = raised(top, own[k * MOMENTS]);
    top = raise_over_block(top);
    double s[MOMENTS - 1] = {0};
    for (Index k = threadIdx.x; k < parts; k += blockDim.x) {
      // 0 times NaN would spoil the sum.
      if (own[k * MOMENTS + 1] == 0 && top == top && temperatures) continue;
      const double factor = rescaling(own[k * MOMENTS], top, scale);
      for (int n = 1; n < MOMENTS; ++n) s[n - 1] += factor * own[k * MOMENTS + n];
    }
    sum_over_block(s);
    if (threadIdx.x == 0) {
      out[map * MOMENTS] = top;
      for (int n = 1; n < MOMENTS; ++n) out[map * MOMENTS + n] = s[n - 1];
    }
  }
}

// The axis of (z, y, x) that is the n-th of the coordinates.
FORMULA int axis_of(int n, int axes, bool xy) { return xy ? 2 - n : 3 - axes + n; }

// The index of the covariance of two axes among the moments.
FORMULA int place_of_pair(int a, int b) {
  const int low = least(a, b), high = greatest(a, b);
  return 5 + low * 3 - low * (low - 1) / 2 + high - low;
}

// Turn sums into means and covariances about the origin, and write them as coordinates,
// (position - centre) * factor; `sums` are left as means in pixels, and covariances.
KERNEL spatial_coordinates(double* sums, Index maps, Index depth, Index height, Index width, double centre_z,
                           double factor_z, double centre_y, double factor_y, double centre_x, double factor_x,
                           bool normalize, Index axes, bool xy, Pixel* mean, Pixel* covariance) {
  const double middles[3] = {0.5 * (double)(depth - 1), 0.5 * (double)(height - 1), 0.5 * (double)(width - 1)};
  const double centres[3] = {centre_z, centre_y, centre_x}, factors[3] = {factor_z, factor_y, factor_x};
  for (Index map = first_thread(); map < maps; map += all_threads()) {
    double* s = sums + map * MOMENTS;
    const double scaled[4] = {s[SCALED], s[SCALED + 1], s[SCALED + 2], s[SCALED + 3]};
    const double inverse = s[0] == s[0] ? 1.0 / (normalize ? s[1] : 1.0) : not_a_number();
    for (int a = 0; a < 3; ++a) s[2 + a] *= inverse;
    for (int a = 0; a < 3; ++a)
      for (int b = a; b < 3; ++b) s[place_of_pair(a, b)] = s[place_of_pair(a, b)] * inverse - s[2 + a] * s[2 + b];
    for (int n = 0; n < axes; ++n) {
      const int a = axis_of(n, (int)axes, xy);
      const double from = middles[a] - centres[a];
      double position = factors[a] * (s[2 + a] + from * (normalize ? 1.0 : s[1]));
      if (!normalize && !isfinite(position))
        position = factors[a] * (scaled[1 + a] + from * scaled[0]) / EXPECTATION_SCALE;
      mean[map * axes + n] = (Pixel)position;
      for (int o = 0; covariance && o < axes; ++o) {
        const int b = axis_of(o, (int)axes, xy);
        covariance[(map * axes + n) * axes + o] = (Pixel)(factors[a] * factors[b] * s[place_of_pair(a, b)]);
      }
    }
    for (int a = 0; a < 3; ++a) s[2 + a] += middles[a];
  }
}

KERNEL spatial_softmax_write(const Pixel* x, const double* temperatures, const Pixel* weights, bool shared, Index maps,
                             Index depth, Index height, Index width, const double* sums, Pixel* out) {
  const Maps m = {x, temperatures, weights, shared, maps, depth, height, width, 1, depth * height * width};
  for (Index k = first_thread(); k < maps * m.pixels(); k += all_threads()) {
    const Index map = k / m.pixels();
    const Pixel shift = (Pixel)sums[map * MOMENTS], scale = (Pixel)(1.0 / m.temperature(map));
    const Pixel inverse = (Pixel)(shift == shift ? 1.0 / sums[map * MOMENTS + 1] : not_a_number());
    out[k] = m.softmax_weight(map, k % m.pixels(), shift, scale) * inverse;
  }
}

// The adjoint of the softmax: p (c - E c) / T for a pixel of probability p and cotangent c.

// Sum probability times cotangent over the parts of maps, and find the greatest pixel with probability.
KERNEL spatial_softmax_products(const Pixel* x, const Pixel* probabilities, const Pixel* cotangents, Index maps,
                                Index pixels, Index parts, Index part_size, double* products, double* tops) {
  for (Index part = blockIdx.x; part < maps * parts; part += gridDim.x) {
    const Index first = part / parts * pixels, begin = part % parts * part_size;
    double sum[1] = {0}, top = -infinity();
    for (Index k = begin + threadIdx.x; k < least(begin + part_size, pixels); k += blockDim.x) {
      const Pixel p = probabilities[first + k];
      sum[0] += (double)p * (double)cotangents[first + k];
      if (p > 0) top = greatest(top, (double)x[first + k]);
    }
    sum_over_block(sum);
    top = raise_over_block(top);
    if (threadIdx.x == 0) {
      products[part] = sum[0];
      tops[part] = top;
    }
  }
}

KERNEL spatial_softmax_vjp(const Pixel* x, const double* temperatures, const Pixel* probabilities,
                           const Pixel* cotangents, Index maps, Index pixels, Index parts, Index part_size,
                           const double* means, const double* tops, Pixel* grad, double* by_temperature) {
  for (Index part = blockIdx.x; part < maps * parts; part += gridDim.x) {
    const Index map = part / parts, first = map * pixels, begin = part % parts * part_size;
    const double temperature = checked_temperature(temperatures[map]), scale = 1.0 / temperature;
    double total[1] = {0};
    for (Index k = begin + threadIdx.x; k < least(begin + part_size, pixels); k += blockDim.x) {
      const Pixel p = probabilities[first + k];
      const double g = (double)p * ((double)cotangents[first + k] - means[map]) * scale;
      grad[first + k] = (Pixel)g;
      if (g != 0) total[0] += g * ((double)x[first + k] - tops[map]);
    }
    sum_over_block(total);
    if (threadIdx.x == 0) by_temperature[part] = -total[0] / temperature;
  }
}

// The adjoint of the moments. A pixel v at position c, of weight w in a map whose weights sum to W,
// with mean M and covariance S, moves them by
//
//     d M / d v = w / (W T) * (c - M)
//     d S / d v = w / (W T) * ((c - M) (c - M)' - S).
//
// Weights depend on (v - m) / T alone, so the derivative by T is minus the sum of that times this.

struct Slopes {
  double mean[3], covariance[3][3];
};

// Cotangents as they are for positions in pixels along (z, y, x).
FORMULA Slopes slopes_of(const Pixel* by_mean, const Pixel* by_covariance, Index map, const double* factors, Index axes,
                         bool xy) {
  Slopes s = {{0}, {{0}}};
  for (int n = 0; n < axes; ++n) {
    const int a = axis_of(n, (int)axes, xy);
    if (by_mean) s.mean[a] = factors[a] * (double)by_mean[map * axes + n];
    for (int o = 0; by_covariance && o < axes; ++o) {
      const int b = axis_of(o, (int)axes, xy);
      const double both =
          (double)by_covariance[(map * axes + n) * axes + o] + (double)by_covariance[(map * axes + o) * axes + n];
      s.covariance[a][b] = factors[a] * factors[b] * 0.5 * both;
    }
  }
  return s;
}

KERNEL spatial_moments_vjp(const Pixel* x, const double* temperatures, const Pixel* weights, bool shared, Index maps,
                           Index depth, Index height, Index width, Index parts, Index part_size, const double* sums,
                           const Pixel* by_mean, const Pixel* by_covariance, double factor_z, double factor_y,
                           double factor_x, Index axes, bool xy, Pixel* grad, double* by_temperature) {
  const Maps m = {x, temperatures, weights, shared, maps, depth, height, width, parts, part_size};
  const double factors[3] = {factor_z, factor_y, factor_x};
  const Place by = place_of(blockDim.x, height, width);
  for (Index part = blockIdx.x; part < maps * parts; part += gridDim.x) {
    const Index map = part / parts;
    const double* of_map = sums + map * MOMENTS;
    const Slopes s = slopes_of(by_mean, by_covariance, map, factors, axes, xy);
    double constant = 0;
    for (int a = 0; a < 3; ++a)
      for (int b = 0; b < 3; ++b) constant += s.covariance[a][b] * of_map[place_of_pair(a, b)];
    const Pixel shift = (Pixel)of_map[0], scale = (Pixel)(1.0 / m.temperature(map));
    const double inverse = of_map[0] == of_map[0] ? 1.0 / (of_map[1] * m.temperature(map)) : not_a_number();
    double total[1] = {0};
    Place p = place_of(m.begin(part) + threadIdx.x, height, width);
    for (Index k = m.begin(part) + threadIdx.x; k < m.end(part); k += blockDim.x) {
      const double t[3] = {(double)p.z - of_map[2], (double)p.y - of_map[3], (double)p.x - of_map[4]};
      double sum = -constant;
      for (int a = 0; a < 3; ++a) {
        double along = s.mean[a];
        for (int b = 0; b < 3; ++b) along += s.covariance[a][b] * t[b];
        sum += along * t[a];
      }
      const double g = (double)m.softmax_weight(map, k, shift, scale) * inverse * sum;
      grad[map * m.pixels() + k] = (Pixel)g;
      if (g != 0) total[0] += g * (double)exponent(x[map * m.pixels() + k], shift, scale);
      advance(p, by, height, width);
    }
    sum_over_block(total);
    if (threadIdx.x == 0) by_temperature[part] = -total[0];
  }
}

// The adjoint of the expectation: weight times an affine function of the position.
KERNEL spatial_expectation_vjp(const Pixel* weights, bool shared, Index maps, Index depth, Index height, Index width,
                               const Pixel* by_mean, double centre_z, double factor_z, double centre_y,
                               double factor_y, double centre_x, double factor_x, Index axes, bool xy, Pixel* grad) {
  const Index pixels = depth * height * width;
  const Maps m = {nullptr, nullptr, weights, shared, maps, depth, height, width, 1, pixels};
  const double factors[3] = {factor_z, factor_y, factor_x};
  for (Index k = first_thread(); k < maps * pixels; k += all_threads()) {
    const Slopes s = slopes_of(by_mean, nullptr, k / pixels, factors, axes, xy);
    const Place p = place_of(k % pixels, height, width);
    const double g = s.mean[0] * ((double)p.z - centre_z) + s.mean[1] * ((double)p.y - centre_y) +
                     s.mean[2] * ((double)p.x - centre_x);
    const double w = (double)m.factor(k / pixels, k % pixels);
    grad[k] = (Pixel)(w * g);
  }
}
