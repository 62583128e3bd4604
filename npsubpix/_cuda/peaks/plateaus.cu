// Plateaus: regional extrema of several equal pixels, which strict comparison misses.
//
// Adjacent equal pixels are joined in sets, whose root is the first of them in memory. A set is a plateau if
// no pixel in the windows of its pixels is greater and one is smaller; if none of its pixels lies in the border; and
// if no plateau of its value that precedes it is in these windows. The place of a set is that of its first seed: a
// pixel that exceeds the threshold, has no greater neighbour, and is no strict extremum.
#include "formulas.cuh"
#include "block.cuh"
#include "codes.cuh"
#include "stacks.cuh"

#define STACK const Pixel *x, const bool *mask, Index images, Index depth, Index height, Index width
#define BORDER Index front, Index back, Index top, Index bottom, Index left, Index right
#define THRESHOLDS const double *tops, double relative, double absolute

#define NONE (~(UInt64)0)

// States of sets, kept at their roots.
#define GOOD 0
#define OUT 1
#define OPEN 2  // depends on sets that precede it
#define KEPT 3

// The root of the set of a pixel. On the way, each pixel gets the parent of its parent, so that the paths of large sets
// stay short. Another thread may have given it a parent that is less meanwhile: that one is then joined by `join`, so
// that nothing is lost.
FORMULA UInt64 root_of(volatile UInt64* parents, UInt64 k) {
  UInt64 up = parents[k];
  while (up != k) {
    const UInt64 top = parents[up];
    if (top != up) parents[k] = top;
    k = up;
    up = top;
  }
  return k;
}

// Join the sets of two pixels: the greater root gets the less as its parent. If it has got another one meanwhile,
// that one is left to be joined.
FORMULA void join(UInt64* parents, UInt64 a, UInt64 b) {
  for (;;) {
    a = root_of(parents, a);
    b = root_of(parents, b);
    if (a == b) return;
    const UInt64 high = greatest(a, b), low = least(a, b), old = atomicMin(&parents[high], low);
    if (old == high) return;
    a = old;
    b = low;
  }
}

KERNEL plateaus_begin(Index count, UInt64* parents) {
  for (Index k = first_thread(); k < count; k += all_threads()) parents[k] = (UInt64)k;
}

KERNEL plateaus_join(STACK, UInt64* parents) {
  const Images m = {x, mask, images, depth, height, width};
  for (Index k = first_thread(); k < images * m.pixels(); k += all_threads()) {
    const Key own = Ordered::key(x[k]);
    if (m.masked(k) || !Ordered::is_number(own)) continue;
    const Spot s = spot_of(k, depth, height, width);
    any_in_window(m, s, 3, 3, 3, [=](Index place) {
      if (place < k && !m.masked(place) && Ordered::key(x[place]) == own) join(parents, (UInt64)k, (UInt64)place);
      return false;
    });
  }
}

KERNEL plateaus_flatten(Index count, UInt64* parents) {
  for (Index k = first_thread(); k < count; k += all_threads()) parents[k] = root_of(parents, (UInt64)k);
}

// Reset the states of sets.
KERNEL plateaus_forget(Index count, UInt64* firsts, UInt8* states, UInt8* pending) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    firsts[k] = NONE;
    states[k] = GOOD;
    pending[k] = 0;
  }
}

// Examine each pixel of each set. `pending` is set at the root if a smaller pixel is in a window.
KERNEL plateaus_judge(STACK, Index kd, Index ki, Index kj, BORDER, THRESHOLDS, bool minimum,
                      const UInt64* parents, const UInt8* codes, UInt64* firsts, volatile UInt8* states,
                      volatile UInt8* pending) {
  const Images m = {x, mask, images, depth, height, width};
  const Margins border = {front, back, top, bottom, left, right};
  const Thresholds thresholds = {tops, relative, absolute};
  for (Index k = first_thread(); k < images * m.pixels(); k += all_threads()) {
    const UInt64 root = parents[k];
    const Key own = m.key(k, minimum);
    if (m.masked(k) || !Ordered::is_number(own) || states[root] != GOOD) continue;
    const Spot s = spot_of(k, depth, height, width);
    bool below = false;
    const auto is_above = [&](Index place) {
      const Key other = m.key(place, minimum);  // that of NaN is above all
      below = below || other < own;
      return other > own;
    };
    if (!border.inside(m, s.d, s.i, s.j) || !exceeds(x[k], thresholds.of(s.image, images, minimum), minimum) ||
        any_in_window(m, s, kd, ki, kj, is_above)) {
      states[root] = OUT;
      continue;
    }
    if (below) pending[root] = 1;
    const bool strict = codes[k] && !(codes[k] & PLATEAU);
    const auto is_beaten = [=](Index place) {
      const Key other = m.key(place, minimum);
      return Ordered::is_number(other) && other > own;
    };
    if (!strict && !any_in_window(m, s, 3, 3, 3, is_beaten)) atomicMin(&firsts[root], (UInt64)k);
  }
}

// Decide on a set that was examined. If windows extend beyond neighbours, sets that precede it may rule it out.
KERNEL plateaus_settle(Index count, bool beyond, Index code, const UInt64* parents, const UInt64* firsts, UInt8* states,
                       UInt8* pending, UInt8* codes) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    if (parents[k] != (UInt64)k) continue;
    if (states[k] == OUT || !pending[k] || firsts[k] == NONE)
      states[k] = OUT;
    else if (beyond)
      states[k] = OPEN;
    else
      states[k] = KEPT, codes[firsts[k]] |= (UInt8)code;
    pending[k] = 0;
  }
}

// Decisions on open sets are never revised, so they do not depend on the order of threads.
struct Sets {
  Images m;
  Index kd, ki, kj, code;
  const UInt64 *parents, *firsts;
  volatile UInt8 *states, *pending;
  UInt8* codes;

  // Look for sets that precede that of a pixel: a kept one rules it out, an open one makes it wait.
  __device__ __forceinline__ void compare(Index k) const {
    const UInt64 root = parents[k];
    if (states[root] != OPEN) return;
    const Key own = Ordered::key(m.x[k]);
    any_in_window(m, spot_of(k, m.depth, m.height, m.width), kd, ki, kj, [=](Index place) {
      const UInt64 other = parents[place];
      if (m.masked(place) || other == root || Ordered::key(m.x[place]) != own) return false;
      const UInt8 state = states[other];
      if ((state != KEPT && state != OPEN) || firsts[other] > firsts[root]) return false;
      if (state == KEPT) states[root] = OUT;
      if (state == OPEN) pending[root] = 1;
      return state == KEPT;
    });
  }

  // Keep a set that does not wait for others; return whether it is still open.
  __device__ __forceinline__ bool decide(Index k) const {
    if (parents[k] != (UInt64)k || states[k] != OPEN) return false;
    const bool waits = pending[k];
    pending[k] = 0;
    if (!waits) states[k] = KEPT, codes[firsts[k]] |= (UInt8)code;
    return waits;
  }
};

#define SETS                                                                                                     \
  STACK, Index kd, Index ki, Index kj, Index code, const UInt64 *parents, const UInt64 *firsts, UInt8 *states,   \
      UInt8 *pending, UInt8 *codes
#define THESE_SETS \
  const Sets sets = {{x, mask, images, depth, height, width}, kd, ki, kj, code, parents, firsts, states, pending, codes}

// One round of decisions, by all threads, is these two; `open` gets the number of open sets of each image.
KERNEL plateaus_compare(SETS) {
  THESE_SETS;
  for (Index k = first_thread(); k < images * sets.m.pixels(); k += all_threads()) sets.compare(k);
}

KERNEL plateaus_decide(SETS, UInt64* open) {
  THESE_SETS;
  for (Index k = first_thread(); k < images * sets.m.pixels(); k += all_threads())
    if (sets.decide(k)) atomicAdd(&open[k / sets.m.pixels()], (UInt64)1);
}

// Decide on the undecided sets. One block per image, which continues until none is open there: the first open set can
// always be decided on.
KERNEL plateaus_contest(SETS, const UInt64* open) {
  THESE_SETS;
  for (Index image = blockIdx.x; image < images; image += gridDim.x) {
    const Index begin = image * sets.m.pixels(), end = begin + sets.m.pixels();
    for (bool more = open[image] > 0; more;) {
      double left[1] = {0};
      for (Index k = begin + threadIdx.x; k < end; k += blockDim.x) sets.compare(k);
      __syncthreads();
      for (Index k = begin + threadIdx.x; k < end; k += blockDim.x) left[0] += sets.decide(k);
      sum_over_block(left);
      more = left[0] > 0;
    }
  }
}

// The candidates that are looked for, in memory order, and the sets of one sign.
struct Listed {
  const UInt64 *parents, *firsts;
  const UInt8* states;
  bool minimum;
  const Index* indices;
  const int* flags;
  Index count;

  __device__ __forceinline__ bool is_of_sign(Index row) const {
    return ((flags[row] & FLAG_MINIMUM) != 0) == minimum;
  }
  // The candidate of the plateau of a pixel; -1 if there is none, or it was dropped. A pixel may be the first of a
  // plateau of either sign, and then has two candidates.
  __device__ __forceinline__ Index row_of(Index k) const {
    const UInt64 root = parents[k];
    if (states[root] != KEPT) return -1;
    const Index first = (Index)firsts[root];
    Index low = 0, high = count;
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (indices[middle] < first)
        low = middle + 1;
      else
        high = middle;
    }
    if (low < count && indices[low] == first && !is_of_sign(low)) ++low;
    return low < count && indices[low] == first && is_of_sign(low) ? low : -1;
  }
};

#define LISTED                                                                                                    \
  Index depth, Index height, Index width, Index total, const UInt64 *parents, const UInt64 *firsts,               \
      const UInt8 *states, bool minimum, const Index *indices, const int *flags, Index count
#define THESE_LISTED const Listed listed = {parents, firsts, states, minimum, indices, flags, count}

// Sum over the pixels of plateaus: their number, and their positions along depth, rows and columns; and the least
// distances from the start and from the end of each axis.
KERNEL plateaus_sum(LISTED, UInt64* sums, UInt64* bounds) {
  THESE_LISTED;
  for (Index k = first_thread(); k < total; k += all_threads()) {
    const Index row = listed.row_of(k);
    if (row < 0) continue;
    const Spot s = spot_of(k, depth, height, width);
    const Index place[3] = {s.d, s.i, s.j}, length[3] = {depth, height, width};
    atomicAdd(&sums[4 * row], (UInt64)1);
    for (int a = 0; a < 3; ++a) {
      atomicAdd(&sums[4 * row + 1 + a], (UInt64)place[a]);
      atomicMin(&bounds[6 * row + a], (UInt64)place[a]);
      atomicMin(&bounds[6 * row + 3 + a], (UInt64)(length[a] - 1 - place[a]));
    }
  }
}

// The centres of plateaus, NaN for all other candidates; their number of pixels, and their lengths along z, y and x, 1
// for all others.
KERNEL plateaus_describe(const UInt64* sums, const UInt64* bounds, Index count, Index axes, Index depth, Index height,
                         Index width, double* centres, Index* extents) {
  const Index length[3] = {depth, height, width};
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const double size = (double)sums[4 * k];
    for (int a = 0; a < axes; ++a) {
      const double sum = (double)sums[4 * k + 4 - axes + a];
      centres[k * axes + a] = size > 0 ? sum / size : not_a_number();
    }
    extents[4 * k] = size > 0 ? (Index)sums[4 * k] : 1;
    for (int a = 0; a < 3; ++a)
      extents[4 * k + 1 + a] = size > 0 ? length[a] - (Index)bounds[6 * k + a] - (Index)bounds[6 * k + 3 + a] : 1;
  }
}

// The sum of the distances of a pixel from the centre of its plateau along the axes, times its number of pixels.
FORMULA UInt64 distance_from_centre(const UInt64* sums, Index row, Spot s) {
  const Index place[3] = {s.d, s.i, s.j}, size = (Index)sums[4 * row];
  Index sum = 0;
  for (int a = 0; a < 3; ++a) {
    const Index off = size * place[a] - (Index)sums[4 * row + 1 + a];
    sum += off < 0 ? -off : off;
  }
  return (UInt64)sum;
}

// Whether a pixel may stand for its plateau: it is no strict extremum, which a plateau may hold if windows are smaller
// than three pixels.
FORMULA bool may_stand(const UInt8* codes, Index k) { return !codes[k] || (codes[k] & PLATEAU); }

KERNEL plateaus_measure(LISTED, const UInt8* codes, const UInt64* sums, UInt64* shortest) {
  THESE_LISTED;
  for (Index k = first_thread(); k < total; k += all_threads()) {
    const Index row = may_stand(codes, k) ? listed.row_of(k) : -1;
    if (row >= 0) atomicMin(&shortest[row], distance_from_centre(sums, row, spot_of(k, depth, height, width)));
  }
}

// The first in memory of the pixels that are nearest to the centre.
KERNEL plateaus_choose(LISTED, const UInt8* codes, const UInt64* sums, const UInt64* shortest, UInt64* nearest) {
  THESE_LISTED;
  for (Index k = first_thread(); k < total; k += all_threads()) {
    const Index row = may_stand(codes, k) ? listed.row_of(k) : -1;
    if (row >= 0 && distance_from_centre(sums, row, spot_of(k, depth, height, width)) == shortest[row])
      atomicMin(&nearest[row], (UInt64)k);
  }
}

// Let the pixels nearest to the centres stand for plateaus of one sign, instead of the first. No two candidates share
// a set, so the order of threads does not matter.
KERNEL plateaus_move(const Index* indices, const int* flags, Index count, bool minimum, Index code,
                     const UInt64* parents, const UInt64* nearest, UInt64* firsts, UInt8* codes) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const Index first = indices[k], to = (Index)nearest[k];
    if (!(flags[k] & FLAG_PLATEAU) || ((flags[k] & FLAG_MINIMUM) != 0) != minimum || first == to) continue;
    codes[first] = without(codes[first], minimum);
    codes[to] |= (UInt8)code;
    firsts[parents[first]] = (UInt64)to;
  }
}

// A number that is less for what is higher, of maxima or of minima.
FORMULA UInt64 depth_of(const Pixel* x, Index k, bool minimum) {
  const Key own = Ordered::key(x[k]), key = minimum ? Ordered::mirrored(own) : own;
  const bool negative = (Key)-1 < (Key)0;
  return ~(negative ? (UInt64)(Index)key ^ (UInt64)1 << 63 : (UInt64)key);
}

#define CEILINGS                                                                                                    \
  const Pixel *x, const Index *indices, const Index *frames, const int *flags, Index count, UInt64 *tops, UInt64 *wide, \
      Index clipped

// The highest candidates of images, of maxima and of minima, and the highest plateaus of at least `clipped` pixels.
KERNEL plateaus_ceilings(CEILINGS, const UInt64* sums) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const bool minimum = flags[k] & FLAG_MINIMUM;
    const Index group = 2 * frames[k] + minimum;
    const UInt64 depth = depth_of(x, indices[k], minimum);
    atomicMin(&tops[group], depth);
    if ((flags[k] & FLAG_PLATEAU) && sums[4 * k] >= (UInt64)clipped) atomicMin(&wide[group], depth);
  }
}

// Count plateaus at the highest value of their image as wide if one of them is, or at an end of integers.
KERNEL plateaus_widen(CEILINGS, bool integers, Index least_end, Index greatest_end, Index* extents) {
  for (Index k = first_thread(); k < count; k += all_threads()) {
    const bool minimum = flags[k] & FLAG_MINIMUM;
    const Index group = 2 * frames[k] + minimum, place = indices[k];
    const UInt64 depth = depth_of(x, place, minimum);
    const bool at_end = integers && (Index)x[place] == (minimum ? least_end : greatest_end);
    if ((flags[k] & FLAG_PLATEAU) && (at_end || (depth == tops[group] && depth == wide[group])))
      extents[4 * k] = greatest(extents[4 * k], clipped);
  }
}
