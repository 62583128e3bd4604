// Stacks of images in which peaks are sought, their thresholds, background and noise.
typedef Order<Pixel> Ordered;
typedef Ordered::Key Key;

// The least or the greatest value of a pixel: minus infinity or infinity, if there is one.
FORMULA Pixel extreme(bool greatest) {
  if ((Pixel)0.5 != (Pixel)0) return (Pixel)(greatest ? infinity() : -infinity());
  const UInt64 top = (UInt64)1 << (8 * sizeof(Pixel) - 1);
  const bool negative = (Pixel)-1 < (Pixel)0;
  return (Pixel)(greatest ? (negative ? top - 1 : ~(UInt64)0) : (negative ? top : 0));
}

// Images of shape (images, depth, height, width). Masked pixels count as lower than any other for
// maxima, and as higher for minima.
struct Images {
  const Pixel* x;
  const bool* mask;
  Index images, depth, height, width;

  __device__ __forceinline__ Index pixels() const { return depth * height * width; }
  __device__ __forceinline__ bool masked(Index k) const { return mask && mask[k]; }
  __device__ __forceinline__ Pixel seen(Index k, bool minimum) const { return masked(k) ? extreme(minimum) : x[k]; }
  // Keys of which the greatest is sought.
  __device__ __forceinline__ Key key(Index k, bool minimum) const {
    const Key own = Ordered::key(seen(k, minimum));
    return minimum ? Ordered::mirrored(own) : own;
  }
};

struct Spot {
  Index image, d, i, j;
};

FORMULA Spot spot_of(Index k, Index depth, Index height, Index width) {
  return {k / width / height / depth, k / width / height % depth, k / width % height, k % width};
}

// The border before and after each axis, where there are no peaks.
struct Margins {
  Index front, back, top, bottom, left, right;

  __device__ __forceinline__ bool inside(const Images& m, Index d, Index i, Index j) const {
    return d >= front && d < m.depth - back && i >= top && i < m.height - bottom && j >= left && j < m.width - right;
  }
};

// How far the n-th pixel of an axis of a window is from the centre, from near to far: 0, 1, -1, 2, ...
FORMULA Index outward(Index n) { return n % 2 ? (n + 1) / 2 : -(n / 2); }

// Call visit(place) for the pixels of a window that are in the image, near ones first, but that in the
// middle, until it returns true.
template <typename Visit>
FORMULA bool any_in_window(const Images& m, Spot s, Index kd, Index ki, Index kj, Visit visit) {
  for (Index a = 0; a < kd; ++a) {
    const Index d = s.d + outward(a);
    if (d < 0 || d >= m.depth) continue;
    for (Index b = 0; b < ki; ++b) {
      const Index i = s.i + outward(b);
      if (i < 0 || i >= m.height) continue;
      const Index row = ((s.image * m.depth + d) * m.height + i) * m.width;
      for (Index c = a || b ? 0 : 1; c < kj; ++c) {
        const Index j = s.j + outward(c);
        if (j >= 0 && j < m.width && visit(row + j)) return true;
      }
    }
  }
  return false;
}

// The threshold of an image: a number, or a fraction of the greatest value of the image if that is greater.
struct Thresholds {
  const double* tops;  // greatest values of images, then of negated images; or none
  double relative, absolute;

  __device__ __forceinline__ double of(Index image, Index images, bool minimum) const {
    if (!tops) return absolute;
    const double part = relative * tops[minimum ? images + image : image];
    return absolute > part ? absolute : part;
  }
};

// Whether a pixel exceeds a threshold, exactly; for a minimum, both negated.
FORMULA bool exceeds(Pixel v, double threshold, bool minimum) {
  const bool long_integer = (Pixel)0.5 == (Pixel)0 && sizeof(Pixel) == 8;
  if (!long_integer) return (minimum ? -(double)v : (double)v) > threshold;
  if (threshold != threshold) return false;
  const bool negative = (Pixel)-1 < (Pixel)0;
  const double low = negative ? -0x1p63 : 0.0, high = negative ? 0x1p63 : 0x1p64;
  const double bound = minimum ? ceil(-threshold) : floor(threshold);
  if (bound >= high) return minimum;
  if (bound < low) return !minimum;
  return minimum ? v < (Pixel)bound : v > (Pixel)bound;
}

// Background or noise: a number, or one number per pixel of an image or of a stack.
struct PixelValues {
  const float* narrow;
  const double* wide;
  Index size;

  __device__ __forceinline__ double at(Index k) const {
    const Index place = k < size ? k : k % size;
    return wide ? wide[place] : (double)narrow[place];
  }
};
