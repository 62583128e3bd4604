// Percentiles of windows: few pixels are sorted in registers, many are counted.
#include "formulas.cuh"
#include "ends.cuh"
#include "keys.cuh"
#include "windows.cuh"

typedef Argument<Real>::Type Number;
typedef Keys<Real> Ordered;
typedef Ordered::Key Key;
typedef Ordered::Word Word;

// Pixels of 64 bits without a sign come with the first bit turned, and so in the order of those with one.
#define FIRST_BIT 0x8000000000000000ull

FORMULA double number_of(Real v, bool turned) { return turned ? (double)((UInt64)v ^ FIRST_BIT) : (double)v; }
FORMULA Real real_of(double v, bool turned) { return turned ? (Real)((UInt64)v ^ FIRST_BIT) : (Real)v; }

// The quantile that is asked for, from 0 to 1; whether pixels are integers, with their first bit
// turned; and the result of a window without pixels.
struct Wanted {
  double quantile;
  bool integer, turned;
  Real none;
};

// The rank of the pixel below a quantile, and the fraction of the way to the next rank.
struct Rank {
  Index below;
  double fraction;
};

FORMULA Rank rank_of(double quantile, Index count) {
  const double place = quantile * (double)(count - 1);
  return {(Index)place, place - (double)(Index)place};
}

// Between two pixels. Integers are rounded, and stay between the two.
FORMULA Real interpolated(Key low, Key high, double fraction, const Wanted& wanted) {
  const Real lower = Ordered::back(low), higher = Ordered::back(high);
  const double a = number_of(lower, wanted.turned), b = number_of(higher, wanted.turned);
  const double between = (1 - fraction) * a + fraction * b, v = wanted.integer ? rint(between) : between;
  if (fraction == 0 || low == high || v <= a) return lower;
  return v >= b ? higher : real_of(v, wanted.turned);
}

// Batcher's odd-even merge sort of N keys in registers. A network for the next power of two leaves out
// what is beyond N.
template <unsigned N, unsigned FIRST, unsigned COUNT, unsigned STEP>
struct Merge {
  static __device__ __forceinline__ void swap(Key (&keys)[N], unsigned i, unsigned k) {
    const Key low = least(keys[i], keys[k]), high = greatest(keys[i], keys[k]);
    keys[i] = low;
    keys[k] = high;
  }
  static __device__ __forceinline__ void run(Key (&keys)[N]) {
    if constexpr (STEP * 2 < COUNT) {
      Merge<N, FIRST, COUNT, STEP * 2>::run(keys);
      Merge<N, FIRST + STEP, COUNT, STEP * 2>::run(keys);
#pragma unroll
      for (unsigned i = FIRST + STEP; i + STEP < FIRST + COUNT; i += STEP * 2)
        if (i + STEP < N) swap(keys, i, i + STEP);
    } else if constexpr (FIRST + STEP < N) {
      swap(keys, FIRST, FIRST + STEP);
    }
  }
};

template <unsigned N, unsigned FIRST, unsigned COUNT>
FORMULA void sort(Key (&keys)[N]) {
  if constexpr (COUNT > 1 && FIRST + 1 < N) {
    sort<N, FIRST, COUNT / 2>(keys);
    sort<N, FIRST + COUNT / 2, COUNT / 2>(keys);
    Merge<N, FIRST, COUNT, 1>::run(keys);
  }
}

// Copy a window to registers, with keys above all others for what it has not. Return how many it has, -1 if one is NaN.
template <unsigned N>
FORMULA Index gather(Key (&keys)[N], const Real* x, const bool* skipped, const Windows& w, const bool* footprint,
                     Real fill, Index o) {
  Index count = 0;
  if (w.holds(o) && !footprint && !skipped) {
    const Real* plane = x + (w.z.place(w.oz(o)) * w.y.size + w.y.place(w.oy(o))) * w.x.size + w.x.place(w.ox(o));
    Index b = 0, c = 0, row = 0;
    count = w.weights();
#pragma unroll
    for (unsigned n = 0; n < N; ++n) {
      keys[n] = n < count ? Ordered::of(plane[row + c]) : Ordered::TOP;
      if (++c == w.x.window) c = 0, row += w.x.size, ++b;
      if (b == w.y.window) b = 0, row += (w.y.size - w.y.window) * w.x.size;
    }
  } else {
    Key found[N];  // in memory, as registers have no index
    visit_window(x, skipped, w, fill, o, [&](Real v, Index n) {
      if (!footprint || footprint[n]) found[count++] = Ordered::of(v);
    });
#pragma unroll
    for (unsigned n = 0; n < N; ++n) keys[n] = n < count ? found[n] : Ordered::TOP;
  }
  bool missing = false;
#pragma unroll
  for (unsigned n = 0; n < N; ++n) missing |= n < count && !Ordered::is_number(keys[n]);
  return missing ? -1 : count;
}

template <unsigned N, unsigned POWER>
FORMULA void sort_windows(const Real* x, const bool* skipped, const Windows& w, const bool* footprint, Real fill,
                          const Wanted& wanted,
                          Real* out) {
  for (Index o = first_thread(); o < w.count(); o += all_threads()) {
    Key keys[N];
    const Index count = gather(keys, x, skipped, w, footprint, fill, o);
    sort<N, 0, POWER>(keys);
    const Rank rank = rank_of(wanted.quantile, count);
    const Index next = least(rank.below + 1, count - 1);
    Key low = keys[0], high = keys[0];
#pragma unroll
    for (unsigned n = 1; n < N; ++n) {
      low = n == rank.below ? keys[n] : low;
      high = n == next ? keys[n] : high;
    }
    out[o] = count > 0 ? interpolated(low, high, rank.fraction, wanted) : wanted.none;
  }
}

#define PERCENTILES                                                                                              \
  const Real *x, const bool *skipped, WINDOWS(w), const bool *footprint, Number fill, double quantile,           \
      bool integer, bool turned, Number none, Real *out
#define WANTED {quantile, integer, turned, (Real)none}

KERNEL percentiles_of_9(PERCENTILES) {
  sort_windows<9, 16>(x, skipped, AS_WINDOWS(w), footprint, (Real)fill, WANTED, out);
}

KERNEL percentiles_of_27(PERCENTILES) {
  sort_windows<27, 32>(x, skipped, AS_WINDOWS(w), footprint, (Real)fill, WANTED, out);
}

// Many pixels. The keys between the least and the greatest are divided into 16 ranges, and pixels are
// counted in each; so is the range that the wanted rank is in, until it holds one value.
#define RANGES 16

struct Range {
  Key low, high;
  Index before;  // how many pixels are below it
};

template <typename See>
FORMULA void visit_keys(const Real* x, const bool* skipped, const Windows& w, const bool* footprint, Real fill,
                        Index o, See see) {
  visit_window(x, skipped, w, fill, o, [&](Real v, Index n) {
    if (!footprint || footprint[n]) see(Ordered::of(v));
  });
}

// The greatest power of two that `RANGES` ranges need for so many keys less one, as its exponent.
FORMULA unsigned exponent_of(Word span) {
  unsigned bits = 0;
  while (span >> bits >= RANGES) ++bits;
  return bits;
}

FORMULA Range narrowed(const Real* x, const bool* skipped, const Windows& w, const bool* footprint, Real fill,
                       Index o, Range r, Index rank,
                       UInt32 (&counts)[RANGES][THREADS]) {
  const unsigned bits = exponent_of((Word)r.high - (Word)r.low);
  for (unsigned n = 0; n < RANGES; ++n) counts[n][threadIdx.x] = 0;
  Key lowest = Ordered::TOP, highest = ~Ordered::TOP;
  visit_keys(x, skipped, w, footprint, fill, o, [&](Key k) {
    if (k < r.low || k > r.high) return;
    ++counts[((Word)k - (Word)r.low) >> bits][threadIdx.x];
    lowest = least(lowest, k);
    highest = greatest(highest, k);
  });
  unsigned n = 0;
  Index before = r.before;
  while (n < RANGES - 1 && before + counts[n][threadIdx.x] <= rank) before += counts[n++][threadIdx.x];
  const Word first = (Word)r.low + ((Word)n << bits), last = first + (((Word)1 << bits) - 1);
  const Key low = (Key)first, high = (Key)last < low ? highest : (Key)last;
  return {greatest(low, lowest), least(high, highest), before};
}

// The number of keys up to one, and the least above it.
FORMULA Key key_after(const Real* x, const bool* skipped, const Windows& w, const bool* footprint, Real fill, Index o,
                      Key key, Index rank) {
  Index count = 0;
  Key next = Ordered::TOP;
  visit_keys(x, skipped, w, footprint, fill, o, [&](Key k) {
    if (k <= key)
      ++count;
    else
      next = least(next, k);
  });
  return count > rank + 1 ? key : next;
}

KERNEL percentiles_of_many(PERCENTILES) {
  __shared__ UInt32 counts[RANGES][THREADS];  // a column for each thread
  const Windows w = AS_WINDOWS(w);
  const Wanted wanted = WANTED;
  for (Index o = first_thread(); o < w.count(); o += all_threads()) {
    Range r = {Ordered::TOP, ~Ordered::TOP, 0};
    Index count = 0;
    visit_keys(x, skipped, w, footprint, (Real)fill, o, [&](Key k) {
      r.low = least(r.low, k);
      r.high = greatest(r.high, k);
      ++count;
    });
    if (count == 0 || !Ordered::is_number(r.high)) {
      out[o] = count ? Ordered::back(r.high) : wanted.none;
      continue;
    }
    const Rank rank = rank_of(wanted.quantile, count);
    while (r.low < r.high) r = narrowed(x, skipped, w, footprint, (Real)fill, o, r, rank.below, counts);
    const Key next = rank.fraction > 0 ? key_after(x, skipped, w, footprint, (Real)fill, o, r.low, rank.below) : r.low;
    out[o] = interpolated(r.low, next, rank.fraction, wanted);
  }
}
