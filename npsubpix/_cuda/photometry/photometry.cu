// Photometry of spots: background and noise of annuli, sums over apertures, and residuals. One block per spot.
#include "formulas.cuh"
#include "block.cuh"
#include "keys.cuh"
#include "discs.cuh"
#include "photometry_definitions.cuh"
#include "linear.cuh"
#include "pixels.cuh"

// A box of an image around an annulus, whose pixels count if their centres lie in the annulus.
struct Box {
  const Real* x;  // at the first pixel of the box, as the mask
  const bool* mask;
  Index row, plane;  // steps in memory
  Index depth, height, width;
  Index first_i, first_j;  // the first pixel
  double y, x_centre, inner, outer;
  Camera camera;
  Index frame;

  __device__ __forceinline__ Index pixels() const { return depth * height * width; }
  __device__ __forceinline__ Value value(Index place) const {
    return (Value)camera.electrons((double)x[place], frame, first_i * row + first_j + place);
  }
  // Whether the pixel at (j, k) of a plane counts, which is at a place in memory.
  __device__ __forceinline__ bool counts(Index j, Index k, Index place) const {
    const double dy = (double)(first_i + j) - y, dx = (double)(first_j + k) - x_centre;
    const double distance = dy * dy + dx * dx;
    return distance >= inner * inner && distance < outer * outer && !(mask && mask[place]);
  }
};

#include "clipping.cuh"

// Background and noise of the annulus around each position, and the number of pixels that are not clipped.
KERNEL photometry_annuli(const Real* x, const bool* mask, Index images, Index height, Index width,
                         CAMERA_ARGUMENTS, const double* points, const Index* frames, Index count, double inner,
                         double outer, bool use_mean, double allowance, double steps, double* levels, double* noises,
                         double* kept, int* flags) {
  const Camera camera = CAMERA;
  const Spots spots = {x, mask, images, height, width, camera, points, frames};
  for (Index n = blockIdx.x; n < count; n += gridDim.x) {
    double level = not_a_number(), noise = not_a_number();
    Index left = 0;
    int flag = 0;
    if (spots.holds(n)) {
      const double cy = spots.y(n), cx = spots.x_of(n);
      const Index i = spots.first_pixel(cy, outer), j = spots.first_pixel(cx, outer);
      const Index rows = spots.end_pixel(cy, outer, height) - i, columns = spots.end_pixel(cx, outer, width) - j;
      const Index first = (frames[n] * height + i) * width + j;
      const Box b = {x + first, mask ? mask + first : nullptr, width, height * width, 1, rows, columns, i, j,
                     cy, cx, inner, outer, camera, frames[n]};
      const Kept any = {0, -infinity(), infinity(), 0.0};
      Kept all = {0, infinity(), -infinity(), 0.0};
      if (rows > 0 && columns > 0) all = kept_of(b, any, 0.0, 0.0, infinity(), infinity());
      if (all.count < LEAST_ANNULUS) {
        flag = MEASUREMENT_NO_BACKGROUND;
      } else {
        const Middle m = middle_of(b, all);
        const double middle = m.at(all.count / 2), step = step_of(m);
        all = kept_of(b, any, middle, 0.0, infinity(), infinity());
        const Clipped result = clip_about_median(b, all, m, middle, allowance + (m.equal > 1 ? steps * step : 0.0));
        level = middle + (use_mean ? result.mean : result.median);
        noise = result.noise;
        left = result.kept.count;
        if (step > 0 && result.kept.low == result.kept.high) {
          noise = ROUNDING_NOISE * step;
          flag = MEASUREMENT_NOISE_GUESSED;
        }
      }
    }
    if (threadIdx.x == 0) {
      levels[n] = level;
      noises[n] = noise;
      kept[n] = (double)left;
      flags[n] = flag;
    }
  }
}

// Join what the threads of a block have seen: flags, and the greatest of values above the background.
struct Joined {
  double greatest;
  int flags;
};

FORMULA Joined join_over_block(const Joined& own) {
  return joined_over_block(own, [](const Joined& p, const Joined& q) {
    return Joined{greatest(p.greatest, q.greatest), p.flags | q.flags};
  });
}

// Sum the pixels of a circle, each by the share that lies in it; return flags.
FORMULA int sum_circle(const Spots& s, const Beside& levels, const Beside& errors, Index n, double radius,
                       double* sums) {
  const double cy = s.y(n), cx = s.x_of(n), reach = radius + 0.5;
  const Index i0 = s.first_pixel(cy, reach), j0 = s.first_pixel(cx, reach);
  const Index rows = s.end_pixel(cy, reach, s.height) - i0, columns = s.end_pixel(cx, reach, s.width) - j0;
  double plain[6] = {0}, fluxes[6] = {0};
  Joined own = {-infinity(), 0};
  for (Index k = threadIdx.x; k < rows * columns; k += blockDim.x) {
    const Index i = i0 + k / columns, j = j0 + k % columns;
    const double u = (double)i - cy, w = (double)j - cx, share = disc_share(u, w, radius);
    if (share <= 0.0) continue;
    const Seen p = seen_pixel(s, levels, errors, n, i, j);
    own.flags |= p.flag;
    if (p.flag) continue;
    const double part = share * p.above;
    plain[0] += share * p.value, plain[1] += share, plain[2] += share * p.level, plain[3] += share * share;
    plain[4] += share * share * p.variance, plain[5] += share * part;
    fluxes[0] += part, fluxes[1] += part * u, fluxes[2] += part * w;
    fluxes[3] += part * u * u, fluxes[4] += part * w * w, fluxes[5] += part * u * w;
    if (u * u + w * w < radius * radius) own.greatest = greatest(own.greatest, p.above);
  }
  sum_over_block(plain);
  sum_over_block(fluxes);
  own = join_over_block(own);
  if (threadIdx.x == 0) {
    sums[SUM_RAW] = plain[0], sums[SUM_AREA] = plain[1], sums[SUM_LEVEL] = plain[2], sums[SUM_SQUARE] = plain[3];
    sums[SUM_VARIANCE] = plain[4], sums[SUM_LIGHT] = plain[5];
    sums[SUM_FLUX] = fluxes[0], sums[SUM_FLUX_Y] = fluxes[1], sums[SUM_FLUX_X] = fluxes[2];
    sums[SUM_FLUX_YY] = fluxes[3], sums[SUM_FLUX_XX] = fluxes[4], sums[SUM_FLUX_XY] = fluxes[5];
    sums[SUM_PEAK] = own.greatest > -infinity() ? own.greatest : not_a_number();
  }
  return own.flags;
}

// Sum the whole pixels within a radius of the one nearest to a position; return flags.
FORMULA int sum_disc(const Spots& s, const Beside& levels, const Beside& errors, Index n, double radius,
                     double* sums) {
  const Index ci = (Index)floor(s.y(n) + 0.5), cj = (Index)floor(s.x_of(n) + 0.5), r = (Index)floor(radius);
  const Index i0 = greatest(ci - r, (Index)0), j0 = greatest(cj - r, (Index)0);
  const Index rows = least(ci + r + 1, s.height) - i0, columns = least(cj + r + 1, s.width) - j0;
  double plain[6] = {0}, angles[6] = {0};
  Joined own = {0.0, 0};
  for (Index k = threadIdx.x; k < rows * columns; k += blockDim.x) {
    const Index i = i0 + k / columns, j = j0 + k % columns;
    const double u = (double)(i - ci), w = (double)(j - cj), distance = u * u + w * w;
    if (distance > radius * radius) continue;
    const Seen p = seen_pixel(s, levels, errors, n, i, j);
    own.flags |= p.flag;
    if (p.flag) continue;
    plain[0] += p.above, plain[1] += p.value, plain[2] += distance * p.above, plain[3] += 0.5 * distance;
    own.greatest = greatest(own.greatest, p.above);
    if (distance == 0.0) {
      angles[0] += p.above, angles[2] += p.above;
    } else {
      angles[0] += p.above * (w * w - u * u) / distance;
      angles[1] += p.above * 2.0 * u * w / distance;
    }
  }
  sum_over_block(plain);
  sum_over_block(angles);
  own = join_over_block(own);
  if (threadIdx.x == 0) {
    sums[SUM_MASS] = plain[0], sums[SUM_RAW_MASS] = plain[1], sums[SUM_MASS_RR] = plain[2];
    sums[SUM_MOMENT] = plain[3], sums[SUM_MASS_COS] = angles[0], sums[SUM_MASS_SIN] = angles[1];
    sums[SUM_CENTRE] = angles[2], sums[SUM_SIGNAL] = own.greatest;
  }
  const bool cut = ci < r || ci + r >= s.height || cj < r || cj + r >= s.width;
  return own.flags | (cut ? MEASUREMENT_PARTIAL_WINDOW : 0);
}

// Sums over the aperture of each position, and its flags; those of positions outside the image are NaN.
KERNEL photometry_apertures(const Real* x, const bool* mask, Index images, Index height, Index width,
                            CAMERA_ARGUMENTS, const double* points, const Index* frames, Index count, double radius,
                            const double* levels, Index level_per_spot, Index level_per_frame, Index level_per_pixel,
                            const double* errors, Index error_per_spot, Index error_per_frame, Index error_per_pixel,
                            double* sums, int* flags) {
  const Spots spots = {x, mask, images, height, width, CAMERA, points, frames};
  const Beside level = {levels, level_per_spot, level_per_frame, level_per_pixel};
  const Beside error = {errors, error_per_spot, error_per_frame, error_per_pixel};
  for (Index n = blockIdx.x; n < count; n += gridDim.x) {
    double* own = sums + n * SUM_COUNT;
    const double cy = spots.y(n), cx = spots.x_of(n);
    if (!spots.holds(n)) {
      for (Index k = threadIdx.x; k < SUM_COUNT; k += blockDim.x) own[k] = not_a_number();
      if (threadIdx.x == 0) flags[n] = isfinite(cy) && isfinite(cx) ? MEASUREMENT_OUTSIDE : MEASUREMENT_NONFINITE;
      continue;
    }
    int flag = sum_circle(spots, level, error, n, radius, own);
    flag |= sum_disc(spots, level, error, n, radius, own);
    if (cy - radius < -0.5 || cy + radius > (double)height - 0.5 || cx - radius < -0.5 ||
        cx + radius > (double)width - 0.5)
      flag |= MEASUREMENT_PARTIAL_WINDOW;
    if (threadIdx.x == 0) flags[n] |= flag;
  }
}

#include "scatter.cuh"

// What the residuals of each spot say of the noise of its light.
KERNEL photometry_scatter(const Real* x, const bool* mask, Index images, Index height, Index width, CAMERA_ARGUMENTS,
                          const double* points, const Index* frames, Index count, double radius, const double* levels,
                          Index level_per_spot, Index level_per_frame, Index level_per_pixel, const double* errors,
                          Index error_per_spot, Index error_per_frame, Index error_per_pixel, const double* sums,
                          const int* flags, double* scatter) {
  const Spots spots = {x, mask, images, height, width, CAMERA, points, frames};
  const Beside level = {levels, level_per_spot, level_per_frame, level_per_pixel};
  const Beside error = {errors, error_per_spot, error_per_frame, error_per_pixel};
  for (Index n = blockIdx.x; n < count; n += gridDim.x) {
    double own[SCATTER_COUNT] = {0};
    if (!(flags[n] & NOT_MEASURED)) scatter_of_spot(own, spots, level, error, n, radius, sums + n * SUM_COUNT);
    if (threadIdx.x == 0)
      for (int k = 0; k < SCATTER_COUNT; ++k) scatter[n * SCATTER_COUNT + k] = own[k];
  }
}
