// One pixel: in electrons, above its background, and its variance.

// A map of one number, of a number per pixel, or of one per pixel and frame.
struct CameraMap {
  const double* values;
  Index of_frame, of_pixel;

  __device__ __forceinline__ double at(Index frame, Index place) const {
    return values[frame * of_frame + place * of_pixel];
  }
};

// The calibration of a camera, and the variance per electron, 0 without one.
struct Camera {
  CameraMap offset, factor, variance;
  double excess;

  __device__ __forceinline__ double electrons(double v, Index frame, Index place) const {
    return excess > 0.0 ? (v - offset.at(frame, place)) * factor.at(frame, place) : v;
  }
  __device__ __forceinline__ double variance_of(double electrons, Index frame, Index place) const {
    const double f = factor.at(frame, place);
    return excess * greatest(electrons, 0.0) + variance.at(frame, place) * f * f;
  }
};

#define CAMERA_ARGUMENTS                                                                               \
  const double *offset, Index offset_frame, Index offset_pixel, const double *factors, Index factor_frame, \
      Index factor_pixel, const double *reading, Index reading_frame, Index reading_pixel, double excess
#define CAMERA                                                                              \
  {                                                                                         \
    {offset, offset_frame, offset_pixel}, {factors, factor_frame, factor_pixel},            \
        {reading, reading_frame, reading_pixel}, excess                                     \
  }

// Images of shape (images, height, width), a mask or none, and positions (y, x) with the image of each.
struct Spots {
  const Real* x;
  const bool* mask;
  Index images, height, width;
  Camera camera;
  const double* points;
  const Index* frames;

  __device__ __forceinline__ double y(Index n) const { return points[2 * n]; }
  __device__ __forceinline__ double x_of(Index n) const { return points[2 * n + 1]; }
  // Whether the pixel nearest to a position exists. The host does not look at the numbers of frames.
  __device__ __forceinline__ bool holds(Index n) const {
    return frames[n] >= 0 && frames[n] < images && y(n) >= -0.5 && y(n) < (double)height - 0.5 && x_of(n) >= -0.5 &&
           x_of(n) < (double)width - 0.5;
  }
  __device__ __forceinline__ Index first_pixel(double centre, double reach) const {
    return greatest((Index)ceil(centre - reach), (Index)0);
  }
  __device__ __forceinline__ Index end_pixel(double centre, double reach, Index length) const {
    return least((Index)floor(centre + reach) + 1, length);
  }
};

// Numbers of pixels, of frames or of spots, by their steps in memory.
struct Beside {
  const double* values;
  Index per_spot, per_frame, per_pixel;

  __device__ __forceinline__ double at(Index spot, Index frame, Index place) const {
    return values[spot * per_spot + frame * per_frame + place * per_pixel];
  }
};

// A pixel, its background and its variance, and a flag if it does not count.
struct Seen {
  double value, above, level, variance;
  int flag;
};

FORMULA Seen seen_pixel(const Spots& s, const Beside& levels, const Beside& errors, Index n, Index i, Index j) {
  const Index frame = s.frames[n], place = i * s.width + j, at = frame * s.height * s.width + place;
  const double v = s.camera.electrons((double)s.x[at], frame, place), b = levels.at(n, frame, place);
  const double e = errors.at(n, frame, place);
  const double variance =
      s.camera.excess > 0.0 ? s.camera.variance_of(v, frame, place) : e >= 0.0 ? e * e : not_a_number();
  int flag = 0;
  if (s.mask && s.mask[at])
    flag = MEASUREMENT_MASKED;
  else if (!isfinite(v) || (levels.per_spot == 0 && !isfinite(b)) ||
           (errors.per_spot == 0 && !isfinite(variance)))  // what was measured may be NaN: then there is a flag
    flag = MEASUREMENT_NONFINITE;
  return {v, v - b, b, variance, flag};
}
