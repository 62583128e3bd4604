// Windows along three axes, and the pixels that they see.

// The type in which a number is passed to a kernel: integers of 64 bits keep theirs.
template <typename T>
struct Argument {
  typedef double Type;
};
template <>
struct Argument<Int64> {
  typedef Int64 Type;
};

// Along an axis: pixels; the length of windows, the place where the first begins, steps between them,
// and how many there are.
struct Along {
  Index size, window, first, stride, count;

  __device__ __forceinline__ Index place(Index o) const { return first + o * stride; }
  __device__ __forceinline__ bool holds(Index o) const { return place(o) >= 0 && place(o) + window <= size; }
  // How many pixels of a window are in the image.
  __device__ __forceinline__ Index inside(Index o) const {
    return least(place(o) + window, size) - greatest(place(o), (Index)0);
  }
};

struct Windows {
  Along z, y, x;
  Index border;
  bool left_out;  // whether padding does not count

  __device__ __forceinline__ Index count() const { return z.count * y.count * x.count; }
  __device__ __forceinline__ Index weights() const { return z.window * y.window * x.window; }
  // The pixel that a place is a copy of, -1 for none.
  __device__ __forceinline__ Index pixel_at(Index a, Index b, Index c) const {
    const Index d = folded(a, z.size, border), i = folded(b, y.size, border), j = folded(c, x.size, border);
    return d < 0 || i < 0 || j < 0 ? -1 : (d * y.size + i) * x.size + j;
  }
  __device__ __forceinline__ Index oz(Index o) const { return o / x.count / y.count; }
  __device__ __forceinline__ Index oy(Index o) const { return o / x.count % y.count; }
  __device__ __forceinline__ Index ox(Index o) const { return o % x.count; }
  __device__ __forceinline__ bool holds(Index o) const { return z.holds(oz(o)) && y.holds(oy(o)) && x.holds(ox(o)); }
  // How many pixels of a window count.
  __device__ __forceinline__ Index counted(Index o) const {
    return left_out ? z.inside(oz(o)) * y.inside(oy(o)) * x.inside(ox(o)) : weights();
  }
};

#define ALONG(a) Index size_##a, Index window_##a, Index first_##a, Index stride_##a, Index count_##a
#define WINDOWS(p) ALONG(p##z), ALONG(p##y), ALONG(p##x), Index border_##p, bool left_out_##p
#define AS_ALONG(a) {size_##a, window_##a, first_##a, stride_##a, count_##a}
#define AS_WINDOWS(p) {AS_ALONG(p##z), AS_ALONG(p##y), AS_ALONG(p##x), border_##p, left_out_##p}

// Show each pixel of window o that counts, with its number in the window; not the skipped ones, if there are any.
template <typename Pixel, typename See>
FORMULA void visit_window(const Pixel* image, const bool* skipped, const Windows& w, Pixel fill, Index o, See see) {
  const Index z = w.z.place(w.oz(o)), y = w.y.place(w.oy(o)), x = w.x.place(w.ox(o));
  const bool whole = w.holds(o);
  Index n = 0;
  for (Index a = 0; a < w.z.window; ++a)
    for (Index b = 0; b < w.y.window; ++b) {
      const Index row = ((z + a) * w.y.size + y + b) * w.x.size + x;
      for (Index c = 0; c < w.x.window; ++c, ++n) {
        const Index k = whole ? row + c : w.pixel_at(z + a, y + b, x + c);
        if (k >= 0) {
          if (!skipped || !skipped[k]) see(image[k], n);
        } else if (!w.left_out) {
          see(fill, n);
        }
      }
    }
}
