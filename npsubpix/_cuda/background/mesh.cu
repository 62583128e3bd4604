// Values on a mesh of boxes: missing ones are filled, all are smoothed and interpolated at the pixels.
//
// A mesh is extended point-symmetrically about its outermost values, one axis after the other.
#include "formulas.cuh"
#include "block.cuh"
#include "boxes.cuh"
#include "keys.cuh"

#define MISSING (-1)

struct Mesh {
  Index nz, ny, nx;

  __device__ __forceinline__ Index boxes() const { return nz * ny * nx; }
};

// The mean of the boxes around one whose values were known before a round; NaN if there are none.
FORMULA double mean_around(const Mesh& m, const double* values, const int* rounds, int round, Index n) {
  const Index x = n % m.nx, y = n / m.nx % m.ny, z = n / (m.nx * m.ny);
  double sum = 0.0, count = 0.0;
  for (Index i = greatest(z - 1, (Index)0); i < least(z + 2, m.nz); ++i)
    for (Index j = greatest(y - 1, (Index)0); j < least(y + 2, m.ny); ++j)
      for (Index k = greatest(x - 1, (Index)0); k < least(x + 2, m.nx); ++k) {
        const Index other = (i * m.ny + j) * m.nx + k;
        // A box filled in this round does not count, whether another thread filled it before or after this one.
        if (rounds[other] == MISSING || rounds[other] >= round) continue;
        sum += values[other];
        count += 1.0;
      }
  return count > 0 ? sum / count : not_a_number();
}

// Set each box that is NaN, or has few good pixels beside the fullest one, to the mean of the filled boxes around it,
// in rounds. One block per mesh: those of the backgrounds of all images, then those of the noises.
KERNEL mesh_fill(double* values, const Index* good, Index meshes, Index images, Index nz, Index ny, Index nx,
                 int* rounds) {
  const Mesh m = {nz, ny, nx};
  for (Index mesh = blockIdx.x; mesh < meshes; mesh += gridDim.x) {
    double* own = values + mesh * m.boxes();
    const Index* pixels = good + mesh % images * m.boxes();
    int* filled = rounds + mesh * m.boxes();
    Index fullest = 0;
    for (Index n = threadIdx.x; n < m.boxes(); n += blockDim.x) fullest = greatest(fullest, pixels[n]);
    fullest = joined_over_block(fullest, [](Index a, Index b) { return greatest(a, b); });
    for (Index n = threadIdx.x; n < m.boxes(); n += blockDim.x) {
      if ((double)pixels[n] < LEAST_GOOD * (double)fullest) own[n] = not_a_number();
      filled[n] = own[n] == own[n] ? 0 : MISSING;
    }
    Index count = 1;
    for (int round = 1; count > 0; ++round) {
      count = 0;
      __syncthreads();
      for (Index n = threadIdx.x; n < m.boxes(); n += blockDim.x) {
        if (filled[n] != MISSING) continue;
        const double mean = mean_around(m, own, filled, round, n);
        if (mean != mean) continue;
        own[n] = mean;
        filled[n] = round;
        ++count;
      }
      count = joined_over_block(count, [](Index a, Index b) { return a + b; });
    }
  }
}

// The value of an axis at a place that may be beyond its ends.
template <typename At>
FORMULA double extended(Index place, Index n, At at) {
  if (n == 1 || (place >= 0 && place < n)) return at(n == 1 ? 0 : place);
  const Index end = place < 0 ? 0 : n - 1;
  return 2 * at(end) - at(2 * end - place);
}

// The nearest number of a range, which may be NaN.
FORMULA double within_range(double v, double low, double high) { return v < low ? low : (v > high ? high : v); }

FORMULA double value_at(const Mesh& m, const double* values, Index z, Index y, Index x) {
  return extended(x, m.nx, [&](Index k) {
    return extended(y, m.ny, [&](Index j) {
      return extended(z, m.nz, [&](Index i) { return values[(i * m.ny + j) * m.nx + k]; });
    });
  });
}

// Medians of windows of odd lengths, none longer than twice the mesh less one, by bisection of the range of keys.
KERNEL mesh_medians(const double* values, Index meshes, Index nz, Index ny, Index nx, Index rz, Index ry, Index rx,
                    double* out) {
  typedef Keys<double> Ordered;
  const Mesh m = {nz, ny, nx};
  for (Index o = first_thread(); o < meshes * m.boxes(); o += all_threads()) {
    const double* own = values + o / m.boxes() * m.boxes();
    const Index x = o % nx, y = o / nx % ny, z = o / (nx * ny) % nz;
    const auto visit = [=](auto see) {
      for (Index i = z - rz; i <= z + rz; ++i)
        for (Index j = y - ry; j <= y + ry; ++j)
          for (Index k = x - rx; k <= x + rx; ++k) see(Ordered::of(value_at(m, own, i, j, k)));
    };
    Ordered::Key low = Ordered::TOP, high = ~Ordered::TOP;
    visit([&](Ordered::Key key) {
      low = least(low, key);
      high = greatest(high, key);
    });
    const Index rank = (2 * rz + 1) * (2 * ry + 1) * (2 * rx + 1) / 2;
    while (low < high && Ordered::is_number(high)) {
      const Ordered::Word half = ((Ordered::Word)high - (Ordered::Word)low) / 2;
      const Ordered::Key centre = (Ordered::Key)((Ordered::Word)low + half);
      Index count = 0;
      visit([&](Ordered::Key key) { count += key <= centre; });
      if (count > rank)
        high = centre;
      else
        low = centre + 1;
    }
    out[o] = Ordered::is_number(high) ? Ordered::back(low) : not_a_number();
  }
}

// The weights at the pixels of an axis of four boxes, from the one before `starts` on: a cubic Hermite spline through
// the centres of boxes, with slopes of parabolas through three. Extrapolation is linear.
KERNEL mesh_taps(Index pixels, Index boxes, Index* starts, double* weights) {
  for (Index at = first_thread(); at < pixels; at += all_threads()) {
    double w[4] = {0.0, 1.0, 0.0, 0.0};
    Index k = 0;
    if (boxes > 1) {
      k = within(at * boxes / pixels, 0, boxes - 2);
      while (k < boxes - 2 && centre_of_box(k + 1, pixels, boxes) <= (double)at) ++k;
      while (k > 0 && centre_of_box(k, pixels, boxes) > (double)at) --k;
      const double centre = centre_of_box(k, pixels, boxes), h = centre_of_box(k + 1, pixels, boxes) - centre;
      const double before = k > 0 ? centre - centre_of_box(k - 1, pixels, boxes) : h;
      const double after = k < boxes - 2 ? centre_of_box(k + 2, pixels, boxes) - centre - h : h;
      const double t = ((double)at - centre) / h;
      const bool cubic = t >= 0 && t <= 1;
      const double rise = cubic ? t * t * (3 - 2 * t) : t;
      const double p = cubic ? t * (t - 1) * (t - 1) * h / (before + h) : 0.0;
      const double q = cubic ? t * t * (t - 1) * h / (h + after) : 0.0;
      w[0] = -p * h / before;
      w[1] = 1 - rise + p * (h / before - before / h) - q * after / h;
      w[2] = rise + p * before / h + q * (after / h - h / after);
      w[3] = q * h / after;
    }
    starts[at] = k;
    for (int n = 0; n < 4; ++n) weights[n * pixels + at] = w[n];
  }
}

#define TAPS(name) const Index *name##_starts, const double *name##_weights

// Interpolate between the rows of meshes, each extended by one value before and at least one after it.
KERNEL mesh_rows(const double* values, Index meshes, Index nz, Index ny, Index nx, TAPS(z), TAPS(y), Index depth,
                 Index height, Index length, double* rows) {
  const Mesh m = {nz, ny, nx};
  for (Index o = first_thread(); o < meshes * depth * height * length; o += all_threads()) {
    const Index x = o % length - 1, i = o / length % height, s = o / (length * height) % depth;
    const double* own = values + o / (length * height * depth) * m.boxes();
    const Index y = y_starts[i] - 1, z = z_starts[s] - 1;
    double sum = 0.0;
    for (int a = 0; a < 4; ++a)
      for (int b = 0; b < 4; ++b) {
        const double weight = z_weights[a * depth + s] * y_weights[b * height + i];
        if (weight != 0.0) sum += weight * value_at(m, own, z + a, y + b, x);
      }
    rows[o] = sum;
  }
}

// The least and the greatest value between the centres of boxes along each axis: of the boxes that have weight there,
// those beyond the outermost ones included, within bounds of each mesh.
KERNEL mesh_limits(const double* values, Index meshes, Index nz, Index ny, Index nx, const double* lowest,
                   const double* highest, double* lows, double* highs) {
  const Mesh m = {nz, ny, nx};
  const Index mz = greatest(nz - 1, (Index)1), my = greatest(ny - 1, (Index)1), mx = greatest(nx - 1, (Index)1);
  for (Index o = first_thread(); o < meshes * mz * my * mx; o += all_threads()) {
    const Index x = o % mx - 1, y = o / mx % my - 1, z = o / (mx * my) % mz - 1, mesh = o / (mx * my * mz);
    double low = infinity(), high = -infinity();
    for (int a = 0; a < 4; ++a)
      for (int b = 0; b < 4; ++b)
        for (int c = 0; c < 4; ++c) {
          const double v = value_at(m, values + mesh * m.boxes(), z + a, y + b, x + c);
          low = least(low, v);
          high = greatest(high, v);
        }
    lows[o] = within_range(low, lowest[mesh], highest[mesh]);
    highs[o] = within_range(high, lowest[mesh], highest[mesh]);
  }
}

// Interpolate along rows, within limits.
KERNEL mesh_spread(const double* rows, Index lines, Index height, Index depth, Index length, TAPS(x), Index width,
                   const Index* z_starts, const Index* y_starts, Index mz, Index my, Index mx, const double* lows,
                   const double* highs, Real* out) {
  for (Index o = first_thread(); o < lines * width; o += all_threads()) {
    const Index x = o % width, line = o / width, mesh = line / (depth * height);
    const Index z = z_starts[line / height % depth], y = y_starts[line % height];
    const Index k = ((mesh * mz + z) * my + y) * mx + x_starts[x];
    const double* own = rows + line * length + x_starts[x];
    double v = own[0] * x_weights[x] + own[1] * x_weights[width + x];
    v = v + own[2] * x_weights[2 * width + x] + own[3] * x_weights[3 * width + x];
    v = v < lows[k] ? lows[k] : v;
    out[o] = (Real)(v > highs[k] ? highs[k] : v);
  }
}
