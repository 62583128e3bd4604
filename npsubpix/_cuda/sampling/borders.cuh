// Where positions and pixels outside of an image are found inside it, by the border rules of
// sampling_definitions.cuh.

// A position folded into an axis, its derivative with respect to the original position, and its status.
struct Folded {
  double position, slope;
  int status;
};

// Few positions get here, so that this is not inlined.
__device__ __noinline__ Folded fold_between_ends(double c, Index n, Index rule) {
  const double last = (double)(n - 1);
  if (n == 1) return {0, 0, INSIDE};
  const double period = rule == MIRROR ? 2 * last : (rule == REFLECT ? 2.0 * n : (rule == WRAP ? last : (double)n));
  const double r = fmin(fmax(c - period * floor(c / period), 0.0), period);
  // The pixel after the last is left to the rule for pixels, as SciPy does.
  if (rule == MIRROR) return r <= last || (c > 0 && r < n) ? Folded{r, 1, INSIDE} : Folded{period - r, -1, INSIDE};
  if (rule == REFLECT) {
    if (r <= n - 0.5) return {r, 1, INSIDE};
    return r <= period - 0.5 ? Folded{period - 1 - r, -1, INSIDE} : Folded{r - period, 1, INSIDE};
  }
  return {rule == WRAP && r == 0 && c < 0 ? last : r, 1, INSIDE};
}

FORMULA Folded fold_position(double c, Index n, Index rule) {
  const double last = (double)(n - 1);
  if (c >= 0 && c <= last) return {c, 1, INSIDE};
  if (c != c) return {0, 0, UNKNOWN};
  if (rule == CVAL) return {0, 0, OUTSIDE};
  if (rule == FREE) return {fmin(fmax(c, -FAR), last + FAR), 1, INSIDE};
  return isfinite(c) ? fold_between_ends(c, n, rule) : Folded{0, 0, UNKNOWN};
}

// The same for a pixel beyond the ends; -1 if it is a copy of none.
__device__ __noinline__ Index fold_beyond_ends(Index i, Index n, Index rule) {
  if (rule == CVAL) return -1;
  if (n == 1) return 0;
  if (rule == NEAREST) return i < 0 ? 0 : n - 1;
  return repeated(i, n, rule == GRID_WRAP ? n : (rule == MIRROR ? 2 * n - 2 : 2 * n));
}

// The pixel of an axis of n pixels that pixel i is a copy of.
FORMULA Index fold_pixel(Index i, Index n, Index rule) {
  return i >= 0 && i < n ? i : fold_beyond_ends(i, n, rule);
}
