// Pixels clipped about their median. The threads of a block read them once for each number that they need: they are
// neither sorted nor copied.
//
// The file that includes this one defines `Value` and `Box` before: pixels that are a box of (depth, height, width) in
// memory, their values, and which of them count.

typedef Keys<Value> Ordered;
typedef Ordered::Key Key;
typedef Ordered::Word Word;

#define PART (1 << 16)  // pixels that are counted at a time, so that counts have 32 bits

// The pixels of a box that a thread visits: neighbouring threads visit neighbouring pixels.
struct Walker {
  Index n, i, j, k;  // the pixel
  Index di, dj, dk;  // a step

  __device__ __forceinline__ Walker(const Box& b) {
    at(b, threadIdx.x, i, j, k);
    at(b, blockDim.x, di, dj, dk);
    n = threadIdx.x;
  }
  static __device__ __forceinline__ void at(const Box& b, Index n, Index& i, Index& j, Index& k) {
    k = n % b.width;
    j = n / b.width % b.height;
    i = n / b.width / b.height;
  }
  __device__ __forceinline__ void step(const Box& b) {
    n += blockDim.x;
    k += dk;
    const Index over = k >= b.width;
    k -= over * b.width;
    j += dj + over;
    const Index beyond = j >= b.height;
    j -= beyond * b.height;
    i += di + beyond;
  }
  __device__ __forceinline__ Index place(const Box& b) const { return i * b.plane + j * b.row + k; }
};

// Call see(value, walker) for the pixels that count, up to the one numbered `end`; a zero has no sign.
template <typename See>
FORMULA void visit_until(Index end, Walker& w, const Box& b, See see) {
  for (; w.n < least(end, b.pixels()); w.step(b)) {
    const Index place = w.place(b);
    const Value v = b.value(place);
    if (!isfinite(v) || !b.counts(w.j, w.k, place)) continue;
    see(v == (Value)0 ? (Value)0 : v, w);
  }
}

template <typename See>
FORMULA void visit(const Box& b, See see) {
  Walker w(b);
  visit_until(b.pixels(), w, b, see);
}

// The pixels that are kept: their number, their range of values, and the sum of their distances from a middle value.
struct Kept {
  Index count;
  double low, high, sum;

  __device__ __forceinline__ bool has(Value v) const { return low <= (double)v && (double)v <= high; }
};

FORMULA Kept joined_kept(const Kept& own) {
  return joined_over_block(own, [](const Kept& p, const Kept& q) {
    return Kept{p.count + q.count, least(p.low, q.low), greatest(p.high, q.high), p.sum + q.sum};
  });
}

// Of those kept, keep the pixels not far below or above a median, which is a distance from the middle value too.
FORMULA Kept kept_of(const Box& b, const Kept& from, double middle, double median, double below, double above) {
  Kept kept = {0, infinity(), -infinity(), 0.0};
  visit(b, [&](Value v, const Walker&) {
    const double d = (double)v - middle;
    if (!from.has(v) || median - d > below || d - median > above) return;
    kept.count += 1;
    kept.low = least(kept.low, (double)v);
    kept.high = greatest(kept.high, (double)v);
    kept.sum += d;
  });
  return joined_kept(kept);
}

// The number of pixels in the range of a thread: one of as many ranges of keys as there are threads, from a key on.
FORMULA Index count_in_range(const Box& b, const Kept& kept, Key from, Key to, unsigned bits) {
  __shared__ UInt32 counts[THREADS];
  Walker w(b);
  Index count = 0;
  for (Index end = PART; end < b.pixels() + PART; end += PART) {
    counts[threadIdx.x] = 0;
    __syncthreads();
    visit_until(end, w, b, [&](Value v, const Walker&) {
      const Key key = Ordered::of(v);
      if (kept.has(v) && from <= key && key <= to) atomicAdd(&counts[((Word)key - (Word)from) >> bits], (UInt32)1);
    });
    __syncthreads();
    count += counts[threadIdx.x];
  }
  return count;
}

// The key of the pixel of a rank: the keys are divided into ranges, then the range that contains the rank, and so on.
FORMULA Key key_of_rank(const Box& b, const Kept& kept, Index rank) {
  __shared__ Index chosen[2];  // the range, and how many pixels are below it
  Key from = Ordered::of((Value)kept.low), to = Ordered::of((Value)kept.high);
  Index below = 0;
  while (from < to) {
    unsigned bits = 0;
    while (((Word)to - (Word)from) >> bits >= blockDim.x) ++bits;
    const Index count = count_in_range(b, kept, from, to, bits), before = below + sum_before(count);
    if (before <= rank && rank < before + count) {
      chosen[0] = threadIdx.x;
      chosen[1] = before;
    }
    __syncthreads();
    const Word first = (Word)from + ((Word)chosen[0] << bits), length = ((Word)1 << bits) - 1;
    from = (Key)first;
    to = (Key)(first + least(length, (Word)((Word)to - first)));
    below = chosen[1];
    __syncthreads();
  }
  return from;
}

// A pixel in the middle of those kept: the numbers of smaller and of equal ones, and the values next to it.
struct Middle {
  double value;
  Index below, equal;
  double before, after;

  // The next pixel of a rank, which may be of the same value.
  __device__ __forceinline__ double at(Index rank) const { return rank < below + equal ? value : after; }
};

FORMULA Middle middle_of(const Box& b, const Kept& kept) {
  const double value = (double)Ordered::back(key_of_rank(b, kept, (kept.count - 1) / 2));
  Middle own = {value, 0, 0, -infinity(), infinity()};
  visit(b, [&](Value pixel, const Walker&) {
    const double v = (double)pixel;
    if (!kept.has(pixel)) return;
    own.below += v < value;
    own.equal += v == value;
    if (v < value) own.before = greatest(own.before, v);
    if (v > value) own.after = least(own.after, v);
  });
  return joined_over_block(own, [](const Middle& p, const Middle& q) {
    return Middle{p.value, p.below + q.below, p.equal + q.equal, greatest(p.before, q.before), least(p.after, q.after)};
  });
}

// The median as a distance from a value; if several pixels are equal to it, as if they were spread evenly.
FORMULA double median_of(const Middle& m, Index count, double middle) {
  const double a = m.value - middle, b = m.at(count / 2) - middle;
  if (a != b || m.equal == 1 || m.below == 0 || m.below + m.equal == count) return 0.5 * (a + b);
  const double below = 0.5 * (a + (m.before - middle)), above = 0.5 * (a + (m.after - middle));
  return below + (above - below) * (0.5 * (double)count - (double)m.below) / (double)m.equal;
}

struct Clipped {
  Kept kept;
  double median, mean, noise;
  bool guessed;
};

FORMULA double deviation_of(const Box& b, const Kept& kept, double middle, double mean) {
  double squares[1] = {0.0};
  visit(b, [&](Value v, const Walker&) {
    const double d = (double)v - middle - mean;
    if (kept.has(v)) squares[0] += d * d;
  });
  sum_over_block(squares);
  return sqrt(squares[0] / (double)kept.count);
}

// Clip pixels far from the median until none is clipped. The upper limit is higher by an allowance.
FORMULA Clipped clip_about_median(const Box& b, Kept kept, Middle m, double middle, double allowance) {
  for (;;) {
    const double mean = kept.sum / (double)kept.count, deviation = deviation_of(b, kept, middle, mean);
    const double median = median_of(m, kept.count, middle);
    const double far = BACKGROUND_CLIP * deviation;
    const Kept near = kept_of(b, kept, middle, median, far, far + allowance);
    if (near.count == 0 || near.count == kept.count) return {kept, median, mean, deviation / CLIPPED_SHARE, false};
    kept = near;
    m = middle_of(b, kept);
  }
}

// The step between the values that pixels can have, near their median: 1 for whole numbers, 0 if all are equal.
FORMULA double step_of(const Middle& m) {
  const double step = least(m.value - m.before, m.after - m.value);
  if (!isfinite(step)) return 0.0;
  return floor(step) == step && floor(m.value) == m.value ? 1.0 : step;
}

// Pixels of the least value, and the next value.
struct Lowest {
  Index equal;
  double next;
};

// Whether more pixels have the least value than have the next one, and no few: a clipped distribution.
FORMULA bool is_piled(const Box& b, const Kept& all) {
  Lowest own = {0, infinity()};
  visit(b, [&](Value pixel, const Walker&) {
    const double v = (double)pixel;
    own.equal += v == all.low;
    if (v > all.low) own.next = least(own.next, v);
  });
  own = joined_over_block(own, [](const Lowest& p, const Lowest& q) {
    return Lowest{p.equal + q.equal, least(p.next, q.next)};
  });
  const double share = LEAST_PILED * (double)all.count;
  if (own.equal == all.count || own.equal < 2 || (double)own.equal < share) return false;
  Index count = 0;
  visit(b, [&](Value v, const Walker&) { count += (double)v == own.next; });
  return own.equal > joined_over_block(count, [](Index p, Index q) { return p + q; });
}

// The pixels above a median, or below it with sign -1, and not far from it, with the sum of their squared distances.
FORMULA Kept side_of(const Box& b, double middle, double median, double far, double sign) {
  Kept side = {0, infinity(), -infinity(), 0.0};
  visit(b, [&](Value v, const Walker&) {
    const double d = sign * ((double)v - middle - median);
    if (!(d > 0) || d > far) return;
    side.count += 1;
    side.low = least(side.low, (double)v);
    side.high = greatest(side.high, (double)v);
    side.sum += d * d;
  });
  return joined_kept(side);
}

// The median distance of the pixels of a side from the median of all.
FORMULA double distance_of(const Box& b, const Kept& side, double middle, double median, bool below) {
  if (side.count == 0) return 0.0;
  const Index rank = (side.count - 1) / 2;
  const Key key = key_of_rank(b, side, below ? side.count - 1 - rank : rank);
  return fabs((double)Ordered::back(key) - middle - median);
}

// Clip pixels that do not spread evenly about their median. `clipped` tells that the lower side of their distribution
// is missing, so that its upper side alone has the noise.
FORMULA Clipped clip_piled(const Box& b, const Kept& all, const Middle& m, double middle, double step, bool clipped) {
  const double median = median_of(m, all.count, middle);
  double far = infinity();
  Kept above = side_of(b, middle, median, far, 1.0), below = side_of(b, middle, median, far, -1.0);
  const bool none_above = above.count == 0;
  const bool both = none_above || (!clipped && SYMMETRIC_RATIO * (double)below.count >= (double)above.count);
  for (;;) {
    const bool lower = none_above || (both && below.count > above.count);
    const double distance = distance_of(b, lower ? below : above, middle, median, lower);
    far = least(far, BACKGROUND_CLIP * greatest(DEVIATIONS_PER_MEDIAN * distance, step));
    const Kept near_above = side_of(b, middle, median, far, 1.0);
    const Kept near_below = both ? side_of(b, middle, median, far, -1.0) : below;
    const bool done = near_above.count == above.count && near_below.count == below.count;
    above = near_above;
    below = near_below;
    if (done) break;
  }
  const Kept kept = kept_of(b, all, middle, median, both ? far : infinity(), far);
  const double count = (double)kept.count, upper = (double)above.count;
  double square = 0.0;
  if (both)
    square = (above.sum + below.sum) / count;
  else if (upper >= greatest(SPARSE_SHARE * count, FEWEST_ABOVE))
    square = above.sum / (upper >= HALF_SHARE * count ? greatest(upper, 0.5 * count) : upper);
  const double noise = greatest(sqrt(square) / CLIPPED_SHARE, ROUNDING_NOISE * step);
  const bool guessed = !clipped || median == all.low - middle;
  return {kept, median_of(middle_of(b, kept), kept.count, middle), kept.sum / count, noise, guessed};
}

FORMULA Clipped clip(const Box& b, const Kept& all, const Middle& m, double middle, double step) {
  if (is_piled(b, all)) return clip_piled(b, all, m, middle, step, true);
  const Clipped plain = clip_about_median(b, all, m, middle, 0.0);
  return plain.kept.low < plain.kept.high || step == 0 ? plain : clip_piled(b, all, m, middle, step, false);
}
