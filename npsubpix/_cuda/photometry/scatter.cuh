// What the residuals of a spot say of the noise of its light: see `_definitions/photometry.py`.

#define PARTS 8  // of a row of normal equations

// The width of a Gaussian spot whose variance along an axis, in an aperture, is known.
FORMULA double width_of_spot(double variance, double radius) {
  double width = sqrt(variance);
  for (int step = 0; step < WIDTH_STEPS; ++step) {
    const double t = 0.5 * (radius / width) * (radius / width);
    width = sqrt(variance / greatest(1.0 - t * exp(-t) / (1.0 - exp(-t)), 1e-9));
    if (width >= radius) return radius;
  }
  return greatest(width, LEAST_WIDTH);
}

// The pixels that are fitted, at the places of a coarse grid in a wide aperture, and the series about the centroid.
struct Series {
  double cy, cx, reach, y, x;
  double axes[2][2];  // the directions of the axes of the spot, each over its width
  Index first_i, first_j, rows, columns, step;
  int order, size;

  __device__ __forceinline__ Index places() const { return rows * columns; }
  // Write the terms at an offset from the position.
  __device__ __forceinline__ void terms(double* out, double dy, double dx) const {
    double lines[2][SERIES_ORDER + 1];
    const double u = along(0, dy, dx), w = along(1, dy, dx);
    line(lines[0], u);
    line(lines[1], w);
    int count = 0;
    for (int a = 0; a <= order; ++a)
      for (int b = 0; b <= order - a; ++b) out[count++] = lines[0][a] * lines[1][b];
    if (count + 1 < size) {
      const double widths[SERIES_GAUSSIANS] = {SERIES_WIDTH_1, SERIES_WIDTH_2, SERIES_WIDTH_3};
      for (double width : widths) out[count++] = exp(-0.5 * (u * u + w * w) / (width * width));
    }
    out[count] = 1.0;
  }
  // An offset from the position along an axis of the spot, in its widths, from the centroid.
  __device__ __forceinline__ double along(int axis, double dy, double dx) const {
    return axes[axis][0] * (dy - y) + axes[axis][1] * (dx - x);
  }
  // Write Hermite functions of one coordinate.
  __device__ __forceinline__ void line(double* out, double u) const {
    out[0] = exp(-0.5 * u * u);
    if (order > 0) out[1] = sqrt(2.0) * u * out[0];
    for (int k = 1; k < order; ++k)
      out[k + 1] = sqrt(2.0 / (k + 1)) * u * out[k] - sqrt(k / (k + 1.0)) * out[k - 1];
  }
};

// Call a function of each pixel that is fitted and of its offset from the position.
template <typename See>
FORMULA void each_fitted(const Spots& s, const Beside& levels, const Beside& errors, Index n, const Series& f, See see) {
  for (Index k = threadIdx.x; k < f.places(); k += blockDim.x) {
    const Index i = f.first_i + k / f.columns * f.step, j = f.first_j + k % f.columns * f.step;
    const double u = (double)i - f.cy, w = (double)j - f.cx;
    if (u * u + w * w > f.reach * f.reach || i < 0 || i >= s.height || j < 0 || j >= s.width) continue;
    const Seen p = seen_pixel(s, levels, errors, n, i, j);
    if (p.flag == 0) see(p, u, w);
  }
}

// Write the sums of a spot. All threads of the block call it, and decide alike.
FORMULA void scatter_of_spot(double (&out)[SCATTER_COUNT], const Spots& s, const Beside& levels, const Beside& errors,
                             Index n, double radius, const double* sums) {
  const double flux = sums[SUM_FLUX], y = sums[SUM_FLUX_Y] / flux, x = sums[SUM_FLUX_X] / flux;
  const double yy = sums[SUM_FLUX_YY] / flux - y * y, xx = sums[SUM_FLUX_XX] / flux - x * x;
  const double xy = sums[SUM_FLUX_XY] / flux - x * y, mean = 0.5 * (yy + xx);
  if (!(flux > 0.0 && mean > 0.0 && y * y + x * x <= radius * radius)) return;
  Series f;
  f.cy = s.y(n), f.cx = s.x_of(n), f.y = y, f.x = x;
  const double half = least(sqrt(0.25 * (yy - xx) * (yy - xx) + xy * xy) / mean, 1.0 - SERIES_FLATTEST);
  const double angle = 0.5 * atan2(2.0 * xy, yy - xx), width = width_of_spot(mean, radius);
  const double wide = width * sqrt(1.0 + half), narrow = width * sqrt(1.0 - half);
  f.axes[0][0] = cos(angle) / wide, f.axes[0][1] = sin(angle) / wide;
  f.axes[1][0] = -sin(angle) / narrow, f.axes[1][1] = cos(angle) / narrow;
  f.reach = greatest(radius, least(SERIES_REACH, SERIES_WIDER * radius));
  f.step = greatest((Index)ceil(f.reach / SERIES_PIXELS), (Index)1);
  f.first_i = (Index)ceil(f.cy - f.reach), f.first_j = (Index)ceil(f.cx - f.reach);
  f.rows = ((Index)floor(f.cy + f.reach) - f.first_i) / f.step + 1;
  f.columns = ((Index)floor(f.cx + f.reach) - f.first_j) / f.step + 1;
  double near[1] = {0.0};
  each_fitted(s, levels, errors, n, f, [&](const Seen&, double dy, double dx) {
    const double u = f.along(0, dy, dx), w = f.along(1, dy, dx);
    near[0] += u * u + w * w <= SERIES_WIDTHS * SERIES_WIDTHS;
  });
  sum_over_block(near);
  const double most = SERIES_SHARE * near[0];
  f.order = SERIES_ORDER, f.size = SERIES_TERMS;
  if (f.size > most) {
    while (f.order >= 0 && (double)((f.order + 1) * (f.order + 2) / 2 + 1) > most) --f.order;
    if (f.order < 0) return;
    f.size = (f.order + 1) * (f.order + 2) / 2 + 1;
  }
  // A few sums of the normal equations at a time, as each takes memory of all threads
  __shared__ double matrix[SERIES_TERMS][SERIES_TERMS], lower[SERIES_TERMS][SERIES_TERMS], right[SERIES_TERMS],
      solved[SERIES_TERMS];
  __shared__ bool regular;
  double terms[SERIES_TERMS];
  for (int a = 0; a < f.size; ++a)
    for (int first = 0; first <= a; first += PARTS) {
      double row[PARTS + 1] = {0};
      each_fitted(s, levels, errors, n, f, [&](const Seen& p, double u, double w) {
        f.terms(terms, u, w);
        for (int b = 0; b < PARTS && first + b <= a; ++b) row[b] += terms[a] * terms[first + b];
        row[PARTS] += terms[a] * p.above;
      });
      sum_over_block(row);
      if (threadIdx.x == 0) {
        for (int b = 0; b < PARTS && first + b <= a; ++b) matrix[a][first + b] = row[b];
        right[a] = row[PARTS];
      }
    }
  if (threadIdx.x == 0) {
    regular = factor(lower, matrix, f.size, 0.0);
    if (regular) {
      forward(solved, lower, right, f.size);
      backward(solved, lower, f.size);
    }
  }
  __syncthreads();
  const bool usable = regular;
  if (usable) {
    double free_parts[SERIES_TERMS];
    each_fitted(s, levels, errors, n, f, [&](const Seen& p, double u, double w) {
      f.terms(terms, u, w);
      double fitted = 0.0;
      for (int a = 0; a < f.size; ++a) fitted += solved[a] * terms[a];
      const double open = 1.0 - forward(free_parts, lower, terms, f.size);
      const double signal = greatest(fitted, 0.0), residual = p.above - fitted;
      out[SCATTER_EXCESS] += residual * residual - p.variance * open;
      out[SCATTER_SIGNAL] += signal * open;
      out[SCATTER_BACKGROUND_TERM] += p.variance * p.variance * open;
      out[SCATTER_MIXED_TERM] += p.variance * signal * open;
      out[SCATTER_SIGNAL_TERM] += signal * signal * open;
    });
  }
  sum_over_block(out);
}
