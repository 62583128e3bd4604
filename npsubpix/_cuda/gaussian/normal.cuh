// What Gaussians of one map each and of one image share.

// Standard deviations from the mean beyond which there is no weight.
#define FAR 50.0
// What may be multiplied by itself without overflow.
#define STEEPEST 1e150

// A distance in standard deviations, or one that is as good, times 0 too.
FORMULA double standard_distance(double distance, double inverse) {
  const double u = distance * inverse;
  return u < -FAR ? -FAR : (u > FAR ? FAR : u);
}
