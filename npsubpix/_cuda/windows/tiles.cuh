// Windows folded by tiles: a block takes a box of places into shared memory and joins its parts along
// one axis after the other, so that a pixel comes from memory once and the work grows with the
// logarithm of the window. Nothing is ever subtracted: NaN and huge values stay in their windows.
//
// What parts are, and how they are joined, is a class: `Part` is a plain structure; `of(pixel)` makes
// one, `none()` one of no pixels, `repeated(...)` that of a box of fill values; `join(a, b, axis, span)`
// joins to a part the one that begins `span` places behind it along an axis of the image; and `write`
// makes a result of one.

// A box of a pass: places that are loaded, and results that are made of them, along each axis.
struct Tiles {
  unsigned deep, tall, wide;
  Index z, y, x;
};

// Parts are of windows of these lengths already. `axes` are those of the image that are folded along
// z, y and x of the tile, `unit` the places between one part and the next.
struct Pass {
  Index seen_z, seen_y, seen_x, axis_z, axis_y, axis_x, unit;
};

#define PASS                                                                                                    \
  Index deep, Index tall, Index wide, Index made_z, Index made_y, Index made_x, Index seen_z, Index seen_y,     \
      Index seen_x, Index axis_z, Index axis_y, Index axis_x, Index unit
#define AS_TILES \
  { (unsigned)deep, (unsigned)tall, (unsigned)wide, made_z, made_y, made_x }
#define AS_PASS \
  { seen_z, seen_y, seen_x, axis_z, axis_y, axis_x, unit }

// The elements of a box that a thread visits, without a division for each.
struct Walk {
  unsigned tall, wide, k, z, y, x, dz, dy, dx;

  __device__ __forceinline__ Walk(unsigned tall, unsigned wide)
      : tall(tall), wide(wide), k(threadIdx.x), z(k / wide / tall), y(k / wide % tall), x(k % wide),
        dz(THREADS / wide / tall), dy(THREADS / wide % tall), dx(THREADS % wide) {}
  __device__ __forceinline__ void next() {
    k += THREADS, z += dz, y += dy, x += dx;
    if (x >= wide) x -= wide, ++y;
    if (y >= tall) y -= tall, ++z;
  }
};

// Windows of up to so many parts are joined one by one.
#define FEW_PARTS 8

// Join the parts of windows along lines of a tile: line[k] with line[k + step] and so on. Windows that
// would extend past the end of a line are never used. Return where the windows are.
template <typename Fold, unsigned ROOM>
FORMULA typename Fold::Part* fold_lines(const Fold& fold, typename Fold::Part* line, typename Fold::Part* other,
                                        unsigned count, unsigned step, unsigned length, Index axis, Index unit) {
  typedef typename Fold::Part Part;
  constexpr unsigned EACH = ROOM / THREADS;
  if (length == 1) return line;
  if (length <= FEW_PARTS) {
    for (unsigned k = threadIdx.x; k < count; k += THREADS) {
      Part sum = line[k];
      for (unsigned n = 1; n < length && k + n * step < count; ++n)
        sum = fold.join(sum, line[k + n * step], axis, n * unit);
      other[k] = sum;
    }
    __syncthreads();
    return other;
  }
  Part whole[EACH];  // of as many parts as are done: one power of two after the other, as the bits of the length say
  unsigned done = 0;
  for (unsigned p = 1;; p *= 2) {
    if (length & p) {
#pragma unroll
      for (unsigned n = 0; n < EACH; ++n) {
        const unsigned k = threadIdx.x + n * THREADS;
        if (k + done * step < count) whole[n] = done ? fold.join(whole[n], line[k + done * step], axis, done * unit) : line[k];
      }
      done += p;
    }
    if (done == length) break;
    for (unsigned k = threadIdx.x; k < count; k += THREADS)
      other[k] = k + p * step < count ? fold.join(line[k], line[k + p * step], axis, p * unit) : line[k];
    __syncthreads();
    Part* const doubled = other;
    other = line;
    line = doubled;
  }
#pragma unroll
  for (unsigned n = 0; n < EACH; ++n)
    if (threadIdx.x + n * THREADS < count) other[threadIdx.x + n * THREADS] = whole[n];
  __syncthreads();
  return other;
}

// Fill a tile that begins at a place, from pixels, of which skipped ones do not count, or from parts.
template <typename Fold, typename Pixel>
FORMULA void load_tile(const Fold& fold, const Pixel* image, const bool* skipped, const typename Fold::Part* parts,
                       const Windows& w, const Tiles& t, Index z, Index y, Index x, typename Fold::Part outside,
                       typename Fold::Part* line) {
  const unsigned count = t.deep * t.tall * t.wide;
  const bool whole = z >= 0 && y >= 0 && x >= 0 && z + t.deep <= w.z.size && y + t.tall <= w.y.size &&
                     x + t.wide <= w.x.size;
  const Index first = (z * w.y.size + y) * w.x.size + x;
  for (Walk at(t.tall, t.wide); at.k < count; at.next()) {
    const Index k = whole ? first + (at.z * w.y.size + at.y) * w.x.size + at.x
                          : w.pixel_at(z + at.z, y + at.y, x + at.x);
    if (k < 0)
      line[at.k] = outside;
    else if (parts)
      line[at.k] = parts[k];
    else
      line[at.k] = skipped && skipped[k] ? fold.none() : fold.of(image[k]);
  }
}

// Fold windows of an image, or of parts; results are written as parts if there is an array for them.
template <typename Fold, typename Pixel, typename Out>
FORMULA void fold_tiles(const Fold& fold, const Pixel* image, const bool* skipped, const typename Fold::Part* parts,
                        const Windows& w, const Tiles& t, const Pass& pass, typename Fold::Part* made, Out* out) {
  typedef typename Fold::Part Part;
  constexpr unsigned ROOM = TILE_BYTES / sizeof(Part);
  __shared__ Part one[ROOM], two[ROOM];
  const Index down = (w.y.count + t.y - 1) / t.y, across = (w.x.count + t.x - 1) / t.x;
  const Index tasks = (w.z.count + t.z - 1) / t.z * down * across;
  const unsigned count = t.deep * t.tall * t.wide;
  const Part outside = w.left_out ? fold.none() : fold.repeated(pass.seen_z, pass.seen_y, pass.seen_x);
  for (Index task = blockIdx.x; task < tasks; task += gridDim.x) {
    const Index z = task / across / down * t.z, y = task / across % down * t.y, x = task % across * t.x;
    load_tile(fold, image, skipped, parts, w, t, w.z.place(z), w.y.place(y), w.x.place(x), outside, one);
    __syncthreads();
    Part* line = one;
#pragma unroll 1
    for (unsigned n = 0; n < 3; ++n) {
      const unsigned step = n == 0 ? 1 : (n == 1 ? t.wide : t.wide * t.tall);
      const Index length = n == 0 ? w.x.window : (n == 1 ? w.y.window : w.z.window);
      const Index axis = n == 0 ? pass.axis_x : (n == 1 ? pass.axis_y : pass.axis_z);
      line = fold_lines<Fold, ROOM>(fold, line, line == one ? two : one, count, step, length, axis, pass.unit);
    }
    for (Walk at(t.y, t.x); at.k < t.z * t.y * t.x; at.next()) {
      if (z + at.z >= w.z.count || y + at.y >= w.y.count || x + at.x >= w.x.count) continue;
      const Index k = ((z + at.z) * w.y.count + y + at.y) * w.x.count + x + at.x;
      const Part& part = line[(at.z * w.z.stride * t.tall + at.y * w.y.stride) * t.wide + at.x * w.x.stride];
      if (made)
        made[k] = part;
      else
        fold.write(part, k, out);
    }
    __syncthreads();
  }
}

#define REMAINDER Index outer, Index places, Index stride, Index count, Index inner, Index axis, Index span
#define AS_REMAINDER outer, places, stride, count, inner, axis, span

// Join parts of long windows, every `stride`-th of `places`, with the remainders, which begin `span` places later.
template <typename Fold, typename Out>
FORMULA void join_remainder(const Fold& fold, const typename Fold::Part* parts, const typename Fold::Part* remainder,
                            REMAINDER, typename Fold::Part* made, Out* out) {
  for (Index k = first_thread(); k < outer * count * inner; k += all_threads()) {
    const Index o = k / inner % count, before = k / inner / count;
    typename Fold::Part part = parts[(before * places + o * stride) * inner + k % inner];
    if (remainder) part = fold.join(part, remainder[k], axis, span);
    if (made)
      made[k] = part;
    else
      fold.write(part, k, out);
  }
}
