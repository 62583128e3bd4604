// Formulas shared by Gaussians of one per map and of many in one image.

// A distance in standard deviations, held to GAUSSIAN_FARTHEST: there, a Gaussian and its product with it are 0.
FORMULA double standard_distance(double distance, double inverse) {
  const double u = distance * inverse;
  return u < -GAUSSIAN_FARTHEST ? -GAUSSIAN_FARTHEST : (u > GAUSSIAN_FARTHEST ? GAUSSIAN_FARTHEST : u);
}
