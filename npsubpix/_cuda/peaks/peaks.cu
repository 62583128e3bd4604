// Peaks as lists: window extrema as one byte per pixel, and the lists that are collected from them.
#include "formulas.cuh"
#include "near.cuh"
#include "block.cuh"
#include "codes.cuh"
#include "stacks.cuh"

#define STACK const Pixel *x, const bool *mask, Index images, Index depth, Index height, Index width
#define BORDER Index front, Index back, Index top, Index bottom, Index left, Index right
#define THRESHOLDS const double *tops, double relative, double absolute
#define BACKGROUND const float *background32, const double *background64, Index backgrounds
#define NOISE const float *noise32, const double *noise64, Index noises

// Windows of three pixels per axis that are inside the image, without a mask.
KERNEL peaks_near(STACK, bool volume, BORDER, THRESHOLDS, bool minima, UInt8* codes) {
  const Images m = {x, nullptr, images, depth, height, width};
  const Margins border = {front, back, top, bottom, left, right};
  const Thresholds thresholds = {tops, relative, absolute};
  for (Index k = first_thread(); k < count_strips(images, depth, height, width); k += all_threads()) {
    const Strip s = strip_of(k, depth, height, width);
    const auto is_peak = [=](Index place, Index i, bool minimum) {
      return border.inside(m, s.d, i, s.j) && exceeds(x[place], thresholds.of(s.image, images, minimum), minimum);
    };
    visit_strip(x, s, depth, height, width, volume, false, [=](Index place, Index i, bool found) {
      codes[place] = found && is_peak(place, i, false) ? MAXIMUM : 0;
    });
    if (minima)
      visit_strip(x, s, depth, height, width, volume, true, [=](Index place, Index i, bool found) {
        if (found && is_peak(place, i, true)) codes[place] = MINIMUM;
      });
  }
}

// Whether a pixel is greater than all others of its window, and than the least value of its dtype.
FORMULA bool tops_window(const Images& m, Index k, Spot s, Index kd, Index ki, Index kj, bool minimum) {
  const Key centre = m.key(k, minimum), lowest = Ordered::key(extreme(minimum));
  if (!Ordered::is_number(centre) || !(centre > (minimum ? Ordered::mirrored(lowest) : lowest))) return false;
  return !any_in_window(m, s, kd, ki, kj, [=](Index place) { return !(centre > m.key(place, minimum)); });
}

// Windows of any size, whose pixels inside the image count.
KERNEL peaks_window(STACK, Index kd, Index ki, Index kj, BORDER, THRESHOLDS, bool minima, UInt8* codes) {
  const Images m = {x, mask, images, depth, height, width};
  const Margins border = {front, back, top, bottom, left, right};
  const Thresholds thresholds = {tops, relative, absolute};
  for (Index k = first_thread(); k < images * m.pixels(); k += all_threads()) {
    const Spot s = spot_of(k, depth, height, width);
    UInt8 code = 0;
    if (border.inside(m, s.d, s.i, s.j) && !m.masked(k))
      for (int n = 0; n <= (int)minima; ++n)
        if (exceeds(x[k], thresholds.of(s.image, images, n == 1), n == 1) && tops_window(m, k, s, kd, ki, kj, n == 1))
          code |= n == 1 ? MINIMUM : MAXIMUM;
    codes[k] = code;
  }
}

// The greatest value of each part of an image, or the greatest height above a background; then those of
// the negated image. One block per part.
KERNEL peaks_tops(STACK, BACKGROUND, bool minima, Index parts, Index part_size, double* out) {
  const Images m = {x, mask, images, depth, height, width};
  const PixelValues background = {background32, background64, backgrounds};
  for (Index part = blockIdx.x; part < images * parts * (1 + (Index)minima); part += gridDim.x) {
    const bool minimum = part >= images * parts;
    const Index image = part / parts % images, begin = part % parts * part_size;
    double best = -infinity();
    for (Index n = begin + threadIdx.x; n < least(begin + part_size, m.pixels()); n += blockDim.x) {
      const Index k = image * m.pixels() + n;
      const double below = backgrounds > 0 ? background.at(k) : 0.0, h = (double)m.seen(k, minimum) - below;
      best = (minimum ? -h : h) > best ? (minimum ? -h : h) : best;
    }
    best = raise_over_block(best);
    if (threadIdx.x == 0) out[part] = best;
  }
}

// The height of a candidate above the background, and the same in units of the noise.
struct Height {
  double height, noise;

  // Without noise, any height above the background is infinitely many times the noise.
  __device__ __forceinline__ double strength() const {
    return noise != 0.0 ? height / noise : (height < 0 ? -infinity() : infinity());
  }
};

FORMULA Height height_of(const Pixel* x, Index k, bool minimum, const PixelValues& background,
                         const PixelValues& noise) {
  const double h = (double)x[k] - background.at(k);
  return {minimum ? -h : h, noise.at(k)};
}

// Whether a height is above a threshold, where the noise is known.
FORMULA bool is_above(const Height& h, double absolute) {
  return h.noise >= 0.0 && (absolute > -infinity() ? h.height > absolute * h.noise : h.height == h.height);
}

// Remove the candidates whose heights are not above the thresholds.
KERNEL peaks_above(const Pixel* x, Index images, Index pixels, BACKGROUND, NOISE, THRESHOLDS, UInt8* codes) {
  const PixelValues background = {background32, background64, backgrounds}, noise = {noise32, noise64, noises};
  for (Index k = first_thread(); k < images * pixels; k += all_threads()) {
    UInt8 code = codes[k];
    if (!code) continue;
    for (int n = 0; n < 2; ++n) {
      if (!(code & (n ? MINIMUM : MAXIMUM))) continue;
      const Height h = height_of(x, k, n == 1, background, noise);
      bool kept = is_above(h, absolute);
      if (tops) kept = kept && h.height > relative * tops[n * images + k / pixels];
      if (!kept) code = without(code, n == 1);
    }
    codes[k] = code;
  }
}

// An integer that is greater for a greater number; that of NaN is the least.
FORMULA UInt64 rank_of(double v) {
  if (v != v) return 0;
  return (UInt64)Order<double>::key(v) ^ (UInt64)1 << 63;
}

// Two keys by which candidates are ranked.
struct Rank {
  UInt64 major, minor;

  __device__ __forceinline__ bool above(const Rank& other) const {
    return major > other.major || (major == other.major && minor > other.minor);
  }
};

// The rank of a pixel by its value or, with a background, by its height in units of the noise.
FORMULA Rank ranked(const Pixel* x, Index k, bool minimum, const PixelValues& background, const PixelValues& noise) {
  if (background.size > 0) {
    const Height h = height_of(x, k, minimum, background, noise);
    const double strength = h.strength();
    return {rank_of(strength), isfinite(strength) ? 0 : rank_of(h.height)};
  }
  // Integers that are equal as doubles differ in the last of their 64 bits.
  const bool long_integer = (Pixel)0.5 == (Pixel)0 && sizeof(Pixel) == 8;
  return {rank_of(minimum ? -(double)x[k] : (double)x[k]),
          !long_integer ? 0 : (minimum ? 0 - (UInt64)x[k] : (UInt64)x[k])};
}

// Write the candidates in memory order, those of a part up to its end in `ends`: their indices, images and flags,
// and two keys by which they are ranked. One block per part; its threads have neighbouring pixels.
KERNEL peaks_collect(const Pixel* x, const UInt8* codes, Index images, Index pixels, BACKGROUND, NOISE, Index parts,
                     Index part_size, const Index* counts, const Index* ends, Index* indices, Index* frames,
                     int* flags, UInt64* majors, UInt64* minors) {
  const PixelValues background = {background32, background64, backgrounds}, noise = {noise32, noise64, noises};
  const Index each = (part_size + blockDim.x - 1) / blockDim.x;
  for (Index part = blockIdx.x; part < images * parts; part += gridDim.x) {
    if (counts[part] == 0) continue;
    const Index image = part / parts, start = part % parts * part_size + threadIdx.x * each;
    const Index begin = image * pixels + least(start, pixels);
    const Index end = image * pixels + least(least(start + each, (part % parts + 1) * part_size), pixels);
    Index count = 0;
    for (Index k = begin; k < end; ++k) count += rows_of(codes[k]);
    Index at = ends[part] - counts[part] + sum_before(count);
    for (Index k = begin; k < end; ++k) {
      for (int n = 0; n < 2; ++n) {
        const bool minimum = n == 1;
        if (!(codes[k] & (minimum ? MINIMUM : MAXIMUM))) continue;
        indices[at] = k;
        frames[at] = image;
        flags[at] = (minimum ? FLAG_MINIMUM : 0) | (codes[k] & PLATEAU ? FLAG_PLATEAU : 0);
        const Rank rank = ranked(x, k, minimum, background, noise);
        majors[at] = rank.major;
        minors[at] = rank.minor;
        ++at;
      }
    }
  }
}

// A pixel, -1 for none, and its rank.
struct Ranked {
  Rank rank;
  Index place;
};

// The value of the highest maximum of each image in its border, if it is above the threshold and higher than all peaks,
// else NaN. No neighbour of it is greater, and one is less. Peaks are rows image by image, the highest first. One block
// per image.
KERNEL peaks_border(STACK, BORDER, BACKGROUND, NOISE, double absolute, const Index* starts, const Index* frames,
                    const int* flags, Index count, Index axes, double* out) {
  const Images m = {x, mask, images, depth, height, width};
  const Margins border = {front, back, top, bottom, left, right};
  const PixelValues background = {background32, background64, backgrounds}, noise = {noise32, noise64, noises};
  const Index lengths[3] = {depth, height, width};
  for (Index image = blockIdx.x; image < images; image += gridDim.x) {
    Ranked best = {{0, 0}, -1};
    for (Index row = first_at_least(frames, 0, count, image); row < count && frames[row] == image; ++row) {
      if (flags[row] & FLAG_MINIMUM) continue;
      Index k = image;
      for (Index a = 0; a < axes; ++a) k = k * lengths[3 - axes + a] + starts[row * axes + a];
      best.rank = ranked(x, k, false, background, noise);
      break;
    }
    for (Index n = threadIdx.x; n < m.pixels(); n += blockDim.x) {
      const Index k = image * m.pixels() + n;
      const Spot s = spot_of(k, depth, height, width);
      if (border.inside(m, s.d, s.i, s.j) || m.masked(k)) continue;
      const bool high = backgrounds > 0 ? is_above(height_of(x, k, false, background, noise), absolute)
                                        : exceeds(x[k], absolute, false);
      const Rank own = ranked(x, k, false, background, noise);
      if (!high || !own.above(best.rank)) continue;
      bool below = false;
      const bool beaten = any_in_window(m, s, 3, 3, 3, [&](Index place) {
        if (m.masked(place)) return false;
        below = below || x[place] < x[k];
        return x[place] > x[k];
      });
      if (below && !beaten) best = {own, k};
    }
    best = joined_over_block(best, [](Ranked a, Ranked b) {
      if (a.place < 0 || b.place < 0) return a.place < 0 ? b : a;
      return b.rank.above(a.rank) || (!a.rank.above(b.rank) && b.place < a.place) ? b : a;
    });
    if (threadIdx.x == 0) out[image] = best.place < 0 ? not_a_number() : (double)x[best.place];
  }
}
