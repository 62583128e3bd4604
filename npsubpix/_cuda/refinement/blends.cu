// Fits of spots that start near others: the fit of one is then of both.
#include "formulas.cuh"

// Not the number of any pixel.
constexpr Index NO_PIXEL = -1;

// Number the pixels at which rows start, image by image, maxima before minima. Duplicates, and starts outside their
// image, have no number.
KERNEL blends_number(const Index* starts, const Index* frames, const int* flags, Index count, Index axes, Index depth,
                     Index height, Index width, Index* keys) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const Index* at = starts + k * axes;
    const Index d = axes == 3 ? at[0] : 0, i = at[axes - 2], j = at[axes - 1];
    const bool inside = d >= 0 && d < depth && i >= 0 && i < height && j >= 0 && j < width && frames[k] >= 0;
    const Index group = 2 * frames[k] + ((flags[k] & FLAG_MINIMUM) != 0);
    const bool counts = inside && !(flags[k] & FLAG_DUPLICATE);
    keys[k] = counts ? ((group * depth + d) * height + i) * width + j : NO_PIXEL;
  }
}

// Pixels at which rows start, in the order of their numbers, in images that are periodic or not.
struct Starts {
  const Index *ordered, *order;
  Index count, depth, height, width;
  bool wrap;

  // Whether a row, but for one, starts in a line from which the square of a distance is left, near a column.
  __device__ __forceinline__ bool in_line(Index row, Index line, Index column, Index reach, double square) const {
    const Index first = line * width + greatest(column - reach, (Index)0);
    const Index last = line * width + least(column + reach, width - 1);
    Index low = 0, high = count;
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (ordered[middle] < first) low = middle + 1;
      else high = middle;
    }
    for (; low < count && ordered[low] <= last; ++low) {
      const double off = (double)(ordered[low] - line * width - column);
      if (order[low] != row && off * off < square) return true;
    }
    return false;
  }

  __device__ __noinline__ bool near(Index row, Index key, double distance) const {
    const Index reach = (Index)ceil(distance), column = key % width, i = key / width % height;
    const Index d = key / (width * height) % depth, planes = (key / (width * height) - d) * height;
    const Index up = least(reach, height), deep = least(reach, depth);
    for (Index dd = depth > 1 ? -deep : 0; dd <= (depth > 1 ? deep : 0); ++dd) {
      if (!wrap && (d + dd < 0 || d + dd >= depth)) continue;
      for (Index ii = -up; ii <= up; ++ii) {
        const double left = distance * distance - (double)(dd * dd) - (double)(ii * ii);
        if (!(left > 0) || (!wrap && (i + ii < 0 || i + ii >= height))) continue;
        const Index line = planes + (d + dd + depth) % depth * height + (i + ii + height) % height;
        if (in_line(row, line, column, reach, left)) return true;
        if (wrap && (in_line(row, line, column - width, reach, left) || in_line(row, line, column + width, reach, left)))
          return true;
      }
    }
    return false;
  }
};

// Flag each row that starts nearer than its reach to another of its image. A reach that is NaN holds none.
KERNEL blends_flag(const Index* keys, const Index* ordered, const Index* order, const Real* reach, Index count,
                   Index axes, Index depth, Index height, Index width, bool wrap, int* flags) {
  const Starts starts = {ordered, order, count, depth, height, width, wrap};
  for (Index k = first_thread(); k < count; k += all_threads())
    if (keys[k] != NO_PIXEL && reach[k] > 0 && starts.near(k, keys[k], reach[k])) flags[k] |= FLAG_BLENDED;
}
