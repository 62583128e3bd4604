// Candidates for peaks, independent of the dtype of their image: counted, sorted, kept apart.
#include "formulas.cuh"
#include "block.cuh"
#include "codes.cuh"

// The number of candidates in each part of an image. One block per part.
KERNEL candidates_count(const UInt8* codes, Index images, Index pixels, Index parts, Index part_size, Index* counts) {
  for (Index part = blockIdx.x; part < images * parts; part += gridDim.x) {
    const Index begin = part % parts * part_size, end = least(begin + part_size, pixels);
    const UInt8* of_image = codes + part / parts * pixels;
    double count[1] = {0};
    for (Index k = begin + threadIdx.x; k < end; k += blockDim.x) count[0] += (double)rows_of(of_image[k]);
    sum_over_block(count);
    if (threadIdx.x == 0) counts[part] = (Index)count[0];
  }
}

// Rows of a table of candidates, in memory order.
struct Candidates {
  const Index *indices, *frames;
  const int* flags;
  const UInt64 *majors, *minors;

  // Whether a row precedes another: image by image, the strongest first, of equal ones the first in memory.
  __device__ __forceinline__ bool before(Index a, Index b) const {
    if (frames[a] != frames[b]) return frames[a] < frames[b];
    if (majors[a] != majors[b]) return majors[a] > majors[b];
    if (minors[a] != minors[b]) return minors[a] > minors[b];
    return a < b;
  }
};

// Merge neighbouring runs of sorted rows: each row moves to its rank among those of its own run and of the other.
// Without rows, they are numbered.
KERNEL candidates_merge(const Index* frames, const UInt64* majors, const UInt64* minors, Index count, Index length,
                        const Index* from, Index* to) {
  const Candidates c = {nullptr, frames, nullptr, majors, minors};
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const Index pair = k / (2 * length) * (2 * length), row = from ? from[k] : k;
    const bool second = k - pair >= length;
    const Index other = second ? pair : least(pair + length, count);
    Index low = other, high = second ? pair + length : least(pair + 2 * length, count);
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (c.before(from ? from[middle] : middle, row))
        low = middle + 1;
      else
        high = middle;
    }
    to[pair + (second ? k - pair - length : k - pair) + low - other] = row;
  }
}

// Copy the first rows of each image: `ends` and `kept_ends` are the numbers of rows up to the end of each.
KERNEL candidates_cut(const Index* rows, const Index* frames, const Index* ends, const Index* kept_ends, Index count,
                      Index* out) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const Index image = frames[rows[k]], place = k - (image ? ends[image - 1] : 0);
    const Index start = image ? kept_ends[image - 1] : 0;
    if (place < kept_ends[image] - start) out[start + place] = rows[k];
  }
}

// The first candidate of each row of pixels, and the number of candidates.
KERNEL candidates_rows(const Index* indices, Index count, Index rows, Index width, Index* starts) {
  for (Index row = first_thread(); row <= rows; row += all_threads())
    starts[row] = first_at_least(indices, 0, count, row * width);
}

// Candidates are kept apart greedily, from the strongest on: a candidate is kept when all stronger ones that are
// too close to it are struck out, and then it strikes out all others that are too close. Decisions are never revised,
// so the result does not depend on the order of threads.
#define OPEN 0
#define KEPT 1
#define STRUCK 2

struct Apart {
  Candidates c;
  const Index* row_starts;
  Index depth, height, width;
  Real weight_z, weight_y, weight_x, limit;
  bool wrap;
  volatile UInt8* states;

  // Call visit(q) for the candidates too close to p, maxima for a maximum and minima for a minimum, until it
  // returns true. In a periodic image distances are those to the nearest of the repetitions of a candidate.
  template <typename Visit>
  __device__ __forceinline__ bool any_close(Index p, Visit visit) const {
    const Index line = c.indices[p] / width, column = c.indices[p] % width;
    const Index z = line / height % depth, y = line % height;
    const Index far_z = (Index)sqrt(limit / weight_z), far_y = (Index)sqrt(limit / weight_y);
    const Index reach_z = wrap ? least(far_z, depth / 2) : far_z, reach_y = wrap ? least(far_y, height / 2) : far_y;
    const Index first_z = wrap ? -reach_z : greatest(-reach_z, -z), first_y = wrap ? -reach_y : greatest(-reach_y, -y);
    const Index last_z = wrap ? reach_z : least(reach_z, depth - 1 - z),
                last_y = wrap ? reach_y : least(reach_y, height - 1 - y);
    for (Index dz = first_z; dz <= last_z; ++dz)
      for (Index dy = first_y; dy <= last_y; ++dy) {
        const Real left = limit - weight_z * dz * dz - weight_y * dy * dy;
        if (left <= 0) continue;
        const Index reach_x = (Index)sqrt(left / weight_x);
        const Index plane = line - z * height - y, row = plane + modulo(z + dz, depth) * height + modulo(y + dy, height);
        const Index first = row * width, end = row_starts[row + 1];
        for (Index turn = wrap ? -1 : 0; turn <= (wrap ? 1 : 0); ++turn) {
          const Index centre = column + turn * width, from = first + greatest(centre - reach_x, (Index)0);
          for (Index q = first_at_least(c.indices, row_starts[row], end, from); q < end; ++q) {
            const Index dx = c.indices[q] - first - centre;
            if (dx > reach_x) break;
            if (q != p && !((c.flags[q] ^ c.flags[p]) & FLAG_MINIMUM) && weight_x * dx * dx < left && visit(q))
              return true;
          }
        }
      }
    return false;
  }

  // Decide on a candidate, if possible; return whether it is still open.
  __device__ __forceinline__ bool decide(Index p) const {
    if (states[p] != OPEN) return false;
    if (any_close(p, [=](Index q) { return states[q] != STRUCK && c.before(q, p); })) return true;
    if (states[p] != OPEN) return false;
    states[p] = KEPT;
    any_close(p, [=](Index q) {
      if (states[q] == OPEN) states[q] = STRUCK;
      return false;
    });
    return false;
  }
};

#define APART                                                                                                       \
  const Index *indices, const Index *frames, const int *flags, const UInt64 *majors, const UInt64 *minors,          \
      Index count, const Index *row_starts, Index depth, Index height, Index width, double weight_z,                \
      double weight_y, double weight_x, double limit, bool wrap, UInt8 *states

// One round of decisions, by all threads.
KERNEL candidates_separate(APART) {
  const Apart apart = {{indices, frames, flags, majors, minors}, row_starts, depth, height, width, weight_z,
                       weight_y, weight_x, limit, wrap, states};
  for (Index p = first_thread(); p < count; p += all_threads()) apart.decide(p);
}

// Decide on the undecided candidates. One block per image, which continues until none is open there: the strongest
// open candidate can always be decided on.
KERNEL candidates_separate_undecided(APART, Index images) {
  const Apart apart = {{indices, frames, flags, majors, minors}, row_starts, depth, height, width, weight_z,
                       weight_y, weight_x, limit, wrap, states};
  for (Index image = blockIdx.x; image < images; image += gridDim.x) {
    const Index begin = row_starts[image * depth * height], end = row_starts[(image + 1) * depth * height];
    for (bool more = begin < end; more;) {
      double open[1] = {0};
      for (Index p = begin + threadIdx.x; p < end; p += blockDim.x) open[0] += apart.decide(p);
      sum_over_block(open);
      more = open[0] > 0;
    }
  }
}

// Clear the codes of candidates that are struck out. The two of one pixel come one after the other.
KERNEL candidates_strike(const Index* indices, const int* flags, Index count, const UInt8* states, UInt8* codes) {
  for (Index p = first_thread(); p < count; p += all_threads()) {
    if (p > 0 && indices[p - 1] == indices[p]) continue;
    UInt8 code = codes[indices[p]];
    for (Index q = p; q < count && indices[q] == indices[p]; ++q)
      if (states[q] == STRUCK) code = without(code, flags[q] & FLAG_MINIMUM);
    codes[indices[p]] = code;
  }
}

// Add the flags of candidates to those of their refinement. A plateau that is not refined, or whose refinement was
// rejected, has the value of its pixels, and the position of its centre or of its pixel. One wider than the limits is
// rejected.
KERNEL candidates_settle(const int* found, const Real* centres, const Index* extents, const Real* pixels,
                         const Index* starts, Index most, Index most_z, Index most_y, Index most_x, bool refined,
                         bool to_centre, Index count, Index axes, Real* coords, Real* values, int* flags) {
  const Index limits[4] = {most, most_z, most_y, most_x};
  for (Index k = first_thread(); k < count; k += all_threads()) {
    flags[k] |= found[k];
    if (!centres || !(found[k] & FLAG_PLATEAU)) continue;
    if (refined) {
      for (int a = 0; a < 4; ++a)
        if (extents[4 * k + a] > limits[a]) flags[k] |= FLAG_SINGULAR;
      if (!(flags[k] & FLAGS_REJECTED)) continue;
    } else {
      flags[k] = found[k];
    }
    values[k] = pixels[k];
    for (int a = 0; a < axes; ++a)
      coords[k * axes + a] = to_centre ? centres[k * axes + a] : (Real)starts[k * axes + a];
  }
}

// Refined positions are sorted by lines of pixels, with two more on each side of an image, so that neighbours of a line
// are of the same image; and by their columns, of which the key is greater for what is less.
#define NO_LINE ((Index)1 << 62)

FORMULA Index line_of(const Real* at, int flags, Index frame, Index axes, Index depth, Index height) {
  Index line = 2 * frame + ((flags & FLAG_MINIMUM) != 0);
  if (axes == 3) line = line * (depth + 4) + (Index)rint(at[0]) + 2;
  return line * (height + 4) + (Index)rint(at[axes - 2]) + 2;
}

KERNEL candidates_lines(const Real* coords, const int* flags, const Index* frames, Index count, Index axes,
                        Index depth, Index height, Index* lines, UInt64* columns) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const Real* at = coords + k * axes;
    const bool rejected = flags[k] & FLAGS_REJECTED;
    lines[k] = rejected ? NO_LINE : line_of(at, flags[k], frames[k], axes, depth, height);
    columns[k] = rejected ? 0 : ~((UInt64)Order<Real>::key(at[axes - 1]) ^ (UInt64)1 << 63);
  }
}

// Refined rows in order of lines and columns. A row is stronger than those after it.
struct Places {
  const Index *rows, *lines, *frames;
  const Real* coords;
  Index count, axes, depth, height;
  volatile int* flags;

  // Whether a row has a stronger one within the distance, if one of both moved; `at` is its position.
  __device__ __noinline__ bool is_duplicate(Index a, const Real* at) const {
    const Index own = line_of(at, flags[a], frames[a], axes, depth, height);
    const Real x = at[axes - 1];
    for (Index dz = axes == 3 ? -1 : 0; dz <= (axes == 3 ? 1 : 0); ++dz)
      for (Index dy = -1; dy <= 1; ++dy) {
        const Index line = own + dz * (height + 4) + dy;
        Index begin = 0, end = count;
        while (begin < end) {
          const Index middle = (begin + end) / 2, b = rows[middle];
          if (lines[b] < line || (lines[b] == line && coords[b * axes + axes - 1] <= x - DUPLICATE_DISTANCE))
            begin = middle + 1;
          else
            end = middle;
        }
        for (; begin < count && lines[rows[begin]] == line; ++begin) {
          const Index b = rows[begin];
          if (!(coords[b * axes + axes - 1] < x + DUPLICATE_DISTANCE)) break;
          if (b >= a || !((flags[a] | flags[b]) & FLAG_MOVED)) continue;
          Real distance = 0;
          for (int n = 0; n < axes; ++n) {
            const Real off = at[n] - coords[b * axes + n];
            distance += off * off;
          }
          if (distance < DUPLICATE_DISTANCE * DUPLICATE_DISTANCE) return true;
        }
      }
    return false;
  }
};

// Flag each row that has a stronger one within the distance, if one of both moved. In a periodic image, a position near
// an edge is also beyond the opposite one.
KERNEL candidates_duplicates(const Index* rows, const Index* lines, const Index* frames, const Real* coords, Index count,
                             Index axes, Index depth, Index height, Index width, bool wrap, volatile int* flags) {
  const Places places = {rows, lines, frames, coords, count, axes, depth, height, flags};
  const Index lengths[3] = {depth, height, width};
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const Index a = rows[k];
    if (lines[a] == NO_LINE) continue;
    bool found = false;
    for (int turn = 0; turn < 27 && !found; ++turn) {
      Real at[3] = {0, 0, 0};
      bool near = true;
      for (Index n = 0, code = turn; n < 3; ++n, code /= 3) {
        const Index step = code % 3 == 2 ? -1 : code % 3;
        if (n >= axes) {
          near = near && step == 0;
          continue;
        }
        const Index length = lengths[3 - axes + n];
        const Real place = coords[a * axes + n];
        at[n] = place + step * length;
        if (step > 0) near = near && wrap && place < DUPLICATE_DISTANCE - 0.5;
        if (step < 0) near = near && wrap && place > length - 0.5 - DUPLICATE_DISTANCE;
      }
      found = near && places.is_duplicate(a, at);
    }
    if (found) flags[a] = flags[a] | FLAG_DUPLICATE;
  }
}

// 1 for each row to keep: all but duplicates.
KERNEL candidates_unique(const int* flags, Index count, Index* kept) {
  for (Index k = first_thread(); k < count; k += all_threads()) kept[k] = flags[k] & FLAG_DUPLICATE ? 0 : 1;
}

// The number of rows to keep of each image, at most `most`; `sums` are those of `kept` up to each row, and `ends` the
// numbers of rows up to the end of each image.
KERNEL candidates_totals(const Index* sums, const Index* ends, Index images, Index most, Index* totals) {
  for (Index k = first_thread(); k < images; k += all_threads()) {
    const Index begin = k ? ends[k - 1] : 0, before = begin ? sums[begin - 1] : 0;
    totals[k] = ends[k] > begin ? least(sums[ends[k] - 1] - before, most) : 0;
  }
}

// The rows to keep, image by image; `kept_ends` are their numbers up to the end of each image.
KERNEL candidates_keep(const Index* kept, const Index* sums, const Index* frames, const Index* ends,
                       const Index* kept_ends, Index count, Index* rows) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    if (!kept[k]) continue;
    const Index image = frames[k], begin = image ? ends[image - 1] : 0, before = begin ? sums[begin - 1] : 0;
    const Index start = image ? kept_ends[image - 1] : 0, place = start + sums[k] - 1 - before;
    if (place < kept_ends[image]) rows[place] = k;
  }
}
