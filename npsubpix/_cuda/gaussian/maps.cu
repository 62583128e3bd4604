// One Gaussian per map: the weights of each axis, their outer product, and the adjoint.
//
// Where an axis sums to one, its weights are exp(e) / sum(exp(e)). With t the distance of a pixel from
// the one nearest to the mean, and d that pixel's distance from the mean, both in pixels,
//
//     -2 e = ((t + d)**2 - d**2) / std**2 = t (t + 2 d) / std**2,
//
// which is 0 at the nearest pixel and never negative: the shift by the greatest exponent loses no
// digits, however far away the mean is.
#include "formulas.cuh"
#include "block.cuh"
#include "normal.cuh"

// A Gaussian along an axis, in pixels; NaN if its mean or its standard deviation is not valid.
struct Along {
  double mean, inverse, pixel, offset;
};

FORMULA Along gaussian_along(double mean, double std, double centre, double factor, Index size) {
  Along g;
  g.mean = centre + mean / factor;
  g.inverse = std > 0 && isfinite(g.mean) ? fmin(factor / std, GAUSSIAN_STEEPEST) : not_a_number();
  g.pixel = fmin(fmax(rint(g.mean), 0.0), (double)size - 1.0);
  g.offset = fmin(fmax(g.pixel - g.mean, -GAUSSIAN_STEEPEST), GAUSSIAN_STEEPEST);
  return g;
}

// Means and standard deviations in coordinates, one row per map, in the order of the coordinates.
struct Gaussians {
  const double *means, *stds;
  Index maps, depth, height, width;
  double centres[3], factors[3];
  Index axes;
  bool xy;

  // The column of an axis of (z, y, x), -1 for a missing axis.
  __device__ __forceinline__ Index column(int a) const { return a < 3 - axes ? -1 : (xy ? 2 - a : a - 3 + axes); }
  __device__ __forceinline__ Index size(int a) const { return a == 0 ? depth : a == 1 ? height : width; }
  // Where the weights of an axis begin in those of a map.
  __device__ __forceinline__ Index begin(int a) const { return a == 0 ? 0 : a == 1 ? depth : depth + height; }
  __device__ __forceinline__ Index length() const { return depth + height + width; }
  __device__ __forceinline__ Along along(Index map, int a) const {
    const Index k = map * axes + column(a);
    return gaussian_along(means[k], stds[k], centres[a], factors[a], size(a));
  }
};

// -2 e, held to where weights are 0.
FORMULA double share_exponent(double t, double offset, double inverse) {
  return fmin((t * inverse) * ((t + 2.0 * offset) * inverse), GAUSSIAN_FARTHEST * GAUSSIAN_FARTHEST);
}

FORMULA double weight_of(double exponent, double lowest) { return exponent < lowest ? 0.0 : exp(exponent); }

// Write the weights of each axis of each map, and, where there are arrays for them, their derivatives with respect to
// the mean and to the standard deviation, both in pixels and times the standard deviation.
KERNEL gaussian_weights(const double* means, const double* stds, Index maps, Index depth, Index height, Index width,
                        double centre_z, double factor_z, double centre_y, double factor_y, double centre_x,
                        double factor_x, Index axes, bool xy, bool peak, double lowest, double* weights,
                        double* by_mean, double* by_std) {
  const Gaussians g = {means,    stds,     maps,     depth, height, width, {centre_z, centre_y, centre_x},
                       {factor_z, factor_y, factor_x}, axes,  xy};
  for (Index k = blockIdx.x; k < maps * 3; k += gridDim.x) {
    const int a = (int)(k % 3);
    double* out = weights + k / 3 * g.length() + g.begin(a);
    if (g.column(a) < 0) {
      if (threadIdx.x == 0) {
        out[0] = 1;
        if (by_mean) by_mean[out - weights] = by_std[out - weights] = 0;
      }
      continue;
    }
    const Along along = g.along(k / 3, a);
    double sums[3] = {0};  // of weights, of weights times t, and of weights times -2 e
    for (Index j = threadIdx.x; j < g.size(a); j += blockDim.x) {
      const double t = (double)j - along.pixel, u = standard_distance(t + along.offset, along.inverse);
      const double q = peak ? u * u : share_exponent(t, along.offset, along.inverse);
      const double w = weight_of(-0.5 * q, lowest);
      out[j] = w;
      sums[0] += w;
      sums[1] += w * t;
      sums[2] += w * q;
    }
    sum_over_block(sums);
    const double inverse = peak ? 1.0 : 1.0 / sums[0];
    const double mean_t = sums[1] * inverse, mean_q = sums[2] * inverse;
    for (Index j = threadIdx.x; j < g.size(a); j += blockDim.x) {
      const double w = out[j] * inverse;
      out[j] = w;
      if (!by_mean) continue;
      const double t = (double)j - along.pixel, u = standard_distance(t + along.offset, along.inverse);
      const double q = peak ? u * u : share_exponent(t, along.offset, along.inverse) - mean_q;
      const Index place = out + j - weights;
      by_mean[place] = w * (peak ? u : (t - mean_t) * along.inverse);
      by_std[place] = w * q;
    }
  }
}

// The outer product of the weights of the axes.
KERNEL gaussian_maps(const double* weights, Index maps, Index depth, Index height, Index width, Pixel* out) {
  const Index pixels = depth * height * width;
  for (Index k = first_thread(); k < maps * pixels; k += all_threads()) {
    const double* own = weights + k / pixels * (depth + height + width);
    const double z = own[k / width / height % depth], y = own[depth + k / width % height];
    out[k] = (Pixel)(z * y * own[depth + height + k % width]);
  }
}

// Sums over parts of maps of the cotangent times the derivatives of the map: along (z, y, x) with respect to the mean,
// then to the standard deviation.
KERNEL gaussian_products(const double* weights, const double* by_mean, const double* by_std, Index maps, Index depth,
                         Index height, Index width, Index parts, Index part_size, const Pixel* cotangent,
                         double* products) {
  const Index pixels = depth * height * width;
  for (Index part = blockIdx.x; part < maps * parts; part += gridDim.x) {
    const Index map = part / parts, begin = part % parts * part_size, of_map = map * (depth + height + width);
    double sums[6] = {0};
    for (Index k = begin + threadIdx.x; k < least(begin + part_size, pixels); k += blockDim.x) {
      const Index z = of_map + k / width / height, y = of_map + depth + k / width % height;
      const Index x = of_map + depth + height + k % width;
      const double c = (double)cotangent[map * pixels + k];
      const double zy = weights[z] * weights[y], zx = weights[z] * weights[x], yx = weights[y] * weights[x];
      sums[0] += c * by_mean[z] * yx;
      sums[1] += c * by_mean[y] * zx;
      sums[2] += c * by_mean[x] * zy;
      sums[3] += c * by_std[z] * yx;
      sums[4] += c * by_std[y] * zx;
      sums[5] += c * by_std[x] * zy;
    }
    sum_over_block(sums);
    if (threadIdx.x == 0)
      for (int n = 0; n < 6; ++n) products[part * 6 + n] = sums[n];
  }
}

// From the sums of each map to gradients with respect to means and standard deviations in coordinates.
KERNEL gaussian_gradients(const double* means, const double* stds, Index maps, Index depth, Index height, Index width,
                          double centre_z, double factor_z, double centre_y, double factor_y, double centre_x,
                          double factor_x, Index axes, bool xy, const double* sums, double* by_mean, double* by_std) {
  const Gaussians g = {means,    stds,     maps,     depth, height, width, {centre_z, centre_y, centre_x},
                       {factor_z, factor_y, factor_x}, axes,  xy};
  for (Index map = first_thread(); map < maps; map += all_threads())
    for (int a = 0; a < 3; ++a) {
      if (g.column(a) < 0) continue;
      const double scale = g.along(map, a).inverse;
      by_mean[map * axes + g.column(a)] = sums[map * 6 + a] * scale / g.factors[a];
      by_std[map * axes + g.column(a)] = sums[map * 6 + 3 + a] * scale / g.factors[a];
    }
}
