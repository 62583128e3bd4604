// Sums and extrema of windows, at a cost that hardly grows with their size; with a footprint, pixel by pixel.
#include "formulas.cuh"
#include "ends.cuh"
#include "keys.cuh"
#include "windows.cuh"
#include "tiles.cuh"

// Integers beyond 64 bits wrap, as those of NumPy do.
template <typename T>
struct SumOf {
  typedef T Type;
};
template <>
struct SumOf<Int64> {
  typedef UInt64 Type;
};
typedef SumOf<Real>::Type Sum;
typedef Argument<Real>::Type Number;
typedef Keys<Real> Ordered;
typedef Ordered::Key Key;

struct Sums {
  typedef Sum Part;
  Real fill;
  Windows image;
  bool mean;

  __device__ __forceinline__ Sum of(Real v) const { return (Sum)v; }
  __device__ __forceinline__ Sum none() const { return 0; }
  __device__ __forceinline__ Sum repeated(Index a, Index b, Index c) const { return (Sum)fill * (Sum)(a * b * c); }
  __device__ __forceinline__ Sum join(Sum a, Sum b, Index, Index) const { return a + b; }
  __device__ __forceinline__ void write(Sum v, Index k, Real* out) const {
    out[k] = (Real)(mean ? v / (Sum)image.counted(k) : v);
  }
};

// Minima are maxima of keys in the opposite order.
struct Extrema {
  typedef Key Part;
  Real fill;
  bool least;

  __device__ __forceinline__ Key turned(Key k) const { return least && Ordered::is_number(k) ? ~k : k; }
  __device__ __forceinline__ Key of(Real v) const { return turned(Ordered::of(v)); }
  __device__ __forceinline__ Key none() const { return ~Ordered::TOP; }
  __device__ __forceinline__ Key repeated(Index, Index, Index) const { return of(fill); }
  __device__ __forceinline__ Key join(Key a, Key b, Index, Index) const { return greatest(a, b); }
  __device__ __forceinline__ void write(Key k, Index place, Real* out) const { out[place] = Ordered::back(turned(k)); }
};

// Windows `p` are those of the pass, `i` those of the image.
KERNEL fold_sums(const Real* x, const bool* skipped, const Sum* parts, WINDOWS(p), PASS, WINDOWS(i), Number fill,
                 bool mean, Sum* made,
                 Real* out) {
  const Sums fold = {(Real)fill, AS_WINDOWS(i), mean};
  fold_tiles(fold, x, skipped, parts, AS_WINDOWS(p), AS_TILES, AS_PASS, made, out);
}

KERNEL join_sums(const Sum* parts, const Sum* remainder, REMAINDER, WINDOWS(i), Number fill, bool mean, Sum* made,
                 Real* out) {
  const Sums fold = {(Real)fill, AS_WINDOWS(i), mean};
  join_remainder(fold, parts, remainder, AS_REMAINDER, made, out);
}

KERNEL fold_extrema(const Real* x, const bool* skipped, const Key* parts, WINDOWS(p), PASS, WINDOWS(i), Number fill,
                    bool least, Key* made,
                    Real* out) {
  const Extrema fold = {(Real)fill, least};
  fold_tiles(fold, x, skipped, parts, AS_WINDOWS(p), AS_TILES, AS_PASS, made, out);
}

KERNEL join_extrema(const Key* parts, const Key* remainder, REMAINDER, WINDOWS(i), Number fill, bool least, Key* made,
                    Real* out) {
  const Extrema fold = {(Real)fill, least};
  join_remainder(fold, parts, remainder, AS_REMAINDER, made, out);
}

// With a footprint: pixels count whose weight is not 0.

KERNEL footprint_sums(const Real* x, const bool* skipped, WINDOWS(w), const double* pixel_weights, Number fill,
                      Real* out) {
  const Windows w = AS_WINDOWS(w);
  for (Index o = first_thread(); o < w.count(); o += all_threads()) {
    Sum sum = 0;
    visit_window(x, skipped, w, (Real)fill, o,
                 [&](Real v, Index n) { sum += pixel_weights[n] != 0 ? (Sum)v : (Sum)0; });
    out[o] = (Real)sum;
  }
}

// `none` is the result of a window without pixels.
KERNEL footprint_extrema(const Real* x, const bool* skipped, WINDOWS(w), const double* pixel_weights, Number fill,
                         bool least, Number none,
                         Real* out) {
  const Windows w = AS_WINDOWS(w);
  const Extrema fold = {(Real)fill, least};
  for (Index o = first_thread(); o < w.count(); o += all_threads()) {
    Key best = fold.none();
    bool found = false;
    visit_window(x, skipped, w, (Real)fill, o, [&](Real v, Index n) {
      if (pixel_weights[n] == 0) return;
      best = greatest(best, fold.of(v));
      found = true;
    });
    if (found)
      fold.write(best, o, out);
    else
      out[o] = (Real)none;
  }
}
