// Images, positions, and the windows of pixels around positions.

// Images and positions. Coordinate a of position n of image b is at
// (b * axes * count + a * axis_step + n * step) of one of two arrays, and times a factor, plus an
// offset, in pixels; coordinates may be in the order (x, y, z).
struct Samples {
  const Real* x;
  Index images, channels, axes, size[3];
  const float* single;
  const double* full;
  Index count, step, axis_step;
  bool reversed;
  double factor[3], offset[3];
  Weighing weighing;
  Index rule, pixel_rule;
  Real cval;

  __device__ __forceinline__ Index pixels() const { return size[0] * size[1] * size[2]; }
  __device__ __forceinline__ Index place(Index b, int axis, Index n) const {
    return b * axes * count + (reversed ? 2 - axis : axis - 3 + axes) * axis_step + n * step;
  }
  // Rounded as the positions are.
  __device__ __forceinline__ double position(Index b, int axis, Index n) const {
    const Index k = place(b, axis, n);
    if (full) return full[k] * factor[axis] + offset[axis];
    return (double)(float)((double)single[k] * factor[axis] + offset[axis]);
  }
};

#define SAMPLES                                                                                                       \
  const Real *x, Index images, Index channels, Index axes, Index depth, Index height, Index width, const float *single,           \
      const double *full, Index count, Index step, Index axis_step, bool reversed, double factor_z, double factor_y,  \
      double factor_x, double offset_z, double offset_y, double offset_x, Index method, const Real *table,           \
      Index samples, Index reach, Index rule, Index pixel_rule, double cval
#define SAMPLES_OF_ARGUMENTS                                                                                                         \
  Samples {                                                                                                           \
    x, images, channels, axes, {depth, height, width}, single, full, count, step, axis_step, reversed,                      \
        {factor_z, factor_y, factor_x}, {offset_z, offset_y, offset_x}, {method, table, samples, reach}, rule, pixel_rule, (Real)cval \
  }

// The pixels around a position along (z, y, x), -1 for none, and weights and derivatives. AXES is 0
// where the number of axes is known when the kernel runs.
template <typename Taps, int AXES, int ORDERS>
struct Window {
  Real w[3][ORDERS][Taps::COUNT];
  Index pixels[3][Taps::COUNT];
  int status, axes, count;

  __device__ __forceinline__ int planes() const { return AXES ? (AXES > 2 ? Taps::COUNT : 1) : (axes > 2 ? count : 1); }
  __device__ __forceinline__ int rows() const { return AXES ? (AXES > 1 ? Taps::COUNT : 1) : (axes > 1 ? count : 1); }
  __device__ __forceinline__ int columns() const { return AXES ? Taps::COUNT : count; }
  __device__ __forceinline__ bool has_row(int a, int b) const { return pixels[0][a] >= 0 && pixels[1][b] >= 0; }
  __device__ __forceinline__ Index row(const Samples& s, int a, int b) const {
    return (pixels[0][a] * s.size[1] + pixels[1][b]) * s.size[2];
  }
};

// Where a position lies along an axis: its distance from the base, the derivative of folding, whether this is the end of
// the last stretch between pixels, and the status.
struct Placed {
  double distance, slope;
  bool ends;
  int status;
};

template <typename Taps>
FORMULA Placed place_pixels(const Samples& s, double c, int axis, Index (&pixels)[Taps::COUNT]) {
  const Index n = s.size[axis];
  const int count = Taps::count(s.weighing);
  const Folded folded = fold_position(c, n, s.rule);
  if (folded.status != INSIDE) return {0, 0, false, folded.status};
  double base = Taps::base(folded.position, s.weighing);
  // Beyond the last pixel there is another stretch, or none.
  const bool has_ends = s.rule == CVAL || s.rule == WRAP;
  const bool ends = count % 2 == 0 && folded.position == n - 1 && n > 1 && has_ends;
  if (ends) base -= 1;
  for (int k = 0; k < count; ++k) pixels[k] = fold_pixel((Index)base - (count - 1) / 2 + k, n, s.pixel_rule);
  return {folded.position - base, folded.slope, ends, INSIDE};
}

template <typename Taps, int ORDERS>
FORMULA int place_axis(const Samples& s, double c, int axis, Real (&w)[ORDERS][Taps::COUNT],
                       Index (&pixels)[Taps::COUNT]) {
  const Placed placed = place_pixels<Taps>(s, c, axis, pixels);
  if (placed.status != INSIDE) return placed.status;
  const int count = Taps::count(s.weighing);
  Taps::template weigh<ORDERS>(s.weighing, (Real)placed.distance, w);
  if (placed.ends)  // what should be 0 there is rounded
    for (int k = 0; k < count; ++k)
      if (fabs((double)w[0][k]) < ROUNDINGS * (sizeof(Real) == 4 ? 1.2e-7 : 2.3e-16)) w[0][k] = 0;
  const Real slope = (Real)placed.slope;
  for (int k = 0; k < count; ++k) {
    if constexpr (ORDERS > 1) w[1][k] *= slope;
    if constexpr (ORDERS > 2) w[2][k] *= slope * slope;
  }
  return INSIDE;
}

template <typename Taps, int AXES, int ORDERS>
FORMULA void place_window(const Samples& s, Index b, Index n, int axis, Window<Taps, AXES, ORDERS>& window) {
  if (axis >= 3 - window.axes) {
    const int status = place_axis<Taps, ORDERS>(s, s.position(b, axis, n), axis, window.w[axis], window.pixels[axis]);
    window.status = greatest(window.status, status);
  } else {
    for (int order = 0; order < ORDERS; ++order) window.w[axis][order][0] = order == 0;
    window.pixels[axis][0] = 0;
  }
}

template <typename Taps, int AXES, int ORDERS>
FORMULA Window<Taps, AXES, ORDERS> window_of(const Samples& s, Index b, Index n) {
  Window<Taps, AXES, ORDERS> window;
  window.status = INSIDE;
  window.axes = AXES ? AXES : (int)s.axes;
  window.count = Taps::count(s.weighing);
  if constexpr (Taps::UNROLLED) {
#pragma unroll
    for (int axis = 0; axis < 3; ++axis) place_window(s, b, n, axis, window);
  } else {
#pragma unroll 1
    for (int axis = 0; axis < 3; ++axis) place_window(s, b, n, axis, window);
  }
  return window;
}

// Call visit(a, b) for each plane and row of a window.
template <typename Taps, int AXES, int ORDERS, typename Visit>
FORMULA void visit_rows(const Window<Taps, AXES, ORDERS>& at, Visit visit) {
  if constexpr (Taps::UNROLLED) {
#pragma unroll
    for (int a = 0; a < at.planes(); ++a)
#pragma unroll
      for (int b = 0; b < at.rows(); ++b) visit(a, b);
  } else {
#pragma unroll 1
    for (int a = 0; a < at.planes(); ++a)
#pragma unroll 1
      for (int b = 0; b < at.rows(); ++b) visit(a, b);
  }
}

// Call visit(k) for each column.
template <typename Taps, int AXES, int ORDERS, typename Visit>
FORMULA void visit_columns(const Window<Taps, AXES, ORDERS>& at, Visit visit) {
  if constexpr (Taps::UNROLLED) {
#pragma unroll
    for (int k = 0; k < at.columns(); ++k) visit(k);
  } else {
#pragma unroll 1
    for (int k = 0; k < at.columns(); ++k) visit(k);
  }
}

// A weight times a number; a weight of 0 gives 0, even if the number is not finite.
FORMULA Real weighted(Real weight, Real v) { return weight != 0 ? weight * v : (Real)0; }
